"""Every option of an estimator, resolved once before anything is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch

from skebm.distributed import current
from skebm.evaluation.normalizers import AbstractNormalizer
from skebm.evaluation.normalizers._resolve import resolve_normalizer
from skebm.networks import NETWORKS, is_normalized
from skebm.networks._build import (
    constructor_of,
    resolve_network,
    takes_image_shape,
    with_image_shape,
)
from skebm.networks._capabilities import is_boosted
from skebm.objectives import NCE, OBJECTIVES, Objective, Recipe
from skebm.objectives._resolve import resolve_objective
from skebm.references import ChowLiuReference, Reference
from skebm.references._resolve import resolve_reference
from skebm.tables import TableEncoder
from skebm.training import Schedule
from skebm.utils import InvalidParameterError, plain, resolve_device

MAX_AUTO_EPOCHS = 400
#: Numbers of trees to try, where all columns are categories.
N_TREES = (1, 2, 4, 8, 16)
#: Options of boosted trees that are "auto"; their steps are epochs.
OF_TREES = Recipe("trees", 0.3, 100, 10, "copula")


@dataclass(frozen=True)
class Specification:
    """The resolved options of a model and of its training.

    Attributes
    ----------
    objective : Objective or None
        Of the density; None trains a classifier alone.
    network : str, class or callable
        Names or builds the net.
    reference : Reference
        The unfitted reference.
    normalizer : AbstractNormalizer or None
        Estimates log Z.
    device : str
        Where the model is trained and asked.
    n_outputs : int
        Outputs of the net.
    n_auto_steps : int
        Steps of a fit whose `max_iter` is "auto".
    max_iter, batch_size, batch_growth, learning_rate, gradient_clip
        As the estimator has them; the rate is a number.
    weight_averaging, n_iter_no_change, tol
        Likewise; `n_iter_no_change` is a number.
    ood_score : str
        The outlier score that may have to be learnt.
    coarse_to_fine : bool
        Whether a coarser mixture may be tried where tilting a fine one gains nothing.
    verbose : int
        Epochs between printed lines; 0 prints nothing.
    keeps_run : bool, default=False
        Whether a stored model keeps what only further training needs.
    has_tree_reference : bool, default=False
        Whether a table of categories alone has trees for its reference.
    """

    objective: Objective | None
    network: Any
    reference: Reference
    normalizer: AbstractNormalizer | None
    device: str
    n_outputs: int
    n_auto_steps: int
    max_iter: int | str
    batch_size: int
    batch_growth: float
    learning_rate: float
    gradient_clip: float | None
    weight_averaging: float
    n_iter_no_change: int
    tol: float
    ood_score: str
    coarse_to_fine: bool
    verbose: int
    keeps_run: bool = False
    has_tree_reference: bool = False

    @classmethod
    def of(
        cls,
        estimator: Any,
        n_features: int,
        n_outputs: int = 1,
        *,
        n_auto_steps: int | None = None,
        auto_normalizer: AbstractNormalizer | str = "auto",
        coarse_to_fine: bool = False,
    ) -> Self:
        """Resolve and check the options of an estimator.

        Parameters
        ----------
        estimator : estimator
            Has the options as attributes.
        n_features, n_outputs : int
            Columns of X and outputs of the net.
        n_auto_steps : int or None
            Steps of a fit whose `max_iter` is "auto"; None takes the objective's.
        auto_normalizer : str or AbstractNormalizer
            Value of the option "auto".
        coarse_to_fine : bool
            Whether a named reference may be tried again with a coarser mixture.

        Raises
        ------
        ValueError
            Where an option is unknown or two options don't go together.
        """
        objective = resolve_objective(estimator.objective)
        recipe = None if objective is None else objective.recipe
        if _is_boosted(plain(estimator.network)):
            recipe = OF_TREES
        option = partial(_option, estimator, recipe)
        network = with_image_shape(option("network"), estimator.image_shape, n_features)
        name = type(estimator).__name__
        check_parts(name, objective, resolve_network(network), n_outputs)
        if objective is not None:
            objective.check_columns(n_features)
        normalizer = estimator.normalizer
        if isinstance(normalizer, str) and normalizer == "auto":
            normalizer = auto_normalizer
        normalizer = resolve_normalizer(normalizer)
        by_name = isinstance(estimator.reference, str)
        is_open = by_name and estimator.reference == "auto"
        # The maps of "copula" would tear images apart.
        of_images = is_open and takes_image_shape(network)
        reference = resolve_reference("gmm" if of_images else option("reference"))
        if n_auto_steps is None:
            assert recipe is not None
            n_auto_steps = recipe.n_steps
        names = (
            "max_iter batch_size batch_growth gradient_clip weight_averaging "
            "tol ood_score"
        )
        return cls(
            objective=objective,
            network=network,
            reference=reference,
            normalizer=normalizer,
            device=str(resolve_device(estimator.device)),
            n_outputs=n_outputs,
            n_auto_steps=n_auto_steps,
            learning_rate=option("learning_rate"),
            n_iter_no_change=option("n_iter_no_change"),
            coarse_to_fine=coarse_to_fine and by_name and not estimator.warm_start,
            verbose=int(estimator.verbose) if current().speaks else 0,
            keeps_run=bool(estimator.warm_start),
            # Other objectives need the reference's gradient.
            has_tree_reference=is_open and option("reference") == "copula",
            **{name: plain(getattr(estimator, name)) for name in names.split()},
        )

    @property
    def torch_device(self) -> torch.device:
        """The device, for torch."""
        return torch.device(self.device)

    @property
    def has_linear_columns(self) -> bool:
        """Whether columns of numbers are only shifted and scaled, wild values too."""
        return self.reference.has_units or takes_image_shape(self.network)

    @property
    def critic_scale(self) -> float:
        """lambda, by which the critic is divided to give minus the energy."""
        return 1.0 if self.objective is None else self.objective.critic_scale

    def reference_for(self, encoder: TableEncoder) -> Reference:
        """Return the unfitted reference of rows of a table."""
        n_features = len(encoder.scale)
        if self.has_tree_reference and len(encoder.category_columns) == n_features:
            return ChowLiuReference(N_TREES)
        return self.reference

    def n_epochs(self, n_rows: int) -> int:
        """Return the number of epochs; "auto" fixes the number of steps instead."""
        if isinstance(self.max_iter, str):
            if _is_boosted(self.network):
                return self.n_auto_steps
            epochs = math.ceil(self.n_auto_steps / self.steps_per_epoch(n_rows))
            return min(MAX_AUTO_EPOCHS, epochs)
        return self.max_iter

    def n_visited(self, n_rows: int) -> int:
        """Return how many of so many rows are enough for the steps of "auto"."""
        if isinstance(self.max_iter, str):
            return min(n_rows, self.n_auto_steps * self.batch_size)
        return n_rows

    def steps_per_epoch(self, n_rows: int) -> int:
        """Return the number of batches in a pass over so many rows."""
        return max(1, n_rows // self.batch_size)

    def n_steps(self, n_rows: int) -> int:
        """Return the number of steps of a fit to so many rows."""
        return self.n_epochs(n_rows) * self.steps_per_epoch(n_rows)

    def schedule(self, **changes: float) -> Schedule:
        """Return the schedule of rates and batch sizes."""
        return Schedule(
            self.learning_rate,
            batch_size=self.batch_size,
            batch_growth=self.batch_growth,
            **changes,
        )


def check_parts(
    estimator_name: str, objective: Objective | None, builder: Any, n_outputs: int
) -> None:
    """Check that objective, net and estimator go together.

    Raises
    ------
    ValueError
        Naming both parties.
    """
    if n_outputs == 1 and objective is None:
        raise ValueError(
            f"{estimator_name} and objective=None don't go together: without an "
            "objective no density is trained. Choose one of "
            f"{sorted(OBJECTIVES)}."
        )
    if objective is not None and objective.is_joint:
        raise ValueError(
            f"{estimator_name} and objective Joint don't go together: JEMClassifier "
            "builds its Joint from its own weights. Pass the density's objective, one "
            f"of {sorted(OBJECTIVES)}, an instance or None."
        )
    if n_outputs == 1 and objective is not None and objective.needs_labels:
        raise ValueError(
            f"{estimator_name} and objective {type(objective).__name__} don't go "
            "together: that objective needs labels. Use it in JEMClassifier."
        )
    network = constructor_of(builder)
    if is_boosted(network):
        _check_boosted(estimator_name, network.__name__, objective, n_outputs)
    if n_outputs > 1 and is_normalized(network):
        raise ValueError(
            f"{estimator_name} and network {network.__name__} don't go together: a "
            "normalised density has one output, not one a class. Choose a network such "
            "as 'ensemble_mlp', or EBMDensityEstimator."
        )


def _option(estimator: Any, recipe: Recipe | None, name: str) -> Any:
    """Return the value of an option; "auto" is what the recipe says."""
    value = plain(getattr(estimator, name))
    if not (isinstance(value, str) and value == "auto"):
        return value
    if recipe is None:
        raise InvalidParameterError(
            f"The {name!r} parameter is 'auto', which takes what suits the objective, "
            "and objective=None has none. Name one."
        )
    return getattr(recipe, name)


def _is_boosted(network: Any) -> bool:
    """Tell whether the option names or builds boosted trees."""
    if isinstance(network, str):
        network = NETWORKS.get(network)
    return is_boosted(constructor_of(network))


def _check_boosted(
    estimator_name: str, network: str, objective: Objective | None, n_outputs: int
) -> None:
    """Raise ValueError where boosted trees do not go with an objective or estimator."""
    if n_outputs > 1:
        raise ValueError(
            f"{estimator_name} and network {network} don't go together: these trees "
            "have one output, not one a class. Choose a network such as "
            "'ensemble_mlp', or EBMDensityEstimator."
        )
    if not isinstance(objective, NCE):
        raise ValueError(
            f"objective {type(objective).__name__} and network {network} don't go "
            "together: trees have no gradient, and are grown against draws of the "
            "reference. Choose 'stratified_nce' or 'nce', or a network such as "
            "'column_mlp'."
        )
