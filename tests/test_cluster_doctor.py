"""The doctor of a cluster: what SLURM prints, read; commands that hang; and every illness on the lab, made by hand."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from slurm import asked, cluster_doctor, node_doctor
from slurm.cli import cli
from slurm.cluster_doctor import Partition
from slurm.doctor import Check
from slurm.lab import FAKE_GPU, Lab
from slurm.probe import Group, Probe, Seen
from slurm.profile import Profile, read

PROFILE = """\
executor = "slurm"
[submitit]
timeout_min = 30
gpus_per_node = 1
slurm_partition = "debug"
[gpu]
type = "fake"
"""
SEEN = Seen("node1", "t", "3.11.7", "2.14.1", 1, "", {})


@pytest.fixture
def place(tmp_path: Path) -> Profile:
    (tmp_path / "mine.toml").write_text(PROFILE)
    return read(tmp_path / "mine.toml")


def with_keywords(place: Profile, **more: Any) -> Profile:
    return replace(place, submitit=place.submitit | more)


def examined(place: Profile, folder: Path, wait: float = 60) -> dict[str, Check]:
    found = cluster_doctor.examine(place, folder / "records", folder / "runs", wait)
    return {check.name: check for check in found}


def problems(checks: dict[str, Check]) -> set[str]:
    return {check.name for check in checks.values() if check.state == "problem"}


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("infinite", None),
        ("n/a", None),
        ("30:00", 30),
        ("2:00:00", 120),
        ("1-00:00:00", 1440),
        ("7-12:30:30", 7 * 1440 + 750.5),
    ],
)
def test_times_as_sinfo_prints_them(text: str, minutes: float | None) -> None:
    assert cluster_doctor.minutes_in(text) == minutes


@pytest.mark.parametrize(
    ("gres", "kind", "count"),
    [
        ("(null)", None, 0),
        ("gpu:8", None, 8),
        ("gpu:8", "h100", 0),
        ("gpu:h100:8(S:0-1)", "h100", 8),
        ("gpu:h100:8(S:0,1),gpu:a100:2(S:1)", None, 10),
        ("gpu:h100:8(S:0,1),gpu:a100:2(S:1)", "a100", 2),
        ("gpu:1g.10gb:7,shard:h100:64", None, 7),
        ("lustre:1", None, 0),
    ],
)
def test_gpus_as_sinfo_prints_them(gres: str, kind: str | None, count: int) -> None:
    assert cluster_doctor.gpus_in(gres, kind) == count


def test_a_partition_of_several_sorts_of_nodes_is_one() -> None:
    text = "cpu*|1-00:00:00|10|(null)\ngpu|2-00:00:00|3|gpu:a100:4(S:0)\ngpu|2-00:00:00|2|gpu:h100:8(S:0-1)\n"
    assert cluster_doctor.partition_in(text, "gpu", None) == Partition("gpu", 2880, 5, 8)
    assert cluster_doctor.partition_in(text, "gpu", "a100") == Partition("gpu", 2880, 5, 4)
    assert cluster_doctor.partition_in(text, None, None) == Partition("cpu", 1440, 10, 0)
    assert cluster_doctor.partition_in(text, "gpux", None) is None
    assert cluster_doctor.partition_in("debug|infinite|4|(null)", None, None) is None  # no default partition


def test_time_and_gpus_against_the_partition(place: Profile) -> None:
    allows = Partition("debug", 30, 4, 1)
    assert cluster_doctor.time_limit(place, allows).state == "ok"
    assert cluster_doctor.time_limit(replace(place, time_min=31), allows).state == "problem"
    assert cluster_doctor.gpus(place, allows).state == "ok"
    assert cluster_doctor.gpus(with_keywords(place, gpus_per_node=2), allows).state == "problem"
    two_nodes = with_keywords(place, nodes=2, gpus_per_node=1)
    assert cluster_doctor.gpus(two_nodes, allows).state == "ok"


def test_gpus_that_torch_does_not_see_are_a_problem_unless_they_are_fake() -> None:
    blind = replace(SEEN, gpus=0)
    assert node_doctor.gpus(1, "h100", [SEEN, SEEN]).state == "ok"
    assert node_doctor.gpus(1, "h100", [SEEN, blind]).state == "problem"
    assert node_doctor.gpus(1, None, [blind, blind]).state == "problem"
    assert node_doctor.gpus(1, FAKE_GPU, [blind, blind]).state == "note"
    assert node_doctor.gpus(0, None, [blind, blind]).state == "ok"


def test_ranks_must_add_up() -> None:
    assert node_doctor.ranks([Group("gloo", 3.0), Group("gloo", 3.0)]).state == "ok"
    assert "wrong sum, 2.0" in node_doctor.ranks([Group("nccl", 3.0), Group("nccl", 2.0)]).found
    assert "refused" in node_doctor.ranks([Group("gloo", None, "refused"), Group("gloo", 3.0)]).found
    assert node_doctor.ranks([Group("gloo", 3.0)]).state == "problem"


def test_the_small_job_is_small_and_otherwise_the_profiles_own(place: Profile) -> None:
    large = with_keywords(
        place,
        timeout_min=1440,
        nodes=4,
        tasks_per_node=8,
        gpus_per_node=8,
        cpus_per_task=8,
        mem_gb=240,
        slurm_account="mine",
        slurm_array_parallelism=3,
    )
    words = node_doctor.small(large, 2)
    assert (words["timeout_min"], words["nodes"], words["tasks_per_node"], words["mem_gb"]) == (5, 2, 1, 8)
    assert (words["slurm_account"], words["slurm_partition"]) == ("mine", "debug")
    assert words["slurm_additional_parameters"] == {"gpus-per-node": "fake:1"}
    assert "slurm_array_parallelism" not in words
    both_here = node_doctor.small(large, 1)
    assert (both_here["nodes"], both_here["tasks_per_node"]) == (1, 2)
    assert both_here["slurm_additional_parameters"] == {"gpus-per-node": "fake:2"}
    assert node_doctor.small(replace(large, submitit={}), 2)["gpus_per_node"] == 0


def test_a_node_says_what_is_wrong_with_its_folders(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    seen = Probe(tmp_path, tmp_path / "file" / "below", {"coco": tmp_path / "gone", "ade20k": tmp_path}).look()
    assert "Not a directory" in seen.records
    assert seen.data == {"coco": f"{tmp_path / 'gone'}: No such file or directory", "ade20k": ""}
    assert seen.token == ""


def hanging(folder: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrapper, as sites have them: its child holds its pipes."""
    script = folder / "bin" / command
    script.parent.mkdir()
    script.write_text("#!/bin/sh\nsleep 60\necho too late\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(asked, "PATIENCE", 0.5)


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging(tmp_path, "scontrol", monkeypatch)
    began = time.monotonic()
    assert asked.ask("scontrol", "ping").failed == "scontrol did not answer within 0.5 s"
    assert time.monotonic() - began < 10


def test_a_command_that_is_missing_or_fails_is_told() -> None:
    assert asked.ask("no-such-command").failed == "no-such-command is not installed here"
    assert asked.ask("sh", "-c", "echo 'sbatch: error: bad luck' >&2; exit 1").failed == "bad luck"
    assert asked.ask("sh", "-c", "exit 3").failed == "sh: exit 3"
    assert asked.ask("cat", text="in").text == "in"


def test_without_slurm_the_doctor_says_where_to_go(
    place: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (only,) = examined(place, tmp_path).values()
    assert only.state == "problem"
    assert "not on PATH: sbatch, squeue, scontrol, scancel, srun, sinfo" in only.found


def slurm(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.cluster
@pytest.mark.usefixtures("healthy_lab")
class TestOnTheLab:
    """Each illness has its line, and nothing is left behind."""

    def test_the_lab_is_fit(self, place: Profile, tmp_path: Path) -> None:
        roots = {"imagenet": tmp_path}
        found = examined(replace(place, data=roots), tmp_path)
        assert problems(found) == set()
        assert found["node job"].found.split(", ")[1:3] == ["2 ranks on node1", "node2"]
        assert {"sbatch train", "sbatch test", "data imagenet there", "torch there", "ranks"} <= set(found)
        assert "torch sees 0 of 1" in found["gpus there"].found
        assert not (tmp_path / "runs").exists()
        assert "PENDING" not in slurm("squeue", "--noheader", "--format=%T")

    def test_both_ranks_go_to_the_only_node(self, place: Profile, tmp_path: Path) -> None:
        found = {check.name: check for check in node_doctor.examine(place, 1, tmp_path, tmp_path / "runs", 60)}
        assert problems(found) == set()
        assert "2 ranks on node1," in found["node job"].found

    def test_a_wrong_partition_is_told_in_slurms_words(self, place: Profile, tmp_path: Path) -> None:
        found = examined(with_keywords(place, slurm_partition="gpux"), tmp_path)
        assert problems(found) == {"sbatch train", "sbatch test", "partition"}
        assert "invalid partition specified: gpux" in found["sbatch train"].found

    def test_a_wrong_account_is_told_in_slurms_words(self, place: Profile, tmp_path: Path) -> None:
        found = examined(with_keywords(place, slurm_account="nobodys"), tmp_path)
        assert problems(found) == {"sbatch train", "sbatch test"}
        assert "Invalid account" in found["sbatch train"].found

    def test_more_gpus_than_a_node_has(self, place: Profile, tmp_path: Path) -> None:
        found = examined(with_keywords(place, gpus_per_node=9), tmp_path)
        assert problems(found) == {"sbatch train", "sbatch test", "gpus of nodes"}

    def test_a_longer_time_than_the_partition_allows(self, place: Profile, tmp_path: Path) -> None:
        slurm("scontrol", "update", "partitionname=debug", "maxtime=29")
        try:
            found = examined(place, tmp_path, wait=0.5)
        finally:
            slurm("scontrol", "update", "partitionname=debug", "maxtime=infinite")
        assert "time limit" in problems(found)
        assert found["time limit"].found == "30 min asked, debug allows 29 min"

    def test_data_that_only_the_login_node_has(self, place: Profile, tmp_path: Path) -> None:
        with unseen_by_nodes(tmp_path / "local") as folder:
            (folder / "train").mkdir()
            found = examined(replace(place, data={"imagenet": folder / "train"}), tmp_path)
        assert problems(found) == {"data imagenet there"}
        assert f"on node1: {folder / 'train'}: No such file or directory" in found["data imagenet there"].found

    def test_runs_on_a_disk_that_only_the_login_node_has(
        self, place: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(node_doctor, "LATE", 0.5)
        with unseen_by_nodes(tmp_path / "runs"):
            found = examined(place, tmp_path)
            assert list((tmp_path / "runs").iterdir()) == []
        assert problems(found) == {"node job"}
        assert f"no node wrote to {tmp_path / 'runs'}" in found["node job"].found
        assert "share" in found["node job"].advice

    def test_a_python_that_breaks_is_quoted(
        self, place: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(node_doctor, "LATE", 0.5)
        found = examined(replace(place, python="/no/such/python"), tmp_path)
        assert problems(found) == {"node job"}
        assert "/no/such/python" in found["node job"].found

    def test_a_long_queue_is_no_illness(self, place: Profile, tmp_path: Path) -> None:
        slurm("sbatch", "--nodes=4", "--exclusive", f"--output={tmp_path}/out", "--wrap", "sleep 60")
        found = examined(place, tmp_path, wait=2)
        assert problems(found) == set()
        assert found["node job"].state == "note"
        assert "the queue is long" in found["node job"].found
        assert slurm("squeue", "--noheader", "--format=%j").split() == ["wrap"]

    @pytest.mark.parametrize("command", ["scontrol", "squeue"])
    def test_the_doctor_does_not_hang_with_slurm(
        self, command: str, place: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hanging(tmp_path, command, monkeypatch)
        began = time.monotonic()
        found = examined(place, tmp_path)
        assert [check.found for check in found.values() if check.state == "problem"] == [
            f"{command} did not answer within 0.5 s"
        ]
        assert time.monotonic() - began < 10

    def test_a_stopped_controller_is_told(self, healthy_lab: Lab, place: Profile, tmp_path: Path) -> None:
        healthy_lab.stop_controller()
        found = examined(place, tmp_path)
        assert problems(found) == {"controller"}
        assert "DOWN" in found["controller"].found

    def test_the_command_ends_with_one_when_the_cluster_is_ill(self, place: Profile, tmp_path: Path) -> None:
        place.path.write_text(PROFILE.replace("debug", "gpux"))
        done = CliRunner().invoke(
            cli,
            ["doctor", "--profile", str(place.path), "--records", str(tmp_path / "r"), "--runs", str(tmp_path / "s")],
        )
        assert done.exit_code == 1
        assert "PROBLEM sbatch train" in done.stdout


@contextmanager
def unseen_by_nodes(folder: Path) -> Iterator[Path]:
    """A disk mounted now: the nodes have had mount namespaces of their own since they were started."""
    folder.mkdir()
    slurm("mount", "-t", "tmpfs", "none", str(folder))
    try:
        yield folder
    finally:
        slurm("umount", str(folder))
