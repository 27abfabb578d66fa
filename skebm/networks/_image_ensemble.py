"""An ensemble of nets for images, each with a critic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from skebm.networks._conv import ConvNet
from skebm.networks._image_network import ImageBuilder, ImageNetwork, part_of
from skebm.utils import check_argument, is_count

Members = Callable[[Tensor], Tensor]

ALL = slice(None)


class ImageEnsemble(ImageNetwork):
    r"""Ensemble of nets for images, with a head for the classes and one for the critic.

    .. math:: g_y(x) = \log \sum_m w_m \, p_m(y | x) + c(x)

    as in `EnsembleMLP`; the critic c is one more output of the first net. With it
    `JEMClassifier` stacks members that are trained by different losses.

    Parameters
    ----------
    n_features, n_outputs : int
        Columns in, classes out.
    image_shape : tuple of int or None, default=None
        Channels, height, width; None takes a square grey image.
    network : class or builder, default=ConvNet
        ``(n_features, n_outputs, image_shape=...) -> ImageNetwork``, of each member.
    n_members : int, default=3
        M; the time of a step grows with it.

    Examples
    --------
    >>> import torch
    >>> ImageEnsemble(64, 10, n_members=2)(torch.zeros(7, 64)).shape
    torch.Size([7, 10])
    """

    #: Declares the capability of an `EnsembleNetwork`.
    is_ensemble: ClassVar[bool] = True
    has_elementwise_layers: ClassVar[bool] = True

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        image_shape: Sequence[int] | None = None,
        network: ImageBuilder = ConvNet,
        n_members: int = 3,
    ) -> None:
        super().__init__(n_features, image_shape)
        right = is_count(n_members, 1)
        check_argument(self, "n_members", n_members, right, "an integer, at least 1")
        self.n_members = int(n_members)
        # The first has one output more: the critic.
        sizes = [n_outputs + 1, *[n_outputs] * (self.n_members - 1)]
        self.nets = nn.ModuleList(
            part_of(self, network, size, self.image_shape) for size in sizes
        )
        self.log_weights: Tensor
        even = torch.full((self.n_members,), -math.log(self.n_members))
        self.register_buffer("log_weights", even)

    def weigh(self, weights: Sequence[float]) -> None:
        """Set the weights of the members, positive and of sum one."""
        self.log_weights.copy_(torch.tensor(weights).log())

    def members(self, x: Tensor, which: slice = ALL) -> Tensor:
        """Return each member's class logits, shape (n_members, n, n_outputs).

        x has shape (n, n_features), the same rows for all members, or (n_members, n,
        n_features).
        """
        numbers = range(self.n_members)[which]
        if x.dim() == 2:
            images = self.images(x)
            return torch.stack([self._logits(m, images) for m in numbers])
        rows = zip(numbers, x, strict=True)
        return torch.stack([self._logits(m, self.images(z)) for m, z in rows])

    def split(self, counts: Sequence[int]) -> list[Members]:
        """Return the members in groups, each a function of rows of its own."""
        ends = torch.tensor(counts).cumsum(0).tolist()
        pairs = zip(counts, ends, strict=True)
        parts = [slice(end - count, end) for count, end in pairs]
        return [partial(self.members, which=part) for part in parts]

    def of_images(self, images: Tensor) -> Tensor:
        """Map images (n, channels, height, width) to the logits g, (n, n_outputs)."""
        first = self._outputs(0, images)
        others = [self._outputs(m, images) for m in range(1, self.n_members)]
        logits = torch.stack([first[:, :-1], *others])
        log_prob = torch.log_softmax(logits, dim=2) + self.log_weights[:, None, None]
        return torch.logsumexp(log_prob, dim=0) + first[:, -1:]

    def critic(self, x: Tensor) -> Tensor:
        """Return the logsumexp of the logits g, shape (n,), without computing them."""
        return self._outputs(0, self.images(x))[:, -1]

    def _outputs(self, member: int, images: Tensor) -> Tensor:
        return cast(ImageNetwork, self.nets[member]).of_images(images)

    def _logits(self, member: int, images: Tensor) -> Tensor:
        outputs = self._outputs(member, images)
        return outputs[:, :-1] if member == 0 else outputs
