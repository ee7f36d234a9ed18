"""`pyconv`: the command line. Data on stdout, notes on stderr; exit 0 ok, 1 a verdict or run failed, 2 wrong usage."""

import errno
from importlib import import_module
from typing import Any

import click

# Verb: where it is made (imported when it is asked for: `--help` answers at once), and what it does in a few words.
VERBS: dict[str, tuple[str, str]] = {
    "demo": ("slurm.commands.demo:demo", "The first five minutes: counts, eight trainings, all tables."),
    "list": ("slurm.commands.look:list_command", "Tables and rows, and what is recorded of them."),
    "show": ("slurm.commands.look:show", "Everything about one row: spec, numbers, records, notes."),
    "verify": ("slurm.commands.verify:verify", "Parameters and FLOPs against the printed numbers."),
    "run": ("slurm.commands.run:run", "Train and test rows on this machine."),
    "eval": ("slurm.commands.eval:eval_command", "Test weights from a file, such as the authors' own."),
    "score": ("slurm.commands.score:score", "Enter by hand what a test server answered."),
    "plan": ("slurm.commands.plan:plan", "Every job, its reason, order and cost, before anything runs."),
    "submit": ("slurm.commands.submit:submit", "What is missing of a table, to a SLURM cluster."),
    "status": ("slurm.commands.status:status", "Where every row stands."),
    "adopt": ("slurm.commands.adopt:adopt_command", "Weights from a file in the place of a backbone's training."),
    "logs": ("slurm.commands.logs:logs", "What the jobs wrote, and why they failed."),
    "cancel": ("slurm.commands.cancel:cancel", "Take jobs out of the queue; checkpoints stay."),
    "retry": ("slurm.commands.submit:retry", "Submit again what failed, by class of failure."),
    "report": ("slurm.commands.report:report", "Tables as they stand: Markdown, LaTeX, JSON, HTML."),
    "compare": ("slurm.commands.compare:compare", "Two folders of records, cell by cell."),
    "merge": ("slurm.commands.compare:merge", "Records of several machines into one folder."),
    "archive": ("slurm.commands.archive:archive", "Everything behind a report in one file, and its check."),
    "lab": ("slurm.commands.lab:lab", "A disposable SLURM cluster on this machine."),
    "doctor": ("slurm.commands.doctor:doctor", "Is this machine fit, and what to do if not."),
    "data": ("slurm.commands.data:data", "Prepare the packaged images, check your own."),
    "bench": ("slurm.commands.bench:bench", "How fast the suite itself is."),
    "completion": ("slurm.commands.completion:completion", "The Tab key for bash, zsh and fish."),
}
EXAMPLES = """
\b
Targets are table2, table2/final, table3/*/50, all:
  pyconv list table2            rows, experiments, what is recorded
  pyconv verify                 parameters and FLOPs against the paper
  pyconv run table2 --mini      train and test here, on packaged real images
  pyconv submit table2          the same on a cluster (see pyconv plan, pyconv lab)
  pyconv report table2          the table as it stands
"""


class _Verbs(click.Group):
    """Verbs imported late, in the order of a newcomer; what the disk refuses is told without a traceback (exit 1)."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in VERBS:
            return None
        module, _, attribute = VERBS[name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-"):
            raise click.exceptions.NoSuchCommand(args[0], possibilities=VERBS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl([(name, words) for name, (_, words) in VERBS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno in (None, errno.EPIPE):
                raise
            raise click.ClickException(str(error)) from error


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXAMPLES,
    subcommand_metavar="VERB [ARGS]...",
)
@click.version_option(package_name="pyconv")
def cli() -> None:
    """Reproduce the tables of "Pyramidal Convolution" (arXiv 2006.11538): count, train, test, compare."""


def main() -> None:
    """The console script."""
    cli(prog_name="pyconv")


if __name__ == "__main__":
    main()
