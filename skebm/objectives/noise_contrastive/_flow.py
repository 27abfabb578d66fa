"""Flow-contrastive estimation: the noise is a flow, trained against the energy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel
from skebm.objectives._base import (
    Batch,
    Loss,
    Objective,
    ParameterGroup,
)
from skebm.objectives.noise_contrastive._nce import classification_loss
from skebm.references import Density
from skebm.references._flow import flow_log_prob, log_normal
from skebm.utils import (
    check_builder,
    check_count,
    check_number,
    check_positive,
    normal_like,
)
from skebm.utils._zuko import import_zuko

WHO_NEEDS_ZUKO = "objective 'flow_contrastive' (FlowContrastive)"


class FlowNoise(nn.Module):
    """Noise from a zuko flow over a standard normal: draws and log densities.

    Parameters
    ----------
    flow : nn.Module
        Flow whose ``transform()`` maps rows to standard normal ones.

    Attributes
    ----------
    n_steps : Tensor of int64 of shape ()
        Steps of training so far.
    """

    def __init__(self, flow: nn.Module) -> None:
        super().__init__()
        self.flow: Any = flow
        self.n_steps: Tensor
        self.register_buffer("n_steps", torch.zeros((), dtype=torch.int64))

    def draw(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows that z is mapped to and their log q, both differentiable."""
        x, log_volume = self.flow.transform().inv.call_and_ladj(z)
        return x, log_normal(z) - log_volume

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q(x) in nats, shape (n,)."""
        return flow_log_prob(self.flow, x)


class FlowContrastive(Objective):
    r"""Flow-contrastive estimation.

    .. math:: \min_E \max_q \; E_{data}[\log(1 + \nu e^{-r})]
              + \nu \, E_q[\log(1 + e^{r} / \nu)], \qquad
              r = \log q_0 - E - \log q

    Noise-contrastive estimation whose noise is a flow with density q. The flow ascends
    what the classifier descends, which for an energy at its best is, up to a constant,
    minus the Jensen-Shannon divergence of flow and data (:math:`\nu = 1`): so the noise
    approaches the data as the energy is trained. During the first ``warmup`` of the
    training the flow ascends its own likelihood instead, so that it fits the data
    roughly before the contrast begins.

    The model is :math:`q_0 e^{-E} / Z` and enters with no log Z of its own: the net's
    last bias takes it, and log Z = 0 nats at the optimum.

    Needs zuko (``pip install skebm[flows]``).

    Parameters
    ----------
    noise_ratio : int, default=1
        :math:`\nu`, draws of the flow per row.
    flow : callable or None, default=None
        Builder ``n_features -> zuko.flows.Flow`` over a standard normal; None takes a
        small neural spline flow.
    flow_rate : float, default=1.0
        Learning rate of the flow, as a multiple of the energy's.
    warmup : float, default=0.2
        Share of the training in which the flow is trained by likelihood.
    flow_interval : int, default=2
        Steps from one update of the flow to the next: it takes most of the time.

    Raises
    ------
    ImportError
        Before any training, where zuko is not installed.

    References
    ----------
    Gao, Nijkamp, Kingma, Xu, Dai, Wu. Flow contrastive estimation of energy-based
    models. CVPR 2020.

    Examples
    --------
    >>> from skebm.objectives import FlowContrastive
    >>> FlowContrastive(noise_ratio=2)
    FlowContrastive(noise_ratio=2)
    """

    def __init__(
        self,
        noise_ratio: int = 1,
        flow: Callable[[int], nn.Module] | None = None,
        flow_rate: float = 1.0,
        warmup: float = 0.2,
        flow_interval: int = 2,
    ) -> None:
        self.noise_ratio = noise_ratio
        self.flow = flow
        self.flow_rate = flow_rate
        self.warmup = warmup
        self.flow_interval = flow_interval

    def check_options(self) -> None:
        """Raise ValueError for an option out of its range, ImportError without zuko."""
        for name in ("noise_ratio", "flow_interval"):
            check_count(self, name)
        check_builder(self, "flow")
        check_positive(self, "flow_rate")
        check_number(self, "warmup", 0, 1)
        import_zuko(WHO_NEEDS_ZUKO)

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> FlowNoise:
        """Return the flow, at its start."""
        del model
        row = reference.sample(1, generator)
        return FlowNoise((self.flow or _spline_flow)(row.shape[1])).to(row)

    def parameter_groups(
        self, model: EnergyModel, state: nn.Module
    ) -> dict[str, ParameterGroup]:
        """Return the parameter groups of energy and flow."""
        return {
            "energy": ParameterGroup(list(model.network.parameters())),
            "flow": ParameterGroup(list(state.parameters()), self.flow_rate),
        }

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the classifier's loss to the energy, its negative to the flow."""
        assert isinstance(state, FlowNoise)
        x = batch.dequantized(generator)
        z = normal_like(x.repeat(self.noise_ratio, 1), generator)
        flow_learns = int(state.n_steps) % self.flow_interval == 0
        state.n_steps += 1
        with torch.set_grad_enabled(flow_learns):
            noise, log_q_noise = state.draw(z)
            log_q_data = state.log_prob(x)
        rows, log_q = torch.cat([x, noise]), torch.cat([log_q_data, log_q_noise])
        loss = self._contrast(model, batch, rows.detach(), log_q.detach())
        yield Loss("energy", loss)
        if not flow_learns:
            return
        likelihood = batch.mean(log_q_data)
        if batch.progress < self.warmup:
            loss = -likelihood
        else:
            loss = -self._contrast(model, batch, rows, log_q)
        metrics = {"flow_log_likelihood": likelihood.detach()}
        yield Loss("flow", loss, metrics)

    def _contrast(
        self, model: EnergyModel, batch: Batch, rows: Tensor, log_q: Tensor
    ) -> Tensor:
        """Return the classifier's loss; the first rows are data, the others noise."""
        log_ratio = model.log_prob_unnormalized(rows) - log_q
        n_data = len(batch.x)
        return classification_loss(
            batch, log_ratio[:n_data], log_ratio[n_data:], self.noise_ratio
        )


def _spline_flow(n_features: int) -> nn.Module:
    zuko = import_zuko(WHO_NEEDS_ZUKO)
    return zuko.flows.NSF(n_features, transforms=2, hidden_features=(64, 64))
