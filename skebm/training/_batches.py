"""Mini-batches of rows: dense or sparse, with labels, neighbours, missing entries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skebm.objectives import Batch, LabeledRows, RowCells
from skebm.references import Density
from skebm.training._missing import Completion, ResampledCompletion


@dataclass(frozen=True, eq=False)
class RowGraph:
    """Soft labels and neighbours of each row, from a graph of nearest neighbours.

    Attributes
    ----------
    soft_labels : Tensor of shape (n, V, n_classes)
        Class probabilities, in V versions.
    confidence : Tensor of shape (n, V)
        Their weights, 0 to 1.
    neighbors : Tensor of int64 of shape (n, n_neighbors)
        Indices of the nearest rows.
    """

    soft_labels: Tensor
    confidence: Tensor
    neighbors: Tensor

    def to(self, device: torch.device) -> RowGraph:
        """Return the graph on another device."""
        return RowGraph(
            self.soft_labels.to(device),
            self.confidence.to(device),
            self.neighbors.to(device),
        )


class TableBatches:
    """Shuffled mini-batches of a table, on the device where the table fits there.

    Rows that don't fill a last batch wait for another epoch's shuffle, so that every
    step weighs its phases alike.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
        Standardised rows, on the CPU.
    y : Tensor of shape (n,) or (n, V), or None
        Class indices, -1 where unlabelled; in V versions where members differ.
    weight : Tensor of shape (n,) or None
        Row weights, scaled to mean one.
    rows : Tensor of int64
        Indices of the rows to train on; the others are never drawn, nor copied.
    device : torch.device
        Where the steps run.
    noise_scale : Tensor of shape (n_features,) or None, default=None
        Passed on with each batch.
    reference : Density or None, default=None
        Passed on with each batch.
    cells : RowCells or None, default=None
        Passed on with each batch.
    n_labeled : int, default=0
        Labelled rows to draw beside each batch; 0 draws none.
    graph : RowGraph or None, default=None
        Soft labels and neighbours of the rows.
    completion : ResampledCompletion or None, default=None
        Of rows with missing entries, in the place of ``x``.
    taught : Tensor of shape (n, n_classes) or None, default=None
        Class probabilities that supervised members learn; 0 where a row has none.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor | None,
        weight: Tensor | None,
        rows: Tensor,
        *,
        device: torch.device,
        noise_scale: Tensor | None = None,
        reference: Density | None = None,
        cells: RowCells | None = None,
        n_labeled: int = 0,
        graph: RowGraph | None = None,
        completion: ResampledCompletion | None = None,
        taught: Tensor | None = None,
    ) -> None:
        self.device = device
        self.home = device if _fits(x, device) else torch.device("cpu")
        self.x = (x if completion is None else completion.x).to(self.home)
        self.y = None if y is None else y.to(self.home)
        self.weight = None if weight is None else weight.to(self.home)
        self.rows = rows.to(self.home)
        self.noise_scale = None if noise_scale is None else noise_scale.to(device)
        self.reference = reference
        self.cells = cells
        self.n_labeled = n_labeled
        if n_labeled and y is not None:
            known = y if y.dim() == 1 else y.amax(dim=1)
            self.labeled = rows[known[rows] >= 0].to(self.home)
        self.graph = None if graph is None else graph.to(self.home)
        self.completion = completion
        self.taught = None if taught is None else taught.to(self.home)

    def __len__(self) -> int:
        return len(self.rows)

    def n_steps(self, batch_size: int) -> int:
        """Return the number of batches in an epoch."""
        return max(1, len(self.rows) // batch_size)

    def epoch(
        self,
        batch_size: int,
        generator: torch.Generator,
        begin: float = 0.0,
        end: float = 1.0,
    ) -> Iterator[Batch]:
        """Yield the batches of one epoch, the part of a run from `begin` to `end`."""
        permutation = torch.randperm(
            len(self.rows), generator=generator, device=generator.device
        )
        order = self.rows[permutation.to(self.home)]
        n_steps = self.n_steps(batch_size)
        for step in range(n_steps):
            rows = order[step * batch_size : (step + 1) * batch_size]
            if self.completion is not None:
                renewed = self.completion.renew(rows.to(self.device), generator)
                self.x[rows] = renewed.to(self.home)
            yield replace(
                self._take(rows),
                labeled=self._draw_labeled(generator),
                neighbors=self._draw_neighbors(rows, generator),
                noise_scale=self.noise_scale,
                reference=self.reference,
                cells=self.cells,
                number=step,
                progress=begin + (end - begin) * step / n_steps,
            )

    def state_dict(self) -> dict[str, Any]:
        """Return all that epochs change: the completions of rows with gaps."""
        return {} if self.completion is None else {"completed": self.completion.x}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state of `state_dict`."""
        if self.completion is not None:
            self.completion.x.copy_(state["completed"])
            self.x.copy_(state["completed"])

    def _draw_labeled(self, generator: torch.Generator) -> Batch | None:
        if not self.n_labeled:
            return None
        if len(self.labeled) <= self.n_labeled:
            return self._take(self.labeled)
        draw = torch.randint(
            len(self.labeled),
            (self.n_labeled,),
            generator=generator,
            device=generator.device,
        ).to(self.home)
        return self._take(self.labeled[draw])

    def _draw_neighbors(self, rows: Tensor, generator: torch.Generator) -> Batch | None:
        if self.graph is None:
            return None
        neighbors = self.graph.neighbors[rows]
        chosen = torch.randint(
            neighbors.shape[1],
            (len(rows), 1),
            generator=generator,
            device=generator.device,
        ).to(self.home)
        return self._take(neighbors.gather(1, chosen)[:, 0])

    def _take(self, rows: Tensor) -> Batch:
        def pick(table: Tensor | None) -> Tensor | None:
            if table is None:
                return None
            return table[rows].to(self.device, non_blocking=True)

        x = pick(self.x)
        assert x is not None
        batch = Batch(x, pick(self.y), pick(self.weight), taught=pick(self.taught))
        if self.graph is None:
            return batch
        return replace(
            batch,
            soft_labels=pick(self.graph.soft_labels),
            confidence=pick(self.graph.confidence),
        )


class EvenBatches:
    """Shuffled mini-batches of all rows; their sizes differ by one at most.

    Parameters
    ----------
    x : Tensor of shape (n, d) or scipy CSR matrix
        A sparse one is made dense a batch at a time.
    device : torch.device
        Where the steps run.
    completion : Completion or None, default=None
        Of rows with missing entries, in the place of ``x``.
    """

    def __init__(
        self, x: Any, device: torch.device, completion: Completion | None = None
    ) -> None:
        self.device, self.completion = device, completion
        self.x = _at_home(x, device) if completion is None else x

    def n_steps(self, batch_size: int) -> int:
        """Return the number of batches in an epoch."""
        return -(-self.x.shape[0] // batch_size)

    @property
    def is_dense(self) -> bool:
        """Whether the rows are complete rows of a tensor."""
        return self.completion is None and isinstance(self.x, Tensor)

    def order(
        self, batch_size: int, generator: torch.Generator
    ) -> tuple[Tensor, list[int]]:
        """Return the order of the rows in an epoch, and where its batches end."""
        n = self.x.shape[0]
        order = torch.randperm(n, generator=generator, device=generator.device)
        n_batches = self.n_steps(batch_size)
        return order, [n * k // n_batches for k in range(n_batches + 1)]

    def epoch(self, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the batches of one epoch."""
        order, ends = self.order(batch_size, generator)
        if isinstance(self.x, Tensor):
            order = order.to(self.x.device)
            for start, end in pairwise(ends):
                yield self._take(order[start:end], generator)
            return
        shuffled = self.x[order.cpu().numpy()]
        for start, end in pairwise(ends):
            yield _dense(shuffled[start:end]).to(self.device)

    def _take(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        if self.completion is not None:
            return self.completion.renew(rows, generator)
        return self.x.index_select(0, rows).to(self.device)


class LabeledBatches:
    """Shuffled mini-batches, each with labelled and unlabelled rows.

    An epoch passes once over the more numerous kind; the other is dealt out as often
    as it takes.

    Parameters
    ----------
    x : Tensor of shape (n, d) or scipy CSR matrix
        A sparse one is made dense a batch at a time.
    y : Tensor of int of shape (n,)
        Class indices; negative where unlabelled.
    unlabeled_weight : float
        Weight of an unlabelled row, that of a labelled one being 1; 0 leaves it out.
    device : torch.device
    """

    def __init__(
        self, x: Any, y: Tensor, unlabeled_weight: float, device: torch.device
    ) -> None:
        self.device = device
        self.x = _at_home(x, device)
        self.y = y.to(device)
        labeled = (y >= 0).nonzero()[:, 0]
        rest = (y < 0).nonzero()[:, 0] if unlabeled_weight else labeled[:0]
        self.labeled, self.rest = labeled, rest
        n, m = len(labeled), unlabeled_weight * len(rest)
        self.labeled_share = n / (n + m) if n + m else 0.0

    def n_steps(self, batch_size: int) -> int:
        """Return the number of batches in an epoch."""
        return -(-max(len(self.labeled), len(self.rest)) // batch_size)

    def epoch(
        self, batch_size: int, generator: torch.Generator
    ) -> Iterator[LabeledRows]:
        """Yield the batches of one epoch: up to `batch_size` rows of each kind."""
        n_steps = self.n_steps(batch_size)
        kinds = (
            _dealt(rows, n_steps, batch_size, generator)
            for rows in (self.labeled, self.rest)
        )
        for labeled, rest in zip(*kinds, strict=True):
            v = self._take(torch.cat([labeled, rest]))
            class_indices = self.y[labeled.to(self.device)]
            yield LabeledRows(v, class_indices, self.labeled_share)

    def _take(self, rows: Tensor) -> Tensor:
        if isinstance(self.x, Tensor):
            return self.x.index_select(0, rows.to(self.x.device)).to(self.device)
        return _dense(self.x[rows.numpy()]).to(self.device)


def _dealt(
    rows: Tensor, n_steps: int, batch_size: int, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Return the rows of each step, shuffled; few rows are repeated."""
    n = len(rows)
    is_larger_kind = n > (n_steps - 1) * batch_size
    total = n if is_larger_kind else n_steps * min(batch_size, n)
    n_rounds = -(-total // max(n, 1))
    device = generator.device
    orders = [
        torch.randperm(n, generator=generator, device=device) for _ in range(n_rounds)
    ]
    order = torch.cat(orders) if orders else torch.empty(0, device=device).long()
    return rows[order[:total].cpu()].tensor_split(n_steps)


def _dense(rows: Any) -> Tensor:
    """Return rows of a sparse matrix as a dense tensor."""
    return torch.from_numpy(rows.toarray().astype(np.float32, copy=False))


def _at_home(x: Any, device: torch.device) -> Any:
    """Return a dense x on the device if it fits there; else, or if sparse, x itself."""
    return x.to(device) if isinstance(x, Tensor) and _fits(x, device) else x


def _fits(x: Tensor, device: torch.device) -> bool:
    """Tell whether x takes at most half of the device's free memory."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return x.numel() * x.element_size() < free / 2
