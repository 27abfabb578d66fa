"""Replay buffer of chains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

REPLACEMENTS = ("in_place", "fifo", "reservoir")


class ReplayBuffer(nn.Module):
    r"""Replay buffer: the last rows of chains, from which later runs continue.

    Everything is a buffer of the module, so that chains are saved with checkpoints.

    Parameters
    ----------
    rows : Tensor of shape (capacity, d)
        Initial rows.
    reinit_probability : float, default=0.05
        Probability that a drawn row is replaced by a fresh one.
    replacement : {"in_place", "fifo", "reservoir"}, default="in_place"
        The row that is overwritten by a row that is put back: the start of its chain
        (chains persist), the oldest row, or a random one with probability
        capacity / (rows seen), so that all rows ever seen are kept equally likely.

    References
    ----------
    T. Tieleman, "Training restricted Boltzmann machines using approximations to the
    likelihood gradient", ICML (2008). Y. Du and I. Mordatch, "Implicit generation and
    modeling with energy-based models", NeurIPS (2019): a buffer of 10 000 rows, 5 %
    restarts.

    Examples
    --------
    >>> import torch
    >>> from skebm.samplers import ReplayBuffer
    >>> generator = torch.Generator().manual_seed(0)
    >>> buffer = ReplayBuffer(torch.zeros(100, 2), reinit_probability=0.0)
    >>> rows, places = buffer.draw(torch.randn(10, 2), generator)
    >>> buffer.put(rows + 1, places, generator)
    >>> buffer.rows.sum().item()
    20.0
    """

    def __init__(
        self,
        rows: Tensor,
        *,
        reinit_probability: float = 0.05,
        replacement: str = "in_place",
    ) -> None:
        super().__init__()
        if replacement not in REPLACEMENTS:
            raise ValueError(
                f"replacement must be one of {REPLACEMENTS}, got {replacement!r}."
            )
        if not 0 <= reinit_probability <= 1:
            raise ValueError(
                f"reinit_probability must be in [0, 1], got {reinit_probability}."
            )
        self.reinit_probability = reinit_probability
        self.replacement = replacement
        self.rows: Tensor
        self.n_seen: Tensor
        self.register_buffer("rows", rows.detach().clone())
        self.register_buffer("n_seen", torch.tensor(len(rows), device=rows.device))

    def __len__(self) -> int:
        return len(self.rows)

    @torch.no_grad()
    def draw(self, fresh: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return rows at which chains continue, and their indices.

        Parameters
        ----------
        fresh : Tensor of shape (n, d)
            Restarts; n, at most the capacity, is the number of chains.
        generator : torch.Generator
            Source of randomness, on the buffer's device.

        Returns
        -------
        rows : Tensor of shape (n, d)
            Different rows of the buffer, some of them replaced by the fresh ones.
        places : Tensor of int64 of shape (n,)
            Their indices in the buffer.
        """
        self._check_capacity(fresh)
        device = self.rows.device
        places = torch.randperm(len(self), generator=generator, device=device)
        places = places[: len(fresh)]
        uniform = torch.rand((len(places), 1), generator=generator, device=device)
        restart = uniform < self.reinit_probability
        return torch.where(restart, fresh, self.rows[places]), places

    @torch.no_grad()
    def put(self, rows: Tensor, places: Tensor, generator: torch.Generator) -> None:
        """Store the ends of the chains that started at `places`."""
        self._check_capacity(rows)
        capacity, device = len(self), rows.device
        order = self.n_seen + torch.arange(len(rows), device=device)
        if self.replacement == "fifo":
            places = order % capacity
        if self.replacement == "reservoir":
            places = torch.randperm(capacity, generator=generator, device=device)
            places = places[: len(rows)]
            uniform = torch.rand(len(rows), generator=generator, device=device)
            kept = uniform * (order + 1) < capacity
            rows = torch.where(kept[:, None], rows, self.rows[places])
        self.rows.index_copy_(0, places, rows.detach())
        self.n_seen += len(rows)

    def _check_capacity(self, rows: Tensor) -> None:
        if len(rows) > len(self):
            raise ValueError(
                f"A buffer of {len(self)} rows can't draw or keep {len(rows)} at once."
            )
