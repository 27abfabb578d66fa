"""Test log-likelihood on binarised MNIST by the number of epochs: `BernoulliRBM`.

With ``--pixels threshold``, pixels over 127 are 1, and each row of the curve is a
separate `fit`. With ``--pixels stochastic`` a pixel is 1 with a probability in
proportion to its grey value, drawn anew in each epoch, as in Salakhutdinov and Murray
(ICML 2008), whose CD-25 reached -86.34 in 250 epochs with 500 hidden units. There is
one run of `partial_fit`, whose learning rate falls in the second half, and log Z is
estimated at every epoch by `RunAnnealing`, along the run's own parameters; test images
are drawn once. At the end log Z is bounded from both sides, along the run and by
`RBMAnnealing` along the temperature.

For "conservative", log Z is the forward estimate plus two standard errors or the
reverse estimate, whichever is larger. Results are in rbm_mnist.json and
rbm_mnist_stochastic.json.
"""

import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _report import parser, report

from skebm import BernoulliRBM
from skebm.evaluation import RBMAnnealing, RunAnnealing
from skebm.networks import RBM

#: Rows of the reverse chains.
N_ROWS = 1000


def images(path):
    """Return grey values of training and test images, between 0 and 1."""
    with np.load(path) as file:
        parts = [file[part] for part in ("X_train", "X_test")]
    return [part.reshape(len(part), -1).astype(np.float32) / 255 for part in parts]


def bounds(result):
    """Return the figures of an estimate of log Z."""
    forward = result.log_normalizer
    return {
        "standard_error": result.standard_error,
        "reverse_gap": result.reverse_log_normalizer - forward,
        "upper_gap": result.upper - forward,
    }


def thresholded(args):
    """Return the rows of separate fits on images with a threshold."""
    train, test = ((grey > 127 / 255).astype(np.float32) for grey in images(args.data))
    rows = []
    for seed in range(args.seeds):
        for n_epochs in args.epochs:
            model = BernoulliRBM(
                args.components,
                learning_rate=args.learning_rate,
                batch_size=100,
                n_iter=n_epochs,
                normalizer=RBMAnnealing(),
                device=args.device,
                random_state=seed,
            )
            started, used = time.perf_counter(), time.process_time()
            model.fit(train)
            seconds = time.perf_counter() - started
            figures, score = bounds(model.normalizer_result_), model.score(test)
            row = {"seed": seed, "epochs": n_epochs, "test": score}
            row |= {"conservative": score - figures["upper_gap"], **figures}
            cpu_seconds = time.process_time() - used
            rows.append(row | {"seconds": seconds, "cpu_seconds": cpu_seconds})
            print(rows[-1], flush=True)
    report("rbm_mnist", rows, components=args.components, rate=args.learning_rate)


def rbm_of(model):
    """Return the RBM of a fitted estimator."""
    names = "components_", "intercept_hidden_", "intercept_visible_"
    return RBM(*(torch.tensor(getattr(model, name)).float() for name in names))


def stochastic(args):
    """Return the epochs of one run on images that are drawn anew in each."""
    grey, new = images(args.data)
    grey = grey[: args.rows]
    rng = np.random.RandomState(0)
    test = (rng.uniform(size=new.shape) < new).astype(np.float32)
    n_epochs = max(args.epochs)
    model = BernoulliRBM(
        args.components,
        batch_size=100,
        n_gibbs_steps=args.gibbs_steps,
        normalizer=None,
        device=args.device,
        random_state=0,
    )
    mean = torch.tensor(grey.mean(axis=0)).clamp(1e-4, 1 - 1e-4)
    run, rows, used = None, [], time.process_time()
    for epoch in range(1, n_epochs + 1):
        left = 2 * (n_epochs - epoch + 0.5) / n_epochs
        model.set_params(learning_rate=args.learning_rate * min(1.0, left))
        X = (rng.uniform(size=grey.shape) < grey).astype(np.float32)
        model.partial_fit(X)
        rbm = rbm_of(model)
        if run is None:
            base = rbm.tempered(0.0, mean.logit())
            run = RunAnnealing(base, args.particles, args.between)
        result = run.advance(rbm, args.first if epoch == 1 else None)
        if epoch in args.epochs:
            result = run.both_ways(torch.tensor(X[:N_ROWS]))
        score = float(-rbm(torch.tensor(test)).double().mean()) - result.log_normalizer
        row = {"epochs": epoch, "method": "run", "test": score}
        figures = bounds(result)
        row |= {"conservative": score - figures["upper_gap"], **figures}
        rows.append(row | {"cpu_seconds": time.process_time() - used})
        if epoch % 5 == 0 or epoch in args.epochs:
            print(rows[-1], flush=True)
    generator = torch.Generator().manual_seed(1)
    result = RBMAnnealing(max_moves=args.max_moves).estimate(
        rbm, mean.logit(), torch.tensor(X[:N_ROWS]), generator
    )
    score = float(-rbm(torch.tensor(test)).double().mean()) - result.log_normalizer
    figures = bounds(result)
    row = {"epochs": n_epochs, "method": "temperature", "test": score}
    row |= {"conservative": score - figures["upper_gap"], **figures}
    rows.append(row | {"cpu_seconds": time.process_time() - used})
    settings = {
        name: getattr(args, name) for name in ("components", "between", "first")
    }
    settings |= {
        "n_train": len(grey),
        "rate": args.learning_rate,
        "gibbs_steps": args.gibbs_steps,
    }
    report("rbm_mnist_stochastic", rows, particles=args.particles, **settings)


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument(
        "--data", type=Path, required=True, help="npz: X_train, X_test"
    )
    choices = "threshold", "stochastic"
    options.add_argument("--pixels", choices=choices, default="stochastic")
    options.add_argument("--epochs", type=int, nargs="+", default=[2, 5, 10, 20])
    options.add_argument("--components", type=int, default=500)
    options.add_argument("--learning-rate", type=float, default=0.1)
    options.add_argument("--gibbs-steps", type=int, default=1)
    options.add_argument("--rows", type=int, default=60_000)
    options.add_argument("--particles", type=int, default=256)
    options.add_argument("--between", type=int, default=50)
    options.add_argument("--first", type=int, default=2000, help="steps to epoch 1")
    options.add_argument("--max-moves", type=int, default=1_000_000)
    options.add_argument("--device", default="auto")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    (thresholded if args.pixels == "threshold" else stochastic)(args)


if __name__ == "__main__":
    main()
