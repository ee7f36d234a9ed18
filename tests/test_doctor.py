"""The doctor: every line ok, note or problem, with what to do; ill machines made by hand."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from slurm import doctor, machine, profile
from slurm.cli import cli

LOCAL = profile.read(profile.SHIPPED / "local.toml")


def test_this_machine_is_fit(tmp_path: Path) -> None:
    checks = list(doctor.examine(LOCAL, tmp_path / "records", tmp_path / "runs"))
    problems = [check for check in checks if check.state == "problem"]
    assert not problems
    assert {"python", "torch", "click", "machine", "disk", "records", "git", "slurm"} <= {
        check.name for check in checks
    }


def test_json_and_exit_code(tmp_path: Path) -> None:
    arguments = ["doctor", "--json", "--records", str(tmp_path / "r"), "--runs", str(tmp_path / "s")]
    fit = CliRunner().invoke(cli, arguments)
    assert fit.exit_code == 0, fit.output
    assert json.loads(fit.stdout)["ok"] is True
    (tmp_path / "file").touch()
    ill = CliRunner().invoke(cli, [*arguments[:3], str(tmp_path / "file" / "below"), *arguments[4:]])
    assert ill.exit_code == 1
    assert [c["name"] for c in json.loads(ill.stdout)["checks"] if c["state"] == "problem"] == ["records"]


def test_packages_against_what_is_required() -> None:
    lines = [
        "click>=8",
        "click==0.1",
        "click>=99",
        "no-such-thing>=1",
        'pytest>=99; extra == "dev"',
        "torch==2.14.1+cpu",
    ]
    found = [(check.name, check.state) for check in doctor.packages(lines)]
    assert found[:4] == [("click", "ok"), ("click", "problem"), ("click", "problem"), ("no-such-thing", "problem")]
    assert [name for name, _ in found[4:]] == ["torch"]
    assert 'pip install "no-such-thing>=1"' in list(doctor.packages(lines))[3].advice


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for free, state in ((100, "problem"), (5 * doctor.GIB, "note"), (50 * doctor.GIB, "ok")):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        assert doctor.disk(tmp_path / "not" / "yet").state == state


def test_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "memory", lambda: doctor.GIB)
    assert doctor.hardware().state == "problem"
    monkeypatch.setattr(doctor, "memory", lambda: None)
    assert doctor.hardware().state == "ok"


def test_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCONV_DATA_IMAGENET", str(tmp_path))
    monkeypatch.setenv("PYCONV_DATA_COCO", str(tmp_path / "unmounted"))
    monkeypatch.delenv("PYCONV_DATA_ADE20K", raising=False)
    states = {check.name: check.state for check in doctor.data_sets(LOCAL)}
    assert states["data imagenet"] == states["data digits"] == "ok"
    assert states["data coco"] == "problem"
    assert states["data ade20k"] == "note"


def test_data_of_a_cluster_need_not_be_on_this_machine(tmp_path: Path) -> None:
    place = replace(LOCAL, executor="slurm", data={"imagenet": tmp_path / "on-the-nodes", "coco": tmp_path})
    states = {check.name: check.state for check in doctor.data_sets(place)}
    assert (states["data imagenet"], states["data coco"]) == ("note", "ok")


def test_a_broken_profile_is_a_problem_of_that_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "pyconv" / "profiles").mkdir(parents=True)
    (tmp_path / "pyconv" / "profiles" / "broken.toml").write_text("[limts]")
    states = {check.name: check for check in doctor.every_profile(LOCAL)}
    assert states["profile local"].state == "ok"
    assert states["profile broken"].state == "problem"
    assert "did you mean 'limits'" in states["profile broken"].found


def test_gpus_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for visible, found in (("", ()), ("0", (0,)), ("2,3", (2, 3))):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert machine.gpus() == found
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", "")  # no nvidia-smi
    assert machine.gpus() == ()


def test_cores_under_a_containers_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    whole = machine.cores()
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.cores() == whole
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert machine.cores() == 1
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert machine.cores() == 1


def test_memory_under_a_containers_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert machine.memory() == 600


def test_a_decoder_of_crops_that_was_not_built_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    found = doctor.crops()
    assert (found.state, "libjpeg62-turbo-dev" in found.advice) == ("note", True)
