"""The state of an RBM's training, as arrays between calls and tensors within one."""

from __future__ import annotations

import numpy as np
import torch

from skebm.evaluation import pseudo_log_likelihood
from skebm.exceptions import DivergenceError
from skebm.networks import RBM, BernoulliUnits
from skebm.objectives import ContrastiveGradient
from skebm.samplers import TemperedGibbs
from skebm.training import MachineTraining
from skebm.utils import to_numpy_tree, to_tensor_tree

N_TEMPERATURES = 10
#: Standard deviation over rows of the log odds of untrained hidden units.
INITIAL_SPREAD = 0.7
#: Rows of the last batch that the history's pseudo-likelihood is taken over.
MAX_FIGURE_ROWS = 100
#: No log odds of a machine in order come near.
MAX_PARAMETER = 1e5


class TrainingState:
    """Parameters, chains, offsets, velocity and average of a machine in training.

    Parameters
    ----------
    units : VisibleUnits
    arrays : dict
        As `initial` or `arrays` returned them.
    base_bias : ndarray of shape (n_statistics,)
        Where tempered chains lead.
    generator : torch.Generator
        On the device to train on.
    method, n_gibbs_steps, centered : str, int, bool
        Of `ContrastiveGradient`.
    momentum, weight_decay, averaging : float
        Of `trainer`.
    trainer : type, default=MachineTraining
        What makes the steps.
    """

    def __init__(
        self,
        units,
        arrays,
        base_bias,
        generator,
        *,
        method,
        n_gibbs_steps,
        centered,
        momentum,
        weight_decay,
        averaging,
        trainer=MachineTraining,
    ):
        device = generator.device
        tensors = moved(to_tensor_tree(arrays), device)
        self.generator = generator
        parameters = tensors["parameters"]
        visible = units.to(parameters["weight"].dtype).to(device)
        rbm = RBM(**parameters, visible=visible)
        tempering = None
        if method == "tempering":
            base = torch.from_numpy(base_bias.copy()).to(device)
            tempering = TemperedGibbs(base, N_TEMPERATURES)
        self.gradient = ContrastiveGradient(
            _fitting_chains(tensors["chains"], method),
            (tensors["visible_offset"], tensors["hidden_offset"]),
            method=method,
            n_gibbs_steps=n_gibbs_steps,
            centered=centered,
            tempering=tempering,
            generator=generator,
        )
        self.training = trainer(
            rbm,
            self.gradient,
            momentum=momentum,
            weight_decay=weight_decay,
            averaging=averaging,
        )
        self.training.load(tensors)

    @staticmethod
    def initial(rbm, mean, chains, method):
        """Return the arrays of a training that is to begin."""
        chains = torch.from_numpy(chains).to(rbm.weight)
        return to_numpy_tree(
            {
                "parameters": rbm.parameters(),
                "chains": _fitting_chains(chains, method),
                "visible_offset": torch.from_numpy(mean).to(rbm.weight),
                "hidden_offset": torch.full_like(rbm.hidden_bias, 0.5),
                "n_steps": 0,
            }
        )

    def arrays(self):
        """Return what another `TrainingState` goes on from."""
        gradient = self.gradient
        return to_numpy_tree(
            {
                "chains": gradient.chains,
                "visible_offset": gradient.visible_offset,
                "hidden_offset": gradient.hidden_offset,
                **self.training.state(),
            }
        )

    def coldest_chains(self):
        """Return the hidden states of the chains at temperature 1."""
        chains = self.gradient.chains
        return (chains[0] if chains.ndim == 3 else chains).cpu().numpy().copy()

    def run_epoch(self, batches, batch_size, rates):
        """Make a step a batch, with these learning rates; return the last batch."""
        rbm = self.training.rbm
        epoch = batches.epoch(batch_size, self.generator, rbm)
        for v, rate in zip(epoch, rates.tolist(), strict=True):
            self.training.step(v, rate)
        return v

    def figure(self, v):
        """Return the mean log pseudo-likelihood of rows v, by a column a row.

        For other units than Bernoulli ones, minus the mean free energy instead.
        """
        rbm, v = self.training.rbm, v[:MAX_FIGURE_ROWS]
        if not isinstance(rbm.visible, BernoulliUnits):
            return float(-rbm(v).mean())
        columns = torch.randint(
            v.shape[1], (len(v),), generator=self.generator, device=v.device
        )
        return float(pseudo_log_likelihood(rbm, v, columns).mean())


def largest_entry(tensors):
    """Return the largest absolute value in some tensors; NaN where one is there."""
    return float(torch.stack([x.abs().max() for x in tensors]).max())


def check_converging(estimator, name, figure, rbm):
    """Raise DivergenceError where an epoch's figure or parameters are out of bounds."""
    largest = largest_entry(rbm.parameters().values())
    if not (np.isfinite(figure) and largest < MAX_PARAMETER):
        raise DivergenceError(
            f"{type(estimator).__name__} diverged in epoch {estimator.n_iter_}: its "
            f"{name} is {figure:.4g}, its largest parameter {largest:.4g}. Lower "
            f"learning_rate={estimator.learning_rate} or scale X."
        )


def initial_parameters(bias, mean, deviation, n_hidden, rng, spread=INITIAL_SPREAD):
    """Return random weights, and hidden and visible biases that go with them.

    The log odds of the hidden units have mean 0 and standard deviation
    `spread` over rows of this mean and total deviation, so that the units differ from
    the start.
    """
    scale = spread / max(deviation, spread)
    weight = rng.normal(0, scale, (n_hidden, len(mean)))
    return weight, -(weight @ mean), bias - weight.sum(axis=0) / 2


def learning_rates(largest, schedule, epoch, n_iter, n_steps):
    """Return the learning rate of each step of an epoch, of n_iter, of `fit`."""
    if schedule == "constant":
        return np.full(n_steps, float(largest))
    done = (epoch + (np.arange(n_steps) + 0.5) / n_steps) / n_iter
    # Rates that are high at once leave modes away from data that chains never visit.
    return largest * np.minimum(1, np.minimum(10 * done, 2 * (1 - done)))


def _fitting_chains(chains, method):
    """Return the chains with a temperature axis for tempering, without it otherwise."""
    if method == "tempering" and chains.ndim == 2:
        return chains.repeat(N_TEMPERATURES, 1, 1)
    if method != "tempering" and chains.ndim == 3:
        return chains[0].clone()
    return chains


def moved(tree, device):
    """Return a nested dict whose tensors are on the device."""
    if isinstance(tree, torch.Tensor):
        return tree.to(device)
    if isinstance(tree, dict):
        return {k: moved(v, device) for k, v in tree.items()}
    return tree
