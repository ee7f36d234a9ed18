"""The paper's sentences on the paper's printed numbers, with an evaluator of a dozen lines."""

from collections import Counter
from operator import eq, gt, lt

import pytest

from experiments import TABLES
from experiments.claims import CLAIMS, Cell, Claim, Difference, Layers, Ratio, Term
from experiments.spec import Row, Table

RELATIONS = {"<": lt, ">": gt, "==": eq}


def printed(term: Term | float) -> float | None:
    """What the page says; None where our copy is not readable and nothing else is known."""
    if isinstance(term, (int, float)):
        return term
    if isinstance(term, (Ratio, Difference)):
        left, right = printed(term.left), printed(term.right)
        if left is None or right is None:
            return None
        return left / right if isinstance(term, Ratio) else left - right
    table = TABLES[term.table]
    assert isinstance(table, Table)
    row = table.row(term.row, term.group)
    if isinstance(term, Layers):
        return row.experiment.model.depth
    value = dict(row.reference).get(term.column, table.published(row, table.column(term.column)))
    assert value != "-", f"{term} is a dash"
    return value


def holds(claim: Claim) -> bool | None:
    left, right = printed(claim.left), printed(claim.right)
    if left is None or right is None:
        return None
    if claim.relation == "~":
        return abs(left - right) <= claim.tolerance + 1e-9
    return RELATIONS[claim.relation](left, right)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.key)
def test_every_claim_holds_on_the_printed_numbers_or_is_not_readable(claim: Claim) -> None:
    result = holds(claim)
    if result is None:
        assert "lost in our copy" in claim.note
    else:
        assert result, (
            f"{claim.sentence} ({claim.source}): {printed(claim.left)} {claim.relation} {printed(claim.right)}"
        )


def test_only_ssd50_is_unreadable() -> None:
    unreadable = [claim.key for claim in CLAIMS if holds(claim) is None]
    assert len(unreadable) == 11  # twelve numbers of COCO, of which AP_L survived
    assert all(key.startswith("pyconvssd-beats-ssd/pyconvssd50/") for key in unreadable)


def test_there_are_25_sentences_each_with_its_place() -> None:
    sentences = {claim.sentence: claim for claim in CLAIMS}
    assert len(sentences) == 25
    assert {claim.key.split("/")[0] for claim in CLAIMS} == {c.key.split("/")[0] for c in sentences.values()}
    assert all(any(word in claim.source for word in ("abstract", "section", "appendix")) for claim in CLAIMS)
    assert all(sentence.endswith(".") for sentence in sentences)


def test_keys_are_unique() -> None:
    assert [key for key, n in Counter(claim.key for claim in CLAIMS).items() if n > 1] == []


def test_the_numbers_of_the_abstract() -> None:
    values = {claim.key.split("/")[1]: printed(claim.left) for claim in CLAIMS if "hg50-beats" in claim.key}
    assert values["params-ratio"] == pytest.approx(60.19 / 25.23)
    assert round(values["params-ratio"], 2) == 2.39
    assert round(values["flops-ratio"], 2) == 2.52
    assert values["layers-ratio"] == 152 / 50 > 3


def test_costs_that_the_appendix_states() -> None:
    ratios = {claim.key: printed(claim.left) for claim in CLAIMS if "-costs/" in claim.key}
    assert ratios["pspnet-costs/params-ratio"] == pytest.approx(49.06 / 34.40)
    assert ratios["deeplabv3-costs/flops-ratio"] == pytest.approx(1.2938, abs=1e-4)


def test_kind_says_whether_a_claim_needs_training() -> None:
    for claim in CLAIMS:
        columns = {cell.column for cell in cells(claim.left) + cells(claim.right)}
        assert (claim.kind == "count") == (columns <= {"params", "flops"})


def cells(term: Term | float) -> list[Cell]:
    if isinstance(term, (Ratio, Difference)):
        return cells(term.left) + cells(term.right)
    return [term] if isinstance(term, Cell) else []


def test_top5_of_the_abstracts_comparison_is_the_other_way_round_as_the_note_says() -> None:
    table = TABLES[3]
    top5 = table.column("top5_err")
    hg50, resnet152 = (table.published(table.row(*key), top5) for key in (("pyconvhgresnet", "50"), ("resnet", "152")))
    assert (hg50, resnet152) == (5.94, 5.74)
    [note] = {claim.note for claim in CLAIMS if claim.key.startswith("hg50-beats-resnet152/")}
    assert "5.94 and 5.74" in note


def test_state_of_the_art_compares_with_every_quoted_line_that_has_a_number() -> None:
    table = TABLES[7]

    def quoted(column: str) -> set[str]:
        lines: list[Row] = [row for row in table.rows if row.experiment is None]
        return {row.key for row in lines if isinstance(table.published(row, table.column(column)), float)}

    for column in ("miou", "test_score"):
        rivals = {c.right.row for c in CLAIMS if c.key.startswith("state-of-the-art/") and c.right.column == column}
        assert rivals == quoted(column)
