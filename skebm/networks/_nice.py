"""NICE: a flow of additive couplings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from skebm.networks._mlp import MLP
from skebm.networks._normalized import NormalizedNetwork, standard_normal_log_prob
from skebm.utils import check_argument, check_choice, check_sizes, is_count


class NICE(NormalizedNetwork):
    r"""Non-linear independent components estimation, normalised.

    .. math:: y_{B_k} \leftarrow y_{B_k} + m_k(y_{A_k}), \quad k = 1, \dots, K,
              \qquad z = e^a \odot y, \qquad
              \log p(x) = \log p_0(z) + \sum_j a_j

    from y = x. :math:`A_k` are the even columns and :math:`B_k` the odd ones, or the
    reverse, in turn. Each :math:`m_k` is an `MLP` and starts at zero, a at zero: p
    starts at the prior.

    Parameters
    ----------
    n_features : int
        Columns in, at least two.
    n_outputs : int, default=1
        One.
    n_couplings : int, default=4
        K.
    hidden_features : sequence of int, default=(64, 64)
        Width of each hidden layer of :math:`m_k`.
    activation : {"softplus", "silu", "gelu", "tanh"}, default="softplus"
        Activation of :math:`m_k`.
    prior : {"gaussian", "logistic"}, default="gaussian"
        :math:`p_0`, independent standard columns.

    Raises
    ------
    ValueError
        Where an option is out of its range, there is one column, or n_outputs is not
        one.

    References
    ----------
    Dinh, Krueger, Bengio. NICE: Non-linear independent components estimation. ICLR 2015
    workshop (arXiv:1410.8516).

    Examples
    --------
    >>> import torch
    >>> network = NICE(4)
    >>> network(torch.zeros(7, 4)).shape
    torch.Size([7, 1])
    >>> network.sample(3, torch.Generator().manual_seed(0)).shape
    torch.Size([3, 4])
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int = 1,
        n_couplings: int = 4,
        hidden_features: Sequence[int] = (64, 64),
        activation: str = "softplus",
        prior: str = "gaussian",
    ) -> None:
        super().__init__(n_features, n_outputs)
        if n_features < 2:
            raise ValueError(
                "NICE needs at least two columns, since one half moves the other. Got "
                f"n_features={n_features}; 'mixture' takes one."
            )
        right = is_count(n_couplings, 1)
        expected = "an integer, at least 1"
        check_argument(self, "n_couplings", n_couplings, right, expected)
        check_choice(self, "prior", prior, ("gaussian", "logistic"))
        check_sizes(self, "hidden_features", hidden_features)
        self.prior = prior
        sizes = n_features - n_features // 2, n_features // 2  # even, odd columns
        self.couplings = nn.ModuleList(
            MLP(sizes[k % 2], sizes[1 - k % 2], hidden_features, activation)
            for k in range(n_couplings)
        )
        self.log_scale = nn.Parameter(torch.zeros(n_features))

    def encode(self, x: Tensor) -> Tensor:
        """Return z(x), shape (n, n_features)."""
        halves = [x[:, 0::2], x[:, 1::2]]
        for k, coupling in enumerate(self.couplings):
            halves[1 - k % 2] = halves[1 - k % 2] + coupling(halves[k % 2])
        return self._merge(halves) * self.log_scale.exp()

    def decode(self, z: Tensor) -> Tensor:
        """Return x(z), shape (n, n_features): the inverse of `encode`."""
        y = z * (-self.log_scale).exp()
        halves = [y[:, 0::2], y[:, 1::2]]
        for k, coupling in reversed(list(enumerate(self.couplings))):
            halves[1 - k % 2] = halves[1 - k % 2] - coupling(halves[k % 2])
        return self._merge(halves)

    def _merge(self, halves: list[Tensor]) -> Tensor:
        """Put even and odd columns back in their places."""
        order = torch.arange(self.n_features, device=halves[0].device)
        places = (order % 2) * halves[0].shape[1] + order // 2
        return torch.cat(halves, dim=1)[:, places]

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, shape (n,)."""
        z = self.encode(x)
        if self.prior == "gaussian":
            log_prior = standard_normal_log_prob(z)
        else:
            log_prior = -(softplus(z) + softplus(-z)).sum(dim=1)
        return log_prior + self.log_scale.sum()

    @torch.no_grad()
    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return independent draws from p, of shape (n_samples, n_features)."""
        if self.prior == "gaussian":
            z = self._randn(n_samples, self.n_features, generator=generator)
        else:  # the difference of two Gumbel variables is logistic
            shape = 2, n_samples, self.n_features
            gumbel = self.log_scale.new_empty(shape).exponential_(generator=generator)
            z = gumbel[0].log() - gumbel[1].log()
        return self.decode(z)
