"""`pyconv report --runs DIR`: the page says what `status` and `logs` say at that moment, and nothing without it."""

from pathlib import Path

from evidence import save
from pages import Page
from test_logs import call, place, row, send

from experiments.protocols import CROP224
from experiments.spec import family
from slurm import submissions, traces
from slurm.commands import under_way
from slurm.job import unit_folder
from slurm.plan import unit_key
from slurm.submissions import Member, Sent, Submission
from slurm.traces import Told

__all__ = ["place"]  # the fixture: a runs folder where table2/final failed as job 17 and table2/baseline as job 18


def page(place: Path, *arguments: str) -> str:
    result = call(place, "report", "table2", "--format", "html", *arguments)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def test_the_page_tells_what_status_tells(place: Path) -> None:
    folder = unit_folder(place / "runs", row("2221"), None)
    folder.mkdir(parents=True)
    traces.tell(folder, Told(0.5, "", 45, 90, {"top1_err": 34.56}))
    text = Page(page(place)).text
    above = text[: text.index("The paper's tables")]
    status = call(place, "status", "table2").stdout
    for line in status.splitlines()[2:5]:
        for word in line.split():
            assert word in above
    assert "45/90" in above
    assert "34.56" in above
    assert "ValueError: no" in above
    assert "table2/2221" in above
    assert "table2/3321" not in above  # never started


def test_the_end_of_every_log_is_on_the_page(place: Path) -> None:
    text = Page(page(place)).text
    assert "starting" in text
    assert "task 0: Killed" in text
    lines = [line for line in text.splitlines() if line.startswith("epoch ")]
    assert lines == [f"epoch {n}" for n in range(100 - under_way.LINES, 100)]


def test_a_recorded_test_opens_the_log_of_its_job(place: Path) -> None:
    """`status` needs no job of what is recorded; its log is still what the job wrote."""
    runs, own = place / "runs", row("3321")
    folder = submissions.new_folder(runs)
    member = Member(unit_key(own, CROP224), "test", own.name, family(own), 0, ("table2/3321",), folder)
    sent = Submission(folder, (Sent(submissions.array_name(folder, 0), (member,), {}),), "lab", "abc")
    submissions.begin(sent)
    submissions.confirm(sent, 0, "21")
    (sent.jobs / "21_0_log.out").write_text("22.98% of 50,000 are wrong\n")
    save(place / "records", own, CROP224)
    data = Page(page(place)).data
    (record,) = [record for record in data["records"] if "log" in record]
    log = data["texts"][record["log"]]
    assert "table2/3321 seed 0, test crop224, job 21, stdout" in log
    assert "22.98% of 50,000 are wrong" in log


def test_colours_and_rewritten_lines_of_a_terminal_are_not_on_the_page(place: Path) -> None:
    sent = send(place / "runs", row("3321"), "19")
    (sent.jobs / "19_0_log.out").write_bytes(b"10%\r50%\r\x1b[32m100%\x1b[0m\r\nlast <b>\r\n")
    text = Page(page(place)).text
    assert "job 19, stdout\n100%\nlast <b>" in text
    assert "\x1b" not in text


def test_without_a_folder_of_runs_nothing_is_said_of_jobs(place: Path) -> None:
    from click.testing import CliRunner

    from slurm.cli import cli

    arguments = ["report", "table2", "--format", "html", "--records", str(place / "records")]
    quiet = CliRunner().invoke(cli, arguments, env={"PYCONV_RUNS": str(place / "runs")})
    assert quiet.exit_code == 0
    assert "under way" not in quiet.stdout
    assert "task 0: Killed" not in quiet.stdout
    wrong = CliRunner().invoke(cli, [*arguments, "--runs", str(place / "nowhere")])
    assert wrong.exit_code == 2
    assert "does not exist" in wrong.output
