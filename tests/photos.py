"""Real photographs in ImageNet's layout: crops of the two that scikit-learn ships, as JPEGs of a few hundred bytes."""

import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

WNIDS = ("n01440764", "n01443537", "n02510455")


@cache
def photo(name: str) -> np.ndarray:
    return load_sample_image(name)


def jpeg(number: int) -> bytes:
    """A crop of its own for each number."""
    whole = photo("china.jpg" if number % 2 else "flower.jpg")
    top, left = number * 7 % 380, number * 13 % 560
    file = io.BytesIO()
    Image.fromarray(whole[top : top + 40, left : left + 60]).save(file, "JPEG")
    return file.getvalue()


def name(number: int) -> str:
    """Of validation image `number`, from 1."""
    return f"ILSVRC2012_val_{number:08}.JPEG"


def layout(root: Path, per_class: int = 4, splits: tuple[str, ...] = ("train", "val")) -> Path:
    """`root/<split>/<wnid>/<image>`."""
    for first, split in enumerate(splits):
        for number, wnid in enumerate(WNIDS):
            (root / split / wnid).mkdir(parents=True)
            for image in range(per_class):
                content = jpeg(first * 100 + number * per_class + image)
                (root / split / wnid / f"{wnid}_{image}.JPEG").write_bytes(content)
    return root


def tree(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, hidden or not."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
