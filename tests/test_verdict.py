"""Verdicts against arithmetic, statistical tables and simulation."""

import random
from dataclasses import replace
from decimal import Decimal
from math import sqrt

import pytest

from experiments.spec import Column
from results.deviations import Deviation
from results.noise import RERUN_SD, Spread, binomial_se, student_quantile
from results.verdict import Judgement, compared, count_verdict, measured_verdict, printed

TOP1 = Column("top1_err", "top-1", "top1_err", "lower", noise="binomial")
MIOU = Column("miou", "mean IoU", "miou", "higher", noise="segmentation")
PARAMS = Column("params", "params", "params", "lower", unit="M", scale=1e6)
FLOPS = Column("flops", "GFLOPs", "flops", "lower", unit="G", scale=1e9)
Z = 1.959964
IMAGES = 50_000


def judge(
    *values: float,
    published: float = 22.12,
    column: Column = TOP1,
    n: int = IMAGES,
    se: float | None = None,
    deviation: Deviation | None = None,
    pool: Spread | None = None,
    level: float = 0.05,
    tested: int = 1,
) -> Judgement:
    """The verdict on seeds' `values`; the mean of their binomial errors where no `se` is given."""
    if se is None and column.noise == "binomial":
        se = sum(binomial_se(value, n) for value in values) / len(values)
    return measured_verdict(compared(values, se, n, published, column, pool), column, deviation, level, tested)


@pytest.mark.parametrize(
    ("raw", "column", "expected"),
    [
        (25_557_032, PARAMS, "25.56"),
        (4_144_999_999, FLOPS, "4.14"),
        (4_145_000_000, FLOPS, "4.15"),  # half up, where round() and "%.2f" say 4.14
        (12_345_000, PARAMS, "12.35"),
        (0, PARAMS, "0.00"),
        (2.675, TOP1, "2.68"),  # the double is 2.67499999...; what was written is 2.675
        (22.115, TOP1, "22.12"),
    ],
)
def test_printed_rounds_half_up(raw: float, column: Column, expected: str) -> None:
    assert printed(raw, column) == Decimal(expected)


@pytest.mark.parametrize(
    ("raw", "published", "verdict"),
    [
        (25_557_032, 25.56, "MATCH"),
        (25_555_000, 25.56, "MATCH"),
        (25_554_999, 25.56, "FAILED"),
        (25_564_999, 25.56, "MATCH"),
        (25_565_000, 25.56, "FAILED"),
    ],
)
def test_a_count_matches_to_the_last_printed_digit(raw: int, published: float, verdict: str) -> None:
    judged = count_verdict(raw, published, PARAMS, None)
    assert judged.verdict == verdict
    assert judged.delta == pytest.approx(raw / 1e6 - published)
    assert judged.band == pytest.approx(0.005)


def test_the_ledger_excuses_one_integer_only() -> None:
    known = Deviation("head", ("table10/x/params",), "a 174-way head", "counted", expected=45_373_072)
    excused = count_verdict(45_373_072, 44.91, PARAMS, known)
    assert excused.verdict == "DEVIATION"
    assert "174-way" in excused.reason
    assert excused.delta == pytest.approx(0.463072)
    other = count_verdict(45_373_073, 44.91, PARAMS, known)
    assert other.verdict == "FAILED"
    assert "expects 45,373,072" in other.reason
    assert count_verdict(44_909_998, 44.91, PARAMS, known).verdict == "MATCH"


def test_one_seed_uses_the_stated_formula_and_says_so() -> None:
    published, measured, n = 22.12, 22.30, 50_000
    judged = judge(measured)
    ours, theirs = (measured * (100 - measured) / n) ** 0.5, (published * (100 - published) / n) ** 0.5
    band = 0.005 + Z * sqrt(ours**2 + theirs**2 + 2 * (0.25 / 1.96) ** 2)
    assert judged.band == pytest.approx(band, rel=1e-6)
    assert judged.delta == pytest.approx(0.18)
    assert judged.verdict == "INCONCLUSIVE"
    assert "one seed" in judged.reason
    assert "50,000" in judged.reason


def test_seeds_use_the_t_interval() -> None:
    judged = judge(22.0, 22.3, 22.6, se=0.2)  # standard deviation 0.3
    theirs = (22.12 * 77.88 / 50_000) ** 0.5
    spread = 4.302653 * 0.3 * sqrt(1 + 1 / 3)
    assert judged.band == pytest.approx(0.005 + sqrt(Z**2 * (0.2**2 + theirs**2) + spread**2), rel=1e-6)
    assert judged.delta == pytest.approx(0.18)
    assert "3 seeds" in judged.reason


def test_the_seeds_of_the_recipe_sharpen_a_row_s_interval_and_it_says_so() -> None:
    """Three seeds with 16 degrees of freedom behind them: t = 2.120 instead of 4.303."""
    judged = judge(22.0, 22.3, 22.6, se=0.2, pool=Spread(0.25, 16))
    theirs = (22.12 * 77.88 / 50_000) ** 0.5
    spread = 2.119905 * 0.3 * sqrt(1 + 1 / 3)  # its own 0.3 is more than the pool's 0.25
    assert judged.band == pytest.approx(0.005 + sqrt(Z**2 * (0.2**2 + theirs**2) + spread**2), rel=1e-6)
    assert "16 degrees of freedom" in judged.reason


def test_many_cells_widen_the_band_and_are_said() -> None:
    alone, among = judge(22.97), judge(22.97, level=0.05 / 16, tested=16)
    assert (alone.verdict, among.verdict) == ("WORSE", "INCONCLUSIVE")
    assert alone.band is not None
    assert among.band is not None
    assert (among.band - 0.005) / (alone.band - 0.005) == pytest.approx(2.9552 / Z, rel=1e-4)  # z at 0.05 / 16 / 2
    assert "16 cells tested together" in among.reason
    assert "together" not in alone.reason


def test_other_metrics_take_their_recorded_error_for_both_sides() -> None:
    judged = judge(44.0, published=44.36, column=MIOU, n=2000, se=0.5)
    assert judged.band == pytest.approx(0.005 + Z * sqrt(2 * 0.5**2 + 2 * RERUN_SD["segmentation"] ** 2), rel=1e-6)
    unknown = judge(44.0, published=44.36, column=MIOU, n=2000)
    assert "evaluation noise not known" in unknown.reason


@pytest.mark.parametrize(
    ("column", "measured", "verdict"),
    [
        (TOP1, 25.0, "WORSE"),
        (TOP1, 19.0, "BETTER"),
        (TOP1, 22.1249, "MATCH"),
        (TOP1, 22.115, "MATCH"),
        (TOP1, 22.125, "INCONCLUSIVE"),
        (TOP1, 22.97, "WORSE"),
        (TOP1, 0.0, "BETTER"),
        (TOP1, 100.0, "WORSE"),
        (replace(TOP1, better="higher"), 25.0, "BETTER"),
        (replace(TOP1, better="higher"), 19.0, "WORSE"),
    ],
)
def test_the_direction_decides(column: Column, measured: float, verdict: str) -> None:
    assert judge(measured, column=column).verdict == verdict


def test_a_known_drop_is_a_deviation_once_it_exceeds_the_noise() -> None:
    known = Deviation("label", ("table2/x/top1_err",), "another label set", "seen")
    assert judge(30.0, deviation=known).verdict == "DEVIATION"
    assert judge(22.2, deviation=known).verdict == "INCONCLUSIVE"


def test_the_page_s_own_example() -> None:
    """22.98 against 22.97 says nothing, 23.88 against 22.12 does (both over 50,000 images, one run each)."""
    assert judge(22.98, published=22.97).verdict == "INCONCLUSIVE"
    assert judge(23.88).verdict == "WORSE"


@pytest.mark.parametrize(
    ("degrees", "table"),  # two-sided 95%, from any printed t table
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (10, 2.228), (30, 2.042), (120, 1.980)],
)
def test_student_quantiles(degrees: int, table: float) -> None:
    assert student_quantile(0.05, degrees) == pytest.approx(table, abs=6e-4)


def test_binomial_sigma_of_imagenet() -> None:
    assert binomial_se(23.0, 50_000) == pytest.approx(0.188, abs=5e-4)
    assert binomial_se(0.0, 50_000) == 0


def verdicts(seeds: int, shift: float, run_sd: float, trials: int = 3000) -> dict[str, float]:
    """Rates of the verdicts when run errors are N(22.12 (+ shift for ours), run_sd), tested on 50,000 images."""
    generator = random.Random(seeds)
    rates: dict[str, float] = {}

    def run(mean: float) -> float:
        error = generator.gauss(mean, run_sd)
        return generator.gauss(error, binomial_se(error, IMAGES))

    for _ in range(trials):
        published = round(run(22.12), 2)
        verdict = judge(*(run(22.12 + shift) for _ in range(seeds)), published=published).verdict
        rates[verdict] = rates.get(verdict, 0) + 1 / trials
    return rates


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_truly_equal_runs_are_called_worse_at_most_at_the_stated_rate(seeds: int) -> None:
    rates = verdicts(seeds, shift=0.0, run_sd=RERUN_SD["binomial"])
    allowed = 0.025 + 3 * sqrt(0.025 * 0.975 / 3000)
    assert rates.get("WORSE", 0) <= allowed
    assert rates.get("BETTER", 0) <= allowed


def test_the_rate_holds_for_unstable_training_when_seeds_are_run() -> None:
    """Runs that scatter five times more than assumed: the seeds show it; one seed would not, and says "assumed"."""
    allowed = 0.025 + 3 * sqrt(0.025 * 0.975 / 3000)
    assert verdicts(3, shift=0.0, run_sd=5 * RERUN_SD["binomial"]).get("WORSE", 0) <= allowed
    assert verdicts(1, shift=0.0, run_sd=5 * RERUN_SD["binomial"]).get("WORSE", 0) > allowed
