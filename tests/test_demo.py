"""The demo: everything below one folder, nothing of others touched; in full when there is time (slow)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from click.testing import CliRunner

from experiments import TABLES
from experiments.mini import mini_table
from results.evidence import Evidence
from results.records import default_root
from slurm import demo, profile
from slurm.cli import cli

LOCAL = profile.read(profile.SHIPPED / "local.toml")


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "thesis.txt").write_text("years of work")
    arguments = ["demo", "--output", str(tmp_path), *(["--fresh"] if fresh else [])]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert "--output" in result.stderr
    assert (tmp_path / "records" / "thesis.txt").exists()


def test_counts_of_the_checkout_are_copied_once_and_a_fresh_demo_forgets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = tmp_path / "committed"
    (committed / "counts").mkdir(parents=True)
    (committed / "counts" / "a.json").write_text("{}")
    monkeypatch.setenv("PYCONV_RECORDS", str(committed))
    out = tmp_path / "demo"
    records = demo.prepare(out, fresh=False)
    assert (records / "counts" / "a.json").read_text() == "{}"
    (records / "own.json").touch()
    before = files(out)
    demo.prepare(out, fresh=False)
    assert files(out).keys() == before.keys()
    assert files(out)[str(records / "counts" / "a.json")] == before[str(records / "counts" / "a.json")]
    demo.prepare(out, fresh=True)
    assert not (records / "own.json").exists()


@pytest.fixture
def small() -> Any:
    """Two rows of Table 2 whose experiments take seconds."""
    table = mini_table(TABLES[2])
    columns = tuple(replace(c, protocol=tiny.CROP if c.protocol else None) for c in table.columns)
    keep = [
        replace(table.row(key), experiment=tiny.experiment(epochs=1, seed=seed))
        for seed, key in enumerate(("baseline", "final"))
    ]
    return replace(table, columns=columns, rows=tuple(keep))


def test_two_rows_are_trained_rendered_and_not_repeated(
    tmp_path: Path, small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny.digits(tmp_path / "data")
    monkeypatch.setenv("PYCONV_DATA_DIGITS", str(data))
    committed = files(default_root())
    out = tmp_path / "out"
    done = demo.demo(out, LOCAL, table=small)
    assert done.ok
    assert done.page.is_file()
    assert [line[0] for line in done.lines] == [row.label for row in small.rows]
    for row, line in zip(small.rows, done.lines, strict=True):
        record = Evidence.load(out / "records").measurement(row.experiment, tiny.CROP)
        assert record is not None
        assert line[-1] == f"{record.metrics['top1_err'].value:.1f} %"
        assert line[-2] == "MATCH"
    assert done.lines[1][1:5] == ["24.85", "24.85", "3.88", "3.88"]
    pages = {path.name for path in out.iterdir() if path.is_file()}
    assert {f"table{number}.md" for number in range(1, 11)} | {"mini-table2.md", "verify.md", "verify.json"} <= pages
    assert json.loads((out / "verify.json").read_text())["summary"]["ok"]
    assert files(default_root()) == committed  # the checkout stays as it was
    records = files(out / "records")
    monkeypatch.setattr(demo.submit, "run", lambda *_, **__: pytest.fail("trained again"))
    assert demo.train(small, demo.prepare(out, fresh=False), out / "runs", LOCAL) == ()
    assert files(out / "records") == records


@pytest.mark.slow
def test_in_full_every_network_learns(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["demo", "--json", "--output", str(tmp_path / "demo")])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert len(content["rows"]) == len(TABLES[2].rows)
    assert {"MATCH": 50, "DEVIATION": 1}.items() <= content["counts"]["pairs"].items()
    for row in content["rows"]:
        assert float(row["top1_err"].split()[0]) < 45, row  # half of chance: of 1,000 guesses 900 are wrong
