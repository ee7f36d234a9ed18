"""Choices kept on the disk: found again by other processes, whatever has become of the file in between."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyconv import PYRAMIDS, PyConv
from pyconv.formulations import choices, direct, planner
from pyconv.formulations.call import Call
from pyconv.formulations.choices import Choices
from pyconv.formulations.levels import Choice

CPU = torch.device("cpu")
MERGED = Choice("merged2", "depthwise", "library")
MACHINE = {"processor": "of the tests"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYCONV_CACHE", str(tmp_path / "choices"))
    monkeypatch.delenv("PYCONV_FORMULATION")
    return tmp_path / "choices"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Groups of the levels that were measured, one by one; all of several groups do best merged by two."""
    groups: list[int] = []

    def fastest(x: Tensor, weight: Tensor, call: Call, *, train: bool) -> Choice:  # noqa: ARG001
        groups.append(call.groups)
        return Choice("merged2", "merged2", "merged2") if call.groups > 1 else Choice()

    monkeypatch.setattr(planner, "fastest", fastest)
    return groups


def run_layer() -> None:
    PyConv(16, 64, PYRAMIDS[4], formulation="auto")(torch.randn(2, 16, 6, 5))


def forget() -> None:
    """As a process that has just begun."""
    choices._opened.cache_clear()


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_what_is_kept_is_found_by_another(tmp_path: Path) -> None:
    path = tmp_path / "new folder/choices.json"
    first, second = Choices(path, MACHINE), Choices(path, MACHINE)
    assert first.get("a level") is None
    assert first.add("a level", MERGED) == MERGED
    assert second.get("a level") == MERGED
    assert Choices(path, MACHINE).get("another level") is None
    assert json.loads(path.read_text())["machine"] == MACHINE


def test_those_of_other_processes_stay(tmp_path: Path) -> None:
    path = tmp_path / "choices.json"
    first, second = Choices(path, MACHINE), Choices(path, MACHINE)
    assert second.get("b") is None
    first.add("a", MERGED)
    second.add("b", Choice("direct"))
    assert second.add("a", Choice("direct")) == MERGED  # measured by both: one for all
    assert first.add("c", Choice()) == Choice()
    again = Choices(path, MACHINE)
    assert [again.get(key) for key in "abc"] == [MERGED, Choice("direct"), Choice()]
    assert first.get("b") == Choice("direct")


def test_a_file_that_is_cut_off_anywhere_is_measured_again(folder: Path, measured: list[int]) -> None:
    run_layer()
    path, levels = only_file(folder), [1, 4, 8, 16]
    assert measured == levels
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert Choices(path, MACHINE).get("anything") is None
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        measured.clear()
        path.write_bytes(whole[:length])
        forget()
        run_layer()
        assert measured == levels
        assert path.read_bytes() == whole
    measured.clear()
    forget()
    run_layer()
    assert not measured


FOREIGN = [
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b"7",
    b'"choices"',
    b"{}",
    b'{"choices": null}',
    b'{"choices": ["direct"]}',
    b'{"choices": {"KEY": null}}',
    b'{"choices": {"KEY": "direct"}}',
    b'{"choices": {"KEY": ["direct", "direct", "direct"]}}',
    b'{"choices": {"KEY": {}, "other": {"forward": ["direct"]}}}',
    b'{"choices": {"KEY": {"forward": {"direct": 1}}}}',
    b'{"choices": {"KEY": {"forward": 1.5}}}',
    b'{"choices": {"KEY": {"outputs": "direct"}}}',
    b'{"choices": {"KEY": {"forward": "winograd of next year"}}}',
    b'{"choices": {"KEY": {"forward": "direct", "weight_gradient": null}}}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("text", FOREIGN, ids=lambda text: text[:60].decode(errors="replace"))
def test_a_file_of_somebody_else_is_replaced(text: bytes, folder: Path, measured: list[int]) -> None:
    run_layer()
    path = only_file(folder)
    whole = path.read_bytes()
    key = next(key for key in json.loads(whole)["choices"] if "16 groups" in key)
    path.write_bytes(text.replace(b"KEY", key.encode()))
    measured.clear()
    forget()
    run_layer()
    assert measured == [1, 4, 8, 16]
    forget()
    measured.clear()
    run_layer()
    assert not measured


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0), byte=st.integers(0, 255))
def test_a_byte_that_has_turned_costs_a_measurement_at_most(place: int, byte: int) -> None:
    text = bytearray(json.dumps({"machine": MACHINE, "choices": {"a": asdict(MERGED)}}).encode())
    text[place % len(text)] = byte
    with TemporaryDirectory() as folder:
        path = Path(folder) / "choices.json"
        path.write_bytes(text)
        found = Choices(path, MACHINE)
        assert found.get("a") in (MERGED, None)
        assert found.add("a", MERGED) == MERGED
        assert Choices(path, MACHINE).get("a") == MERGED


def test_a_choice_of_a_later_version_is_ignored_and_its_neighbours_are_not(tmp_path: Path) -> None:
    path = tmp_path / "choices.json"
    path.write_text(json.dumps({"choices": {"a": {"forward": "of next year"}, "b": {"forward": "merged2"}}}))
    found = Choices(path, MACHINE)
    assert found.get("a") is None
    assert found.get("b") == Choice("merged2")


def test_a_choice_that_does_not_fit_is_measured_again_once(folder: Path, measured: list[int]) -> None:
    run_layer()
    path = only_file(folder)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"library"', b'"merged8"'))  # of one group, that cannot be merged
    measured.clear()
    for _ in range(3):
        forget()
        run_layer()
    assert measured == [1]
    assert path.read_bytes() == whole


def test_where_nothing_can_be_written_choices_are_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: list[int]
) -> None:
    occupied = tmp_path / "a file"
    occupied.write_text("of somebody")
    monkeypatch.setenv("PYCONV_CACHE", str(occupied))
    for _ in range(3):
        run_layer()
    assert measured == [1, 4, 8, 16]
    assert occupied.read_text() == "of somebody"


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(28, "No space left on device")])
def test_a_full_or_closed_disk_leaves_what_was_there(
    error: OSError, folder: Path, monkeypatch: pytest.MonkeyPatch, measured: list[int]
) -> None:
    run_layer()
    whole = only_file(folder).read_bytes()

    def replace(*_: object) -> None:
        raise error

    monkeypatch.setattr(Path, "replace", replace)
    with torch.no_grad():
        run_layer()
        run_layer()
    assert len(measured) == 8
    assert only_file(folder).read_bytes() == whole


def test_a_user_without_a_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch, measured: list[int]) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    for name in ("PYCONV_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    run_layer()
    run_layer()
    assert measured == [1, 4, 8, 16]
    forget()


def test_the_folder_is_the_environment_s_or_the_user_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert choices.folder() == tmp_path / "choices"
    monkeypatch.delenv("PYCONV_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert choices.folder() == tmp_path / "cache/pyconv"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert choices.folder() == tmp_path / "home/.cache/pyconv"


@pytest.mark.parametrize(
    "changed",
    [
        lambda patch: patch.setattr(torch, "__version__", "1.0"),
        lambda patch: patch.setattr(choices, "VERSION", 0),
        lambda patch: patch.setattr(choices, "_processor", lambda: "another"),
        lambda patch: patch.setattr(direct, "instructions", lambda: "others"),
    ],
    ids=["torch", "formulations", "processor", "instructions"],
)
def test_another_machine_has_a_file_of_its_own(
    changed: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = choices.of_machine(CPU).path
    changed(monkeypatch)
    forget()
    assert choices.of_machine(CPU).path != before
    forget()


def test_the_processor_is_told_by_its_model() -> None:
    assert choices._processor()
    assert choices._processor().strip("; ") == choices._processor()
