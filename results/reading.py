"""Reading the files of evidence one by one; of thousands, a second process reads the second half meanwhile.

The helper is this module, run by the same Python: no fork, because the caller may have threads, and nothing of the
caller's is imported again. It reads and checks its files as the caller does its own, and answers with plain values
(`marshal`, which can hold no code). Where it fails, for whatever reason, the caller reads those files itself.
"""

import gc
import marshal
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from results.checks import RecordError
from results.digests import content_of
from results.records import AnyRecord, Record, evidence_in, plain, restored, text_of

MANY = 2000  # files; a helper for fewer starts for nothing
_CHUNK = 500  # answers that are packed together
_SIZE = 8  # bytes of a chunk's length

Read = AnyRecord | RecordError


def read_each(paths: Sequence[Path]) -> Iterator[Read]:
    """What is in each file, in their order: a record that is evidence, or why there is none.

    Records that the helper read may share equal parts of their specs; none is to be changed in place.
    """
    alone = len(paths) < MANY or len(os.sched_getaffinity(0)) < 2
    half = len(paths) if alone else len(paths) // 2
    helper = None if alone else _helper(paths[half:])
    try:
        yield from map(_read, paths[:half])
        answers = None if helper is None else _answers(helper, len(paths) - half)
        yield from map(_read, paths[half:]) if answers is None else map(_opened, answers)
    finally:
        if helper is not None:
            helper.kill()
            with helper:  # closes the pipe and waits
                pass


def _read(path: Path) -> Read:
    try:
        if path.suffix == ".invalid":
            raise RecordError(
                f"{path}: was found torn or invalid and moved aside; delete it when it has been looked at"
            )
        return evidence_in(text_of(path), path)
    except RecordError as error:
        return error


def _helper(paths: Iterable[Path]) -> "subprocess.Popen[bytes] | None":
    """A process that reads `paths`; None where none can be started."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        with TemporaryFile() as asked:  # a pipe would have to wait until the helper has started
            asked.write(b"\0".join(map(os.fsencode, paths)))
            asked.seek(0)
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "results.reading"],  # -P: no module of the folder that it runs in
                stdin=asked,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
    except OSError:
        return None


def _answers(helper: "subprocess.Popen[bytes]", number: int) -> list[tuple[str, Any]] | None:
    """The helper's answers if it is sound and has `number` of them."""
    assert helper.stdout is not None
    found: list[tuple[str, Any]] = []
    try:
        while size := helper.stdout.read(_SIZE):
            found += marshal.loads(helper.stdout.read(int.from_bytes(size)))
    except (EOFError, MemoryError, OverflowError, TypeError, ValueError):  # it ended in the middle of an answer
        return None
    return found if helper.wait() == 0 and len(found) == number else None


def _packed(read: Read, parts: dict[bytes, Any]) -> tuple[str, Any]:
    """As plain values; parts of specs that are in `parts` to the byte are the same object, and are packed once."""
    if isinstance(read, RecordError):
        return "", str(read)
    content = plain(read)
    if isinstance(read, Record):
        shared = {key: parts.setdefault(content_of(part), part) for key, part in read.experiment.items()}
        content = {**content, "experiment": shared}
    return read.kind, content


def _opened(answer: tuple[str, Any]) -> Read:
    kind, content = answer
    return restored(kind, content) if kind else RecordError(content)


def _help() -> None:
    """Read what is asked on the standard input; the answers are kept until all are there, and the asker has time."""
    gc.disable()
    paths = [Path(os.fsdecode(path)) for path in sys.stdin.buffer.read().split(b"\0")]
    parts: dict[bytes, Any] = {}
    chunks = [
        marshal.dumps([_packed(_read(path), parts) for path in paths[start : start + _CHUNK]])
        for start in range(0, len(paths), _CHUNK)
    ]
    for chunk in chunks:
        sys.stdout.buffer.write(len(chunk).to_bytes(_SIZE) + chunk)


if __name__ == "__main__":
    _help()
