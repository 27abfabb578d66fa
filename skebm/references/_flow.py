"""Neural spline flows as references; they need zuko."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from skebm.references._base import Density, Reference
from skebm.references._cached import CachedDensity
from skebm.references._mixture import GaussianMixtureDensity, GaussianReference
from skebm.references._stacked import StackedDensity
from skebm.references._stacking import GaussianMixtureReference, stacking_weights
from skebm.utils import (
    check_count,
    check_number,
    check_positive,
    check_range,
    dequantization_scale,
    is_count,
    is_sequence,
    isolated_rng,
    normal_like,
    warming_average,
)
from skebm.utils._zuko import import_zuko

AVERAGING_DECAY, STEPS_BETWEEN_AVERAGES = 0.99, 4
WARMUP_STEPS = 50
MIN_HELD_OUT, MAX_HELD_OUT = 50, 5000
CHUNK_ROWS = 4096
WHO_NEEDS_ZUKO = "reference 'flow' (FlowReference)"


def flow_log_prob(flow: Any, x: Tensor) -> Tensor:
    """Return the log density of rows under a zuko flow over a standard normal."""
    z, log_volume = flow.transform().call_and_ladj(x)
    return log_normal(z) + log_volume


def log_normal(z: Tensor) -> Tensor:
    """Return log N(z; 0, I), shape (n,)."""
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=1)


def _build_flow(sizes: Tensor, seed: int) -> Any:
    n_features, transforms, passes, bins, *hidden = sizes.tolist()
    zuko = import_zuko(WHO_NEEDS_ZUKO)
    with isolated_rng(seed, torch.device("cpu")):
        flow = zuko.flows.NSF(
            n_features,
            transforms=transforms,
            passes=passes,
            bins=bins,
            hidden_features=hidden,
            randperm=True,
        )
    return flow.float()


class FlowDensity(Density):
    r"""Density of an invertible map (a flow) of normal rows.

    .. math:: \log q_0(x) = \log N(f(x); 0, I) + \log |\det f'(x)|

    A draw takes one pass a column through each transform, so training uses cached
    draws.

    Parameters
    ----------
    sizes : Tensor of int64
        Columns, transforms, passes, bins, then the widths of the hidden layers.
    **state : Tensor
        Weights and masks of the flow; none leaves the flow as it is built.
    """

    has_transitions: ClassVar[bool] = True

    def __init__(self, sizes: Tensor, **state: Tensor) -> None:
        super().__init__()
        self.sizes: Tensor
        self.register_buffer("sizes", sizes)
        self.flow = _build_flow(sizes, seed=0)
        if state:
            self.load_state_dict({"sizes": sizes, **state})
        self.requires_grad_(False)

    def for_training(self, seed: int) -> Density:
        """Return the density with cached draws."""
        return CachedDensity(self, seed)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x) in nats, shape (n,)."""
        return flow_log_prob(self.flow, x)

    @torch.no_grad()
    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_features)."""
        base = next(self.flow.parameters())
        z = normal_like(base.new_empty(n_samples, int(self.sizes[0])), generator)
        for transform in reversed(self.flow.transform.transforms):
            z = torch.cat([_inverse(transform, rows) for rows in z.split(CHUNK_ROWS)])
        return z

    def transition(
        self, x: Tensor, scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the rows unchanged: a step would take as long as a draw."""
        del scale, generator
        return x


class FlowMixtureDensity(StackedDensity):
    r"""Mixture of a flow and of Gaussians, which cover the tails.

    .. math:: q_0(x) = a \, q_{flow}(x) + (1 - a) \, q_{gmm}(x)

    Parameters
    ----------
    share : Tensor of shape ()
        a.
    **state : Tensor
        The tensors of a `FlowDensity`, named ``flow.*``, and those of a
        `GaussianMixtureDensity`, ``mixture.*``.
    """

    has_transitions: ClassVar[bool] = True
    part_types: ClassVar[dict[str, type[Density]]] = {
        "flow": FlowDensity,
        "mixture": GaussianMixtureDensity,
    }

    def for_training(self, seed: int) -> Density:
        """Return the mixture with cached draws of the flow."""
        cached = self.of(self.share, *self.parts).to(self.share.device)
        cached.flow = CachedDensity(self.parts[0], seed)
        return cached


def _inverse(transform: Any, y: Tensor) -> Tensor:
    """Return the inverse of an autoregressive transform of zuko at y.

    A pass computes the splines of its own columns only. The inverse of zuko computes
    all of them in each pass, which takes ten times as long in many columns.
    """
    if not hasattr(transform, "hyper"):
        return transform().inv(y)  # of one column
    *hidden, last = transform.hyper
    weight = (last.mask * last.weight).unflatten(0, (-1, transform.total))
    bias = last.bias.unflatten(0, (-1, transform.total))
    sizes = [math.prod(shape) for shape in transform.shapes]
    x = torch.zeros_like(y)
    for place in range(transform.passes):
        columns = torch.nonzero(transform.order == place)[:, 0]
        units = x
        for layer in hidden:
            units = layer(units)
        spline = torch.einsum("nh,cth->nct", units, weight[columns]) + bias[columns]
        univariate = transform.univariate(*spline.split(sizes, dim=-1))
        x[:, columns] = univariate.inv(y[:, columns])
    return x


class FlowReference(Reference):
    r"""A neural spline flow trained by likelihood, stopped early.

    .. math:: \max_f \; \sum_i \log N(f(x_i); 0, I) + \log |\det f'(x_i)|

    with autoregressive transforms :math:`f` of rational-quadratic splines. Adam's rate
    decays along a cosine; the weights are averaged; of the states after each epoch the
    one with the best held-out likelihood is kept. A flow has thin tails, and overfits
    some tables, so it is mixed with a `GaussianMixtureReference`, by the share that is
    best on the same held-out rows. Needs zuko (``pip install skebm[flows]``).

    Parameters
    ----------
    transforms : int, default=3
        Number of transforms.
    hidden_features : sequence of int, default=(128, 128)
        Widths of the layers that make the splines of a transform.
    bins : int, default=8
        Bins of a spline.
    passes : int or None, default=None
        Passes of a draw; None takes one a column, which is fully autoregressive; 2 are
        coupling transforms.
    max_steps : int, default=2500
        Steps of training at most.
    batch_size : int, default=128
        Rows a step.
    learning_rate : float, default=2e-3
        Adam's rate after warm-up.
    validation_fraction : float, default=0.1
        Share of the rows held out: at least 50, at most 5000 rows.
    n_iter_no_change : int, default=20
        Epochs without improvement after which training stops.
    mixture : GaussianMixtureReference, GaussianReference or None, default=None
        The Gaussians to mix with the flow; None takes a `GaussianMixtureReference`.

    Raises
    ------
    ImportError
        Before any training, where zuko is not installed.

    References
    ----------
    Durkan, Bekasov, Murray, Papamakarios. Neural spline flows. NeurIPS 2019.

    Examples
    --------
    >>> import torch
    >>> from skebm.references import FlowReference, GaussianReference
    >>> rng = torch.Generator().manual_seed(0)
    >>> x = torch.randn(200, 2, generator=rng)
    >>> reference = FlowReference(max_steps=10, mixture=GaussianReference())
    >>> density = reference.fit(x, weight=None, generator=rng)
    >>> density.log_prob(x).shape
    torch.Size([200])
    """

    def __init__(
        self,
        transforms: int = 3,
        hidden_features: Sequence[int] = (128, 128),
        bins: int = 8,
        passes: int | None = None,
        max_steps: int = 2500,
        batch_size: int = 128,
        learning_rate: float = 2e-3,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 20,
        mixture: GaussianMixtureReference | GaussianReference | None = None,
    ) -> None:
        self.transforms = transforms
        self.hidden_features = hidden_features
        self.bins = bins
        self.passes = passes
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.mixture = mixture

    def check_options(self) -> None:
        """Raise for an option out of its range (ValueError) or without zuko."""
        for name in ("transforms", "max_steps", "batch_size", "n_iter_no_change"):
            check_count(self, name)
        check_count(self, "bins", 2)
        right = self.passes is None or is_count(self.passes, 2)
        check_range(self, "passes", right, "None or an integer, at least 2")
        right = is_sequence(self.hidden_features, lambda size: is_count(size, 1))
        expected = "a tuple of integers, each at least 1"
        check_range(self, "hidden_features", right, expected)
        check_positive(self, "learning_rate")
        known = GaussianMixtureReference | GaussianReference | None
        expected = "a GaussianMixtureReference, a GaussianReference or None"
        check_range(self, "mixture", isinstance(self.mixture, known), expected)
        check_number(self, "validation_fraction", 0, 0.5)
        import_zuko(WHO_NEEDS_ZUKO)

    def fit(
        self, x: Tensor, *, weight: Tensor | None, generator: torch.Generator
    ) -> FlowMixtureDensity:
        """Return the flow and Gaussians, mixed by the likelihood of held-out rows."""
        noise = torch.from_numpy(dequantization_scale(x.double().numpy())).float()
        weight = torch.ones(len(x)) if weight is None else weight
        order = torch.randperm(len(x), generator=generator)
        n_held_out = round(self.validation_fraction * len(x))
        n_held_out = min(max(n_held_out, MIN_HELD_OUT), MAX_HELD_OUT, len(x) // 4)
        held_out, train = order[:n_held_out], order[n_held_out:]
        noisy_held_out = x[held_out] + noise * normal_like(x[held_out], generator)
        share_of = weight[held_out] / weight[held_out].sum()

        def score(flow: Any) -> float:
            with torch.no_grad():
                return float(share_of @ flow_log_prob(flow, noisy_held_out))

        sizes = self._sizes(x.shape[1])
        flow = _build_flow(sizes, int(torch.randint(2**31, (), generator=generator)))
        state = self._train(flow, x[train], weight[train], noise, score, generator)
        state = {f"flow.{name}": tensor for name, tensor in state.items()}
        density = FlowDensity(sizes, **state)
        gaussians = self.mixture or GaussianMixtureReference()
        mixture = gaussians.fit(x[train], weight=weight[train], generator=generator)
        log_density = torch.stack(
            [density.log_prob(noisy_held_out), mixture.log_prob(noisy_held_out)]
        )
        share = torch.tensor(stacking_weights(log_density.double().numpy())[0]).float()
        mixture = gaussians.fit(x, weight=weight, generator=generator)
        return FlowMixtureDensity.of(share, density, mixture)

    def _sizes(self, n_features: int) -> Tensor:
        passes = min(self.passes or n_features, n_features)
        sizes = [n_features, self.transforms, passes, self.bins, *self.hidden_features]
        return torch.tensor(sizes)

    def _train(
        self,
        flow: Any,
        x: Tensor,
        weight: Tensor,
        noise: Tensor,
        score: Callable[[Any], float],
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return the averaged weights of the epoch with the best score."""
        averaged = AveragedModel(flow, multi_avg_fn=warming_average(AVERAGING_DECAY))
        optimizer = torch.optim.Adam(flow.parameters(), fused=True)
        state = copy.deepcopy(flow.state_dict())
        best, n_steps, n_without_gain = -math.inf, 0, 0
        while n_steps < self.max_steps and n_without_gain < self.n_iter_no_change:
            order = torch.randperm(len(x), generator=generator)
            for rows in order.split(self.batch_size):
                optimizer.param_groups[0]["lr"] = self._rate(n_steps)
                optimizer.zero_grad()
                noisy = x[rows] + noise * normal_like(x[rows], generator)
                log_density = flow_log_prob(flow, noisy)
                (-(weight[rows] @ log_density) / len(rows)).backward()
                optimizer.step()
                n_steps += 1
                if n_steps % STEPS_BETWEEN_AVERAGES == 0:
                    averaged.update_parameters(flow)
            level = score(averaged.module)
            n_without_gain += 1
            if level > best:
                best, n_without_gain = level, 0
                state = copy.deepcopy(averaged.module.state_dict())
        return state

    def _rate(self, n_steps: int) -> float:
        rise = min(1.0, (n_steps + 1) / WARMUP_STEPS)
        progress = min(1.0, n_steps / self.max_steps)
        return self.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * progress))
