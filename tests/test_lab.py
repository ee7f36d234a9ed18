"""The disposable cluster is a real one: it runs, loses, regains, accounts, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from slurm.cli import cli
from slurm.lab import Lab, LabError, install
from slurm.lab.daemons import pid
from slurm.lab.ports import free_ports


def slurm(lab: Lab, *command: str) -> str:
    done = subprocess.run(
        command, env=os.environ | lab.environment(), capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def until(condition: Callable[[], object], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def state(lab: Lab, job: str) -> str:
    return slurm(lab, "squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").strip()


def sbatch(lab: Lab, folder: Path, command: str, *options: str) -> str:
    where = [f"--output={folder}/out", "--open-mode=append", "--parsable"]
    return slurm(lab, "sbatch", *where, *options, "--wrap", command).strip()


@pytest.mark.cluster
def test_every_node_is_idle_and_has_its_gpus(healthy_lab: Lab) -> None:
    assert healthy_lab.states() == dict.fromkeys(("node1", "node2", "node3", "node4"), "idle")
    assert (
        slurm(healthy_lab, "sinfo", "--noheader", "--Node", "--partition=debug", "--format=%G").split()
        == ["gpu:fake:8"] * 4
    )


@pytest.mark.cluster
def test_up_a_second_time_changes_nothing(healthy_lab: Lab) -> None:
    before = pid(healthy_lab.folder / "run" / "slurmctld.pid", "slurmctld")
    healthy_lab.up()
    assert pid(healthy_lab.folder / "run" / "slurmctld.pid", "slurmctld") == before


@pytest.mark.cluster
def test_a_job_on_two_nodes_sees_two_names_and_its_gpus(healthy_lab: Lab, tmp_path: Path) -> None:
    command = 'srun sh -c "hostname; echo \\$CUDA_VISIBLE_DEVICES"'
    job = sbatch(healthy_lab, tmp_path, command, "--nodes=2", "--gpus-per-node=3")
    until(lambda: state(healthy_lab, job) == "COMPLETED")
    assert sorted((tmp_path / "out").read_text().split()) == ["0,1,2", "0,1,2", "node1", "node2"]


@pytest.mark.cluster
def test_what_runs_on_a_node_dies_with_it_and_is_requeued(healthy_lab: Lab, tmp_path: Path) -> None:
    job = sbatch(
        healthy_lab, tmp_path, f"echo start >> {tmp_path}/log; sleep 10; echo end >> {tmp_path}/log", "-w", "node3"
    )
    until((tmp_path / "log").exists)
    healthy_lab.fail_node(3)
    assert healthy_lab.states()["node3"].startswith("down")
    healthy_lab.start_node(3)
    until(lambda: state(healthy_lab, job) == "COMPLETED", 60)
    assert (tmp_path / "log").read_text().split() == ["start", "start", "end"]


@pytest.mark.cluster
def test_a_job_outlives_the_controller_and_accounting_knows_it(healthy_lab: Lab, tmp_path: Path) -> None:
    job = sbatch(healthy_lab, tmp_path, "sleep 3")
    until(lambda: state(healthy_lab, job) == "RUNNING")
    healthy_lab.stop_controller()
    time.sleep(1)
    healthy_lab.start_controller()
    until(lambda: state(healthy_lab, job) == "COMPLETED")
    until(lambda: slurm(healthy_lab, "sacct", "-n", "-X", "-P", "-j", job, "-o", "State").strip() == "COMPLETED")


def processes_of(lab: Lab) -> set[str]:
    """Commands of all processes that were started with this lab's configuration."""
    mark = f"SLURM_CONF={lab.folder}/etc/slurm.conf".encode()
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "environ").read_bytes():
                found.add((process / "comm").read_text().strip())
    return found


@pytest.mark.cluster
def test_a_second_lab_stands_beside_the_first_and_leaves_nothing(healthy_lab: Lab, tmp_path: Path) -> None:
    other = Lab(tmp_path / "other", nodes=2, gpus=0, port=free_ports(), accounting=False)
    other.up()
    try:
        assert other.states() == {"node1": "idle", "node2": "idle"}
        assert Lab.found(other.folder) == other
        assert {"munged", "slurmctld", "slurmd", "unshare"} <= processes_of(other)
        refused = subprocess.run(["sacct"], env=os.environ | other.environment(), capture_output=True, check=False)
        assert refused.returncode != 0
        sbatch(other, tmp_path, "sleep 100", "--nodes=2")
        other.kill_node(2)
    finally:
        other.down()
    assert processes_of(other) == set()
    assert not other.folder.exists()
    assert healthy_lab.ready()


def saved(lab: Lab) -> bytes:
    """The queue as slurmctld keeps it on disk."""
    file = lab.folder / "state" / "job_state"
    return file.read_bytes() if file.exists() else b""


@pytest.mark.cluster
def test_up_after_a_crash_heals_and_takes_up_the_queue(healthy_lab: Lab, tmp_path: Path) -> None:
    other = Lab(tmp_path / "other", nodes=1, gpus=0, port=free_ports(), accounting=False)
    other.up()
    try:
        job = sbatch(other, tmp_path, "true", "--begin=now+1hour", "--job-name=survivor")
        until(lambda: b"survivor" in saved(other))  # slurmctld answers before it saves
        mark = f"SLURM_CONF={other.folder}/etc/slurm.conf".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
        until(lambda: not processes_of(other))
        # As after a reboot: the number in the file is another lab's process, of the same name.
        stale = (healthy_lab.folder / "run" / "munged.pid").read_text()
        (other.folder / "run" / "munged.pid").write_text(stale)
        other.up()
        assert other.states() == {"node1": "idle"}
        assert state(other, job) == "PENDING"
    finally:
        other.down()
    assert healthy_lab.ready()
    assert pid(healthy_lab.folder / "run" / "munged.pid", "munged") == int(stale)


@pytest.mark.cluster
def test_what_runs_on_a_killed_node_is_dead_at_once(healthy_lab: Lab, tmp_path: Path) -> None:
    sbatch(healthy_lab, tmp_path, f"sleep 1000 & echo $! >> {tmp_path}/log; sleep 1000", "-w", "node2")
    until((tmp_path / "log").exists)
    assert len(sleepers()) == 2
    healthy_lab.kill_node(2)
    assert sleepers() == []


def sleepers() -> list[str]:
    listed = subprocess.run(["pgrep", "-x", "-f", "sleep 1000"], capture_output=True, text=True, check=False)
    return listed.stdout.split()


@pytest.mark.cluster
def test_other_settings_are_refused_while_it_runs(healthy_lab: Lab) -> None:
    with pytest.raises(LabError, match="runs with other settings: pyconv lab down"):
        replace(healthy_lab, nodes=2).up()
    assert len(healthy_lab.states()) == 4


def test_a_folder_that_is_too_long_or_not_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="too long for sockets"):
        Lab(tmp_path / ("x" * 80)).up()
    (tmp_path / "mine").touch()
    with pytest.raises(LabError, match="holds no lab"):
        Lab(tmp_path).up()
    Lab(tmp_path).down()
    assert (tmp_path / "mine").exists()


@pytest.mark.cluster
def test_the_lab_outlives_a_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    options = ["--nodes=1", "--gpus=0", f"--port={free_ports()}", "--no-accounting"]
    command = [sys.executable, "-m", "slurm.cli", "lab", "up", f"--folder={folder}", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as up:
        printed, told_aside = up.communicate()
    try:
        assert printed == f"export SLURM_CONF={folder}/etc/slurm.conf\n"
        assert "pyconv submit table2 --mini --profile lab" in told_aside
        with pytest.raises(ProcessLookupError):  # nothing is left in the group that a Ctrl-C would reach
            os.killpg(up.pid, signal.SIGINT)
        told = CliRunner().invoke(cli, ["lab", "status", "--json", f"--folder={folder}"])
        assert (told.exit_code, json.loads(told.stdout)["nodes"]) == (0, {"node1": "idle"})
    finally:
        assert CliRunner().invoke(cli, ["lab", "down", f"--folder={folder}"]).exit_code == 0
    gone = CliRunner().invoke(cli, ["lab", "status", f"--folder={folder}"])
    assert (gone.exit_code, "pyconv lab up" in gone.stderr) == (1, True)


@pytest.mark.cluster
def test_a_port_in_use_is_named(healthy_lab: Lab, tmp_path: Path) -> None:
    other = Lab(tmp_path / "other", port=healthy_lab.port, accounting=False)
    with pytest.raises(LabError, match=f"port {healthy_lab.port}, for slurmctld, is in use"):
        other.up()
    other.down()  # what had started before it


@pytest.mark.cluster
def test_a_node_that_is_none_is_told(healthy_lab: Lab) -> None:
    with pytest.raises(LabError, match="node9 is none of node1 to node4"):
        healthy_lab.fail_node(9)


def script(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without SLURM, whose user is not root; the folder of its commands."""
    monkeypatch.setattr(install, "PLACES", ())
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_missing_packages_are_named_where_nobody_can_install_them(bare: Path) -> None:
    packages = "munge slurmctld slurmd slurm-client util-linux"
    assert install.missing(accounting=False) == packages.split()
    assert install.missing(accounting=True) == [*packages.split(), "slurmdbd", "mariadb-server"]
    with pytest.raises(LabError, match="apt-get is not here"):
        install.install(accounting=False)
    script(bare, "apt-get", "exit 1")
    with pytest.raises(LabError, match=f"only root can install them: apt-get install {packages}"):
        install.install(accounting=False)
    script(bare, "sudo", "echo a password is required >&2; exit 1")
    with pytest.raises(LabError, match=f"a password is required; as root: apt-get install {packages}"):
        install.install(accounting=False)
    with pytest.raises(LabError, match="packages are missing: munge"):
        Lab(bare / "lab", accounting=False).up()


def test_packages_are_installed_through_sudo_without_starting_their_services(bare: Path) -> None:
    script(bare, "apt-get", "exit 1")
    script(bare, "sudo", f'for word; do echo "$word" >> {bare}/asked; done')
    install.install(accounting=False)
    asked = (bare / "asked").read_text()
    assert asked.startswith("--non-interactive\nsh\n-c\n")
    assert asked.index("policy-rc.d") < asked.index("apt-get install")
    assert asked.split()[-5:] == ["munge", "slurmctld", "slurmd", "slurm-client", "util-linux"]


def test_no_lab_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="pyconv lab up"):
        Lab.found(tmp_path)
