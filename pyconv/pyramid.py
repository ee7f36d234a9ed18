"""Pyramidal convolution as a value: kernels, groups and split of a PyConv (arXiv 2006.11538, section 3).

A `Pyramid` holds plain numbers and knows Equation 1; it does not know torch. `pyconv.layers.PyConv` turns one
into a module. Level 1 is the smallest kernel, as in the paper.
"""

from dataclasses import dataclass
from math import gcd, prod

Kernel = tuple[int, ...]


@dataclass(frozen=True)
class Level:
    """One row of Equation 1: `K^2 * FM_i / G * FM_o` parameters.

    `kernel` has one entry per spatial dimension (time first for video).
    """

    kernel: Kernel
    in_channels: int
    out_channels: int
    groups: int

    @property
    def params(self) -> int:
        """`K^2 * FM_i / G * FM_o`: the weights of this level, without a bias."""
        return prod(self.kernel) * (self.in_channels // self.groups) * self.out_channels

    def flops(self, output_size: tuple[int, ...]) -> int:
        """`K^2 * FM_i / G * FM_o * (W * H)`: multiply-adds for an output of `output_size` (H, W) or (T, H, W)."""
        return self.params * prod(output_size)


@dataclass(frozen=True)
class Pyramid:
    """Kernels, groups and split of the output maps of a PyConv, level 1 (smallest kernel) first.

    `kernels`: one entry a level, an int for a square kernel or a tuple ((H, W), or (T, H, W) for video).
    `groups`: one number a level; all 1 when left out. `split`: the parts of the output maps that the levels get,
    as in 1:1:2; equal when left out. Raises `ValueError` naming the level that is wrong.
    """

    kernels: tuple[int | Kernel, ...]
    groups: tuple[int, ...] = ()
    split: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernels", tuple(k if isinstance(k, int) else tuple(k) for k in self.kernels))
        if not self.kernels:
            raise ValueError("a pyramid needs at least one level, got kernels=()")
        for name in ("groups", "split"):
            object.__setattr__(self, name, tuple(getattr(self, name)) or (1,) * len(self.kernels))
            _check_numbers(name, getattr(self, name), len(self.kernels))
        common = gcd(*self.split)
        object.__setattr__(self, "split", tuple(part // common for part in self.split))
        for number, kernel in enumerate(self.kernels, start=1):
            sizes = (kernel,) if isinstance(kernel, int) else kernel
            if not sizes or any(not isinstance(k, int) or k < 1 or k % 2 == 0 for k in sizes):
                raise ValueError(
                    f"level {number}: kernel {kernel} must be odd and positive in every dimension, "
                    f"so that all levels give maps of one size"
                )
        if len({len(k) for k in self.kernels if not isinstance(k, int)}) > 1:
            raise ValueError(f"kernels {self.kernels} mix dimensions: use one number of dimensions for all levels")

    @classmethod
    def from_rule(
        cls,
        in_channels: int,
        out_channels: int,
        kernels: tuple[int | Kernel, ...],
        split: tuple[int, ...] = (),
    ) -> "Pyramid":
        """Section 3's group rule: the divisor of input and level's output maps that is closest to `K_i^2 / K_1^2`.

        Of two equally close divisors the smaller one (more connectivity) is taken. The networks of the paper use
        1, 4, 8, 16 for 3, 5, 7, 9, about twice what this rule gives: those are `PYRAMIDS`.
        """
        levels = cls(kernels, split=split).levels(in_channels, out_channels)
        groups = tuple(_closest_groups(level, prod(level.kernel) / prod(levels[0].kernel)) for level in levels)
        return cls(kernels, groups, split)

    @property
    def dims(self) -> int | None:
        """Number of spatial dimensions that the kernels state; None when all are ints and fit any."""
        return next((len(k) for k in self.kernels if not isinstance(k, int)), None)

    def levels(self, in_channels: int, out_channels: int, dims: int | None = None) -> tuple[Level, ...]:
        """The rows of Equation 1 for `in_channels` -> `out_channels` maps.

        Int kernels become squares (cubes) of `dims` dimensions, by default what the kernels state, else 2. Raises
        `ValueError` naming the level and the valid group numbers, or the valid output maps.
        """
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a positive integer, got {value!r}")
        parts = sum(self.split)
        if out_channels % parts:
            raise ValueError(
                f"out_channels={out_channels} cannot be split {':'.join(map(str, self.split))} over "
                f"{len(self.kernels)} levels: use a multiple of {parts}"
            )
        return tuple(
            self._level(number, in_channels, out_channels * part // parts, dims or self.dims or 2)
            for number, part in enumerate(self.split, start=1)
        )

    def _level(self, number: int, in_channels: int, out_channels: int, dims: int) -> Level:
        kernel, groups = self.kernels[number - 1], self.groups[number - 1]
        if in_channels % groups or out_channels % groups:
            valid = ", ".join(map(str, divisors(gcd(in_channels, out_channels))))
            raise ValueError(
                f"level {number} (kernel {kernel}): groups={groups} must divide the {in_channels} input maps and "
                f"the level's {out_channels} output maps; valid groups: {valid}"
            )
        sizes = (kernel,) * dims if isinstance(kernel, int) else kernel
        if len(sizes) != dims:
            raise ValueError(f"level {number}: kernel {kernel} has {len(sizes)} dimensions, the convolution {dims}")
        return Level(sizes, in_channels, out_channels, groups)

    def top(self) -> "Pyramid":
        """Only the top level (largest kernel): the `top(4, 3, 2, 1)` row of Table 2."""
        return Pyramid(self.kernels[-1:], self.groups[-1:])


def divisors(n: int) -> list[int]:
    """All divisors of `n`, ascending."""
    return [d for d in range(1, n + 1) if n % d == 0]


def pyconv_params(
    pyramid: Pyramid, in_channels: int, out_channels: int, *, bias: bool = False, dims: int | None = None
) -> int:
    """Equation 1, left: `sum over levels of K^2 * FM_i / G * FM_o` (plus one bias per output map)."""
    levels = pyramid.levels(in_channels, out_channels, dims)
    return sum(level.params for level in levels) + (out_channels if bias else 0)


def pyconv_flops(pyramid: Pyramid, in_channels: int, out_channels: int, output_size: tuple[int, ...]) -> int:
    """Equation 1, right: `sum over levels of K^2 * FM_i / G * FM_o * (W * H)`, multiply-adds.

    `output_size`: (H, W) or (T, H, W) of the output maps.
    """
    return sum(level.flops(output_size) for level in pyramid.levels(in_channels, out_channels, len(output_size)))


def _closest_groups(level: Level, denominator: float) -> int:
    candidates = divisors(gcd(level.in_channels, level.out_channels))
    return min(candidates, key=lambda groups: (abs(groups - denominator), groups))


def _check_numbers(name: str, numbers: tuple[int, ...], levels: int) -> None:
    if len(numbers) != levels:
        raise ValueError(f"{name}={numbers} has {len(numbers)} entries for {levels} levels: give one a level")
    for number, value in enumerate(numbers, start=1):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"level {number}: {name} must be a positive integer, got {value!r}")


# Section 4 and Table 2: the pyramid of n levels.
PYRAMIDS: dict[int, Pyramid] = {
    1: Pyramid((3,)),
    2: Pyramid((3, 5), groups=(1, 4)),
    3: Pyramid((3, 5, 7), groups=(1, 4, 8), split=(1, 1, 2)),
    4: Pyramid((3, 5, 7, 9), groups=(1, 4, 8, 16)),
    5: Pyramid((3, 5, 7, 9, 11), groups=(1, 4, 8, 16, 16), split=(1, 1, 2, 2, 2)),
}

# Table 1, right column: PyConvHGResNet, stages 1 to 4 (32 groups at least, 64 at most).
HG_PYRAMIDS: tuple[Pyramid, ...] = (
    Pyramid((3, 5, 7, 9), groups=(32, 32, 32, 32)),
    Pyramid((3, 5, 7), groups=(32, 64, 64), split=(1, 1, 2)),
    Pyramid((3, 5), groups=(32, 64)),
    Pyramid((3,), groups=(32,)),
)

# Table 9: the video pyramids, time first.
VIDEO_PYRAMIDS: dict[int, Pyramid] = {
    1: Pyramid(((3, 3, 3),)),
    2: Pyramid(((3, 3, 3), (3, 5, 5)), groups=(1, 4)),
    3: Pyramid(((3, 3, 3), (3, 5, 5), (5, 7, 7)), groups=(1, 4, 8), split=(1, 1, 2)),
    4: Pyramid(((3, 3, 3), (3, 5, 5), (5, 7, 7), (7, 9, 9)), groups=(1, 4, 8, 16)),
}
