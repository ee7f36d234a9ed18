"""Laws of a merge, whatever the folders hold, and what is left when the disk refuses in the middle of one."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_merge import content, folder

from results.merge import merge

# What a folder may hold: (seed, which of two different results).
CONTENTS = st.dictionaries(st.integers(0, 4), st.sampled_from(["usual", "other"]), max_size=4)


@contextmanager
def place() -> Iterator[Path]:
    """A new folder for every example."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@settings(deadline=None, max_examples=15)
@given(CONTENTS, CONTENTS, CONTENTS)
def test_laws(one: dict[int, str], two: dict[int, str], into: dict[int, str]) -> None:
    """Nothing standing changes, nothing of the sources is lost untold, again changes nothing, a dry run foretells."""
    with place() as here:
        sources, target = [folder(here / "one", one), folder(here / "two", two)], folder(here / "into", into)
        before = content(target)
        planned = merge(sources, target, dry_run=True)
        assert content(target) == before
        found = merge(sources, target)
        assert planned.steps == found.steps
        after = content(target)
        assert after.items() >= before.items()
        assert after.keys() == before.keys() | content(sources[0]).keys() | content(sources[1]).keys()
        assert len(found.steps) == len(one) + len(two)
        for step in found.steps:
            kept = content(Path(step.source))[step.place] == after[step.into]
            assert kept == (step.what != "conflict")
        again = merge(sources, target)
        assert content(target) == after
        assert again.summary["copied"] == 0
        assert again.summary["conflict"] == found.summary["conflict"]
        if not found.summary["conflict"]:
            other = folder(here / "other", into)
            assert merge(sources[::-1], other).ok
            assert content(other) == after


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 12), st.sampled_from(["link", "fsync", "open"]), st.sampled_from([errno.ENOSPC, errno.EIO]))
def test_the_disk_may_fail_at_any_write_and_the_next_merge_does_the_rest(number: int, name: str, code: int) -> None:
    with place() as here, pytest.MonkeyPatch.context() as patch:
        source, into = folder(here / "source", dict.fromkeys(range(4), "usual")), here / "all"
        real, calls = getattr(os, name), iter(range(1, 10_000))

        def failing(*arguments: object, **options: object) -> object:
            if next(calls) == number:
                raise OSError(code, os.strerror(code))
            return real(*arguments, **options)

        patch.setattr(os, name, failing)
        failed = False
        try:
            merge([source], into)
        except OSError:
            failed = True
        patch.undo()
        whole = content(source)
        left = content(into) if into.exists() else {}
        assert left.items() <= whole.items()
        assert failed or left == whole
        assert merge([source], into).ok
        assert content(into) == whole
