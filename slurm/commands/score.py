"""`pyconv score TARGET`: what the data set's own test server answered, entered by hand, once."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from experiments.spec import Column, Experiment, Protocol, Row, Table, fingerprint
from results.external import NO_SUBMISSION, NOT_TOLD, ExternalRecord, entry
from results.records import AlreadyRecorded, RecordError, read, write
from results.scores import answer_path
from slurm.commands import options
from slurm.console import note
from slurm.selection import Selected, rows, seeded
from slurm.submission import Submission, SubmissionError, read_submission

PERCENT = click.FloatRange(0, 100)


class Day(click.ParamType[str]):
    """`2026-11-30`, today or before."""

    name = "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same day, as ISO writes it."""
        try:
            day = date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no day; one like 2026-11-30 is right", param, ctx)
        if day > datetime.now(UTC).date():
            self.fail(f"{value} has not come yet: the day of the server's answer is right", param, ctx)
        return day.isoformat()


@click.command()
@options.target(required=True)
@click.option("--miou", type=PERCENT, required=True, help="The server's mean IoU, in percent.")
@click.option("--pixel-acc", type=PERCENT, required=True, help="The server's pixel accuracy, in percent.")
@click.option("--score", "final", type=PERCENT, help="The server's final score, to be checked [default: their mean].")
@click.option("--date", "day", type=Day(), required=True, help="The day of the server's answer.")
@click.option("--source", required=True, help="Where the answer can be looked up: a URL, a mail, a screenshot's name.")
@click.option("--by", "entered_by", help="Who enters it.")
@click.option("--seed", type=click.IntRange(min=0), help="The training's seed [default: the row's own].")
@click.option(
    "--submission",
    "manifest",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The .json that `pyconv eval --predict-test` wrote beside its zip: ties the answer to weights and files.",
)
@options.records
@options.as_json
def score(
    target: str,
    miou: float,
    pixel_acc: float,
    final: float | None,
    day: str,
    source: str,
    entered_by: str | None,
    seed: int | None,
    manifest: Path | None,
    records: Path,
    as_json: bool,
) -> None:
    """Enter what the test server answered about TARGET, a row of Table 7, with its date and source.

    It is evidence and written once: the cell shows it with its verdict. Nothing is overwritten; a mistaken entry is
    taken back by deleting its file.
    """
    if not source.strip():
        raise click.BadParameter("where can the answer be looked up?", param_hint="--source")
    experiment, protocol = asked_of_server(options.selection(target), target)
    _check_percent(miou, pixel_acc)
    submission = None if manifest is None else _of(manifest, experiment, protocol, seed)
    experiment = seeded(experiment, seed if submission is None else submission.seed)
    metrics = {"miou": miou, "pixel_acc": pixel_acc} | ({} if final is None else {"score": final})
    about: dict[str, Any] = {"weights": NOT_TOLD, "submission": NO_SUBMISSION}
    if submission is not None:
        about = {"weights": submission.weights, "submission": submission.sent}
    record = entry(experiment, protocol, metrics, day, source.strip(), entered_by=entered_by, **about)
    path = _enter(record, answer_path(records, experiment, protocol, record))
    if as_json:
        options.print_json({"record": str(path), "metrics": record.metrics, "date": day, "source": record.source})
    else:
        click.echo(", ".join(f"{name} {value:.2f} %" for name, value in record.metrics.items()))


def _check_percent(miou: float, pixel_acc: float) -> None:
    """A server may print fractions of one, which would be a hundredth of the truth here."""
    if max(miou, pixel_acc) <= 1:
        raise click.UsageError(f"--miou {miou} --pixel-acc {pixel_acc}: percent is right, such as 37.75 and 73.61")


def asked_of_server(selected: list[Selected], target: str, mini: bool = False) -> tuple[Experiment, Protocol]:
    """The one experiment and protocol of the selected rows that a test server measures; else wrong usage."""
    found: dict[str, tuple[Experiment, Protocol]] = {}
    for table, row in rows(selected):
        for _, protocol in external_cells(table, row):
            assert row.experiment is not None, "external cells are a training's"
            found[f"{fingerprint(row.experiment)}/{protocol.key}"] = row.experiment, protocol
    if len(found) == 1:
        return next(iter(found.values()))
    every = rows(options.selection("all", mini))
    valid = ", ".join(table.target(row) for table, row in every if external_cells(table, row)) or "none of these tables"
    what = f"{len(found)} networks have cells" if found else "no cell of it is one"
    raise click.BadParameter(f"{target}: {what} of a test server; give one of {valid}", param_hint="TARGET")


def external_cells(table: Table, row: Row) -> list[tuple[Column, Protocol]]:
    """The columns of `row` that only a test server can measure, where the paper prints a number."""
    return [
        (column, protocol)
        for column, published in zip(table.columns, row.published, strict=True)
        if column.external and published != "-" and row.experiment is not None
        if (protocol := table.protocol(row, column)) is not None
    ]


def _of(manifest: Path, experiment: Experiment, protocol: Protocol, seed: int | None) -> Submission:
    """The submission in `manifest`, which must be of this experiment, protocol and, where it is given, seed."""
    try:
        submission = read_submission(manifest)
    except SubmissionError as error:
        raise click.BadParameter(str(error), param_hint="--submission") from error
    if seed is not None and seed != submission.seed:
        raise click.BadParameter(f"{manifest} is of seed {submission.seed}, --seed says {seed}", param_hint="--seed")
    if not submission.is_of(experiment, protocol):
        raise click.BadParameter(
            f"{manifest} is of {submission.name} (fingerprint {submission.fingerprint}, {submission.protocol['key']}), "
            f"another network, recipe or protocol than TARGET's",
            param_hint="--submission",
        )
    return submission


def _enter(record: ExternalRecord, path: Path) -> Path:
    """Write it once; the same entry again is no fault, another one is refused."""
    try:
        written = write(record, path)
    except RecordError as error:
        raise click.UsageError(str(error).removeprefix(f"{path}: ")) from error
    except AlreadyRecorded as error:
        if read(path) == record:
            note(f"{path} says so already")
            return path
        raise click.ClickException(
            f"{path} holds another answer, which is kept; delete that file first if it is the mistaken one"
        ) from error
    note(f"recorded {written}")
    return written
