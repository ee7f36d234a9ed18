"""One question to a command of SLURM, which may be missing, fail or hang: the answer says which."""

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass

from slurm.environment import inherited

PATIENCE = 20.0  # seconds for one answer


@dataclass(frozen=True)
class Told:
    """What a command printed, and what it complained about. `failed`: why there is no answer, "" when there is one."""

    text: str = ""
    complaint: str = ""
    failed: str = ""


def ask(*command: str, text: str = "") -> Told:
    """Run `command` with `text` on stdin. It is ended after PATIENCE seconds, with whatever it has started.

    It gets our environment without what an enclosing job, or the user's shell, would change in the answer.
    """
    hidden = inherited()
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={key: value for key, value in os.environ.items() if key not in hidden},
            start_new_session=True,
        )
    except FileNotFoundError:
        return Told(failed=f"{command[0]} is not installed here")
    except OSError as error:
        return Told(failed=f"{command[0]}: {error.strerror}")
    with process:
        try:
            printed, complained = process.communicate(text, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return Told(failed=f"{command[0]} did not answer within {PATIENCE:g} s")
        finally:
            # Not the process alone: a child that holds its pipes (of a wrapper script) would be waited for.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        return Told(printed, complained, words(complained or printed) or f"{command[0]}: exit {process.returncode}")
    return Told(printed, complained)


def words(complaint: str) -> str:
    """SLURM's words on one line, without the name of the command."""
    lines = (line.strip() for line in complaint.splitlines())
    return "; ".join(line.partition(": error: ")[2] or line for line in lines if line)
