"""Random changes of images, drawn anew for every epoch: shifts, affine maps, elastic fields."""

from dataclasses import dataclass

import numpy as np

from .jit import jit

__all__ = ["Distortion", "shifted"]

_GRID = 5


def shifted(images: np.ndarray, most: int, random: np.random.Generator) -> np.ndarray:
    """Copies of images, (n, height, width), each moved by up to ``most`` pixels either way."""
    count, height, width = images.shape
    padded = np.pad(images, ((0, 0), (most, most), (most, most)))
    down, right = random.integers(0, 2 * most + 1, (2, count, 1, 1))
    rows = down + np.arange(height)[:, None]
    columns = right + np.arange(width)
    return padded[np.arange(count)[:, None, None], rows, columns]


@dataclass(frozen=True)
class Distortion:
    """How far images are distorted; every quantity is a standard deviation.

    P. Simard, D. Steinkraus, J. Platt, *Best practices for convolutional neural networks applied
    to visual document analysis* (ICDAR 2003) introduced elastic distortion of digits.

    Parameters
    ----------
    rotation : float
        Degrees.
    scale : float
        Relative, separately for width and height.
    shear : float
        Shift by this fraction of the height.
    shift : float
        Pixels.
    elastic : float
        Pixels; displacement of the knots of a 5×5 grid, interpolated smoothly between them.
    """

    rotation: float = 6.0
    scale: float = 0.06
    shear: float = 0.06
    shift: float = 0.7
    elastic: float = 0.7

    def __call__(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return distorted copies of ``images``, (n, height, width) ``uint8``."""
        count, height, width = images.shape
        angle = np.deg2rad(self.rotation) * random.standard_normal(count)
        stretch = np.exp(self.scale * random.standard_normal((count, 2)))
        shear = self.shear * random.standard_normal(count)
        cos, sin = np.cos(angle), np.sin(angle)
        # Maps an offset from the centre in the result to one in the original: rows (y, x).
        affine = np.empty((count, 2, 3), np.float32)
        affine[:, 0, 0] = cos * stretch[:, 0]
        affine[:, 0, 1] = -sin * stretch[:, 0]
        affine[:, 1, 0] = (sin + shear * cos) * stretch[:, 1]
        affine[:, 1, 1] = (cos - shear * sin) * stretch[:, 1]
        affine[:, :, 2] = self.shift * random.standard_normal((count, 2))
        knots = self.elastic * random.standard_normal((count, 2, _GRID, _GRID), np.float32)
        result = np.empty_like(images)
        _warp(images, result, affine, knots, (_spread(height), _spread(width)))
        return result


def _spread(size: int) -> np.ndarray:
    """(size, knots) weights of a quadratic B-spline over the knots, ends included."""
    position = np.linspace(0, _GRID - 1, size)[:, None] - np.arange(_GRID)
    distance = np.abs(position)
    weights = np.where(distance < 0.5, 0.75 - distance**2, 0.5 * np.maximum(1.5 - distance, 0) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@jit
def _warp(
    images: np.ndarray,
    result: np.ndarray,
    affine: np.ndarray,
    knots: np.ndarray,
    spread: tuple[np.ndarray, np.ndarray],
) -> None:
    """Sample every image along its affine map plus its elastic field; outside it is dark."""
    rows, columns = spread
    count, height, width = images.shape
    grid = rows.shape[1]
    half_y = np.float32((height - 1) / 2)
    half_x = np.float32((width - 1) / 2)
    partial = np.empty((2, height, grid), np.float32)
    padded = np.zeros((height + 2, width + 2), np.float32)
    from_y = np.empty(width, np.float32)
    from_x = np.empty(width, np.float32)
    for n in range(count):
        padded[1 : height + 1, 1 : width + 1] = images[n]
        for axis in range(2):
            for y in range(height):
                for g in range(grid):
                    total = np.float32(0)
                    for h in range(grid):
                        total += rows[y, h] * knots[n, axis, h, g]
                    partial[axis, y, g] = total
        a = affine[n]
        for y in range(height):
            v = np.float32(y) - half_y
            for x in range(width):
                u = np.float32(x) - half_x
                dy = a[0, 2] + half_y + np.float32(1)
                dx = a[1, 2] + half_x + np.float32(1)
                for g in range(grid):
                    dy += columns[x, g] * partial[0, y, g]
                    dx += columns[x, g] * partial[1, y, g]
                from_y[x] = a[0, 0] * v + a[0, 1] * u + dy
                from_x[x] = a[1, 0] * v + a[1, 1] * u + dx
            for x in range(width):
                sy = min(max(from_y[x], np.float32(0)), np.float32(height) + np.float32(0.999))
                sx = min(max(from_x[x], np.float32(0)), np.float32(width) + np.float32(0.999))
                iy = int(sy)
                ix = int(sx)
                fy = sy - np.float32(iy)
                fx = sx - np.float32(ix)
                top = padded[iy, ix] + fx * (padded[iy, ix + 1] - padded[iy, ix])
                low = padded[iy + 1, ix] + fx * (padded[iy + 1, ix + 1] - padded[iy + 1, ix])
                result[n, y, x] = np.uint8(top + fy * (low - top) + np.float32(0.5))
