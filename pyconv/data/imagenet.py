"""Images of ImageNet's folder layout as uint8 tensors: random crops and flips to train, centre crops to test.

Training: RandomResizedCrop (Szegedy et al., CVPR 2015). Testing: short side to `resize`, centre `crop`, bilinear, as
in the authors' script. Images stay uint8 (3, H, W) until they are on the device: `normalise`.
"""

import warnings
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from pyconv.data.manifest import DataError, Split
from pyconv.data.sampling import derive_seed
from pyconv.recipe import ImageNetAugment

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class TrainingSet(Dataset[tuple[Tensor, int]]):
    """Random crops of a split; each one is a function of (seed, epoch, index) alone."""

    split: Split
    augment: ImageNetAugment
    seed: int
    epoch: int = 0

    def at(self, epoch: int) -> "TrainingSet":
        """The same images as epoch `epoch` sees them."""
        return replace(self, epoch=epoch)

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = decode(self.split.read(index), self.split.root / self.split.place(index))
        augment = self.augment
        transform = v2.Compose(
            [
                v2.RandomResizedCrop(augment.crop, augment.scale, augment.ratio),
                v2.RandomHorizontalFlip(augment.flip),
                v2.PILToTensor(),
            ]
        )
        with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's own generator
            torch.default_generator.manual_seed(derive_seed("sample", self.seed, self.epoch, index))
            return transform(image), self.split.label(index)


@dataclass(frozen=True)
class TestSet(Dataset[tuple[Tensor, int, int]]):
    """Centre crops of a split, with their labels and numbers. `resize`: short side, >= `crop`, in pixels."""

    __test__ = False  # not a class of tests

    split: Split
    crop: int
    resize: int

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.resize:
            raise ValueError(
                f"a crop of {self.crop} does not fit into images resized to {self.resize}: use resize >= crop >= 1"
            )

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        transform = v2.Compose([v2.Resize(self.resize), v2.CenterCrop(self.crop), v2.PILToTensor()])
        image = decode(self.split.read(index), self.split.root / self.split.place(index))
        return transform(image), self.split.label(index), index


def read_image(path: Path) -> Image.Image:
    """The image file as RGB; `DataError` naming it as `decode` does."""
    return decode(path.read_bytes(), path)


def decode(content: bytes, path: Path) -> Image.Image:
    """The bytes of `path` as RGB: greyscale repeated, CMYK and palettes converted, transparency dropped.

    Raises `DataError` naming the file when it cannot be decoded to its end.
    """
    try:
        with warnings.catch_warnings(), Image.open(BytesIO(content)) as image:
            warnings.simplefilter("ignore")  # transparent palettes and broken EXIF do not touch the pixels
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error}); replace or delete the file") from error


def normalise(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W), 0-255 -> float32 with ImageNet's mean 0 and standard deviation 1, on the same device.

    In channels-last memory, which convolutions hand on: what a GPU's tensor cores read, and on the CPU grouped 9x9 and
    11x11 kernels run up to 1.8 times faster with it.
    """
    mean = torch.tensor(MEAN, device=images.device).view(3, 1, 1) * 255
    std = torch.tensor(STD, device=images.device).view(3, 1, 1) * 255
    return (images.to(memory_format=torch.channels_last).float() - mean) / std
