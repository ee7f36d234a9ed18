"""Names and colours of the 150 classes: facts of the benchmark's own list, and what legends rely on."""

import numpy as np

from pyconv.data.ade20k_classes import CLASSES, names, palette, short, synonyms


def test_names_are_the_benchmarks() -> None:
    assert len(names()) == len(set(names())) == CLASSES == 150
    known = {1: "wall", 2: "building, edifice", 13: "person, individual, someone, somebody, mortal, soul", 150: "flag"}
    assert {number: names()[number - 1] for number in known} == known
    assert all(name == name.strip() and name for name in names())


def test_short_names_differ() -> None:
    assert len({short(name) for name in names()}) == CLASSES
    assert short("screen door, screen") == "screen door"


def test_colours_differ_but_for_the_pair_that_shares_one_in_the_source() -> None:
    colours = palette()
    assert colours.shape == (CLASSES, 3)
    assert colours.dtype == np.uint8
    assert colours[[0, 2, 12, 149]].tolist() == [[120, 120, 120], [6, 230, 230], [150, 5, 61], [92, 0, 255]]
    same = [index for index in range(CLASSES) if (colours == colours[index]).all(1).sum() > 1]
    assert [short(names()[index]) for index in same] == ["road", "skyscraper"]
    colours[:] = 0
    assert palette()[0].tolist() == [120, 120, 120]  # everyone gets a copy


def test_synonyms_are_read_from_both_separators() -> None:
    assert synonyms("Car, auto") == synonyms("auto;car") == {"car", "auto"}
