"""A test of PyConvSegNet-50 (output stride 8, 150 classes, random weights) with sliding windows, end to end.

The authors' way, after semseg's test script: one window at a time with its mirror image, eager, NCHW, batch norms on
their own, probabilities added up on the host in float64, every scale brought to the photograph's size as a whole. Their
`cv2.resize` of probabilities is played by our bilinear rows, at about 1.5 times its time, below 2% of the whole. Ours
is `pyconv.segmentation`. Same weights, threads, photographs and scales; both read JPEG, write label maps as PNG and do
without the auxiliary head.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from pyconv.architectures import pyconvresnet, pyconvsegnet
from pyconv.bench import photographs
from pyconv.bench.paired import Comparison, compare
from pyconv.data.ade20k import Scenes, read_scenes
from pyconv.data.imagenet import MEAN, STD
from pyconv.models.segmentation import SegNet
from pyconv.segmentation import evaluate
from pyconv.segmentation.bilinear import Bilinear
from pyconv.segmentation.windows import Layout, Sliding

AIM = 1.5
NETWORK = pyconvsegnet(pyconvresnet(50))
CLASSES = 150
SIZE = (683, 512)
"""Width and height; the most frequent ones of ADE20K's validation images."""
TEST = Sliding(crop=473, resize=512, scales=(0.75, 1.25))
"""1 + 4 windows; all six scales of the paper need 18."""
TIE = 1e-4


@dataclass(frozen=True)
class Agreement:
    """`differing` of `pixels` got another label; there the two largest probabilities differ by at most `margin`."""

    pixels: int
    differing: int
    margin: float
    classes: int

    @property
    def met(self) -> bool:
        """Whether all that differs are ties."""
        return self.margin < TIE

    def report(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self)

    def line(self) -> str:
        """For people."""
        return (
            f"labels: {self.differing} of {self.pixels} pixels differ ({self.classes} classes predicted); "
            f"there the two largest probabilities are at most {self.margin:.1e} apart"
        )


def bench(rounds: int = 3, images: int = 2) -> tuple[Comparison, Agreement]:
    """A test pass over some photographs."""
    model = NETWORK.build(CLASSES, seed=0).eval()
    with tempfile.TemporaryDirectory() as folder:
        scenes = _scenes(Path(folder), images)
        probabilities: dict[int, np.ndarray] = {}
        plain = _authors(_without_auxiliary(model), scenes, probabilities)
        passes = plain, _ours(model, scenes)
        found = compare(f"multi-scale test of {images} photographs", images, *passes, rounds)
        return found, _agreement(scenes, probabilities)


def _scenes(root: Path, images: int) -> Scenes:
    """Photographs of ADE20K's size with made-up label maps, in the release's layout."""
    for place in ("images/validation", "annotations/validation"):
        (root / place).mkdir(parents=True)
    sources = photographs.sources()
    for number in range(images):
        photograph = sources[number % len(sources)].resize(SIZE, Image.Resampling.LANCZOS)
        photograph.save(root / f"images/validation/{number}.jpg", quality=photographs.QUALITY)
        Image.new("L", SIZE, 1 + number % CLASSES).save(root / f"annotations/validation/{number}.png")
    return read_scenes(root, "val")


def _without_auxiliary(model: SegNet) -> SegNet:
    """The same weights."""
    other = SegNet(model.network).eval()
    other.load_state_dict(model.state_dict())
    other.aux = None
    return other


def _ours(model: nn.Module, scenes: Scenes) -> Callable[[], object]:
    return lambda: evaluate(
        model,
        data_root=scenes.root,
        crop=TEST.crop,
        resize=TEST.resize,
        scales=TEST.scales,
        workers=1,
        predictions=scenes.root / "ours",
    )


def _authors(model: nn.Module, scenes: Scenes, kept: dict[int, np.ndarray]) -> Callable[[], None]:
    folder = scenes.root / "authors"
    folder.mkdir()

    def test() -> None:
        counts = np.zeros((3, CLASSES))
        for index in range(len(scenes)):
            kept[index] = _probabilities(model, scenes.image(index).astype(np.float32))
            labels = np.argmax(kept[index], axis=2).astype(np.uint8)
            Image.fromarray(labels).save(folder / f"{scenes.stem(index)}.png")
            counts += _histograms(labels, scenes.labels(index))

    return test


def _probabilities(model: nn.Module, image: np.ndarray) -> np.ndarray:
    """float64 (H, W, classes), the mean over the scales."""
    height, width = image.shape[:2]
    prediction = np.zeros((height, width, CLASSES))
    for layout in TEST.layouts(height, width):
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
        scaled = functional.interpolate(pixels, (layout.height, layout.width), mode="bilinear")
        values = _one_scale(model, scaled[0].permute(1, 2, 0).numpy(), layout)
        resized = Bilinear(height, width, torch.from_numpy(values).float())
        for top in range(0, height, 4):
            prediction[top : top + 4] += resized.rows(slice(top, top + 4)).numpy()
    return prediction / len(TEST.scales)


def _one_scale(model: nn.Module, image: np.ndarray, layout: Layout) -> np.ndarray:
    padded = np.empty((*layout.padded, 3), dtype=np.float32)
    padded[:] = np.array(MEAN) * 255
    padded[layout.inside] = image
    added, times = np.zeros((*layout.padded, CLASSES)), np.zeros((*layout.padded, 1))
    for window in layout.windows:
        added[window] += _one_window(model, padded[window].copy())
        times[window] += 1
    added /= times
    return added[layout.inside]


def _one_window(model: nn.Module, pixels: np.ndarray) -> np.ndarray:
    entering = torch.from_numpy(pixels.transpose(2, 0, 1)).float()
    for colour, mean, std in zip(entering, MEAN, STD, strict=True):
        colour.sub_(mean * 255).div_(std * 255)
    both = torch.cat([entering[None], entering[None].flip(3)])
    with torch.no_grad():
        found = functional.softmax(model(both)["out"], dim=1)
    return ((found[0] + found[1].flip(2)) / 2).numpy().transpose(1, 2, 0)


def _histograms(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pixels of each class: right, predicted, labelled."""
    return np.stack([np.bincount(of.ravel(), minlength=CLASSES) for of in (labels[labels == truth], labels, truth)])


def _agreement(scenes: Scenes, probabilities: dict[int, np.ndarray]) -> Agreement:
    differing, margin = 0, 0.0
    classes: set[int] = set()
    for index, expected in probabilities.items():
        found = np.asarray(Image.open(scenes.root / "ours" / f"{scenes.stem(index)}.png")) - np.uint8(1)
        classes |= set(np.unique(found).tolist())
        other = expected[found != np.argmax(expected, axis=2)]
        differing += len(other)
        if len(other):
            second, first = np.partition(other, -2, axis=1)[:, -2:].T
            margin = max(margin, float((first - second).max()))
    return Agreement(sum(each[..., 0].size for each in probabilities.values()), differing, margin, len(classes))
