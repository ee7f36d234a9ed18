"""The README tells the truth: its commands parse, its Python runs, its links lead somewhere, its table is rendered."""

import re
import shlex
import textwrap
from pathlib import Path

import click
import pytest
import torch

from experiments import tables
from results.evidence import Evidence
from results.inject import inject
from slurm.cli import VERBS, cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
# `pyconv ...` in backticks or in a code block, up to the end of the code; a comment is not part of it.
COMMANDS = sorted(set(re.findall(r"(?:^|`|bin/)(pyconv [a-z][^`\n|#&;]*)", README, flags=re.MULTILINE)))


def profile() -> str:
    """The profile that the page tells to write."""
    (block,) = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    return textwrap.dedent(block)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_one(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("DIR", "DOWNLOADS"):  # what `--data imagenet=DIR` and its like stand for
        (tmp_path / folder).mkdir()
    (tmp_path / "FILE").touch()
    profiles = tmp_path / "pyconv" / "profiles"
    profiles.mkdir(parents=True)
    (profiles / "mine.toml").write_text(profile())
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    words = shlex.split(line)[1:]
    context, command = click.Context(cli), cli
    while isinstance(command, click.Group):
        if not words:
            return  # a group is named without one of its verbs
        name, command, words = command.resolve_command(context, words)
        assert command is not None
        context = click.Context(command, parent=context, info_name=name)
    command.make_context(context.info_name, words, parent=context.parent)


def test_every_verb_is_in_it() -> None:
    assert set(VERBS) == {line.split()[1] for line in COMMANDS}


def test_the_library_example_runs() -> None:
    for example in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        exec(compile(example, "README.md", "exec"), {"images": torch.randn(1, 3, 64, 64)})


def test_its_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_its_tables_are_the_rendered_ones() -> None:
    (readme,) = inject([ROOT / "README.md"], tables(), Evidence.load(ROOT / "results" / "records"), dry=True)
    assert readme.stale == (), "refresh them: pyconv report all --into README.md"
