"""Where the windows of a sliding-window test lie: the rules of semseg (Zhao et al.), on which the authors built.

Of a side of `n` >= crop pixels, with stride = ceil(2/3 crop), there are ceil((n - crop) / stride) + 1 windows; the last
one is drawn back inside. A shorter side is padded to the crop, half of it before (rounded down) and the rest behind.
"""

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Sliding:
    """How images are tested. `crop`: side of a window. `resize`: long side of the image at scale 1, in pixels.

    `scales`: the probabilities at all of them are averaged. `flip`: those of each window and its mirror image too.
    """

    crop: int
    resize: int
    scales: tuple[float, ...] = (1.0,)
    flip: bool = True

    def __post_init__(self) -> None:
        if self.crop < 1 or self.resize < 1:
            raise ValueError(f"crop and resize are pixels, 1 or more; got {self.crop} and {self.resize}")
        if not self.scales or min(self.scales) <= 0 or len(set(self.scales)) < len(self.scales):
            raise ValueError(f"scales must be numbers above 0, each once; got {self.scales}")

    def layouts(self, height: int, width: int) -> list["Layout"]:
        """Of an image of this size, one a scale."""
        sizes = (scaled_size(height, width, max(1, round(scale * self.resize))) for scale in self.scales)
        return [Layout(*size, self.crop) for size in sizes]


@dataclass(frozen=True)
class Layout:
    """The windows over one scaled image of `height` x `width`."""

    height: int
    width: int
    crop: int

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width with what is needed around a short side."""
        return max(self.height, self.crop), max(self.width, self.crop)

    @property
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns of the image in the padded one."""
        top, left = ((full - side) // 2 for full, side in zip(self.padded, (self.height, self.width), strict=True))
        return slice(top, top + self.height), slice(left, left + self.width)

    @cached_property
    def windows(self) -> list[tuple[slice, slice]]:
        """Rows and columns of each window in the padded image."""
        tops, lefts = (starts(side, self.crop) for side in self.padded)
        return [(slice(top, top + self.crop), slice(left, left + self.crop)) for top in tops for left in lefts]


def scaled_size(height: int, width: int, long_side: int) -> tuple[int, int]:
    """Height and width with the longer one `long_side` and the other in proportion, rounded, at least 1."""
    if height > width:
        return long_side, max(1, round(long_side / height * width))
    return max(1, round(long_side / width * height)), long_side


def starts(side: int, crop: int) -> list[int]:
    """The first pixel of every window along a side of at least `crop` pixels; none twice."""
    stride = -(-2 * crop // 3)
    number = -(-(side - crop) // stride) + 1
    return [min(place * stride, side - crop) for place in range(number)]
