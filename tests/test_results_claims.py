"""Sentences of the paper: arithmetic on the printed numbers, the same rule on measured ones."""

from dataclasses import replace
from pathlib import Path

import pytest
from evidence import CROP, save, save_count

from experiments import TABLES
from experiments.claims import CLAIMS, Cell, Claim, Difference, Layers, Ratio
from experiments.recipes import imagenet
from experiments.spec import Column, Row, Table
from pyconv.architectures import pyconvresnet, resnet
from results.cells import build
from results.claims import Judged, Sentence, evaluate
from results.records import Evidence

TOP1 = Column("top1_err", "top-1", "top1_err", "lower", noise="binomial", protocol=CROP)
PARAMS = Column("params", "params", "params", "lower", unit="M", scale=1e6)
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
    cells = build([TABLE], Evidence.load(records))
    (sentence,) = evaluate([TABLE], cells, [claim])
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
    cells = build([TABLE], Evidence.load(Path("nowhere")))

    def overall(*claims: Claim) -> str | None:
        (sentence,) = evaluate([TABLE], cells, claims)
        return sentence.on_published

    assert overall(good) == "MATCH"
    assert overall(good, close) == "INCONCLUSIVE"
    assert overall(good, close, bad) == "FAILED"


def test_a_report_of_some_rows_leaves_out_sentences_about_others() -> None:
    part = replace(TABLE, rows=TABLE.rows[:1])
    assert evaluate([part], build([part], Evidence.load(Path("nowhere"))), [claim(at("new"), "<", at("old"))]) == []


def sentences() -> dict[str, Sentence]:
    tables = list(TABLES.values())
    return {sentence.key: sentence for sentence in evaluate(tables, build(tables, Evidence.load(Path("nowhere"))))}


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
