"""Bundles for tests: a small one of made-up records, and bundles with other members under a manifest made anew."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

from evidence import save, save_count

from experiments.protocols import CROP224
from experiments.recipes import imagenet
from experiments.spec import ArchitectureTable, Table
from experiments.targets import find
from pyconv.architectures import pyconvresnet, resnet
from results.bundle import About, Made, make
from results.bundle_layout import MANIFEST, Member, manifest
from results.bundle_zip import write_zip
from results.evidence import Evidence
from slurm.selection import narrowed

FINAL = imagenet(pyconvresnet(50))
BASELINE = imagenet(resnet(50))


def tables(target: str = "table2") -> list[Table | ArchitectureTable]:
    return narrowed(find(target))


def records(root: Path) -> Path:
    """Two measured rows of Table 2 and the counts of one; a row of another table; a file that is no record."""
    save(root, FINAL, CROP224, errors=(22.3, 6.2))
    save(root, BASELINE, CROP224, errors=(23.9, 7.1))
    save(root, imagenet(pyconvresnet(101)), CROP224, errors=(21.0, 5.5))
    save_count(root, resnet(50), 25_557_032, 4_142_713_880)
    save_count(root, resnet(152), 60_192_808, 11_601_638_808)
    (root / "torn.json").write_text("{")
    return root


def bundle(folder: Path, target: str = "table2") -> tuple[Path, Made]:
    path = folder / "bundle.zip"
    evidence = Evidence.load(records(folder / "evidence"))
    return path, make(tables(target), evidence, About(target), path)


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: Mapping[str, bytes], path: Path, *, sign: bool = True) -> Path:
    """A bundle of `members` as they are, under a manifest of its own (`sign`) or the one that is among them."""
    kept = [Member.of(name, content) for name, content in members.items() if not sign or name != MANIFEST]
    if sign:
        kept.append(Member.of(MANIFEST, manifest(kept)))
    with path.open("wb") as file:
        write_zip(kept, file)
    return path
