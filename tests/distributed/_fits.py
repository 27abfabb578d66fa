"""Fits that `test_distributed.py` compares between one process and two.

As a script: one of the processes; writes what it found to the folder it is given.
"""

import os
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

import skebm.distributed
from skebm import (
    BernoulliRBM,
    DeepBeliefNetwork,
    EBMDensityEstimator,
    GaussianRBM,
    JEMClassifier,
    JEMRegressor,
    RBMClassifier,
)
from skebm.exceptions import DistributedError
from skebm.objectives import OBJECTIVES

NAMES = sorted(set(OBJECTIVES) - {"hdge", "jem"})  # those need labels
#: Those whose chains take many exchanges.
SLOW = [
    *("cd", "flow_contrastive", "improved_cd", "meg", "short_run"),
    *("vera_ardae", "vera_hmc", "wake_sleep"),
]
#: Processes hold rows in common that one has too few of.
ROWS = np.random.RandomState(0).normal(size=(61, 2))
WEIGHTS = np.random.RandomState(1).uniform(0.2, 2.0, 61)
LABELS = np.where(np.arange(61) % 3, -1, (ROWS[:, 0] > 0).astype(int))
QUICK = {"reference": "gaussian", "normalizer": None, "batch_size": 29, "max_iter": 1}


def no_constant(n_features, n_outputs):
    """Return a net without a constant, in which Adam would step by rounding errors."""
    hidden = nn.Linear(n_features, 8)
    return nn.Sequential(hidden, nn.Tanh(), nn.Linear(8, n_outputs, bias=False))


def parameters(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()]).numpy()


def of_objectives(names):
    """Return the parameters by each objective, for weighted rows."""
    found = {}
    for name in names:
        is_known = name != "curvature_propagation"  # it asks for a net of ours
        model = EBMDensityEstimator(
            name,
            network=no_constant if is_known else "mlp",
            early_stopping=False,
            random_state=0,
            **QUICK,
        )
        model.fit(ROWS, sample_weight=WEIGHTS)
        found[name] = parameters(model.network_)
    return found


def of_estimators():
    """Return parameters of each estimator, seeded by the system."""
    bits = (ROWS > 0).astype(float)
    density = EBMDensityEstimator(**(QUICK | {"max_iter": 3})).fit(ROWS)
    found = {
        "density": parameters(density.network_),
        "history": density.history_["validation_log_likelihood"],
        "draws": density.sample(3, random_state=0),
        "pickled": parameters(pickle.loads(pickle.dumps(density)).network_),
    }
    density.partial_fit(ROWS[:20])
    found["partial_fit"] = parameters(density.network_)
    jem = JEMClassifier(stacking=False, **QUICK).fit(ROWS, LABELS)
    found["JEMClassifier"] = parameters(jem.network_)
    y = np.where(LABELS < 0, np.nan, ROWS[:, 1])
    regressor = JEMRegressor(experts=["linear"], **QUICK).fit(ROWS, y)
    found["JEMRegressor"] = regressor.predict(ROWS)
    for rbm in (BernoulliRBM(3, n_iter=2), GaussianRBM(3, n_iter=2)):
        rbm.set_params(normalizer=None, early_stopping=False)
        rbm.fit(bits if isinstance(rbm, BernoulliRBM) else ROWS)
        found[type(rbm).__name__] = rbm.components_
    classifier = RBMClassifier(3, n_iter=2).fit(bits, LABELS)
    found["RBMClassifier"] = classifier.components_
    stack = DeepBeliefNetwork((3, 2), n_iter=1, n_fine_tuning_iter=1, normalizer=None)
    found["DeepBeliefNetwork"] = stack.fit(bits).transform(bits)
    return found


def of_gradients(rank):
    """Return what `Group.average` and `Group.gather` make of tensors."""
    group = skebm.distributed.current()
    tensors = [torch.full((2, 2), float(rank)), None, torch.tensor(rank + 1.0)]
    group.average(tensors)
    counts = [2, 1]
    rows = torch.arange(3.0)[:, None].split(counts)[rank]
    return {
        "average": torch.stack([tensors[0].mean(), tensors[2]]).numpy(),
        "gathered": group.gather(rows, counts).numpy(),
        "agreed": np.array(group.agree(rank)),
    }


def alone(rank):
    """Return the parameters by own rows, and what the others' rows lead to together."""
    model = EBMDensityEstimator(random_state=0, **QUICK)
    own = ROWS + rank
    with skebm.distributed.alone():
        found = parameters(model.fit(own).network_)
    try:
        model.fit(own)
    except ValueError as error:
        return found, str(error)


def last_one(rank):
    """Return the error of a fit whose second process ends."""

    def end(n_features, n_outputs):
        if rank == 1:
            os._exit(0)
        return no_constant(n_features, n_outputs)

    try:
        EBMDensityEstimator(network=end, random_state=0, **QUICK).fit(ROWS)
    except DistributedError as error:
        return str(error)


def main(folder, speed):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    skebm.distributed.init(timeout=60)
    rank = skebm.distributed.rank()
    names = SLOW if speed == "slow" else sorted(set(NAMES) - set(SLOW))
    found = {"size": skebm.distributed.size(), "objectives": of_objectives(names)}
    if speed == "slow":
        Path(folder, f"{rank}.pickle").write_bytes(pickle.dumps(found))
        return
    found |= {"estimators": of_estimators(), "exchanges": of_gradients(rank)}
    found["alone"] = alone(rank)

    def keep():
        Path(folder, f"{rank}.pickle").write_bytes(pickle.dumps(found))

    keep()
    found["last_one"] = last_one(rank)
    keep()


if __name__ == "__main__":
    main(*sys.argv[1:])
