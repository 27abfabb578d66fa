"""The default outlier score: several scores, weighed by rows made wrong on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from skebm.evaluation.outliers._copies import are_among, usual_rows
from skebm.evaluation.outliers._member import Member, RowsMember, places_of
from skebm.evaluation.outliers._mixture import MixtureDensity
from skebm.evaluation.outliers._neighbors import NearestNeighbor
from skebm.evaluation.outliers._ranked_neighbors import LocalDensity, RankedNeighbors
from skebm.evaluation.outliers._score import (
    ENOUGH_HELD_OUT,
    OODScore,
    ScoredModel,
    in_chunks,
    seed_of,
)
from skebm.evaluation.outliers._surprisal import Surprisal
from skebm.evaluation.outliers._tails import Tails
from skebm.evaluation.outliers._violations import VIOLATIONS, violate
from skebm.utils import make_generator

#: The members by name, each with its class and its weight where all tell equally well.
MEMBERS: dict[str, tuple[type[Member], float]] = {
    "mixture_density": (MixtureDensity, 4.0),
    "nearest_neighbor": (NearestNeighbor, 1.0),
    "ranked_neighbors": (RankedNeighbors, 1.0),
    "local_density": (LocalDensity, 2.0),
    "tails": (Tails, 2.0),
}
#: Arrays of the score itself; earlier states lack the last two.
OWN = ("weights", "areas", "usual", "of_rows")
#: Arrays that the members that keep rows have in common.
SHARED = ("rows", "categories")
#: The violations that weights depend on; the others are reported only.
WEIGHING = ("extrapolated", "jittered")
#: How much a weight grows, in its log, with the area under the ROC curve.
SHARPNESS = 30.0
#: Most rows that violations are made of.
N_VIOLATED = 500


class Auto(OODScore):
    r"""Several scores, each weighed by how well it tells rows made wrong on purpose.

    .. math:: s(x) = -\sum_k w_k u_k(s_k(x)), \qquad
              w_k \propto \pi_k \exp(30 \, \mathrm{AUC}_k)

    :math:`u_k` is the surprise at a score as low, minus the log of the share of rows of
    the data with such a score. :math:`\mathrm{AUC}_k` is the mean area under the ROC
    curve by which the score tells rows from the same rows moved away from the medians,
    and from those with noise in half of their columns. No labels are needed. The rows
    are those that thresholds are made of: held out, or else left out of each score.

    In a table of numbers, the rows that are at least 1 % of it, and more than five, all
    have the score 0, the highest: none of them is an outlier, and which is the more
    frequent says nothing.

    Parameters
    ----------
    members : dict of Member
        The scores by name.
    surprisals : dict of Surprisal
        u, by the same names.
    weights : Tensor of shape (n_members,)
        w, which sum to one.
    areas : Tensor of shape (n_members, n_violations)
        The area under the ROC curve for each kind of `VIOLATIONS`.
    usual : Tensor of shape (n_usual, n_features), default=None
        The rows that a table of numbers repeats often.
    of_rows : Tensor of shape (n_rows,), default=None
        The scores of the rows that members keep, each as if it had been left out.
    """

    is_free = False

    def __init__(
        self,
        members: dict[str, Member],
        surprisals: dict[str, Surprisal],
        weights: Tensor,
        areas: Tensor,
        usual: Tensor | None = None,
        of_rows: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.members = nn.ModuleDict(dict(members))
        self.surprisals = nn.ModuleDict(dict(surprisals))
        self.weights: Tensor
        self.areas: Tensor
        self.register_buffer("weights", weights)
        self.register_buffer("areas", areas)
        self.usual: Tensor | None
        self.of_rows: Tensor | None
        self.register_buffer("usual", usual)
        self.register_buffer("of_rows", of_rows)
        # Right after `fit`: the rows that it got, and the scores of `left_out`.
        self._left_out: tuple[Tensor, Tensor, Tensor] | None = None

    @classmethod
    def fit(
        cls,
        scored: ScoredModel,
        train: Tensor,
        held_out: Tensor,
        generator: torch.Generator,
        max_steps: int,
    ) -> Self:
        """Fit the members, and weigh them."""
        seed = seed_of(generator)
        given = scored, train, held_out
        # The same seed for each, so that all keep the same rows.
        members = {
            name: kind.fit(*given, make_generator(seed, train.device), max_steps)
            for name, (kind, _) in MEMBERS.items()
        }
        known = {name: _known(member, *given) for name, member in members.items()}
        surprisals = {name: Surprisal.of(scores) for name, scores in known.items()}
        areas = _areas(members, known, *given, generator)
        of_kind = list(VIOLATIONS)
        told = areas[:, [of_kind.index(kind) for kind in WEIGHING]].mean(dim=1)
        prior = torch.tensor([prior for _, prior in MEMBERS.values()]).to(areas)
        weights = (SHARPNESS * told + prior.log()).softmax(dim=0)
        score = cls(members, surprisals, weights, areas)
        keeper = next(m for m in members.values() if isinstance(m, RowsMember))
        if not scored.categories:
            score.usual = usual_rows(keeper.rows)
        if not _is_enough(train, held_out):
            left_out = {name: scores[: len(train)] for name, scores in known.items()}
            values = score._mean(scored, train, left_out)
            score._left_out = train, held_out, values
            score.of_rows = values[keeper.numbers]
        return score

    def forward(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return minus the weighted mean surprise."""
        scores = {name: member(scored, x) for name, member in self._members()}
        return self._mean(scored, x, scores)

    def of_fitted_rows(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return the scores of rows of `fit`, each as if it had been left out.

        In a large table, no row is compared with itself, but the mixture has seen it.
        """
        if self.of_rows is None:
            members = self._members()
            scores = {name: m.of_fitted_rows(scored, x) for name, m in members}
            return self._mean(scored, x, scores)
        keeper = next(m for _, m in self._members() if isinstance(m, RowsMember))
        places = places_of(scored.centred(x), keeper.rows)
        return torch.where(places < 0, self(scored, x), self.of_rows[places])

    def left_out(self, scored: ScoredModel, train: Tensor, held_out: Tensor) -> Tensor:
        """Return the scores of training rows, each as if it had been left out."""
        known, self._left_out = self._left_out, None
        if known is not None and known[0] is train and known[1] is held_out:
            return known[2]
        scores = {
            name: member.left_out(scored, train, held_out)
            for name, member in self._members()
        }
        return self._mean(scored, train, scores)

    def _members(self) -> Iterator[tuple[str, Member]]:
        for name, member in self.members.items():
            assert isinstance(member, Member)
            yield name, member

    def _mean(
        self, scored: ScoredModel, x: Tensor, scores: dict[str, Tensor]
    ) -> Tensor:
        surprise = [self.surprisals[name](values) for name, values in scores.items()]
        values = -(torch.stack(surprise, dim=1) @ self.weights)
        if self.usual is None or not len(self.usual):
            return values
        return values.masked_fill(are_among(scored.centred(x), self.usual), 0.0)

    def report(self) -> dict[str, dict[str, float]]:
        """Return the weight of each member, and its area for each violation."""
        return {
            name: {"weight": float(weight)}
            | dict(zip(VIOLATIONS, areas.tolist(), strict=True))
            for name, weight, areas in zip(
                self.members, self.weights, self.areas, strict=True
            )
        }

    def arrays(self) -> dict[str, Tensor]:
        """Return the arrays of the parts, prefixed by their names; rows only once."""
        named = {key: array for key in OWN if (array := getattr(self, key)) is not None}
        for name, member in self._members():
            own = member.arrays()
            for shared in [key for key in SHARED if key in own]:
                named[shared] = own.pop(shared)
            named |= {f"members.{name}.{key}": value for key, value in own.items()}
            curve = self.surprisals[name].state_dict()
            named |= {f"surprisals.{name}.{key}": curve[key] for key in curve}
        return named

    @classmethod
    def from_arrays(cls, arrays: dict[str, Tensor]) -> Self:
        """Return the score that has these arrays."""

        def under(prefix: str) -> dict[str, Any]:
            own = [key for key in arrays if key.startswith(prefix)]
            return {key.removeprefix(prefix): arrays[key] for key in own}

        members, surprisals = {}, {}
        for name in dict.fromkeys(
            key.split(".")[1] for key in arrays if key.startswith("surprisals.")
        ):
            kind, own = MEMBERS[name][0], under(f"members.{name}.")
            if issubclass(kind, RowsMember):
                own |= {key: arrays[key] for key in SHARED if key in arrays}
            members[name] = kind.from_arrays(own)
            surprisals[name] = Surprisal(**under(f"surprisals.{name}."))
        own = {key: arrays[key] for key in OWN if key in arrays}
        return cls(members, surprisals, **own)


def _known(
    member: Member, scored: ScoredModel, train: Tensor, held_out: Tensor
) -> Tensor:
    """Return the scores of the rows that thresholds are made of."""
    parts = []
    if not _is_enough(train, held_out):
        parts.append(member.left_out(scored, train, held_out))
    if held_out is not train:
        parts.append(in_chunks(partial(member, scored), held_out))
    return torch.cat(parts)


def _is_enough(train: Tensor, held_out: Tensor) -> bool:
    return held_out is not train and len(held_out) >= ENOUGH_HELD_OUT


def _areas(
    members: dict[str, Member],
    known: dict[str, Tensor],
    scored: ScoredModel,
    train: Tensor,
    held_out: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Return the areas under the ROC curve, of shape (n_members, n_violations)."""
    centred = scored.centred(train)
    held_out = centred if held_out is train else scored.centred(held_out)
    train = centred
    rows, base = train, torch.arange(len(train), device=train.device)
    if held_out is not train:
        new = torch.full((len(held_out),), -1, device=train.device)
        rows, base = torch.cat([train, held_out]), torch.cat([base, new])
        if _is_enough(train, held_out):
            rows, base = held_out, new
    order = torch.randperm(len(rows), generator=generator, device=generator.device)
    chosen = order[:N_VIOLATED].to(train.device)
    given = rows[chosen], train, generator, scored.categories
    wrong = [violate(make, *given) for make in VIOLATIONS.values()]
    areas = [
        area_under_roc(known[name][chosen], member.without(scored, x, base[chosen]))
        for name, member in members.items()
        for x in wrong
    ]
    return torch.stack(areas).reshape(len(members), len(wrong))


def area_under_roc(normal: Tensor, outlying: Tensor) -> Tensor:
    """Return the chance that an outlier scores below a normal row; ties are halves."""
    ordered = normal.nan_to_num().sort().values
    values = outlying.nan_to_num()
    counts = [torch.searchsorted(ordered, values, right=side) for side in (False, True)]
    return 1 - (counts[0] + counts[1]).double().mean() / (2 * len(ordered))
