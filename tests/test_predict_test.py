"""`pyconv eval --predict-test`: what a test server takes, whose it is, and the way back to the table."""

import hashlib
import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import photos
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from experiments.protocols import TEST_SERVER
from experiments.recipes import ade20k
from experiments.table7_state_of_the_art import STANDARD
from pyconv.architectures import PYRAMIDS, ResNet, SegNet, Stage
from pyconv.checkpoints import save_weights
from pyconv.models import build
from results.evidence import Evidence
from slurm import cli as command_line
from slurm import weights
from slurm.job import run_folder
from slurm.submission import MANIFEST, ZIP, SubmissionError, make, read_submission

PHOTOGRAPHS = {"ADE_test_00000001": (30, 44), "ADE_test_00000002": (52, 21), "ADE_test_00000003": (1, 1)}
WEIGHTS = {"source": "trained", "sha256": "a" * 64, "file": "weights.pt"}
TARGET = "table7/pyconvsegnet152"


@pytest.fixture
def ade(tmp_path: Path) -> Path:
    """A test split in the release's layout: photographs of real pixels, no label maps."""
    folder = tmp_path / "ade20k" / "images" / "testing"
    folder.mkdir(parents=True)
    for stem, (high, wide) in PHOTOGRAPHS.items():
        Image.fromarray(photos.photo("china.jpg")[100 : 100 + high, 200 : 200 + wide]).save(folder / f"{stem}.jpg")
    return tmp_path / "ade20k"


def label_map(stem: str) -> np.ndarray:
    """What the made-up network sees: class numbers from 1 to 150."""
    high, wide = PHOTOGRAPHS[stem]
    return (np.arange(high * wide) % 150 + 1).astype(np.uint8).reshape(high, wide)


@pytest.fixture
def predicting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """A network's place is taken by `label_map`, so that only the files are under test; returns what it was asked."""
    asked: dict[str, Any] = {}

    def replaced(wrong: Callable[[str], np.ndarray | None] = label_map) -> dict[str, Any]:
        def predict(model: torch.nn.Module, *, predictions: Path, **more: Any) -> int:
            asked.update(more, parameters=[p.detach().clone() for p in model.parameters()])
            for stem in PHOTOGRAPHS:
                if (content := wrong(stem)) is not None:
                    Image.fromarray(content).save(predictions / f"{stem}.png")
            return len(PHOTOGRAPHS)

        monkeypatch.setitem(sys.modules, "pyconv.segmentation", SimpleNamespace(predict=predict))
        return asked

    return replaced


def made(folder: Path, ade: Path) -> Any:
    return make(torch.nn.Linear(2, 2), STANDARD, TEST_SERVER, WEIGHTS, ade, folder)


def cli(*words: object) -> Result:
    return CliRunner().invoke(command_line.cli, [str(word) for word in words])


def test_the_zip_holds_one_label_map_a_photograph_and_nothing_else(
    tmp_path: Path, ade: Path, predicting: Callable[..., dict[str, Any]]
) -> None:
    asked = predicting()
    made(tmp_path / "out", ade)
    with zipfile.ZipFile(tmp_path / "out" / ZIP) as archive:
        assert archive.namelist() == [f"{stem}.png" for stem in PHOTOGRAPHS]
        assert archive.testzip() is None
        for stem in PHOTOGRAPHS:
            with Image.open(BytesIO(archive.read(f"{stem}.png"))) as image:
                assert image.mode == "L"
                assert (np.array(image) == label_map(stem)).all()
    assert asked["split"] == "test"
    assert (asked["crop"], asked["resize"], asked["flip"]) == (473, 512, True)
    assert asked["scales"] == (0.5, 0.75, 1, 1.25, 1.5, 1.75)


def test_the_same_label_maps_are_the_same_zip(
    tmp_path: Path, ade: Path, predicting: Callable[..., dict[str, Any]]
) -> None:
    predicting()
    one, two = made(tmp_path / "one", ade), made(tmp_path / "two", ade)
    assert one.sent == two.sent
    assert (tmp_path / "one" / ZIP).read_bytes() == (tmp_path / "two" / ZIP).read_bytes()


def test_the_manifest_says_whose_they_are_in_checksums(
    tmp_path: Path, ade: Path, predicting: Callable[..., dict[str, Any]]
) -> None:
    predicting()
    made(tmp_path / "out", ade)
    found = read_submission(tmp_path / "out" / MANIFEST)
    assert found.is_of(STANDARD, TEST_SERVER)
    assert found.is_of(replace(STANDARD, seed=7), TEST_SERVER)
    assert not found.is_of(STANDARD, replace(TEST_SERVER, flip=False))
    assert found.sent["images"] == 3
    assert found.sent["sha256"] == hashlib.sha256((tmp_path / "out" / ZIP).read_bytes()).hexdigest()
    for name, checksum in found.files.items():
        assert checksum == hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest()
    assert found.data["samples"] == 3


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (np.zeros((52, 21), np.uint8), "class numbers 0 to 0; 1 to 150"),
        (np.full((52, 21), 151, np.uint8), "151"),
        (np.ones((21, 52), np.uint8), "(21, 52)"),
        (np.ones((52, 21, 3), np.uint8), "RGB"),
        (None, "cannot be read"),
    ],
)
def test_a_label_map_that_a_server_would_refuse_is_refused_here(
    tmp_path: Path, ade: Path, predicting: Callable[..., Any], content: np.ndarray | None, told: str
) -> None:
    predicting()
    made(tmp_path / "out", ade)
    (tmp_path / "out" / "ADE_test_00000002.png").unlink()
    predicting(lambda stem: content if stem.endswith("2") else label_map(stem))
    with pytest.raises(SubmissionError) as raised:
        made(tmp_path / "out", ade)
    assert "ADE_test_00000002.png" in str(raised.value)
    assert told in str(raised.value)
    assert not (tmp_path / "out" / ZIP).exists()  # an earlier network's would be uploaded by mistake
    assert not (tmp_path / "out" / MANIFEST).exists()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> torch.nn.Module:
    """The row's network is a layer: its place in the way of the files is what is under test, not its size."""
    monkeypatch.setattr("pyconv.models.build", lambda _: torch.nn.Linear(2, 2))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("PYCONV_RUNS", "PYCONV_RECORDS", "PYCONV_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return torch.nn.Linear(2, 2)


def trained(runs: Path, model: torch.nn.Module) -> str:
    """A finished training of the row below `runs`; the SHA-256 of its weights."""
    folder = run_folder(runs, STANDARD)
    folder.mkdir(parents=True)
    path = folder / "weights.pt"
    sha256 = save_weights(path, model.state_dict(), "the run's")
    about: dict[str, Any] = {"history": [], "timings": {}, "data": {}, "deviations": []}
    weights.write(
        folder, weights.Weights(path.name, sha256, path.stat().st_size, **about, code={}, environment={}, job={})
    )
    return sha256


def test_weights_that_were_trained_here_are_predicted_uploaded_and_scored(
    tmp_path: Path, ade: Path, predicting: Callable[..., dict[str, Any]], small: torch.nn.Module
) -> None:
    asked = predicting()
    sha256 = trained(tmp_path / "runs", small)
    places = ("--runs", tmp_path / "runs", "--data", f"ade20k={ade}")
    found = cli("eval", TARGET, "--predict-test", tmp_path / "out", *places)
    assert found.exit_code == 0, found.output
    assert all((ours == theirs).all() for ours, theirs in zip(asked["parameters"], small.parameters(), strict=True))
    numbers = ("--miou", 37.75, "--pixel-acc", 73.61, "--date", "2026-10-01", "--source", "the server's mail")
    manifest = tmp_path / "out" / MANIFEST
    entered = cli("score", TARGET, *numbers, "--submission", manifest, "--records", tmp_path / "records")
    assert entered.exit_code == 0, entered.output
    (record,) = Evidence.load(tmp_path / "records").external.values()
    assert record.weights == {"source": "trained", "sha256": sha256, "file": "weights.pt"}
    assert record.submission == read_submission(manifest).sent
    assert record.run == "external-seed-0"


def test_a_manifest_that_is_not_the_target_s_or_was_changed_is_refused(
    tmp_path: Path, ade: Path, predicting: Callable[..., dict[str, Any]]
) -> None:
    predicting()
    made(tmp_path / "out", ade)
    manifest, records = tmp_path / "out" / MANIFEST, tmp_path / "records"
    numbers = ("--miou", 39.13, "--pixel-acc", 73.91, "--date", "2026-10-01", "--source", "mail", "--records", records)

    def entered(target: str = TARGET, *more: object) -> tuple[int, str]:
        found = cli("score", target, *numbers, "--submission", manifest, *more)
        return found.exit_code, " ".join(found.output.split())

    code, told = entered("table7/pyconvsegnet152-trainval")
    assert (code, "another network, recipe or protocol" in told) == (2, True)
    code, told = entered(TARGET, "--seed", 3)
    assert (code, "is of seed 0" in told) == (2, True)
    (tmp_path / "out" / ZIP).write_bytes(b"another")
    code, told = entered()
    assert (code, "another file than the manifest's" in told) == (2, True)
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"experiment": {**content["experiment"], "seed": 5}}))
    code, told = entered()
    assert (code, "the record was edited" in told) == (2, True)
    manifest.write_text("[]")
    assert entered()[0] == 2
    assert not records.exists()


@pytest.mark.usefixtures("small")
def test_weights_that_are_not_there_are_told(
    tmp_path: Path, ade: Path, predicting: Callable[..., dict[str, Any]]
) -> None:
    predicting()
    runs = tmp_path / "runs"
    found = cli("eval", TARGET, "--predict-test", tmp_path / "out", "--runs", runs, "--data", f"ade20k={ade}")
    assert found.exit_code == 1
    assert str(run_folder(runs, STANDARD)) in found.output.replace("\n", "")


def test_what_does_not_fit_together_is_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.touch()
    assert cli("eval", TARGET).exit_code == 2
    assert cli("eval", TARGET, "--checkpoint", file, "--seed", 1).exit_code == 2
    both = ("--predict-test", tmp_path / "out", "--export", tmp_path / "x.pt")
    assert cli("eval", TARGET, "--checkpoint", file, *both).exit_code == 2
    found = cli("eval", "table6/resnet50", "--predict-test", tmp_path / "out", "--checkpoint", file)
    assert (found.exit_code, TARGET in found.output.replace("\n", "")) == (2, True)


def test_what_a_real_network_predicts_is_taken(tmp_path: Path, ade: Path) -> None:
    """Without any stand-in: a narrow network, windows of 33 pixels at two scales, photographs down to one pixel."""
    stages = tuple(Stage(1, 8, 32, stride, PYRAMIDS[1]) for stride in (1, 2, 2, 2))
    network = SegNet(ResNet("bottleneck", stages, "stem"), "conv3x3")
    protocol = replace(TEST_SERVER, crop=33, resize=40, scales=(0.5, 1.0))
    found = make(build(network, seed=1), ade20k(network), protocol, WEIGHTS, ade, tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out" / ZIP) as archive:
        assert archive.namelist() == [f"{stem}.png" for stem in PHOTOGRAPHS]
    assert found.sent["images"] == len(PHOTOGRAPHS)
    assert read_submission(tmp_path / "out" / MANIFEST).is_of(ade20k(network), protocol)
