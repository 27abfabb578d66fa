"""Random transitions of rows: callables (x, generator) -> x.

Those for images take rows of ``channels * height * width`` numbers, laid out like that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from skebm.utils import normal_like, uniform_like

Transition = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Jitter:
    """Add normal noise.

    Parameters
    ----------
    scale : float, default=0.3
        Its standard deviation.
    """

    scale: float = 0.3

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x + self.scale * normal_like(x, generator)


@dataclass(frozen=True)
class SwapCoordinates:
    """Exchange coordinates between rows, a column's values staying in their column.

    Parameters
    ----------
    probability : float, default=0.2
        Of each coordinate to take the value of another row.
    """

    probability: float = 0.2

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        order = torch.randperm(len(x), generator=generator, device=generator.device)
        chosen = uniform_like(x, generator) < self.probability
        return torch.where(chosen, x[order.to(x.device)], x)


@dataclass(frozen=True)
class RandomFlip:
    """Mirror each image left to right with probability one half.

    Parameters
    ----------
    shape : tuple of int
        Channels, height, width.
    """

    shape: tuple[int, int, int]

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        images = x.unflatten(1, self.shape)
        chosen = uniform_like(x[:, 0], generator) < 0.5
        flipped = torch.where(chosen[:, None, None, None], images.flip(3), images)
        return flipped.flatten(1)


@dataclass(frozen=True)
class RandomCrop:
    """Move each image by a few pixels, its edge repeated: a crop of the padded image.

    Parameters
    ----------
    shape : tuple of int
        Channels, height, width.
    padding : int, default=2
        Most pixels up, down, left or right.
    """

    shape: tuple[int, int, int]
    padding: int = 2

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        _, height, width = self.shape
        shifts = uniform_like(x.new_empty(2, len(x)), generator)
        shifts = (shifts * (2 * self.padding + 1)).long() - self.padding
        rows = torch.arange(height, device=x.device) + shifts[0, :, None]
        columns = torch.arange(width, device=x.device) + shifts[1, :, None]
        each = torch.arange(len(x), device=x.device)[:, None, None]
        # Indexing by row, height and width puts the channels last.
        moved = x.unflatten(1, self.shape).movedim(1, 3)[
            each,
            rows.clamp(0, height - 1)[:, :, None],
            columns.clamp(0, width - 1)[:, None, :],
        ]
        return moved.movedim(3, 1).flatten(1)


@dataclass(frozen=True)
class RandomShift:
    """Move each image by a few pixels; what leaves at one edge enters at the other.

    A density that no such shift changes stays invariant.

    Parameters
    ----------
    shape : tuple of int
        Channels, height, width.
    largest : int, default=1
        Most pixels up, down, left or right.
    """

    shape: tuple[int, int, int]
    largest: int = 1

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        _, height, width = self.shape
        shifts = uniform_like(x.new_empty(2, len(x)), generator)
        shifts = (shifts * (2 * self.largest + 1)).long() - self.largest
        rows = torch.arange(height, device=x.device) + shifts[0, :, None]
        columns = torch.arange(width, device=x.device) + shifts[1, :, None]
        each = torch.arange(len(x), device=x.device)[:, None, None]
        moved = x.unflatten(1, self.shape).movedim(1, 3)[
            each, (rows % height)[:, :, None], (columns % width)[:, None, :]
        ]
        return moved.movedim(3, 1).flatten(1)


@dataclass(frozen=True)
class RandomRescale:
    """Enlarge or shrink all images about their centre, their edge repeated.

    Parameters
    ----------
    shape : tuple of int
        Channels, height, width.
    largest : float, default=1.2
        Largest factor, above 1; the least is one over it.
    """

    shape: tuple[int, int, int]
    largest: float = 1.2

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        uniform = uniform_like(x.new_empty(()), generator)
        factor = torch.as_tensor(self.largest).log() * (2 * uniform - 1)
        matrix = torch.zeros(len(x), 2, 3, dtype=x.dtype, device=x.device)
        matrix[:, 0, 0] = matrix[:, 1, 1] = torch.exp(-factor)
        shape = [len(x), *self.shape]
        grid = functional.affine_grid(matrix, shape, align_corners=False)
        scaled = functional.grid_sample(
            x.unflatten(1, self.shape),
            grid,
            padding_mode="border",
            align_corners=False,
        )
        return scaled.flatten(1)


@dataclass(frozen=True, eq=False)
class InUnits:
    """A transition of rows u = location + scale * x, for rows x.

    Parameters
    ----------
    transition : callable
        Of rows u.
    location, scale : Tensor of shape (n_features,)
        Of the units. Columns of scale 0 stay as they are.
    """

    transition: Transition
    location: Tensor
    scale: Tensor

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        moved = self.transition(self.location + self.scale * x, generator)
        varies = self.scale > 0
        back = (moved - self.location) / torch.where(varies, self.scale, 1.0)
        return torch.where(varies, back, x)


@dataclass(frozen=True)
class ColorJitter:
    """Scale and shift each channel of each image.

    Parameters
    ----------
    shape : tuple of int
        Channels, height, width.
    strength : float, default=0.1
        Standard deviation of the factor (around 1) and of the shift.
    """

    shape: tuple[int, int, int]
    strength: float = 0.1

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        noise = normal_like(x.new_empty(2, len(x), self.shape[0], 1, 1), generator)
        factor, shift = self.strength * noise
        return ((1 + factor) * x.unflatten(1, self.shape) + shift).flatten(1)


@dataclass(frozen=True)
class GaussianBlur:
    """Blur all images by a Gaussian of a random width.

    Parameters
    ----------
    shape : tuple of int
        Channels, height, width.
    largest : float, default=1.0
        Largest standard deviation in pixels; the least is a tenth of it.
    """

    shape: tuple[int, int, int]
    largest: float = 1.0

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        uniform = uniform_like(x.new_empty(()), generator)
        width = self.largest * (0.1 + 0.9 * uniform)
        radius = max(1, min(round(3 * self.largest), min(self.shape[1:]) - 1))
        offsets = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
        kernel = torch.softmax(-0.5 * (offsets / width).square(), dim=0)
        images = x.unflatten(1, self.shape).flatten(0, 1).unsqueeze(1)
        padded = functional.pad(images, (radius,) * 4, mode="replicate")
        blurred = functional.conv2d(padded, kernel[None, None, :, None])
        blurred = functional.conv2d(blurred, kernel[None, None, None, :])
        return blurred.reshape(x.shape)
