"""HDGE: class-conditional densities by contrast with the other rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel
from skebm.objectives._base import Batch, Loss, Objective


class HDGE(Objective):
    r"""Hybrid discriminative-generative training by supervised contrast.

    .. math:: -\log p(x | y) \approx -g_y(x) + \log \sum_k w_k e^{g_y(x_k)}

    over labelled rows (x, y); the :math:`x_k`, of weights :math:`w_k` that sum to one,
    are the step's rows, labelled or not. They stand for the integral in the normaliser
    of :math:`p(x | y) = e^{g_y(x)} / Z_y`. As they follow the data's own density p and
    not a uniform one, the optimum is a ratio,

    .. math:: g_y(x) = \log \frac{p(x | y)}{p(x)} + a_y,

    with any constants :math:`a_y`: right for telling classes apart, while the energy
    :math:`-\log \sum_y e^{g_y}` orders rows by how clear their class is and is no
    estimate of log p(x). Take another objective where a density is wanted.

    References
    ----------
    H. Liu, P. Abbeel. Hybrid discriminative-generative training via contrastive
    learning. 2020 (arXiv:2007.09070).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skebm import JEMClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = JEMClassifier("hdge", normalizer=None, max_iter=5, random_state=0)
    >>> model.fit(X, y).predict(X).shape
    (150,)
    """

    needs_labels: ClassVar[bool] = True
    healthy: ClassVar[dict[str, tuple[float, float]]] = {"contrast": (-100.0, 100.0)}

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the contrastive loss of labelled rows against all rows of the step."""
        del state, generator
        assert batch.labeled is not None and batch.labeled.y is not None
        n_labeled = len(batch.labeled.x)
        logits = model.logits(torch.cat([batch.labeled.x, batch.x]))
        own, others = logits.split([n_labeled, len(batch.x)])
        own = own.gather(1, batch.labeled.y[:, None])[:, 0]
        log_normalizers = self._log_normalizers(others, batch.weight)
        loss = batch.labeled.mean(log_normalizers[batch.labeled.y] - own)
        yield Loss("energy", loss, {"contrast": loss.detach()})

    @staticmethod
    def _log_normalizers(logits: Tensor, weight: Tensor | None) -> Tensor:
        """Return log sum_k w_k exp(g_y(x_k)) of each class, shape (n_classes,)."""
        if weight is None:
            weight = torch.ones_like(logits[:, 0])
        log_share = (weight / weight.sum()).log()
        return torch.logsumexp(logits + log_share[:, None], dim=0)
