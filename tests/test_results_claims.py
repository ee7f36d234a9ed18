"""Sentences of the paper: arithmetic on the printed numbers, the same rule on measured ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evidence import CROP, SHA, save, save_count

from experiments import TABLES
from experiments.claims import CLAIMS, Cell, Claim, Difference, Layers, Ratio
from experiments.recipes import imagenet
from experiments.spec import Column, Experiment, Row, Table
from pyconv.architectures import pyconvresnet, resnet
from results.cells import build
from results.claims import Judged, Sentence, evaluate
from results.evidence import Evidence

TOP1 = Column("top1_err", "top-1", "top1_err", "lower", noise="binomial", protocol=CROP)
PARAMS = Column("params", "params", "params", "lower", unit="M", scale=1e6)
NOWHERE = Evidence.load(Path("nowhere"))
OLD, NEW = imagenet(resnet(50)), imagenet(pyconvresnet(50))
TABLE = Table(
    number=2,
    caption="two networks",
    columns=(TOP1, PARAMS),
    rows=(
        Row("old", "ResNet", OLD, (23.88, 25.56)),
        Row("new", "PyConv", NEW, (22.12, 24.85)),
        Row("close", "close", imagenet(resnet(101)), (22.05, 25.56)),
        Row("quoted", "theirs", None, (25.00, 30.00)),
        Row("lost", "lost", imagenet(resnet(152)), (None, None), reference=(("params", 60.19),)),
    ),
)


def at(row: str, column: str = "top1_err") -> Cell:
    return Cell(2, row, column)


def judge(claim: Claim, records: Path = Path("nowhere")) -> tuple[Judged, Judged]:
    """The claim judged on the printed and on the measured numbers."""
    found = Evidence.load(records)
    (sentence,) = evaluate([TABLE], build([TABLE], found), found, [claim])
    (part,) = sentence.parts
    return part.published, part.measured


def claim(left: Cell | Layers | Ratio | Difference, relation: str, right: object, tolerance: float = 0.0) -> Claim:
    return Claim("key/part", "They say so.", "section 6", left, relation, right, "measured", tolerance)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("left", "relation", "right", "tolerance", "verdict"),
    [
        (at("new"), "<", at("old"), 0.0, "MATCH"),  # 1.76 points apart
        (at("old"), "<", at("new"), 0.0, "FAILED"),
        (at("old"), ">", at("new"), 0.0, "MATCH"),
        (at("close"), "<", at("new"), 0.0, "INCONCLUSIVE"),  # 0.07 points apart
        (at("close"), ">", at("new"), 0.0, "INCONCLUSIVE"),
        (at("new", "params"), "<", at("old", "params"), 0.0, "MATCH"),
        (at("old", "params"), "<", at("new", "params"), 0.0, "FAILED"),
        (at("old", "params"), "<", at("close", "params"), 0.0, "FAILED"),  # equal is not fewer
        (at("old", "params"), "==", at("close", "params"), 0.0, "MATCH"),
        (at("old", "params"), "==", at("new", "params"), 0.0, "FAILED"),
        (Ratio(at("old", "params"), at("new", "params")), "~", 1.03, 0.005, "MATCH"),  # 25.56 / 24.85 = 1.0286
        (Ratio(at("old", "params"), at("new", "params")), "~", 1.04, 0.005, "FAILED"),
        (Difference(at("old"), at("new")), "~", 1.76, 0.0, "MATCH"),
        (Difference(at("old"), at("new")), "~", 1.9, 0.01, "INCONCLUSIVE"),
        (Difference(at("old"), at("new")), "~", 5.0, 0.01, "FAILED"),
        (Ratio(Layers(2, "close"), Layers(2, "old")), ">", 2, 0.0, "MATCH"),  # 101 / 50
        (at("quoted"), ">", at("old"), 0.0, "MATCH"),
        (at("lost"), "<", at("old"), 0.0, None),
        (at("lost", "params"), ">", at("old", "params"), 0.0, "MATCH"),  # computed where not readable
    ],
)
def test_on_the_printed_numbers(
    left: Cell, relation: str, right: object, tolerance: float, verdict: str | None
) -> None:
    published, _ = judge(claim(left, relation, right, tolerance))
    assert published.verdict == verdict


def test_the_text_shows_the_arithmetic() -> None:
    published, measured = judge(claim(at("new"), "<", at("old")))
    assert published.text == "22.12 < 23.88"
    assert measured == Judged("pending < pending", "PENDING")
    ratio, _ = judge(claim(Ratio(at("old", "params"), at("new", "params")), "~", 1.03, 0.005))
    assert ratio.text == "25.56 / 24.85 = 1.03 ≈ 1.03"


def test_on_measured_numbers(tmp_path: Path) -> None:
    wanted = claim(at("new"), "<", at("old"))
    save(tmp_path, OLD, errors=(23.9, 7.0))
    assert judge(wanted, tmp_path)[1].verdict == "PENDING"
    save(tmp_path, NEW, errors=(22.1, 6.2))
    assert judge(wanted, tmp_path)[1] == Judged("22.10 < 23.90", "MATCH")
    assert judge(claim(at("new"), ">", at("old")), tmp_path)[1].verdict == "FAILED"
    assert judge(claim(at("new"), "<", at("quoted")), tmp_path)[1] == Judged("22.10 < 25.00", "MATCH")


def test_seeds_that_scatter_widen_the_noise(tmp_path: Path) -> None:
    for seed, (old, new) in enumerate([(23.0, 20.0), (24.0, 24.5), (25.0, 22.0)]):
        save(tmp_path, replace(OLD, seed=seed), errors=(old, 7.0))
        save(tmp_path, replace(NEW, seed=seed), errors=(new, 6.0))
    assert judge(claim(at("new"), "<", at("old")), tmp_path)[1].verdict == "INCONCLUSIVE"


def save_images(root: Path, experiment: Experiment, right: np.ndarray, seed: int = 0, sha256: str = SHA) -> None:
    splits = {"val": {"samples": len(right), "classes": 1000, "sha256": sha256}}
    data = {"name": "imagenet", "splits": splits}
    save(root, replace(experiment, seed=seed), right={"top1_err": right.tolist()}, data=data)


def images(errors: int, *, first: int = 0) -> np.ndarray:
    """50,000 images of which `errors`, from number `first` on, are wrong."""
    right = np.ones(50_000, bool)
    right[first : first + errors] = False
    return right


def test_two_networks_on_the_same_images_are_compared_in_pairs(tmp_path: Path) -> None:
    """23.0 against 22.5 percent: as independent numbers within the noise, but one network's errors hold the other's.

    Independent: 1.96 sqrt(0.188^2 + 0.187^2 + 2 * 0.128^2) = 0.63. In pairs: b + c = 250, se = 0.032, and
    1.96 sqrt(0.032^2 + 2 * 0.128^2) = 0.36.
    """
    wanted = claim(at("new"), "<", at("old"))
    independent, paired = tmp_path / "independent", tmp_path / "paired"
    for root, sha256 in ((independent, "b" * 64), (paired, SHA)):
        save_images(root, OLD, images(11_500))
        save_images(root, NEW, images(11_250), sha256=sha256)
    assert judge(wanted, independent)[1] == Judged("22.50 < 23.00", "INCONCLUSIVE")
    assert judge(wanted, paired)[1] == Judged("22.50 < 23.00", "MATCH")
    assert judge(claim(at("new"), ">", at("old")), paired)[1].verdict == "FAILED"
    difference = Difference(at("old"), at("new"))
    assert judge(claim(difference, ">", 0.4), paired)[1].verdict == "INCONCLUSIVE"  # 0.5 +- 0.36
    assert judge(claim(difference, ">", 0.1), paired)[1].verdict == "MATCH"
    assert judge(claim(difference, ">", 0.1), independent)[1].verdict == "INCONCLUSIVE"


def test_errors_on_different_images_pair_to_more_noise_not_less(tmp_path: Path) -> None:
    """b = 11,500 and c = 10,850 do not overlap: se = 0.299, +-0.69, where independent numbers would have +-0.63."""
    save_images(tmp_path, OLD, images(11_500))
    save_images(tmp_path, NEW, images(10_850, first=20_000))  # 1.3 points fewer
    difference = Difference(at("old"), at("new"))
    assert judge(claim(difference, ">", 0.55), tmp_path)[1].verdict == "MATCH"
    assert judge(claim(difference, ">", 0.64), tmp_path)[1].verdict == "INCONCLUSIVE"


def test_the_spread_over_seeds_stays_in_a_paired_comparison(tmp_path: Path) -> None:
    """Half a point between the means, seeds at +-0.4: t = 12.7 for two seeds, whatever the images say."""
    for seed, shift in enumerate((-200, 200)):
        save_images(tmp_path, OLD, images(11_500 + shift), seed)
        save_images(tmp_path, NEW, images(11_250 + shift), seed)
    assert judge(claim(at("new"), "<", at("old")), tmp_path)[1] == Judged("22.50 < 23.00", "INCONCLUSIVE")


def test_counts_are_exact_integers_when_measured(tmp_path: Path) -> None:
    save_count(tmp_path, resnet(50), 25_557_032, 4_142_713_880)
    save_count(tmp_path, pyconvresnet(50), 25_557_031, 3_877_433_368)
    _, fewer = judge(claim(at("new", "params"), "<", at("old", "params")), tmp_path)
    assert fewer.verdict == "MATCH"
    _, same = judge(claim(at("new", "params"), "==", at("old", "params")), tmp_path)
    assert same.verdict == "MATCH"  # equal as printed


def test_a_sentence_is_as_good_as_its_weakest_part() -> None:
    good, close = claim(at("new"), "<", at("old")), claim(at("close"), "<", at("new"))
    bad = claim(at("old"), "<", at("new"))
    cells = build([TABLE], NOWHERE)

    def overall(*claims: Claim) -> str | None:
        (sentence,) = evaluate([TABLE], cells, NOWHERE, claims)
        return sentence.on_published

    assert overall(good) == "MATCH"
    assert overall(good, close) == "INCONCLUSIVE"
    assert overall(good, close, bad) == "FAILED"


def test_a_report_of_some_rows_leaves_out_sentences_about_others() -> None:
    part = replace(TABLE, rows=TABLE.rows[:1])
    assert evaluate([part], build([part], NOWHERE), NOWHERE, [claim(at("new"), "<", at("old"))]) == []


def sentences() -> dict[str, Sentence]:
    tables = list(TABLES.values())
    return {sentence.key: sentence for sentence in evaluate(tables, build(tables, NOWHERE), NOWHERE)}


def test_every_sentence_of_the_paper_is_judged_and_none_contradicts_the_tables() -> None:
    found = sentences()
    assert {claim.key.split("/")[0] for claim in CLAIMS} == set(found)
    assert len(found) >= 12
    assert [key for key, sentence in found.items() if sentence.on_published == "FAILED"] == []
    assert {sentence.on_measured for sentence in found.values()} <= {"PENDING", "EXTERNAL"}


def test_the_abstract_s_claim_lies_within_the_noise_of_one_run() -> None:
    """21.52 against 21.55 says nothing; the ratios 60.19/25.23 = 2.39 and 11.62/4.61 = 2.52 hold exactly."""
    abstract = sentences()["hg50-beats-resnet152"]
    verdicts = {part.claim.key.split("/")[1]: part.published.verdict for part in abstract.parts}
    assert verdicts == {
        "top1_err": "INCONCLUSIVE",
        "params-ratio": "MATCH",
        "flops-ratio": "MATCH",
        "layers-ratio": "MATCH",
    }
