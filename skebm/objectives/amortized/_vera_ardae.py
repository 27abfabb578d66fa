"""VERA with its entropy's gradient by a denoising autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from skebm.networks import MLP, EnergyModel, GeneratorMLP
from skebm.objectives._base import Loss, ParameterGroup
from skebm.objectives.amortized._negative_phase import NegativePhase
from skebm.objectives.amortized._paired import EntropyRegularized, PairedState
from skebm.objectives.amortized._vera import VERA
from skebm.references import Density
from skebm.utils import check_count, check_positive, check_sizes, normal_like
from skebm.utils._documented import documented_like


class ResidualScore(nn.Module):
    r"""Score of a density smoothed by noise of scale sigma, as a net.

    .. math:: f(x, \sigma) = -\frac{x - m}{v^2} + \frac{1}{s} \,
              h\Big(\frac{x - m}{v}, \frac{\sigma}{\delta}\Big), \qquad
              f^* = \nabla_x \log \int q(y) \, N(x; y, \sigma^2 I) \, dy

    The net h is added to the score of independent normal columns with the means m and
    deviations v of the rows that were last seen, and starts at zero. So where q shrinks
    f grows at once, without a step of h, and drives its rows apart. The score of a
    density with normal noise of scale s is about as large as 1 / s, and h about 1.

    Parameters
    ----------
    n_features : int
        Columns of x.
    hidden_features : tuple of int
        Width of the hidden layers of h.
    """

    def __init__(self, n_features: int, hidden_features: tuple[int, ...]) -> None:
        super().__init__()
        self.net = MLP(n_features + 1, n_features, hidden_features)
        self.mean: Tensor
        self.scale: Tensor
        self.noise_scale: Tensor
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.register_buffer("noise_scale", torch.ones(()))

    def see(self, x: Tensor, noise_scale: Tensor) -> None:
        """Take the means and deviations of rows of q, and its noise s."""
        self.mean.copy_(x.mean(0))
        self.noise_scale.copy_(noise_scale)
        self.scale.copy_(x.std(0, correction=0).clamp(min=self.noise_scale))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Map x of shape (n, n_features) and sigma / delta, (n, 1), to scores."""
        z = (x - self.mean) / self.scale
        return self.net(torch.cat([z, level], 1)) / self.noise_scale - z / self.scale

    def denoising_loss(
        self, x: Tensor, delta: Tensor, generator: torch.Generator
    ) -> Tensor:
        r"""Return the mean of |u + sigma f(x + sigma u, sigma)|^2.

        With :math:`\sigma \sim N(0, \delta^2)` and :math:`u \sim N(0, I)`: the target
        is finite as sigma vanishes, so that f can be asked at sigma = 0.
        """
        level = normal_like(x[:, :1], generator)
        noise = normal_like(x, generator)
        sigma = delta * level
        residual = noise + sigma * self(x + sigma * noise, level)
        return residual.square().sum(1).mean()


class ARDAEState(PairedState):
    """State with the net of the generator's score."""

    def __init__(
        self,
        generator_net: GeneratorMLP,
        negatives: NegativePhase,
        score_net: ResidualScore,
    ) -> None:
        super().__init__(generator_net, negatives)
        self.score_net = score_net.to(generator_net.log_noise_scale)


@documented_like(VERA)
class VERAArdae(EntropyRegularized):
    r"""VERA with an amortised residual denoising autoencoder for the score of q.

    .. math:: \min_f E_{x \sim q, \, \sigma, \, u}
              |u + \sigma f(x + \sigma u, \sigma)|^2, \qquad
              \nabla_x \log q(x) \approx f(x, 0)

    The net f learns beside the generator and lags behind it by a few steps. The scale
    :math:`\delta` of sigma follows the generator's noise s, q's narrowest width.

    Parameters
    ----------
    denoising_scale : float, default=0.5
        :math:`\delta / s`.
    n_score_steps : int, default=2
        Steps of f a step of the generator, each on fresh rows.
    n_score_rows : int, default=256
        Rows of each of these steps.
    score_rate : float, default=1.0
        Learning rate of f, as a multiple of the energy's.
    hidden_features : tuple of int, default=(128, 128)
        Width of the hidden layers of f.

    References
    ----------
    Lim, Courville, Pal, Huang. AR-DAE: Towards unbiased neural entropy gradient
    estimation. ICML 2020 (arXiv:2006.05164).

    Examples
    --------
    >>> from skebm.objectives import VERAArdae
    >>> VERAArdae(denoising_scale=0.2)
    VERAArdae(denoising_scale=0.2)
    """

    def __init__(
        self,
        denoising_scale: float = 0.5,
        n_score_steps: int = 2,
        n_score_rows: int = 256,
        score_rate: float = 1.0,
        hidden_features: tuple[int, ...] = (128, 128),
        entropy_weight: float = 1.0,
        gradient_penalty: float = 0.0,
        latent_dim: int | None = None,
        generator: Callable[[int, int], GeneratorMLP] | None = None,
        generator_rate: float = 1.0,
        reference_share: float = 0.2,
        importance_weights: bool = True,
        memory_size: int = 512,
        local_share: float = 0.1,
        local_scale: float = 0.1,
    ) -> None:
        super().__init__(
            entropy_weight,
            gradient_penalty,
            latent_dim,
            generator,
            generator_rate,
            reference_share,
            importance_weights,
            memory_size,
            local_share,
            local_scale,
        )
        self.denoising_scale = denoising_scale
        self.n_score_steps = n_score_steps
        self.n_score_rows = n_score_rows
        self.score_rate = score_rate
        self.hidden_features = hidden_features

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        super().check_options()
        for name in ("denoising_scale", "score_rate"):
            check_positive(self, name)
        for name in ("n_score_steps", "n_score_rows"):
            check_count(self, name)
        check_sizes(self, "hidden_features", self.hidden_features)

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> ARDAEState:
        """Return the state: generator net, negative phase and net of the score."""
        del model
        generator_net, negatives = self.start(reference, generator)
        score_net = ResidualScore(negatives.x.shape[1], self.hidden_features)
        return ARDAEState(generator_net, negatives, score_net)

    def parameter_groups(
        self, model: EnergyModel, state: nn.Module
    ) -> dict[str, ParameterGroup]:
        """Return the parameter groups of energy, generator and score."""
        assert isinstance(state, ARDAEState)
        parameters = list(state.score_net.parameters())
        groups = super().parameter_groups(model, state)
        return groups | {"score": ParameterGroup(parameters, self.score_rate)}

    def generator_phase(
        self,
        state: nn.Module,
        x: Tensor,
        z: Tensor,
        slope: Tensor,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the losses of the score's net, then the generator's."""
        del z
        assert isinstance(state, ARDAEState)
        for _ in range(self.n_score_steps):
            with torch.no_grad():
                rows = state.generator_net.sample(self.n_score_rows, generator)[0]
                noise_scale = state.generator_net.log_noise_scale.exp()
                state.score_net.see(rows, noise_scale)
            loss = state.score_net.denoising_loss(
                rows, self.denoising_scale * noise_scale, generator
            )
            yield Loss("score", loss)
        with torch.no_grad():
            score = state.score_net(x.detach(), torch.zeros_like(x[:, :1]))
        yield self.generator_loss(x, slope, score)
