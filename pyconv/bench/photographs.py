"""Real photographs of ImageNet's size for benchmarks: rectangles of the two that scikit-learn ships, about 110 KB each.

Sides as they are frequent in ILSVRC-2012 (500x375, 500x333, 375x500, ...), JPEG with halved chroma.
"""

import random
from importlib.resources import files
from pathlib import Path

from PIL import Image

SIDES = ((500, 375), (500, 375), (500, 375), (500, 333), (375, 500), (333, 500), (640, 427), (400, 300))
QUALITY = 97
CLASSES = 4


def write(folder: Path, images: int, *, seed: int = 0) -> float:
    """Write `folder/{train,val}/<class>/<image>.jpg`, `images` in each; the mean size of a file in bytes."""
    rng, originals = random.Random(seed), sources()
    sizes = []
    for split in ("train", "val"):
        for number in range(images):
            path = folder / split / f"class{number % CLASSES}" / f"{number:04}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            _rectangle(rng, rng.choice(originals)).save(path, quality=QUALITY, subsampling="4:2:0")
            sizes.append(path.stat().st_size)
    return sum(sizes) / len(sizes)


def sources() -> list[Image.Image]:
    """The two photographs, 640x427, as RGB."""
    found = files("sklearn.datasets") / "images"
    images = []
    for name in ("china.jpg", "flower.jpg"):
        with (found / name).open("rb") as file:
            images.append(Image.open(file).convert("RGB"))
    return images


def _rectangle(rng: random.Random, source: Image.Image) -> Image.Image:
    """A random rectangle of the photograph, of the asked proportions, scaled to one of the sides."""
    width, height = rng.choice(SIDES)
    scale = min(source.width / width, source.height / height) * rng.uniform(0.8, 1.0)
    w, h = width * scale, height * scale
    left, top = rng.uniform(0, source.width - w), rng.uniform(0, source.height - h)
    box = (left, top, left + w, top + h)
    return source.resize((width, height), Image.Resampling.LANCZOS, box=box)
