"""A report from a bundle: checked first, rendered by this program, and held against the bundle's own pages."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import experiments
from results.bundle_check import Bundle, opened
from results.bundle_layout import RECORDS_LINK, BundleError
from results.report import Page, render
from results.specs import differences, specs
from slurm.commands import options
from slurm.console import note
from slurm.selection import narrowed

_SHOWN = 20  # notes of one kind; more are counted


def again(path: Path, asked: tuple[str, bool] | None, formats: Sequence[str]) -> dict[str, Page]:
    """The pages of the bundle at `path`: of its own target, or of (target, mini) as `asked`.

    What this program knows otherwise is told on stderr. A bundle that is not as it was made is refused (exit 1).
    """
    try:
        with opened(path) as bundle:
            note(f"note: {bundle.members} members are as they were made; the bundle's digest is {bundle.digest}")
            return _rendered(bundle, asked, formats)
    except BundleError as error:
        raise click.ClickException(str(error)) from error


def _rendered(bundle: Bundle, asked: tuple[str, bool] | None, formats: Sequence[str]) -> dict[str, Page]:
    target, mini = asked or (bundle.target, bundle.mini)
    tables = narrowed(options.selection(target, mini))
    known = specs([*experiments.tables(mini=bundle.mini)])
    _tell("the specs have changed", differences(bundle.specs, known))
    _tell("not in the bundle", [target for target in _targets(specs(tables)) if target not in _targets(bundle.specs)])
    pages = render(tables, bundle.evidence, formats, RECORDS_LINK)
    texts = {name: page for name, page in pages.items() if isinstance(page, str)}
    others = [name for name, page in texts.items() if bundle.pages.get(name) != page.encode()]
    if others and asked is None:
        note(
            f"note: this program renders {len(others)} of {len(texts)} pages differently from the bundle's own "
            f"(rendered by {_program(bundle.rendered_by)}): {', '.join(others[:_SHOWN])}"
        )
    return pages


def _tell(what: str, sentences: Sequence[str]) -> None:
    for sentence in sentences[:_SHOWN]:
        note(f"note: {what}: {sentence}")
    if len(sentences) > _SHOWN:
        note(f"note: {what}: {len(sentences) - _SHOWN} more")


def _targets(content: Mapping[str, Any]) -> dict[str, None]:
    return dict.fromkeys(row["target"] for table in content["tables"] for row in table["rows"])


def _program(rendered_by: Mapping[str, Any]) -> str:
    """Its commit, if it says one."""
    commit = rendered_by.get("commit")
    if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{7,64}", commit):
        return "an unknown commit"
    return f"commit {commit[:12]}{', changed' if rendered_by.get('dirty') else ''}"
