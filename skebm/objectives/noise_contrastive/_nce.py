"""Noise-contrastive estimation: the reference is the noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from skebm.networks import EnergyModel
from skebm.objectives._base import Batch, Loss, Objective, Recipe
from skebm.objectives.noise_contrastive._contrast import Contrast
from skebm.utils import check_count, check_number


def classification_loss(
    batch: Batch, log_ratio_data: Tensor, log_ratio_noise: Tensor, noise_ratio: float
) -> Tensor:
    r"""Return the logistic loss of a classifier between data and noise.

    .. math:: E_{data} \log(1 + \nu e^{-r}) + \nu \, E_{noise} \log(1 + e^{r} / \nu)

    whose minimum over all functions r is the log ratio of the data's to the noise's
    density.
    """
    shift = math.log(noise_ratio)
    data = batch.mean(softplus(shift - log_ratio_data))
    return data + noise_ratio * softplus(log_ratio_noise - shift).mean()


class NCE(Objective):
    r"""Noise-contrastive estimation, the reference being the noise.

    .. math:: \min_c \; E_{data}[\log(1 + \nu e^{-c})]
              + \nu \, E_{q_0}[\log(1 + e^{c} / \nu)], \qquad c = -E

    The classifier of rows against noise has the log odds
    :math:`\log p(x) - \log q_0(x) - \log \nu`, and the model is
    :math:`p = q_0 e^{c} / Z`: so the critic alone is its logit. At the optimum
    :math:`q_0 e^{c}` is the data's density: it normalises itself, log Z = 0 nats. For
    :math:`\nu \to \infty` the gradient is that of the likelihood.

    It works where some noise falls near the rows. The farther the noise is from the
    data (many columns, narrow structure), the less is learnt: take a closer reference
    or `Telescoping`.

    Rare components of the reference make few noise rows, so that the critic is hardly
    trained there: on image patches a spurious mode arose that carried most of Z, and no
    draw of the reference was near it. With a weight w above zero each row is also
    contrasted with a draw of the component that it belongs to,

    .. math:: + \, w \, E_{x \sim data} \, E_{k | x, \; y \sim q_k}
              \log\left(1 + e^{c(y) - c(x)}\right)

    conditional noise-contrastive estimation whose noise is reversible with respect to
    q0, so that only the critic remains in the ratio; it has the same optimum. In a box,
    which has one component, y is a step as long as the box. With a flow only the
    Gaussians beside it contribute; rows of the flow itself add a constant. For a
    reference without `Density.transition` ("kde") the term is left out, and so it is
    where the net is `skebm.networks.BoostedTrees`.

    Parameters
    ----------
    noise_ratio : int, default=8
        :math:`\nu`, fresh noise rows per row and step.
    component_weight : float, default=0.0
        w; 1 by name ``"stratified_nce"``.

    References
    ----------
    Gutmann, Hyvarinen. Noise-contrastive estimation of unnormalized statistical models,
    with applications to natural image statistics. JMLR 13, 2012. Ceylan, Gutmann.
    Conditional noise-contrastive estimation of unnormalised models. ICML 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> from skebm.objectives import NCE
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = EBMDensityEstimator(NCE(noise_ratio=4), max_iter=5).fit(X)
    >>> model.score_samples(X).shape
    (150,)
    """

    recipe: ClassVar[Recipe] = Recipe("column_mlp", 3e-3, 3000, 20, "copula")

    def __init__(self, noise_ratio: int = 8, component_weight: float = 0.0) -> None:
        self.noise_ratio = noise_ratio
        self.component_weight = component_weight

    @classmethod
    def stratified(cls) -> NCE:
        """Return the method named ``"stratified_nce"``, with the term of components."""
        return cls(component_weight=1.0)

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        check_count(self, "noise_ratio")
        check_number(self, "component_weight", 0)

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the logistic loss of rows against noise."""
        del state
        x = batch.dequantized(generator)
        noise = model.reference.sample(self.noise_ratio * len(x), generator)
        rows = [x, noise]
        if self.component_weight and model.reference.has_transitions:
            rows.append(model.reference.transition(x, x.new_ones(len(x)), generator))
        sizes = [len(part) for part in rows]
        of_data, of_noise, *near = model.critic(torch.cat(rows)).split(sizes)
        loss = classification_loss(batch, of_data, of_noise, self.noise_ratio)
        for of_near in near:
            pairs = batch.mean(softplus(of_near - of_data))
            loss = loss + self.component_weight * pairs
        yield Loss("energy", loss)

    def contrast(
        self, model: EnergyModel, batch: Batch, generator: torch.Generator
    ) -> Contrast:
        """Return the rows of a batch and fresh noise, for boosted trees.

        The term of components is left out: where no noise falls, trees stay as they
        are.
        """
        x = batch.dequantized(generator)
        noise = model.reference.sample(self.noise_ratio * len(x), generator)
        weight = np.ones(len(x))
        if batch.weight is not None:
            weight = batch.weight.double().cpu().numpy()
            weight = weight / weight.mean()
        return Contrast(torch.cat([x, noise]), weight, self.noise_ratio)
