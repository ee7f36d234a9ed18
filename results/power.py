"""How large a loss must be to be seen: the probability that a true difference is called one, and its inverse.

With the noise of `results.noise` (E, S, f, rounding h) and a true difference d, delta is N(d, E^2 + S^2) and is called
different in d's direction when it is beyond band(level). Where the spread is assumed (f = 0) the band is fixed:

    power(d) = Phi((d - band) / sqrt(E^2 + S^2))

Where it is estimated from f + 1 seeds, the band scatters as S^2 chi^2_f / f does, and the power is the mean over it.
"""

from collections.abc import Sequence
from functools import cache
from math import erfc, hypot, sqrt
from statistics import fmean

from results.noise import Noise, normal_quantile, student_quantile

STRATA = 100  # equally likely slices of the chi-square distribution
WANTED = 0.8


def power(difference: float, noise: Noise, level: float) -> float:
    """The probability that a true `difference` > 0 exceeds the band at `level` on its own side."""
    return _power(difference, hypot(noise.normal, noise.student), _bands(noise, level), noise.rounding)


def detectable(noise: Noise, level: float, wanted: float = WANTED) -> float:
    """The true difference that is called one with the probability `wanted`."""
    spread, bands = hypot(noise.normal, noise.student), _bands(noise, level)
    low, high = 0.0, max(noise.band(level), 1e-9)
    while _power(high, spread, bands, noise.rounding) < wanted:
        high *= 2
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _power(middle, spread, bands, noise.rounding) < wanted else (low, middle)
    return high


def _power(difference: float, spread: float, bands: Sequence[float], rounding: float) -> float:
    if not spread:
        return float(difference > rounding)
    return fmean(erfc((band - difference) / spread / sqrt(2)) / 2 for band in bands)


def _bands(noise: Noise, level: float) -> list[float]:
    """The band where it is fixed; where seeds estimate it, one for each of `STRATA` equally likely estimates."""
    if not noise.student:
        return [noise.band(level)]
    normal = normal_quantile(level) * noise.normal
    student = student_quantile(level, noise.degrees) * noise.student
    return [noise.rounding + hypot(normal, student * factor) for factor in _factors(noise.degrees)]


@cache
def _factors(degrees: int) -> tuple[float, ...]:
    """sqrt(chi^2 / degrees), one for each of `STRATA` equally likely values of it."""
    from scipy.special import chdtri

    return tuple(sqrt(float(chdtri(degrees, (n + 0.5) / STRATA)) / degrees) for n in range(STRATA))
