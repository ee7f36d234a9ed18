"""Images of ImageNet's folder layout as uint8 tensors: random crops and flips to train, centre crops to test.

Training: RandomResizedCrop (Szegedy et al., CVPR 2015), of which only the crop is decoded. Testing: short side to
`resize`, centre `crop`, PIL's bilinear, as in the authors' script, to the last bit. Images stay uint8 (3, H, W) until
they are on the device: `normalise`.
"""

import random
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from pyconv.data.manifest import Split
from pyconv.data.pixels import Picture, as_tensor, random_box
from pyconv.data.sampling import derive_seed
from pyconv.recipe import ImageNetAugment

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class TrainingSet(Dataset[tuple[Tensor, int]]):
    """Random crops of a split: item (epoch, index) is a function of (seed, epoch, index) alone."""

    split: Split
    augment: ImageNetAugment
    seed: int

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, visit: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, index = visit
        augment, rng = self.augment, random.Random(derive_seed("sample", self.seed, epoch, index))
        picture = _picture(self.split, index)
        pixels = picture.resized(random_box(picture.size, augment.scale, augment.ratio, rng), augment.crop)
        flipped = rng.random() < augment.flip
        return pixels.flip(-1) if flipped else pixels, self.split.label(index)


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
        transform = v2.Compose([v2.Resize(self.resize), v2.CenterCrop(self.crop)])
        return as_tensor(transform(_picture(self.split, index).whole)), self.split.label(index), index


def stack(images: list[Tensor]) -> Tensor:
    """uint8 (3, H, W) each -> (N, 3, H, W), colours last in memory: the order of decoders and of convolutions.

    Clips (3, T, H, W) alike.
    """
    return torch.stack([image.movedim(0, -1) for image in images]).movedim(-1, 1)


def normalise(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W), 0-255 -> float32 with ImageNet's mean 0 and standard deviation 1, on the same device.

    Clips (N, 3, T, H, W) alike. In channels-last memory, which convolutions hand on: what a GPU's tensor cores read,
    and on the CPU grouped 9x9 and 11x11 kernels run up to 1.8 times faster with it.
    """
    pixels = images.movedim(1, -1).float()  # colours last, as decoded
    per_image = prod(pixels.shape[1:-1])
    flat = pixels.reshape(
        len(pixels), 3 * per_image
    )  # one long row an image: three values at a time are no work for a processor
    for values, change in ((MEAN, flat.sub_), (STD, flat.div_)):
        change((torch.tensor(values, device=images.device) * 255).repeat(per_image))
    return flat.view(pixels.shape).movedim(-1, 1)


def _picture(split: Split, index: int) -> Picture:
    return Picture(split.read(index), split.root / split.place(index))
