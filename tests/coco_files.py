"""Real photographs with made-up boxes in COCO's layout: files of a few hundred bytes, numbers with gaps, no order."""

import json
from pathlib import Path
from typing import Any

from tests.scene_files import photograph, size_of, write

CATEGORIES = {44: "bottle", 1: "person", 90: "toothbrush"}
"""As the file has them: by ascending id they are labels 2, 1, 3."""
FIRST = {"train": 0, "val": 100}
COUNT = {"train": 6, "val": 5}


def image_id(number: int) -> int:
    """Falls while the number rises."""
    return 1000 - 7 * number


def file_name(number: int) -> str:
    return f"{image_id(number):012}.jpg"


def box(number: int, place: int) -> list[float]:
    """x, y, width, height of a box well inside of image `number`."""
    width, height = size_of(number)
    return [1.5 + place, 2.25 * place, width / 2 - place, height / 3 + 0.5]


def boxes_of(number: int) -> int:
    """Of image `number`: none of every fifth, up to three of the others."""
    return 0 if number % 5 == 0 else 1 + number % 3


def instances(split: str) -> dict[str, Any]:
    """The content of a split's file: the second box of an image is a crowd, the annotations of all images alternate."""
    numbers = range(FIRST[split] + 1, FIRST[split] + COUNT[split] + 1)
    images = [
        {"license": 1, "file_name": file_name(n), "height": size_of(n)[1], "width": size_of(n)[0], "id": image_id(n)}
        for n in numbers
    ]
    places = [(n, place) for place in range(3) for n in numbers if place < boxes_of(n)]
    annotations = [
        {
            "segmentation": {"counts": [3, 4], "size": [1, 7]} if place == 1 else [[1.5, 2, 3.25, 4, 5, 6]],
            "area": box(n, place)[2] * box(n, place)[3] / 2,
            "iscrowd": int(place == 1),
            "image_id": image_id(n),
            "bbox": box(n, place),
            "category_id": [*CATEGORIES][(n + place) % 3],
            "id": 900_100_000_000 + row if place == 1 else row,
        }
        for row, (n, place) in enumerate(places, start=1)
    ]
    categories = [{"supercategory": "thing", "id": key, "name": name} for key, name in CATEGORIES.items()]
    return {
        "info": {"year": 2017},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def place_of(split: str) -> str:
    return f"annotations/instances_{split}2017.json"


def contents() -> dict[str, bytes]:
    """Path below the root -> bytes."""
    made = {place_of(split): json.dumps(instances(split)).encode() for split in FIRST}
    for split, first in FIRST.items():
        for number in range(first + 1, first + COUNT[split] + 1):
            made[f"{split}2017/{file_name(number)}"] = photograph(number)
    return made


def layout(root: Path) -> Path:
    return write(root, contents())


def rewrite(root: Path, split: str, content: Any) -> None:
    """Put another annotation file in place; NaN and infinity as Python writes them."""
    (root / place_of(split)).write_text(content if isinstance(content, str) else json.dumps(content))
