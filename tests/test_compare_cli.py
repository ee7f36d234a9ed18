"""`pyconv compare` and `pyconv merge` as a person meets them: exit codes, what is told where, mistakes explained."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from evidence import EXPERIMENT, save

from experiments import tables
from experiments.spec import Table
from results.evidence import Evidence
from slurm.cli import cli


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def refused(*arguments: Any) -> str:
    """What a wrong use is told, on stderr, with nothing on stdout."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return " ".join(result.stderr.split())


def put(root: Path, *errors: float, side: str = "a") -> None:
    for seed, error in enumerate(errors):
        checkpoint = {"sha256": f"{side}{seed}".ljust(64, "0"), "epochs": 90}
        save(root, replace(EXPERIMENT, seed=seed), errors=(error, 7.0), checkpoint=checkpoint)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with the same experiment, equal within the noise."""
    put(tmp_path / "a", 23.0, 23.1, 23.2)
    put(tmp_path / "b", 23.1, 23.2, 23.3, side="b")
    return tmp_path / "a", tmp_path / "b"


def test_equal_sides_exit_0_and_the_summary_is_for_the_person(sides: tuple[Path, Path]) -> None:
    result = call("compare", *sides, "table3/resnet/50")
    assert result.exit_code == 0, result.output
    assert "EQUAL WITHIN NOISE" in result.stdout
    assert result.stderr.strip().endswith("2 cells on both sides: 2 EQUAL WITHIN NOISE; 2 on neither")


def test_a_difference_exits_1_in_every_format(sides: tuple[Path, Path], tmp_path: Path) -> None:
    put(tmp_path / "c", 27.1, 27.2, 27.3, side="c")
    for options in ([], ["--json"], ["--format", "json"], ["--format", "csv"], ["--format", "md"]):
        result = call("compare", sides[0], tmp_path / "c", "table3", *options)
        assert result.exit_code == 1, result.output
        assert "LEFT BETTER" in result.stdout
    content = json.loads(call("compare", sides[0], tmp_path / "c", "--json").stdout)
    assert {table["name"] for table in content["tables"]} == {"table2", "table3"}  # one training, in several tables
    lines = csv.DictReader(io.StringIO(call("compare", sides[0], tmp_path / "c", "table3", "--format", "csv").stdout))
    assert next(lines)["target"] == "table3/resnet/50/top1_err"


def test_mistakes_in_comparing(sides: tuple[Path, Path], tmp_path: Path) -> None:
    left, right = sides
    (tmp_path / "empty").mkdir()
    assert "LEFT: table3 is not there" in refused("compare", "table3", left, right).replace("'", "")
    assert f"RIGHT: {tmp_path / 'typo'} is not there" in refused("compare", left, tmp_path / "typo").replace("'", "")
    assert "two folders are compared" in refused("compare", left, left)
    assert "table3/resnet/50" in refused("compare", left, right, "table3/resnt/50")
    assert "--json and --format csv" in refused("compare", left, right, "--json", "--format", "csv")
    assert "no cell of all has a number in both folders (" in refused("compare", left, tmp_path / "empty")
    assert "only left" in refused("compare", left, tmp_path / "empty")
    assert "none on either side" in refused("compare", left, right, "table5")


def test_forgotten_mini_is_hinted_at(tmp_path: Path) -> None:
    (small, *_) = tables(mini=True)
    assert isinstance(small, Table)
    row = small.rows[0]
    protocol = small.protocol(row, small.columns[0])
    assert row.experiment is not None
    assert protocol is not None
    for side, sha in (("a", "a" * 64), ("b", "b" * 64)):
        checkpoint = {"sha256": sha, "epochs": 2}
        save(tmp_path / side, row.experiment, protocol, errors=(25.0, 3.0), mini=True, checkpoint=checkpoint)
    assert "add --mini" in refused("compare", tmp_path / "a", tmp_path / "b")
    result = call("compare", tmp_path / "a", tmp_path / "b", "--mini")
    assert result.exit_code == 0, result.output
    assert "assumed to be 2.16" in result.stdout
    for side in ("a", "b"):
        put(tmp_path / side, 23.0)
    assert "--mini compares those" in call("compare", tmp_path / "a", tmp_path / "b").stderr
    assert "--mini compares" not in result.stderr


def test_comparing_and_merging_load_no_torch(sides: tuple[Path, Path]) -> None:
    program = (
        "import sys\nfrom slurm.cli import main\ntry: main()\nfinally: print('\\n', *sys.modules, file=sys.stderr)"
    )
    for arguments in (["compare", *sides, "table3"], ["merge", sides[0], "--into", sides[0].parent / "all"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=True
        )
        assert "torch" not in done.stderr.split()


def test_merging_tells_each_file_and_ends_in_a_summary(sides: tuple[Path, Path], tmp_path: Path) -> None:
    into = tmp_path / "all"
    planned = call("merge", *sides, "--into", into, "--dry-run")
    assert not into.exists()
    result = call("merge", *sides, "--into", into)
    assert (planned.exit_code, result.exit_code) == (1, 1)  # the same seeds, trained twice
    assert planned.stdout == result.stdout
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["copied"] * 3 + ["conflict"] * 3
    assert "top1_err 23 here, 23.1 there; weights a00000000000 here, b00000000000 there" in lines[3]
    assert "3 copied, 0 already there, 3 in conflict, 0 invalid" in result.stderr
    assert "a dry run" in planned.stderr
    again = call("merge", sides[0], "--into", into, "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["summary"] == {"copied": 0, "already there": 3, "conflict": 0, "invalid": 0}
    assert len(Evidence.load(into).records) == 3


def test_mistakes_in_merging(sides: tuple[Path, Path], tmp_path: Path) -> None:
    left, _ = sides
    (tmp_path / "empty").mkdir()
    assert "Missing option '--into'" in refused("merge", left)
    assert "Missing argument" in refused("merge", "--into", left)
    assert "is not there; a records folder is right" in refused("merge", tmp_path / "typo", "--into", tmp_path / "all")
    assert "is the folder to merge into" in refused("merge", left, "--into", left)
    empty = call("merge", tmp_path / "empty", "--into", tmp_path / "all")
    assert empty.exit_code == 0
    assert f"no records in {tmp_path / 'empty'}" in empty.stderr
    (left / "torn.json").write_text("{")
    torn = call("merge", left, "--into", tmp_path / "all")
    assert torn.exit_code == 1
    assert "invalid        " in torn.stdout
    assert "torn or not a record" in torn.stdout
