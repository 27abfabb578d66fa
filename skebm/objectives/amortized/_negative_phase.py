"""Importance-weighted draws for expectations under the model."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skebm.references import Density
from skebm.references._kernels import LOG_TINY, RoundMixture


class NegativePhase(nn.Module):
    r"""Weighted rows for E_p[c], p being the model, from a generator's draws.

    The rows are the generator's latest draws, earlier ones, some draws of the reference
    and some from the neighbourhood of the step's own rows y. They are draws from the
    mixture

    .. math:: m(x) = \frac{1}{N} \Big(&\sum_{i \le B} N(x; g(z_i), s^2 I)
              + \frac{N_{old}}{M} \sum_{j \le M} N(x; g(z_j), s_j^2 I) \\
              &+ N_{ref}\, q_0(x) + N_{loc} \sum_k v_k N(x; y_k, h^2 I)\Big),

    whose components are known, so that the weights
    :math:`w \propto q_0(x) e^{-E(x)} / m(x)` correct for the difference of
    generator and model. The weights are neither clipped nor tempered: either would let
    a spike of the energy grow.

    Stored rows keep their log q0, which is costly where the reference has many
    components.

    Parameters
    ----------
    x, means : Tensor of shape (n_components, n_features)
        First draws to store and the means of their components.
    scale : float
        Their components' standard deviation.
    reference : Density
        q0.
    reference_share : float
        N_ref / N.
    local_share : float
        N_loc / N.
    """

    def __init__(
        self,
        x: Tensor,
        means: Tensor,
        scale: float,
        reference: Density,
        reference_share: float,
        local_share: float,
    ) -> None:
        super().__init__()
        self.reference_share = reference_share
        self.local_share = local_share
        self.x: Tensor
        self.means: Tensor
        self.scales: Tensor
        self.log_reference: Tensor
        self.position: Tensor
        self.log_normalizer: Tensor
        self.register_buffer("x", x)
        self.register_buffer("means", means)
        self.register_buffer("scales", torch.full_like(x[:, 0], scale))
        self.register_buffer("log_reference", reference.log_prob(x))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))
        self.register_buffer("log_normalizer", torch.zeros(()))

    @torch.no_grad()
    def remember(
        self, x: Tensor, means: Tensor, scale: Tensor, log_reference: Tensor
    ) -> None:
        """Replace the oldest stored draws and components by new ones."""
        capacity = len(self.x)
        n_new = min(len(x), capacity)
        places = torch.arange(n_new, device=x.device)
        places = (self.position + places) % capacity
        self.x.index_copy_(0, places, x[:n_new])
        self.means.index_copy_(0, places, means[:n_new])
        self.scales.index_copy_(0, places, scale.expand(n_new).contiguous())
        self.log_reference.index_copy_(0, places, log_reference[:n_new])
        self.position.copy_((self.position + n_new) % capacity)

    @torch.no_grad()
    def draw(
        self,
        x: Tensor,
        latest: RoundMixture,
        log_reference: Tensor,
        reference: Density,
        local: RoundMixture,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Return rows, the generator's latest x first, and log q0(x) - log m(x)."""
        n_new = len(x)
        n_rows = round(2 * n_new / (1 - self.reference_share))
        n_reference = n_rows - 2 * n_new
        n_local = round(self.local_share * n_rows)
        n_old = n_new - n_local
        kernels = [latest.part(n_new / n_rows)]
        if n_old:
            earlier = RoundMixture.about(self.means, self.scales)
            kernels.append(earlier.part(n_old / n_rows))
        old = torch.randint(len(self.x), (n_old,), generator=generator, device=x.device)
        drawn = reference.sample(n_reference, generator) if n_reference else x[:0]
        if n_local:
            kernels.append(local.part(n_local / n_rows))
            drawn = torch.cat([drawn, local.sample(n_local, generator)])
        rows = torch.cat([x, self.x[old], drawn])
        log_reference = torch.cat(
            [log_reference, self.log_reference[old], reference.log_prob(drawn)]
        )
        log_mixture = RoundMixture.join(kernels).log_density(rows)
        if n_reference:
            log_share = math.log(n_reference / n_rows)
            log_mixture = torch.logaddexp(log_mixture, log_reference + log_share)
        return rows, log_reference - log_mixture

    @torch.no_grad()
    def weights(self, log_ratio: Tensor, energy: Tensor) -> Tensor:
        r"""Return importance weights of the rows, with a sum of about one.

        .. math:: w_i = \frac{e^{r_i - E_i}}{N \hat Z}, \qquad
                  r_i = \log q_0(x_i) - \log m(x_i)

        with log Z averaged over the last ten steps or so, which biases the weights less
        than normalising each step's; their sum never exceeds two.
        """
        log_weights = log_ratio - energy
        log_mean = torch.logsumexp(log_weights, 0) - math.log(len(log_weights))
        average = torch.logaddexp(
            self.log_normalizer + math.log(0.9), log_mean + math.log(0.1)
        )
        self.log_normalizer.copy_(torch.maximum(average, log_mean - math.log(2)))
        scaled = log_weights - self.log_normalizer - math.log(len(log_weights))
        return scaled.clamp(min=LOG_TINY).exp()
