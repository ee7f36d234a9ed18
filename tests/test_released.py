"""The authors' released weights: the numbers of their networks in ours, and every file that must be refused."""

import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import authors
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import randomise
from torch import Tensor

import pyconv
from pyconv import architectures
from pyconv.checkpoints import (
    CheckpointError,
    Released,
    export_released,
    load_released,
    load_weights,
    save_released,
    save_weights,
)
from pyconv.checkpoints import names as released_layout

State = dict[str, Tensor]
SMALL = architectures.ResNet(
    "basic",
    tuple(architectures.Stage(1, 8 * n, 8 * n, 2, pyconv.PYRAMIDS[1]) for n in (1, 2)),
    "stem",
    num_classes=5,
    name="small",
)


def drawn(names: dict[str, torch.Size], seed: int = 0) -> State:
    """A state dict of these names and shapes that no test can overlook; variances are positive."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in names.items():
        values = torch.rand(shape, generator=generator, dtype=torch.float64)
        normal = torch.randn(shape, generator=generator, dtype=torch.float64)
        fan = max(1, shape[1:].numel())
        state[name] = values + 0.5 if len(shape) == 1 and name.endswith(("var", "weight")) else normal / fan**0.5
    return state


def pyconv_names(depth: int, kind: str) -> dict[str, torch.Size]:
    """Names and shapes of PyConvResNet ("pyconv") or PyConvHGResNet ("hg") in the authors' words, from Table 1."""
    blocks = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}[depth]
    kernels = ((3, 5, 7, 9), (3, 5, 7), (3, 5), (3,))
    split = ((4, 4, 4, 4), (4, 4, 2), (2, 2), (1,))
    groups = {
        "pyconv": ((1, 4, 8, 16), (1, 4, 8), (1, 4), (1,)),
        "hg": ((32, 32, 32, 32), (32, 64, 64), (32, 64), (32,)),
    }[kind]
    width, expansion = (64, 4) if kind == "pyconv" else (128, 2)
    shapes = {"conv1.weight": (64, 3, 7, 7), **_norm("bn1", 64)}
    maps = 64
    for index, number in enumerate(blocks):
        inner, out = width << index, (width << index) * expansion
        for block in range(number):
            name = f"layer{index + 1}.{block}"
            shapes |= {f"{name}.conv1.weight": (inner, maps, 1, 1), **_norm(f"{name}.bn1", inner)}
            for level, (k, s, g) in enumerate(zip(kernels[index], split[index], groups[index], strict=True), start=1):
                own = f"{name}.conv2.conv2_{level}" if index < 3 else f"{name}.conv2"
                shapes[f"{own}.weight"] = (inner // s, inner // g, k, k)
            shapes |= _norm(f"{name}.bn2", inner)
            shapes |= {f"{name}.conv3.weight": (out, inner, 1, 1), **_norm(f"{name}.bn3", out)}
            if block == 0:
                shapes |= {f"{name}.downsample.1.weight": (out, maps, 1, 1), **_norm(f"{name}.downsample.2", out)}
            maps = out
    shapes |= {"fc.weight": (1000, maps), "fc.bias": (1000,)}
    return {name: torch.Size(shape) for name, shape in shapes.items()}


def _norm(name: str, maps: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (maps,) for part in ("weight", "bias", "running_mean", "running_var")}


def describe(depth: int, kind: str) -> architectures.ResNet:
    return (pyconv.pyconvresnet if kind == "pyconv" else pyconv.pyconvhgresnet)(depth)


@pytest.mark.parametrize(
    "depth", [50, pytest.param(101, marks=pytest.mark.slow), pytest.param(152, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("kind", ["pyconv", "hg"])
def test_pyconv_networks_compute_what_the_paper_says_of_the_authors_weights(depth: int, kind: str) -> None:
    state = drawn(pyconv_names(depth, kind))
    model = describe(depth, kind).build().double().eval()
    read = load_released(model, state)
    assert read == Released("released", "classification", len(state), uncounted=sum("mean" in name for name in state))
    images = torch.randn(2, 3, 65, 64, dtype=torch.float64)
    with torch.inference_mode():
        expected = authors.classify(state, images)
        torch.testing.assert_close(model(images), expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("depth", [50, 101, 152])
@pytest.mark.parametrize("kind", ["pyconv", "hg"])
def test_names_and_shapes_are_table_1s_at_every_depth(depth: int, kind: str) -> None:
    with torch.device("meta"):
        own = describe(depth, kind).build().state_dict()
    names = released_layout.released_names(describe(depth, kind), own)
    found = {names[name]: tensor.shape for name, tensor in own.items() if not name.endswith("num_batches_tracked")}
    assert found == pyconv_names(depth, kind)


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "resnet101", pytest.param("resnet152", marks=pytest.mark.slow)]
)
def test_the_baseline_is_torchvisions_in_both_directions(name: str) -> None:
    theirs = randomise(getattr(torchvision.models, name)(), seed=1).eval()
    network = pyconv.resnet(int(name.removeprefix("resnet")))
    model = network.build().eval()
    load_released(model, theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), theirs(images), rtol=1e-5, atol=1e-5)
    other = getattr(torchvision.models, name)().eval()
    other.load_state_dict(export_released(model), strict=True)
    with torch.inference_mode():
        assert torch.equal(other(images), theirs(images))


def test_resnext_is_torchvisions_too() -> None:
    with torch.device("meta"):
        own = pyconv.resnext(50).build().state_dict()
        theirs = torchvision.models.resnext50_32x4d().state_dict()
    names = released_layout.released_names(pyconv.resnext(50), own)
    assert {names[name]: tensor.shape for name, tensor in own.items()} == {n: t.shape for n, t in theirs.items()}


@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        (pyconv.resnet(50), "pyconvph"),
        pytest.param(pyconv.pyconvresnet(50), "pyconvph", marks=pytest.mark.slow),
        pytest.param(pyconv.pyconvhgresnet(50), "pyconvph", marks=pytest.mark.slow),
        pytest.param(pyconv.resnet(50), "ppm", marks=pytest.mark.slow),
        pytest.param(pyconv.resnet(50), "conv3x3", marks=pytest.mark.slow),
    ],
)
def test_segmentation_networks_compute_what_the_authors_layout_says(
    backbone: architectures.ResNet, head: architectures.Head
) -> None:
    model = randomise(pyconv.segnet(backbone, head).build(7, seed=3)).double().eval()
    state = export_released(model)
    images = torch.randn(1, 3, 65, 65, dtype=torch.float64)
    with torch.inference_mode():
        out, aux = authors.segment(state, images, pooled_stem=backbone.pool == "stem")
        ours = model(images)
        torch.testing.assert_close(ours["out"], out, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(ours["aux"], aux, rtol=1e-9, atol=1e-9)
        again = pyconv.segnet(backbone, head).build(7, seed=4).double().eval()
        assert load_released(again, state).layout == f"segmentation with the head {head}"
        assert torch.equal(again(images)["out"], ours["out"])


COVERED = [
    pyconv.resnet(34),
    pyconv.resnext(101),
    *(f(d) for f in (pyconv.resnet, pyconv.pyconvresnet, pyconv.pyconvhgresnet) for d in (50, 101, 152)),
    pyconv.pyconvresnet(50, (4, 3, 2, 1), "first_shortcut"),
    *(pyconv.segnet(pyconv.pyconvresnet(50), head) for head in ("pyconvph", "ppm", "conv3x3")),
]


@pytest.mark.parametrize("network", COVERED, ids=lambda network: network.name)
def test_the_map_is_one_to_one(network: architectures.ResNet) -> None:
    with torch.device("meta"):
        own = network.build().state_dict()
    assert len(set(released_layout.released_names(network, own).values())) == len(own)


@pytest.mark.parametrize(
    "network",
    [
        pyconv.iresnet(50),
        pyconv.preact_resnet(50),
        pyconv.nl_resnet(50),
        pyconv.se_resnet(50),
        pyconv.pyconvresnet(18),
        pyconv.resnet3d(50),
        pyconv.pyconvssd(50),
        pyconv.segnet(pyconv.resnet(50), "aspp"),
    ],
    ids=lambda network: network.name,
)
def test_other_networks_are_refused_with_those_that_are_covered(network: architectures.ResNet) -> None:
    with torch.device("meta"):
        model = network.build()
    for act in (lambda: load_released(model, {"x": torch.zeros(1)}), lambda: export_released(model)):
        with pytest.raises(ValueError, match=rf"{network.name}: .*known: ResNet, ResNeXt, PyConvResNet"):
            act()
    with pytest.raises(ValueError, match=r"Linear: .* PyConvHGResNet"):
        export_released(torch.nn.Linear(1, 1))


@pytest.fixture
def small() -> State:
    return export_released(randomise(SMALL.build(seed=1), seed=1))


def written(path: Path, payload: Any, **how: Any) -> Path:
    torch.save(payload, path, **how)
    return path


def test_every_wrapping_is_the_same_weights(tmp_path: Path, small: State) -> None:
    prefixed = {f"module.{name}": tensor for name, tensor in small.items()}
    beside = {"epoch": 90, "arch": "small", "best_acc1": torch.tensor(77.9), "optimizer": {"state": {}}}
    uncounted = {name: tensor for name, tensor in small.items() if not name.endswith("num_batches_tracked")}
    files = {"bare.pt": small, "module.pth": prefixed, "wrapped.pth.tar": {**beside, "state_dict": prefixed}}
    files["old.pth"] = uncounted
    for number, (name, payload) in enumerate(files.items()):
        model = SMALL.build(seed=7 + number)
        read = load_released(model, str(written(tmp_path / name, payload)))
        assert all(torch.equal(tensor, small[key]) for key, tensor in export_released(model).items()), name
        assert (read.ignored, read.uncounted) == (tuple(beside) if "wrapped" in name else (), 7 if "old" in name else 0)
    legacy = written(tmp_path / "legacy.pth", small, _use_new_zipfile_serialization=False)
    assert load_released(SMALL.build(), legacy).tensors == len(small)  # as torch of 2020 wrote


def test_it_is_a_copy_in_the_models_own_type(small: State) -> None:
    model = SMALL.build(seed=2)
    load_released(
        model, {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in small.items()}
    )
    small["fc.bias"].fill_(9)
    assert model.fc is not None
    assert model.fc.bias.dtype == torch.float32
    assert not bool((model.fc.bias == 9).any())


def test_a_file_of_this_program_is_recognised(tmp_path: Path) -> None:
    trained, model = SMALL.build(seed=1), SMALL.build(seed=2)
    digest = save_weights(tmp_path / "weights.pt", trained.state_dict(), "key")
    read = load_released(model, tmp_path / "weights.pt")
    assert (read.source, read.sha256) == ("own", digest)
    assert all(
        torch.equal(a, b) for a, b in zip(trained.state_dict().values(), model.state_dict().values(), strict=True)
    )


def without(*names: str) -> Callable[[State], Any]:
    return lambda state: {name: tensor for name, tensor in state.items() if name not in names}


def changed(name: str, tensor: Any) -> Callable[[State], Any]:
    return lambda state: {**state, name: tensor}


CLASSES = {"fc.weight": torch.zeros(9, 16), "fc.bias": torch.zeros(9)}
PARTS = ("weight", "bias", "running_mean", "running_var")
NORMS = [f"layer2.0.bn{number}.{part}" for number in (1, 2) for part in PARTS]
WRONG = {
    "missing": (without("bn1.bias"), r"1 missing \(bn1.bias\)"),
    "many missing": (without(*NORMS), "8 missing .* and 2 more"),
    "unexpected": (changed("layer3.0.conv1.weight", torch.zeros(1)), r"1 unexpected \(layer3.0.conv1.weight\)"),
    "misshapen": (
        changed("layer1.0.conv1.weight", torch.zeros(8, 64, 1, 1)),
        "1 of another shape .layer1.0.conv1.weight is 8x64x1x1, here 8x64x3x3",
    ),
    "classes": (
        lambda state: {**state, **CLASSES},
        "file has 9 classes, small was built for 5: build it with num_classes=9",
    ),
    "classes and more": (lambda state: {**without("bn1.bias")(state), **CLASSES}, "bn1.bias.*the file has 9 classes"),
    "integers": (changed("fc.bias", torch.zeros(5, dtype=torch.int64)), "fc.bias is int64"),
    "complex": (changed("fc.bias", torch.zeros(5, dtype=torch.complex64)), "fc.bias is complex64"),
    "sparse": (changed("fc.bias", torch.zeros(5).to_sparse()), "fc.bias is float32, torch.sparse_coo"),
    "NaN": (changed("fc.bias", torch.tensor([0, 0, 0, 0, torch.nan])), r"1 with NaN or Inf \(fc.bias\)"),
    "too large": (changed("fc.bias", torch.full((5,), 1e300, dtype=torch.float64)), "NaN or Inf"),
    "no tensor": (changed("epoch", 3), "'epoch' is a int, not a tensor"),
    "empty": (lambda _: {}, "holds no tensors"),
    "empty wrapper": (lambda _: {"state_dict": {}}, "state_dict holds no tensors"),
    "a list": (lambda state: list(state.values()), "holds a list; a state dict"),
    "half a prefix": (changed("module.fc.bias", torch.zeros(5)), r"1 unexpected \(module.fc.bias\)"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_told_in_the_files_words_and_changes_nothing(
    wrong: str, tmp_path: Path, small: State
) -> None:
    change, told = WRONG[wrong]
    path = written(tmp_path / "theirs.pth", change(small))
    model = SMALL.build(seed=5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=told) as refused:
        load_released(model, path)
    assert str(path) in str(refused.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_weights_of_another_kind_of_network_say_what_they_are(small: State) -> None:
    with torch.device("meta"):
        model = pyconv.segnet(pyconv.resnet(50), "ppm").build()
    with pytest.raises(CheckpointError, match="Its names are those of: classification"):
        load_released(model, small)


def test_a_file_that_would_run_code_is_not_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    for name, how in (("zip.pth", True), ("legacy.pth", False)):
        path = written(tmp_path / name, {"state_dict": Hostile()}, _use_new_zipfile_serialization=how)
        with pytest.raises(CheckpointError, match=f"{name}: damaged or not a checkpoint of plain tensors"):
            load_released(SMALL.build(), path)
    assert not (tmp_path / "owned").exists()


def test_missing_files_and_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere.pth: cannot be read: No such file"):
        load_released(SMALL.build(), tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match="Is a directory"):
        load_released(SMALL.build(), tmp_path)


@settings(max_examples=40, deadline=None)
@given(kept=st.floats(0, 0.999), zipped=st.booleans())
def test_a_truncated_file_is_refused_wherever_it_was_cut(
    kept: float, zipped: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "theirs.pth"
    written(path, export_released(SMALL.build(seed=1)), _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"theirs.pth: damaged or not a checkpoint"):
        load_released(SMALL.build(), path)


def test_an_exported_file_is_all_there_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = SMALL.build(seed=1)
    path = tmp_path / "below" / "theirs.pt"
    digest = save_released(path, model)
    assert load_released(SMALL.build(), path).sha256 == digest
    with pytest.raises(CheckpointError, match="not a checkpoint of this program"):
        load_weights(path)  # it is in the authors' names
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_released(path, SMALL.build(seed=2))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(ValueError, match=r"written as .pt, .pth, .safetensors, not '.onnx'"):
        save_released(tmp_path / "x.onnx", model)


def by_hand(state: State) -> bytes:
    """The format of safetensors: length, JSON header, bytes."""
    header, data = {}, b""
    for name, tensor in state.items():
        raw = tensor.contiguous().numpy().tobytes()
        kind = {torch.float32: "F32", torch.int64: "I64"}[tensor.dtype]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % 8)
    return struct.pack("<Q", len(told)) + told + data


def test_safetensors_where_they_are_installed(tmp_path: Path, small: State) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "theirs.safetensors"
    path.write_bytes(by_hand(small))
    model = SMALL.build(seed=9)
    load_released(model, path)
    assert all(torch.equal(tensor, small[name]) for name, tensor in export_released(model).items())
    save_released(tmp_path / "ours.safetensors", model)
    length = struct.unpack("<Q", (tmp_path / "ours.safetensors").read_bytes()[:8])[0]
    about = json.loads((tmp_path / "ours.safetensors").read_bytes()[8 : 8 + length])["__metadata__"]
    assert about == {"format": "pt", "network": "small", "layout": "classification"}
    assert load_released(SMALL.build(), tmp_path / "ours.safetensors").tensors == len(small)
    path.write_bytes(by_hand(small)[:-5])
    with pytest.raises(CheckpointError, match="damaged or not safetensors"):
        load_released(model, path)


def test_safetensors_where_they_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    (tmp_path / "theirs.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="pip install safetensors"):
        load_released(SMALL.build(), tmp_path / "theirs.safetensors")
    with pytest.raises(CheckpointError, match="pip install safetensors"):
        save_released(tmp_path / "ours.safetensors", SMALL.build())
