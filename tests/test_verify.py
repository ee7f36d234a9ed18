"""Verifying the paper's counts: 50 pairs match, one deviates and the ledger knows it; what drifts fails."""

import json
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

import experiments
from experiments.spec import Table, digest
from pyconv.architectures import pyconvresnet
from results import deviations
from results.counts import printed_counts
from results.evidence import Evidence
from results.records import CountRecord, count_path, read, write
from results.verification import Cell, Verification
from results.verify import record_counts, verify
from slurm import cli as command_line

TABLE2 = experiments.paper()[1]
TABLE9 = experiments.TABLES[9]


def only(table: Table, *keys: str) -> Table:
    """The table with some of its rows."""
    return replace(table, rows=tuple(row for row in table.rows if row.key in keys))


PAIR = only(TABLE2, "baseline", "final")


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Verification:
    return verify(experiments.paper(), Evidence.load(tmp_path_factory.mktemp("none")))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("records")
    assert len(record_counts([PAIR], root)) == 2
    return root


def edited(root: Path, target: Path, **changes) -> Evidence:
    """The records of `root` written to `target`, each with `changes`."""
    for path in sorted((root / "counts").iterdir()):
        record = read(path)
        assert isinstance(record, CountRecord)
        flops = {**record.flops, **changes.get("flops", {})}
        altered = replace(record, **{**changes, "flops": flops})
        write(altered, target / "counts" / path.name)
    return Evidence.load(target)


def test_fifty_distinct_pairs_match_and_one_deviates(paper: Verification) -> None:
    assert paper.summary["pairs"] == {"MATCH": 50, "DEVIATION": 1}
    assert paper.summary["networks"] == len(paper.pairs) == 51
    assert paper.ok
    assert [name for name, verdict in paper.pairs.items() if verdict == "DEVIATION"] == ["pyconvresnet3d50"]


def test_every_printed_count_is_a_cell(paper: Verification) -> None:
    printed = list(printed_counts(experiments.paper()))
    compared = [cell for cell in paper.cells if cell.convention in (None, "thop-2019")]
    assert [(c.table, c.row, c.group, c.metric) for c in compared] == [
        (e.table, e.row, e.group, e.column.metric) for e in printed
    ]
    assert sum(cell.published is None for cell in compared) == 2
    assert {cell.convention for cell in paper.cells if cell.metric == "flops"} == {"thop-2019", "macs", "fvcore"}


def test_a_cell_is_raw_and_its_delta_in_the_printed_unit(paper: Verification) -> None:
    params, thop, *_ = (c for c in paper.cells if (c.table, c.row, c.group) == ("table3", "resnet", "50"))
    assert (params.published, params.measured) == (25.56, 25_557_032)
    assert params.delta == pytest.approx(25.557032 - 25.56)
    assert thop.published == 4.14
    assert Decimal(thop.measured or 0) / 10**9 - Decimal("4.14") == pytest.approx(Decimal(repr(thop.delta)))


def test_the_deviation_holds_for_its_exact_integer_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    evidence = Evidence.load(tmp_path)
    cell = next(c for c in verify([TABLE9], evidence).cells if (c.row, c.metric) == ("PyConvResNet3D-50", "params"))
    assert (cell.verdict, cell.measured) == ("DEVIATION", 45_373_072)
    assert "174-way" in cell.reason
    (entry,) = (entry for entry in deviations.LEDGER if "table9/PyConvResNet3D-50/params" in entry.cells)
    for expected in (45_373_073, None):
        monkeypatch.setattr(deviations, "LEDGER", (replace(entry, expected=expected),))
        again = verify([TABLE9], evidence)
        assert not again.ok
        cell = next(c for c in again.cells if (c.row, c.metric) == ("PyConvResNet3D-50", "params"))
        assert cell.verdict == "FAILED"
        assert all(told in cell.reason for told in ("45,373,072", "44.91", "check first"))


def test_ssd50_is_held_against_the_computed_numbers(paper: Verification) -> None:
    cells = [c for c in paper.cells if c.row == "ssd50" and c.convention in (None, "thop-2019")]
    assert [(c.published, c.reference, c.measured) for c in cells] == [
        (None, 22.89, 22_894_902),
        (None, 20.92, 20_919_878_336),
    ]
    assert all(c.verdict == "MATCH" and c.reason.startswith("computed, not published") for c in cells)


def test_a_network_at_another_input_size_is_another_pair(paper: Verification) -> None:
    cells = [c for c in paper.cells if (c.table, c.row, c.convention) == ("table4", "pyconvresnet50", "thop-2019")]
    assert [(c.network, c.published) for c in cells] == [("pyconvresnet50", 3.88), ("pyconvresnet50@320", 7.91)]


def test_without_records_macs_and_fvcore_are_pending(paper: Verification) -> None:
    cells = [cell for cell in paper.cells if cell.convention in ("macs", "fvcore")]
    assert {cell.verdict for cell in cells} == {"PENDING"}
    assert all(cell.measured is None for cell in cells if cell.convention == "fvcore")


def test_recorded_counts_match_and_say_whether_they_were_counted_anew(recorded: Path) -> None:
    evidence = Evidence.load(recorded)
    for recount, told in ((False, "the recorded count, not counted anew"), (True, "equals the recorded count")):
        found = verify([PAIR], evidence, recount=recount)
        assert found.ok
        assert found.summary["cells"] == {"MATCH": 8}
        fvcore = [cell for cell in found.cells if cell.convention == "fvcore"]
        assert all(cell.reason.startswith(told) and cell.measured for cell in fvcore)


def test_records_are_written_once_and_hold_all_conventions(recorded: Path) -> None:
    assert record_counts([PAIR], recorded) == []
    record = Evidence.load(recorded).count(pyconvresnet(50))
    assert record is not None
    assert set(record.flops) == {"fvcore", "macs", "thop-2019"}
    assert [row["stage"] for row in record.stages] == ["stem", "stage1", "stage2", "stage3", "stage4", "head"]
    assert record.network_digest == digest(pyconvresnet(50))


@pytest.mark.parametrize(
    ("changes", "convention"),
    [
        ({"params": 25_557_033}, None),
        ({"flops": {"thop-2019": 4_142_713_881}}, "thop-2019"),
        ({"flops": {"macs": 4_089_184_255}}, "macs"),
        ({"flops": {"fvcore": 4_111_512_575}}, "fvcore"),
    ],
    ids=["params", "thop-2019", "macs", "fvcore"],
)
def test_a_drift_of_one_inside_the_printed_rounding_fails(
    recorded: Path, tmp_path: Path, changes: dict, convention: str | None
) -> None:
    evidence = edited(recorded, tmp_path, **changes)
    found = verify([only(TABLE2, "baseline")], evidence, recount=True)
    (cell,) = (cell for cell in found.cells if cell.verdict == "FAILED")
    assert not found.ok
    assert (cell.row, cell.convention) == ("baseline", convention)
    assert all(told in cell.reason for told in (f"counted {cell.measured:,}", "recorded", "check first"))


def test_changed_stages_are_a_problem(recorded: Path, tmp_path: Path) -> None:
    record = Evidence.load(recorded).count(pyconvresnet(50))
    assert record is not None
    stages = json.loads(json.dumps(record.stages))
    stages[1]["layers"][1]["dilation"] = [2, 2]
    write(replace(record, stages=stages), count_path(tmp_path, pyconvresnet(50), (3, 224, 224)))
    found = verify([experiments.TABLES[1]], Evidence.load(tmp_path))
    assert not found.ok
    assert found.problems == (
        "pyconvresnet50: the recorded stages differ from the built network's; recount it into a new record",
    )


def test_a_torn_record_is_a_problem(recorded: Path, tmp_path: Path) -> None:
    evidence = edited(recorded, tmp_path)
    path = sorted((tmp_path / "counts").iterdir())[0]
    path.write_text(path.read_text(encoding="utf-8")[:100], encoding="utf-8")
    found = verify([PAIR], Evidence.load(tmp_path))
    assert evidence.problems == ()
    assert not found.ok
    assert len(found.problems) == 1
    assert path.name in found.problems[0]


def test_a_network_that_cannot_be_counted_fails_with_the_reason() -> None:
    (row,) = only(TABLE2, "final").rows
    assert row.experiment is not None
    network = row.experiment.model
    broken = replace(network, stages=(replace(network.stages[0], width=60), *network.stages[1:]))
    table = replace(TABLE2, rows=(replace(row, experiment=replace(row.experiment, model=broken)),))
    found = verify([table], Evidence(Path("none")))
    assert {cell.verdict for cell in found.cells} == {"FAILED"}
    assert all("level 2" in cell.reason and cell.measured is None for cell in found.cells)


def test_the_printed_number_may_be_typed_wrong() -> None:
    (row,) = only(TABLE2, "final").rows
    table = replace(TABLE2, rows=(replace(row, published=(*row.published[:-1], 3.87)),))
    found = verify([table], Evidence(Path("none")))
    assert [(cell.metric, cell.published) for cell in found.cells if cell.verdict == "FAILED"] == [("flops", 3.87)]


def test_quoted_rows_are_skipped() -> None:
    quoted = replace(TABLE2, rows=(replace(TABLE2.rows[0], experiment=None),))
    assert verify([quoted], Evidence(Path("none"))).cells == ()


def test_each_distinct_network_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyconv.complexity as complexity

    calls = []
    count = complexity.count

    def counting(network, *arguments):
        calls.append(network)
        return count(network, *arguments)

    monkeypatch.setattr(complexity, "count", counting)
    steps: list[tuple[int, int, str]] = []
    verify([experiments.TABLES[1], TABLE2, PAIR], Evidence(Path("none")), progress=lambda *step: steps.append(step))
    assert len(calls) == len({digest(network) for network in calls}) == 9
    assert [step[:2] for step in steps] == [(number, 9) for number in range(1, 10)]


def test_two_networks_of_one_name_have_two_labels() -> None:
    baseline, final = PAIR.rows
    assert final.experiment is not None
    renamed = replace(final.experiment, model=replace(final.experiment.model, name="resnet50"))
    found = verify([replace(TABLE2, rows=(baseline, replace(final, experiment=renamed)))], Evidence(Path("none")))
    assert found.networks == ("resnet50", f"resnet50#{digest(renamed.model)}")
    assert found.summary["pairs"] == {"MATCH": 2}


def test_a_pair_is_as_bad_as_its_worse_half(paper: Verification) -> None:
    """Parameters stand for the network at every input size; without the FLOPs there is no pair."""
    cells = [c for c in paper.cells if c.network.startswith("pyconvresnet101")]
    wrong = [replace(c, verdict="FAILED") if c.metric == "params" else c for c in cells]
    assert replace(paper, cells=tuple(wrong)).pairs == {"pyconvresnet101": "FAILED", "pyconvresnet101@320": "FAILED"}
    wrong = [replace(c, verdict="FAILED") if c.network.endswith("@320") else c for c in cells]
    assert replace(paper, cells=tuple(wrong)).pairs == {"pyconvresnet101": "MATCH", "pyconvresnet101@320": "FAILED"}
    assert replace(paper, cells=tuple(c for c in cells if c.convention != "thop-2019")).pairs == {}


def test_json_holds_the_promised_keys(paper: Verification) -> None:
    content = json.loads(json.dumps(paper.to_json(), allow_nan=False))
    promised = {
        "table",
        "row",
        "group",
        "network",
        "metric",
        "convention",
        "published",
        "measured",
        "delta",
        "verdict",
        "reason",
    }
    assert all(promised <= set(cell) for cell in content["cells"])
    assert content["summary"]["pairs"] == {"MATCH": 50, "DEVIATION": 1}
    assert content["summary"]["ok"] is True


NASTY = 'a <b> & "c" | `d` \x00\x1b \ud800 é 日'


def nasty() -> Verification:
    cell = Cell("table2", NASTY, "", NASTY, "params", None, 1.0, None, None, "FAILED", NASTY)
    pending = replace(cell, row="x", metric="flops", convention="macs", verdict="PENDING")
    return Verification((cell, pending), (NASTY,), (NASTY,), 1.5)


def test_junit_is_valid_xml_whatever_the_text(tmp_path: Path) -> None:
    path = nasty().to_junit(tmp_path / "deep" / "verify.xml")
    root = ElementTree.parse(path).getroot()
    assert {key: root.get(key) for key in ("tests", "failures", "skipped")} == {
        "tests": "3",
        "failures": "2",
        "skipped": "1",
    }
    assert [suite.get("name") for suite in root] == ["table2", "evidence"]
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.get("message") == 'a <b> & "c" | `d` ?? ? é 日'


def test_junit_has_a_case_a_cell(paper: Verification, tmp_path: Path) -> None:
    root = ElementTree.parse(paper.to_junit(tmp_path / "verify.xml")).getroot()
    cases = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert len(cases) == len(set(cases)) == len(paper.cells)
    assert root.get("failures") == "0"


def test_the_markdown_summary_escapes_and_leads_with_the_verdict(paper: Verification) -> None:
    text = paper.to_summary()
    assert text.startswith("## Counts of the paper: ok\n")
    assert "50 MATCH, 1 DEVIATION" in text
    assert "- **DEVIATION** table9/PyConvResNet3D-50 pyconvresnet3d50 params: counted 45,373,072" in text
    rows = [line for line in nasty().to_summary().splitlines() if line.startswith("|")]
    assert len({line.replace(r"\|", "").count("|") for line in rows}) == 1
    assert "<b>" not in nasty().to_summary().replace(r"\<b\>", "")


def test_the_terminals_table_has_a_line_a_row(paper: Verification) -> None:
    text = paper.to_text()
    assert text.splitlines()[-1] == paper.headline()
    assert sum(line.startswith("table3/") for line in text.splitlines()) == 24
    assert "25,557,032" in text


def test_importing_verify_loads_no_torch() -> None:
    code = "import sys, results.verify, results.bench_counting; sys.exit(bool({'torch', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(("recount", "seconds"), [(False, 10), (True, 60)])
def test_verifying_everything_stays_in_its_time(tmp_path: Path, recount: bool, seconds: int) -> None:
    """Processor time, import of torch included: what the wall clock shows on an idle machine."""
    code = (
        "import sys, time, experiments; from pathlib import Path; from results.evidence import Evidence; "
        "from results.verify import verify; "
        f"found = verify(experiments.tables(), Evidence.load(Path(sys.argv[1])), recount={recount}); "
        "assert found.summary['pairs'] == {'MATCH': 50, 'DEVIATION': 1}; print(time.process_time())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) <= seconds
    assert done.stderr == ""


def test_several_targets_are_counted_each_row_once() -> None:
    def told(*targets: str) -> list[str]:
        done = CliRunner().invoke(command_line.cli, ["verify", *targets, "--json"])
        assert done.exit_code == 0, done.output
        cells = json.loads(done.stdout)["cells"]
        return [f"{cell['table']}/{cell['row']}/{cell['metric']}/{cell['convention']}" for cell in cells]

    assert told("table10", "table9") == told("table10") + told("table9")
    assert told("table2/final", "table2") == [
        *told("table2/final"),
        *(target for target in told("table2") if target not in told("table2/final")),
    ]
    assert CliRunner().invoke(command_line.cli, ["verify", "table9", "tabel10"]).exit_code == 2
