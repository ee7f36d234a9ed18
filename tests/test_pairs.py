"""Rows of a table against its first one, image by image."""

from dataclasses import replace
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from evidence import CROP, SHA, save

from experiments.recipes import imagenet
from experiments.spec import Column, Row, Table
from pyconv.architectures import pyconvresnet, resnet
from results.cells import build
from results.evidence import Evidence
from results.noise import RERUN_SD, Noise
from results.pairs import Pair, pairs
from results.power import power

N = 50_000
TOP1 = Column("top1_err", "top-1", "top1_err", "lower", noise="binomial", protocol=CROP)
OLD, NEW = imagenet(resnet(50)), imagenet(pyconvresnet(50))
TABLE = Table(
    number=90,
    caption="two networks",
    columns=(TOP1,),
    rows=(Row("old", "ResNet", OLD, (23.88,)), Row("new", "PyConv", NEW, (22.12,))),
)


def images(wrong: int, first: int = 0) -> list[bool]:
    right = np.ones(N, bool)
    right[first : first + wrong] = False
    return [bool(one) for one in right]


def found(root: Path) -> list[Pair]:
    evidence = Evidence.load(root)
    return pairs(TABLE, build([TABLE], evidence), evidence)


def test_one_seed_a_side_by_hand(tmp_path: Path) -> None:
    """The new network errs on 11,000 images, the old on 11,500, 10,000 in common: b = 1,500, c = 1,000."""
    save(tmp_path, OLD, right={"top1_err": images(11_500)})
    save(tmp_path, NEW, right={"top1_err": images(11_000, first=1_500)})
    (pair,) = found(tmp_path)
    mcnemar = 100 * sqrt(2_500 - 500**2 / N) / N
    assert (pair.row, pair.baseline, pair.n, pair.seeds) == ("new", "ResNet", N, (1, 1))
    assert pair.published == pytest.approx(22.12 - 23.88)
    assert pair.difference == pytest.approx(-1.0)
    assert pair.half == pytest.approx(1.959964 * sqrt(mcnemar**2 + 2 * RERUN_SD["binomial"] ** 2), rel=1e-6)
    assert pair.discordant is not None
    assert pair.discordant[:2] == (1_500, 1_000)
    assert pair.discordant[2] < 1e-20
    assert pair.word == "better"


def test_seeds_give_their_spread_and_no_pair_of_checkpoints(tmp_path: Path) -> None:
    for seed, shift in enumerate((-100, 0, 100)):
        save(tmp_path, replace(OLD, seed=seed), right={"top1_err": images(11_500 + shift)})
        save(tmp_path, replace(NEW, seed=seed), right={"top1_err": images(11_400 + shift)})
    (pair,) = found(tmp_path)
    assert pair.seeds == (3, 3)
    assert pair.discordant is None
    spread = 0.2 * sqrt(2 / 3)  # each mean of three has 0.2 / sqrt(3), four degrees of freedom together
    assert pair.half == pytest.approx(sqrt((1.959964 * pair_se(tmp_path)) ** 2 + (2.776445 * spread) ** 2), rel=1e-5)
    assert pair.word == "within the noise"


def pair_se(root: Path) -> float:
    """The standard error of the mean difference image by image, from the bits."""
    evidence = Evidence.load(root)
    sides = []
    for experiment in (NEW, OLD):
        bits = []
        for record in evidence.seeds(experiment, CROP):
            wrong = round(record.metrics["top1_err"].value * N / 100)
            bits.append([not one for one in images(wrong)])
        sides.append(np.mean(np.array(bits, float), axis=0))
    return float(100 * np.std(sides[0] - sides[1]) / sqrt(N))


def test_records_that_cannot_be_paired_are_left_out(tmp_path: Path) -> None:
    data = {"name": "imagenet", "splits": {"val": {"samples": N, "classes": 1000, "sha256": "b" * 64}}}
    save(tmp_path, OLD, right={"top1_err": images(11_500)}, data=data)
    save(tmp_path, NEW, right={"top1_err": images(11_000)})
    assert SHA != "b" * 64
    assert found(tmp_path) == []


def test_the_power_that_is_stated() -> None:
    """Half a point between networks that differ on every tenth image."""
    churn = 100 * sqrt(0.1 / N)
    two_runs = Noise(normal=sqrt(churn**2 + 2 * RERUN_SD["binomial"] ** 2))
    assert power(0.5, two_runs, 0.05) == pytest.approx(0.57, abs=0.03)
    assert power(0.5, Noise(normal=churn), 0.05) > 0.9
    five = Noise(normal=churn, student=RERUN_SD["binomial"] * sqrt(2 / 5), degrees=8)
    assert power(0.5, five, 0.05) > 0.8
