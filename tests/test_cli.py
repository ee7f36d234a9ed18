"""The command line as a person meets it: data on stdout, notes on stderr, exit 0, 1 or 2, mistakes explained."""

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import evidence
import pytest
from click.testing import CliRunner, Result

from experiments import TABLES, rows, trainings
from experiments.mini import mini, mini_table
from experiments.protocols import CROP224
from experiments.spec import fingerprint
from pyconv.complexity import CONVENTIONS as ALL_CONVENTIONS
from results import deviations, verify
from results.report import REFRESH
from slurm import cli as command_line
from slurm import console, selection
from slurm.commands import report, run
from slurm.job import Job

PROGRAM = [sys.executable, "-m", "slurm.cli"]


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PYCONV_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(command_line.cli, [str(argument) for argument in arguments])


def refused(*arguments: Any) -> str:
    """What a wrong use is told, on stderr, with nothing on stdout."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return " ".join(result.stderr.split())


def test_help_answers_without_the_heavy_ones() -> None:
    program = (
        "import sys\nfrom slurm.cli import main\ntry: main()\nfinally: print('\\n', *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=True)
    assert all(verb in done.stdout for verb in command_line.VERBS)
    loaded = set(done.stderr.split())
    assert not loaded & {"torch", "pandas", "submitit", "numpy", "rich", "experiments", "results"}


@pytest.mark.parametrize("verb", command_line.VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    result = call(verb, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.stdout


def test_the_console_script_is_this_one() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"pyconv": "slurm.cli:main"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["verfy"], "verify"),
        (["list", "tabel2"], "table2"),
        (["list", "table2/fnal"], "table2/final"),
        (["show", "table3/resnt/50"], "table3/resnet/50"),
        (["show"], "TARGET"),
        (["run"], "TARGET"),
        (["run", "table2", "--profile", "lcal"], "did you mean 'local'"),
        (["run", "table2", "--minni"], "--mini"),
        (["run", "table9", "--mini"], "mini version"),
        (["run", "table2", "--jobs", "0"], "--jobs"),
        (["run", "table2", "--seed", "-1"], "--seed"),
        (["run", "table2", "--data", "/data"], "imagenet=/data/imagenet"),
        (["run", "table2", "--data", "imagenett=/"], "did you mean 'imagenet'"),
        (["run", "table2", "--data", "imagenet=/not/there"], "/not/there is not a folder"),
        (["verify", "table2", "--convention", "thop"], "thop-2019"),
        (["verify", "table7/fcn"], "quoted"),
        (["report", "table2", "--format", "pdf"], "md, latex, json, html"),
        (["report", "table2", "--format", "md,latex"], "--output DIR"),
        (["data", "prepare", "imagenet"], "--root DIR or set PYCONV_DATA_IMAGENET"),
        (["data", "check", "imagenet"], "PYCONV_DATA_IMAGENET"),
        (["completion", "tcsh"], "bash"),
    ],
)
def test_a_mistake_is_told_with_what_would_be_right(arguments: list[str], told: str) -> None:
    assert told in refused(*arguments)


def test_list_has_every_row_once(tmp_path: Path) -> None:
    listed = json.loads(call("list", "--json", "--records", tmp_path).stdout)["tables"]
    lines = {line["target"]: line for table in listed for line in table["rows"]}
    expected = {table.target(row): row for table, row in rows()}
    assert lines.keys() == expected.keys()
    for target, row in expected.items():
        assert lines[target]["fingerprint"] == (fingerprint(row.experiment) if row.experiment else None)
    assert {line["state"] for line in lines.values()} == {"pending", "quoted", "external"}
    assert len({line["fingerprint"] for line in lines.values()} - {None}) <= len(trainings())


def test_list_for_people(tmp_path: Path) -> None:
    shown = call("list", "table2", "--records", tmp_path).stdout
    assert shown.startswith("table2: ")
    line = next(line for line in shown.splitlines() if "table2/final" in line)
    assert line.split()[-1] == "pending"
    evidence.save(tmp_path, TABLES[2].row("final").experiment)
    line = next(line for line in call("list", "table2", "--records", tmp_path).stdout.splitlines() if "/final" in line)
    assert line.split()[-1] == "recorded"


def test_a_file_that_is_no_evidence_is_told_beside_the_data(tmp_path: Path) -> None:
    (tmp_path / "counts").mkdir()
    (tmp_path / "counts" / "torn.json").write_text("{")
    result = call("list", "table2", "--json", "--records", tmp_path)
    assert "torn.json" in result.stderr
    assert json.loads(result.stdout)


def test_list_mini_shows_the_small_experiments(tmp_path: Path) -> None:
    listed = json.loads(call("list", "table2/final", "--mini", "--json", "--records", tmp_path).stdout)
    line = listed["tables"][0]["rows"][0]
    assert line["target"] == "mini-table2/final"
    assert line["fingerprint"] == fingerprint(mini(TABLES[2].row("final").experiment))


def test_show_says_what_the_page_prints_and_what_was_measured(tmp_path: Path) -> None:
    experiment = TABLES[2].row("final").experiment
    evidence.save(tmp_path, experiment, errors=(22.0, 6.0))
    evidence.save_count(tmp_path, experiment.model, 24_847_720, 3_877_433_368)
    content = json.loads(call("show", "table2/final", "--json", "--records", tmp_path).stdout)["rows"][0]
    cells = {cell["column"]: cell for cell in content["cells"]}
    assert cells["top1_err"]["published"] == 22.12
    assert cells["top1_err"]["measured"] == 22.0
    assert (cells["params"]["raw"], cells["params"]["verdict"]) == (24_847_720, "MATCH")
    assert content["spec"]["recipe"]["epochs"] == 90
    assert len(content["records"]) == 2
    shown = call("show", "table2/final", "--records", tmp_path).stdout
    for words in ("kernels 3, 5, 7, 9", "epochs               90", "crop224", "22.12", fingerprint(experiment)):
        assert words in shown


def test_show_compares_with_the_baseline_row_image_by_image(tmp_path: Path) -> None:
    """Of 50,000 images 400 are right in the final network only and 100 in the baseline only: -0.6 points."""
    baseline, final = (TABLES[2].row(key).experiment for key in ("baseline", "final"))
    theirs, ours = [True] * 50_000, [True] * 50_000
    theirs[:400], ours[400:500] = [False] * 400, [False] * 100
    both = [{"top1_err": bits, "top5_err": bits} for bits in (theirs, ours)]
    evidence.save(tmp_path, baseline, CROP224, right=both[0])
    assert "image by image" not in call("show", "table2/final", "--records", tmp_path).stdout
    evidence.save(tmp_path, final, CROP224, right=both[1])
    text = call("show", "table2/final", "--records", tmp_path).stdout
    assert (
        "against table2/baseline, image by image: top1_err, seed 0: -0.60 points (95%: -0.69 to -0.51); "
        "of 50,000 images 400 are right here only, 100 there only; p = 1.7e-43 (McNemar, exact, of these "
        "two checkpoints)"
    ) in text
    (row,) = json.loads(call("show", "table2/final", "--json", "--records", tmp_path).stdout)["rows"]
    assert [(one["column"], one["b"], one["c"]) for one in row["paired"]] == [
        ("top1_err", 400, 100),
        ("top5_err", 400, 100),
    ]
    assert "image by image" not in call("show", "table2/baseline", "--records", tmp_path).stdout


def test_show_says_why_records_cannot_be_paired(tmp_path: Path) -> None:
    for key in ("baseline", "final"):
        evidence.save(tmp_path, TABLES[2].row(key).experiment, CROP224)
    text = call("show", "table2/final", "--records", tmp_path).stdout
    assert "seed 0: not possible: imagenet-" in text
    assert "does not say which images were right by top1_err" in text


def test_show_tells_the_known_deviation(tmp_path: Path) -> None:
    model = TABLES[9].networks[1][1].model
    evidence.save_count(tmp_path, model, 45_373_072, 91_810_000_000)
    shown = call("show", "table9", "--records", tmp_path).stdout
    assert deviations.LEDGER[0].reason in shown


def test_show_of_segmentation_detection_and_quoted_rows(tmp_path: Path) -> None:
    for target, words in (("table6/resnet50", "backbone"), ("table8/ssd50", "coco300"), ("table7/fcn", "quoted")):
        assert words in call("show", target, "--records", tmp_path).stdout


def test_a_records_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = call("report", "table2", "--records", tmp_path / "recrods")
    assert result.exit_code == 0
    assert "recrods does not exist" in result.stderr
    assert "pending" in result.stdout


def test_verify_prints_the_agreed_json(tmp_path: Path) -> None:
    result = call("verify", "table2/final", "--json", "--records", tmp_path)
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    keys = {"table", "row", "group", "network", "metric", "convention", "published", "measured", "delta", "verdict"}
    assert all(keys | {"reason"} <= cell.keys() for cell in content["cells"])
    params = next(cell for cell in content["cells"] if cell["metric"] == "params")
    assert (params["measured"], params["published"], params["verdict"]) == (24_847_720, 24.85, "MATCH")
    assert "summary" in content


def test_verify_writes_for_ci_and_fails_when_a_count_drifts(tmp_path: Path) -> None:
    final = TABLES[2].row("final").experiment.model
    evidence.save_count(tmp_path / "records", final, 24_847_721, 3_877_433_368)  # one more than the built network has
    junit, summary = tmp_path / "ci" / "verify.xml", tmp_path / "ci" / "summary.md"
    summary.parent.mkdir()
    summary.write_text("another step\n")
    options = ["--records", tmp_path / "records", "--junit", junit, "--summary", summary]
    result = call("verify", "table2/final", *options)
    assert result.exit_code == 1
    assert "24,847,721" in result.stdout
    assert int(ElementTree.parse(junit).getroot().get("failures", "0")) >= 1
    assert summary.read_text().startswith("another step\n")
    assert "FAILED" in summary.read_text()


def test_verify_shows_only_the_conventions_asked_for(tmp_path: Path) -> None:
    result = call("verify", "table2/final", "--convention", "macs", "--json", "--records", tmp_path)
    assert {cell["convention"] for cell in json.loads(result.stdout)["cells"]} == {None, "macs"}
    assert set(verify.CONVENTIONS) == set(ALL_CONVENTIONS)  # the option's choices need no torch


def test_verify_fails_whatever_convention_is_shown(tmp_path: Path) -> None:
    final = TABLES[2].row("final").experiment.model
    evidence.save_count(tmp_path, final, 24_847_720, 3_877_433_369)  # thop-2019: one more than the built network has
    result = call("verify", "table2/final", "--convention", "macs", "--records", tmp_path)
    assert result.exit_code == 1
    assert "3,877,433,369" in result.stdout


def test_verify_records_what_has_no_record_once(tmp_path: Path) -> None:
    arguments = ("verify", "table2/final", "--record", "--json", "--records", tmp_path)
    first = call(*arguments)
    (path,) = (tmp_path / "counts").glob("*.json")
    written = path.read_bytes()
    assert "recorded" in first.stderr
    fvcore = next(cell for cell in json.loads(first.stdout)["cells"] if cell["convention"] == "fvcore")
    assert fvcore["verdict"] == "MATCH"
    assert json.loads(written)["flops"]["fvcore"] == fvcore["measured"]
    assert "recorded" not in call(*arguments).stderr
    assert path.read_bytes() == written


def test_report_prints_markdown_and_writes_pages(tmp_path: Path) -> None:
    printed = call("report", "table2", "--records", tmp_path)
    assert printed.exit_code == 0
    assert "22.12" in printed.stdout
    assert "pending" in printed.stdout
    assert json.loads(call("report", "table2", "--json", "--records", tmp_path).stdout)["tables"][0]["number"] == 2
    assert r"\begin{tabular}" in call("report", "table2", "--format", "latex", "--records", tmp_path).stdout
    out = tmp_path / "pages"
    written = call("report", "table2", "--output", out, "--records", tmp_path)
    assert written.stdout == ""
    assert {"index.html", "table2.md", "table2.tex", "tables.json"} <= {path.name for path in out.iterdir()}
    assert report.FORMATS


def test_the_command_that_refreshes_the_committed_tables_works(tmp_path: Path) -> None:
    arguments = REFRESH.split()[1:]
    arguments[arguments.index("--output") + 1] = str(tmp_path / "tables")
    assert call(*arguments, "--records", tmp_path / "none").exit_code == 0


def test_run_says_why_nothing_can_be_run(tmp_path: Path) -> None:
    if "kinetics" not in selection.tasks_here():
        assert "no training code for kinetics yet (available: " in refused("run", "table10", "--records", tmp_path)
    assert "quoted from other papers" in refused("run", "table7/fcn", "--records", tmp_path)
    assert "nothing to train" in refused("run", "table1", "--records", tmp_path)


def test_run_needs_the_data_before_it_starts(tmp_path: Path) -> None:
    told = refused("run", "table2", "--records", tmp_path, "--runs", tmp_path / "runs")
    assert "--data imagenet=DIR" in told
    assert "PYCONV_DATA_IMAGENET" in told
    assert "--mini" in told
    (tmp_path / "wrong").mkdir()
    told = refused("run", "table2", "--records", tmp_path, "--data", f"imagenet={tmp_path / 'wrong'}")
    assert "expected train/<class>/<image>" in told
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Job], int | None]]:
    """What `run` would have started; nothing is."""
    calls: list[tuple[dict[str, Job], int | None]] = []

    def remember(jobs: dict[str, Job], profile: object, at_once: int | None, needs: object) -> list[Any]:  # noqa: ARG001
        calls.append((jobs, at_once))
        return []

    monkeypatch.setattr(run, "run_jobs", remember)
    return calls


def test_a_shared_experiment_is_one_run_with_all_its_protocols(
    tmp_path: Path, started: list[tuple[dict[str, Job], int | None]]
) -> None:
    for split in ("train", "val"):
        (tmp_path / "imagenet" / split).mkdir(parents=True)
    options = ["--records", tmp_path / "records", "--runs", tmp_path, "--data", f"imagenet={tmp_path / 'imagenet'}"]
    result = call("run", "table[234]", *options, "--jobs", "1", "--seed", "5")
    assert result.exit_code == 0, result.output
    jobs, at_once = started[0]
    assert at_once == 1
    assert len(jobs) == len(trainings([TABLES[2], TABLES[3], TABLES[4]]))
    assert {job.experiment.seed for job in jobs.values()} == {5}
    final = next(job for job in jobs.values() if job.experiment == replace(TABLES[2].row("final").experiment, seed=5))
    assert [protocol.key for protocol in final.protocols] == ["crop224", "crop320"]  # Tables 2 and 3; Table 4
    assert "table2/baseline is also table3/resnet/50: one run" in result.stderr
    augmented = jobs["table4/pyconvresnet50-augment"]
    assert [protocol.key for protocol in augmented.protocols] == ["crop224", "crop320"]


def test_each_seed_is_a_run_of_its_own(tmp_path: Path, started: list[tuple[dict[str, Job], int | None]]) -> None:
    result = call("run", "table2", "--mini", "--records", tmp_path / "records", "--runs", tmp_path, "--seeds", "0,3")
    assert result.exit_code == 0, result.output
    jobs, _ = started[0]
    assert len(jobs) == 16
    assert {name: job.experiment.seed for name, job in jobs.items() if "/final " in name} == {
        "mini-table2/final seed 0": 0,
        "mini-table2/final seed 3": 3,
    }


def test_what_is_recorded_is_skipped_and_said(tmp_path: Path, started: list[tuple[dict[str, Job], int | None]]) -> None:
    table = mini_table(TABLES[2])
    row = table.row("final")
    protocol = selection.protocols(table, row)[0]
    evidence.save(tmp_path, row.experiment, protocol, mini=True)
    options = ["--mini", "--records", tmp_path, "--runs", tmp_path / "runs"]
    result = call("run", "table2", *options)
    assert "skipped mini-table2/final: recorded" in result.stderr
    assert len(started[0][0]) == len(table.rows) - 1
    again = call("run", "table2/final", *options)
    assert again.exit_code == 0  # nothing to do is not a failure
    assert len(started) == 1


def test_a_failed_run_exits_1_and_says_where_to_look(tmp_path: Path) -> None:
    data = tmp_path / "digits"
    for split in ("train", "val"):
        (data / split / "0").mkdir(parents=True)
        (data / split / "0" / "0.png").write_bytes(b"this is no image")
    options = ["--records", tmp_path / "records", "--runs", tmp_path / "runs", "--data", f"digits={data}"]
    done = subprocess.run(
        [*PROGRAM, "run", "table2/final", "--mini", "--json", *map(str, options)], capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert "FAILED" in done.stderr
    assert "log: " in done.stderr
    outcome = json.loads(done.stdout)["runs"][0]
    assert outcome["ok"] is False
    assert Path(outcome["log"]).is_file()
    assert outcome["targets"] == ["mini-table2/final"]


def test_data_prepare_and_check(tmp_path: Path) -> None:
    prepared = json.loads(call("data", "prepare", "digits", "--root", tmp_path, "--json").stdout)
    assert prepared["splits"]["train"]["samples"] == 4_000
    checked = call("data", "check", "digits", "--root", tmp_path / "digits", "--json")
    assert json.loads(checked.stdout)["splits"] == {split: prepared["splits"][split] for split in ("train", "val")}
    (tmp_path / "digits" / "val" / "3" / "nested").mkdir()
    wrong = call("data", "check", "digits", "--root", tmp_path / "digits")
    assert wrong.exit_code == 1
    assert "nested" in wrong.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    result = call("completion", shell)
    assert result.exit_code == 0
    assert "_PYCONV_COMPLETE" in result.stdout


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("pyconv ver", ["verify"]),
        ("pyconv list table1", ["table1", "table10"]),
        ("pyconv list table2/f", ["table2/final"]),
        ("pyconv run table2 --profile l", ["lab", "local"]),
    ],
)
def test_the_tab_key_knows_targets_and_profiles(typed: str, completed: list[str]) -> None:
    environment = {
        **os.environ,
        "_PYCONV_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    program = "from slurm.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == completed


def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen([*PROGRAM, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == b""


def test_what_the_disk_refuses_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = call("report", "table2", "--output", tmp_path / "file" / "below", "--records", tmp_path / "none")
    assert result.exit_code == 1
    assert "file" in result.stderr
    assert "Traceback" not in result.output


def test_progress_in_a_log_is_an_occasional_plain_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(clock)))
    with console.Progress("Counting", 4) as progress:
        for done in range(5):
            progress.update(done, f"network {done}")
        progress.say("one thing happened")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "Counting after 20.0 s: 25%: network 1",
        "Counting after 40.0 s: 75%: network 3",
        "one thing happened",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (59.96, "1 min 00 s"), (125, "2 min 05 s"), (12000, "3 h 20 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert console.duration(seconds) == words
