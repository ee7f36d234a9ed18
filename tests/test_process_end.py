"""A rank that has done its work ends with 0, whatever C++ still has to destroy; any other ends as Python says."""

import signal
import subprocess
import sys

import pytest

# A destructor that aborts, as that of a thread that still runs does.
SCRIPT = """
import ctypes
from slurm.distributed import end_directly
libc = ctypes.CDLL(None)
libc.__cxa_atexit(libc.abort, None, None)
finished = end_directly()
print("said")
{rest}
"""


@pytest.mark.parametrize(
    ("rest", "code"),
    [("finished()", 0), ("", -signal.SIGABRT), ("finished(); 1 / 0", -signal.SIGABRT)],
)
def test_destructors_are_left_out_once_the_work_is_done(rest: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(rest=rest)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code
    assert done.stdout == "said\n"
    assert ("ZeroDivisionError" in done.stderr) == ("1 / 0" in rest)
