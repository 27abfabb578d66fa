"""Test log-likelihood on binarised MNIST by the number of epochs: `BernoulliRBM`.

500 hidden units, batches of 100, pixels over 127 are 1. Each row of the curve is a
separate fit, since the learning rate falls towards the end of a fit. For
"conservative", log Z is the forward estimate of annealing plus two standard errors or
the reverse estimate, whichever is larger. For comparison: CD-25 reached -86.34 in 250
epochs with images sampled in proportion to the grey values (Salakhutdinov and Murray,
ICML 2008), which are different data.
"""

import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _report import parser, report

from skebm import BernoulliRBM
from skebm.evaluation import RBMAnnealing


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument(
        "--data", type=Path, required=True, help="npz: X_train, X_test"
    )
    options.add_argument("--epochs", type=int, nargs="+", default=[2, 5, 10, 20])
    options.add_argument("--components", type=int, default=500)
    options.add_argument("--learning-rate", type=float, default=0.1)
    options.add_argument("--device", default="auto")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    with np.load(args.data) as file:
        train, test = (
            (file[part].reshape(len(file[part]), -1) > 127).astype(np.float32)
            for part in ("X_train", "X_test")
        )
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
            result = model.normalizer_result_
            forward = result.log_normalizer
            score = model.score(test)
            row = {
                "seed": seed,
                "epochs": n_epochs,
                "test": score,
                "conservative": score - (result.upper - forward),
                "standard_error": result.standard_error,
                "reverse_gap": result.reverse_log_normalizer - forward,
                "seconds": seconds,
                "cpu_seconds": time.process_time() - used,
            }
            rows.append(row)
            print(row, flush=True)
    report("rbm_mnist", rows, components=args.components, rate=args.learning_rate)


if __name__ == "__main__":
    main()
