"""Processes that outlive whoever started them, known by their pid files."""

import fcntl
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class LabError(RuntimeError):
    """What keeps the lab from working: says what, and what would be right."""


def run(command: Sequence[str], *, timeout: float = 60, environment: dict[str, str] | None = None) -> str:
    """The output of a command that ends. Raises LabError with its own words when it fails."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is not installed: pyconv lab install") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{command[0]} did not answer within {timeout:.0f} s") from error
    if done.returncode:
        raise LabError(f"{' '.join(command[:3])}: {(done.stderr or done.stdout).strip() or done.returncode}")
    return done.stdout


def detached(command: Sequence[str], pid_file: Path, log: Path, environment: dict[str, str]) -> None:
    """Start `command` in a session of its own: neither Ctrl-C nor the end of this process reaches it."""
    script = 'echo $$ > "$0"; exec "$@" < /dev/null >> "$LOG" 2>&1'
    run(["setsid", "--fork", "sh", "-c", script, str(pid_file), *command], environment=environment | {"LOG": str(log)})
    wait(lambda: pid_file.exists() and pid_file.read_text().strip(), 10, f"{command[0]} was not started")


def pid(pid_file: Path, name: str) -> int | None:
    """The pid in `<lab>/run/<...>.pid` while it is a living process called `name` of this very lab.

    After a reboot a number that was left may be anybody's, another lab's too: daemons are known by their SLURM_CONF.
    """
    try:
        number = int(pid_file.read_text())
        if gone(number) or (_process(number) / "comm").read_text().strip() != name:
            return None
        environment = (_process(number) / "environ").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return number if f"SLURM_CONF={pid_file.parent.parent / 'etc' / 'slurm.conf'}".encode() in environment else None


def gone(number: int) -> bool:
    """Whether a process has ended; one that only waits to be reaped has."""
    try:
        return ") Z " in (_process(number) / "stat").read_text()
    except OSError:
        return True


def children(number: int) -> list[int]:
    """The processes that a process has started."""
    try:
        return [int(child) for child in (_process(number) / "task" / str(number) / "children").read_text().split()]
    except OSError:
        return []


def _process(number: int) -> Path:
    return Path("/proc") / str(number)


def stop(pid_file: Path, name: str, number: signal.Signals = signal.SIGTERM, patience: float = 10) -> None:
    """End the process, by force after `patience` seconds; its pid file goes too."""
    for attempt in (number, signal.SIGKILL):
        if (found := pid(pid_file, name)) is None:
            break
        os.kill(found, attempt)
        deadline = time.monotonic() + patience
        while pid(pid_file, name) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
    pid_file.unlink(missing_ok=True)


def wait(condition: Callable[[], object], seconds: float, words: str) -> None:
    """Until `condition` holds. Raises LabError with `words` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"{words} within {seconds:.0f} s")
        time.sleep(0.05)


def check_free(name: str, port: int) -> None:
    """Raises LabError when somebody else listens on the port that `name` wants."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LabError(f"port {port}, for {name}, is in use: choose other ports with --port") from error


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """One process at a time; the kernel unlocks when it dies."""
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def user() -> str:
    """The name of this process's user, whatever the environment says."""
    return pwd.getpwuid(os.geteuid()).pw_name
