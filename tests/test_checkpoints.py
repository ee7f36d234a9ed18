"""Checkpoints: round trips, damage, foreign and hostile files, full disks."""

import errno
import logging
import os
import pickle
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pyconv import checkpoints, pyconvresnet
from pyconv.checkpoints import CheckpointError, identity, latest, load_weights, save, save_weights
from pyconv.recipe import ImageNetAugment, Recipe


def state(value: float) -> dict:
    return {"model": {"w": torch.full((3, 2), value)}, "epoch": 4, "history": [{"lr": 0.1}], "totals": [1.0, 2.0]}


def test_round_trip_and_two_are_kept(tmp_path: Path) -> None:
    assert latest(tmp_path, "key") is None
    for step in (7, 11, 13):
        save(tmp_path, step, state(step), "key")
    assert [path.name[:14] for path in sorted(tmp_path.iterdir())] == ["step-000000011", "step-000000013"]
    found = latest(tmp_path, "key")
    assert found is not None
    path, loaded = found
    assert path.name.startswith("step-000000013-")
    assert torch.equal(loaded["model"]["w"], torch.full((3, 2), 13.0))
    assert {key: loaded[key] for key in ("epoch", "history", "totals")} == {
        key: state(0)[key] for key in ("epoch", "history", "totals")
    }


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    save(tmp_path, 5, state(1), "key")
    save(tmp_path, 7, state(1), "key")
    save(tmp_path, 7, state(2), "key")
    assert len(list(tmp_path.iterdir())) == 2
    assert latest(tmp_path, "key")[1]["model"]["w"][0, 0] == 2  # type: ignore[index]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "gone"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_used(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1, state(1), "key")
    path = save(tmp_path, 2, state(2), "key")
    content = path.read_bytes()
    match damage:
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "flipped":
            middle = len(content) // 2
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        case "empty":
            path.write_bytes(b"")
        case "gone":
            path.unlink()
            path.symlink_to(tmp_path / "nowhere")
    with caplog.at_level(logging.WARNING):
        found = latest(tmp_path, "key")
    assert found is not None
    assert found[1]["model"]["w"][0, 0] == 1
    assert path.name in caplog.text
    assert "the one before it is used" in caplog.text


def test_another_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 1, state(1), "key")
    with pytest.raises(CheckpointError, match=rf"{path.name}: belongs to another run \(key, this one is other\)"):
        latest(tmp_path, "other")


def test_a_file_that_would_run_code_is_not_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"format": 1, "identity": "key", "weights": Hostile()}, tmp_path / "weights.pt")
    (tmp_path / "pickled.pt").write_bytes(pickle.dumps({"w": 1}))
    (tmp_path / "text.pt").write_text("not a checkpoint")
    for name in ("weights.pt", "pickled.pt", "text.pt"):
        with pytest.raises(CheckpointError, match=f"{name}: "):
            load_weights(tmp_path / name)
    assert not (tmp_path / "owned").exists()


def test_foreign_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match=r"not a checkpoint of this program \(format None, expected 1\)"):
        load_weights(tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="no such file"):
        load_weights(tmp_path / "missing.pt")


def test_equal_weights_give_equal_files(tmp_path: Path) -> None:
    weights = {"b": torch.arange(4.0), "a": torch.ones(2, 2).t()}
    first = save_weights(tmp_path / "one.pt", weights, "key")
    second = save_weights(tmp_path / "two.pt", {name: weights[name].clone() for name in ("a", "b")}, "key")
    assert first == second
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()
    loaded = load_weights(tmp_path / "one.pt", "key")
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    assert save_weights(tmp_path / "two.pt", weights | {"b": torch.arange(4.0) + 1}, "key") != first


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1, state(1), "key")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device; the checkpoint before it stands"):
        save(tmp_path, 2, state(2), "key")
    monkeypatch.undo()
    assert [path.name[:14] for path in tmp_path.iterdir()] == ["step-000000001"]
    assert latest(tmp_path, "key")[1]["model"]["w"][0, 0] == 1  # type: ignore[index]


def test_what_a_killed_process_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    old, fresh = tmp_path / ".step-1.host-1.tmp", tmp_path / ".step-2.host-2.tmp"
    for path in (old, fresh):
        path.write_bytes(b"torn")
    past = time.time() - checkpoints.STALE_SECONDS - 1
    os.utime(old, (past, past))
    save(tmp_path, 1, state(1), "key")
    assert not old.exists()
    assert fresh.exists()


def test_identity_is_what_changes_the_weights() -> None:
    recipe = Recipe("digits", 4, 32, 0.1, ImageNetAugment(), milestones=(1, 2))
    network = pyconvresnet(50)
    key = identity(network, recipe, 0)
    assert key == identity(replace(network, name="another label"), replace(recipe, milestones=(1.0, 2.0)), 0)
    others = [
        identity(replace(network, num_classes=10), recipe, 0),
        identity(network, replace(recipe, lr=0.2), 0),
        identity(network, recipe, 1),
    ]
    assert len({key, *others}) == 4
