"""Images: the term of improved contrastive divergence, and joint models by objective.

Two parts, each on images of few pixels so that all takes minutes on one core.

1. `ImprovedCD` on digits of 8 x 8 pixels, with and without its KL term, and with the
   transitions of images; a convolutional energy tilts one Gaussian. "gain" is the
   held-out log-likelihood above that of the Gaussian, in nats; "confident" the share of
   draws that a classifier of real digits gives a class by more than 0.9; "classes" the
   smallest and the largest share of a class among the draws.

2. `JEMClassifier` with a convolutional net on MNIST and on Fashion-MNIST: accuracy,
   calibration error, AUROC against the other set, accuracy under an attack, seconds an
   epoch, by the objective of the density: none (the plain classifier), VERA, and
   persistent chains of 20 steps of Langevin dynamics (the published one).

Without --data, a folder with mnist.npz and fashion_mnist.npz, only the first part runs.

    python benchmarks/images.py --data DATA
    python benchmarks/images.py --data DATA --full   # 28 x 28, all rows: for a GPU
"""

import time
from functools import partial
from pathlib import Path

import numpy as np
from _report import parser, report
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.evaluation import adversarial_accuracy, expected_calibration_error
from skebm.networks import ConvNet, MultiScaleNet, ResNet
from skebm.objectives import PCD, VERA, ImprovedCD
from skebm.samplers import GaussianBlur, RandomCrop, RandomRescale

SHAPE = (1, 8, 8)
SMALL = partial(ConvNet, hidden_channels=(16, 32), hidden_features=64)
#: Radius of the attack, in units of a pixel's range.
RADIUS = 0.1


def transitions(shape):
    """Return the transitions that digits allow: no flips."""
    return RandomCrop(shape, 1), RandomRescale(shape, 1.15), GaussianBlur(shape, 0.5)


def chain_methods(shape):
    """Return objectives and networks by name."""
    given = transitions(shape)
    return {
        "kl_weight=0": (ImprovedCD(kl_weight=0.0), SMALL),
        "kl_weight=0.1": (ImprovedCD(kl_weight=0.1), SMALL),
        "kl_weight=1": (ImprovedCD(kl_weight=1.0), SMALL),
        "kl_weight=0, transitions": (
            ImprovedCD(kl_weight=0.0, transitions=given),
            SMALL,
        ),
        "kl_weight=0.1, transitions": (
            ImprovedCD(kl_weight=0.1, transitions=given),
            SMALL,
        ),
        "kl_weight=1, transitions": (
            ImprovedCD(kl_weight=1.0, transitions=given),
            SMALL,
        ),
        "kl_weight=0, 3 scales": (
            ImprovedCD(kl_weight=0.0),
            partial(MultiScaleNet, network=SMALL),
        ),
        "nce": ("nce", SMALL),
    }


def judged(judge, X):
    """Return the share of confident draws, and the extremes of the classes' shares."""
    probability = judge.predict_proba(X)
    shares = np.bincount(probability.argmax(1), minlength=10) / len(X)
    return {
        "confident": float((probability.max(1) > 0.9).mean()),
        "least_class": shares.min(),
        "most_class": shares.max(),
    }


def chains(seeds, n_epochs):
    """Return a row for each method and seed."""
    X, y = load_digits(return_X_y=True)
    rows = []
    for seed in range(seeds):
        train, test, y_train, _ = train_test_split(
            X / 16, y, test_size=0.3, random_state=seed, stratify=y
        )
        judge = CalibratedClassifierCV(SVC(C=10), ensemble=False).fit(train, y_train)
        rows.append({"method": "real rows", "seed": seed} | judged(judge, test))
        for name, (objective, network) in chain_methods(SHAPE).items():
            start = time.perf_counter()
            model = EBMDensityEstimator(
                objective,
                network,
                "gaussian",
                "importance",
                image_shape=SHAPE,
                max_iter=n_epochs,
                learning_rate=3e-3,
                ood_score="log_density",
                random_state=seed,
            ).fit(train)
            seconds = time.perf_counter() - start
            gain = -model.energy(test) - model.log_normalizer_
            row = {"method": name, "seed": seed, "gain": gain.mean()}
            row |= {"log_z_se": model.log_normalizer_se_, "seconds": seconds}
            row |= judged(judge, model.sample(200, random_state=seed))
            rows.append(row)
            print(name, f"{row['gain']:.2f} nats, {seconds:.0f} s", flush=True)
    return rows


def images_of(data, name, side, n_train, n_test, rng):
    """Return rows in [0, 1] and labels for training and test, of side x side pixels."""
    stored = np.load(Path(data) / f"{name}.npz")
    parts = []
    for part, n in (("train", n_train), ("test", n_test)):
        X, y = stored[f"X_{part}"], stored[f"y_{part}"]
        rows = rng.choice(len(X), min(n, len(X)), replace=False)
        block = 28 // side
        X = X[rows].reshape(-1, side, block, side, block).mean(axis=(2, 4)) / 255
        parts += [X.reshape(len(rows), -1).round(4), y[rows]]
    return parts


def joint_methods():
    """Return objectives of the density by name."""
    return {
        "none": None,
        "vera": VERA(),
        "sgld": PCD.jem(),
    }


def joint(data, seeds, *, full, n_epochs):
    """Return a row for each data set, objective and seed."""
    side = 28 if full else 14
    network = partial(ResNet, channels_last=True) if full else SMALL
    n_train, n_test = (60_000, 10_000) if full else (2000, 1000)
    rows = []
    for seed in range(seeds):
        rng = np.random.RandomState(seed)
        sets = {
            name: images_of(data, name, side, n_train, n_test, rng)
            for name in ("mnist", "fashion_mnist")
        }
        for name, (X, y, X_test, y_test) in sets.items():
            other = sets["mnist" if name != "mnist" else "fashion_mnist"][2]
            for objective_name, objective in joint_methods().items():
                model = JEMClassifier(
                    objective,
                    network,
                    None if objective_name == "sgld" else "gaussian",
                    None,
                    image_shape=(1, side, side),
                    unlabeled=None,
                    stacking=False,
                    vat_weight=0.0,
                    prediction_entropy_weight=0.0,
                    balance_weight=0.0,
                    max_iter=n_epochs,
                    batch_size=100,
                    random_state=seed,
                ).fit(X, y)
                row = {"set": name, "objective": objective_name, "seed": seed}
                probability = model.predict_proba(X_test)
                row["accuracy"] = (model.predict(X_test) == y_test).mean()
                row["ece"] = expected_calibration_error(y_test, probability)
                in_and_out = np.repeat([1, 0], [len(X_test), len(other)])
                both = np.concatenate([X_test, other])
                confidence = model.predict_proba(both).max(axis=1)
                row["auroc_confidence"] = roc_auc_score(in_and_out, confidence)
                if objective is not None:
                    scores = np.nan_to_num(model.score_samples(both), neginf=-1e30)
                    row["auroc_density"] = roc_auc_score(in_and_out, scores)
                attacked = adversarial_accuracy(
                    model,
                    X_test[:100],
                    y_test[:100],
                    radius=RADIUS,
                    bounds=(0, 1),
                    n_steps=10,
                    n_targets=0,
                    n_queries=0,
                    random_state=0,
                )
                row["attacked"] = float(np.ravel(attacked.accuracy)[-1])
                row["seconds_an_epoch"] = np.median(model.history_["seconds"])
                rows.append(row)
                print(name, objective_name, f"{row['accuracy']:.3f}", flush=True)
    return rows


def main():
    """Run what the options ask for."""
    options = parser(__doc__)
    options.add_argument("--data", help="folder with mnist.npz and fashion_mnist.npz")
    options.add_argument("--full", action="store_true", help="28 x 28, all rows")
    options.add_argument("--epochs", type=int, default=40, help="of part 1")
    options.add_argument("--joint-epochs", type=int, default=10, help="of part 2")
    options.add_argument("--joint-seeds", type=int, default=1, help="of part 2")
    options.add_argument("--part", type=int, choices=(1, 2), help="only this part")
    args = options.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    if args.part != 2:
        rows = chains(args.seeds, args.epochs)
        report("images_chains", rows, epochs=args.epochs, shape=SHAPE)
    if args.data is None:
        print("images.py: no --data, so that part 2 is left out")
    elif args.part != 1:
        epochs = 60 if args.full else args.joint_epochs
        rows = joint(args.data, args.joint_seeds, full=args.full, n_epochs=epochs)
        report("images_joint", rows, epochs=epochs, full=args.full, radius=RADIUS)


if __name__ == "__main__":
    main()
