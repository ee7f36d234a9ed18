"""Detections against loops over classes and boxes in plain Python, ties and limits; suppression's laws; refusals."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pyconv.detection.boxes import decode, iou, to_centres
from pyconv.detection.postprocessing import Detections, detect

GRID = 8
Found = list[tuple[tuple[float, ...], float, int]]

on_grid = st.tuples(*[st.integers(0, GRID)] * 4).map(lambda v: (min(v[::2]), min(v[1::2]), max(v[::2]), max(v[1::2])))
with_area = on_grid.filter(lambda v: v[0] < v[2] and v[1] < v[3])


def overlap_of(a: list[float], b: list[float]) -> float:
    width, height = (max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    areas = [(v[2] - v[0]) * (v[3] - v[1]) for v in (a, b)]
    either = sum(areas) - width * height
    return width * height / either if either else 0.0


def slowly(offsets: Tensor, logits: Tensor, defaults: Tensor, threshold: float, overlap: float, limit: int) -> Found:
    """One image; numbers as Python's, whose floats are float64."""
    boxes, probabilities = decode(offsets, defaults).tolist(), logits.softmax(1).tolist()
    found = []
    for label in range(1, logits.shape[1]):
        passing = [place for place, row in enumerate(probabilities) if row[label] > threshold]
        best = sorted(passing, key=lambda place: (-probabilities[place][label], place))[:limit]
        kept: list[int] = []
        for place in best:
            if all(overlap_of(boxes[place], boxes[other]) <= overlap for other in kept):
                kept.append(place)
        found += [(tuple(boxes[place]), probabilities[place][label], label) for place in kept]
    return sorted(found, key=lambda each: -each[1])[:limit]  # stable: of equals the lower label, the first box


def listed(found: Detections) -> Found:
    corners = map(tuple, found.boxes.tolist())
    return list(zip(corners, found.scores.tolist(), found.labels.tolist(), strict=True))


def drawn(images: int, boxes: int, classes: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Default boxes of which many overlap, and outputs by which many pass."""
    rng = torch.Generator().manual_seed(seed)
    defaults = 0.3 + 0.4 * torch.rand(boxes, 4, generator=rng)
    locations, scores = torch.randn(images, boxes, 4, generator=rng), torch.randn(images, boxes, classes, generator=rng)
    return locations, 2 * scores, defaults


@given(
    st.integers(0, 2**32),
    st.integers(1, 60),
    st.integers(2, 6),
    st.sampled_from([0.0, 0.05, 0.4]),
    st.sampled_from([0.3, 0.5, 1.0]),
    st.sampled_from([1, 3, 10, 200]),
)
def test_detections_are_those_of_the_loops(
    seed: int, boxes: int, classes: int, threshold: float, overlap: float, limit: int
) -> None:
    locations, scores, defaults = drawn(2, boxes, classes, seed)
    found = detect(locations, scores, defaults, threshold=threshold, overlap=overlap, limit=limit)
    assert len(found) == 2
    for image, detections in enumerate(found):
        assert listed(detections) == slowly(locations[image], scores[image], defaults, threshold, overlap, limit)


def on_the_grid(corners: list[tuple[int, ...]]) -> Tensor:
    """Default boxes whose corners and overlaps are exact, so that ties are ties."""
    return to_centres(torch.tensor(corners).view(-1, 4) / GRID)


@given(
    st.lists(st.tuples(with_area, st.tuples(*[st.integers(0, 2)] * 3)), min_size=1, max_size=30),
    st.sampled_from([2, 5, 200]),
)
def test_ties_identical_boxes_and_overlaps_of_exactly_a_half(
    made: list[tuple[tuple[int, ...], tuple[int, ...]]], limit: int
) -> None:
    defaults, scores = on_the_grid([corners for corners, _ in made]), torch.tensor([s for _, s in made]).float()
    locations = torch.zeros(len(made), 4)
    (found,) = detect(locations[None], scores[None], defaults, limit=limit)
    assert listed(found) == slowly(locations, scores, defaults, 0.05, 0.5, limit)


def test_a_half_stays_and_more_goes() -> None:
    defaults = on_the_grid([(0, 0, 8, 8), (0, 0, 8, 4), (0, 0, 8, 5)])
    scores = torch.tensor([[[0.0, 3], [0, 2], [0, 1]]])
    (found,) = detect(torch.zeros(1, 3, 4), scores, defaults)
    assert found.boxes.tolist() == [[0, 0, 1, 1], [0, 0, 1, 0.5]]  # the third is 5/8 of the first
    assert found.scores.tolist() == scores.softmax(2)[0, :2, 1].tolist()


def test_a_suppressed_box_suppresses_nothing_and_classes_do_not_meet() -> None:
    """A chain: the first takes the second, and the third, which only the second overlaps, stays."""
    defaults = on_the_grid([(0, 0, 4, 8), (1, 0, 5, 8), (2, 0, 6, 8)])
    scores = torch.tensor([[[0.0, 3, 1], [0, 2, 1.5], [0, 1, 2]]])
    (found,) = detect(torch.zeros(1, 3, 4), scores, defaults)
    kept = {(label, left) for (left, *_), _, label in listed(found)}
    assert kept == {(1, 0.0), (1, 0.25), (2, 0.25), (2, 0.0)}


@pytest.mark.parametrize("far", [0.5, 1.0, 1.5, 2.0, 100.0])
def test_classes_do_not_meet_wherever_their_boxes_are(far: float) -> None:
    side = torch.tensor([far, far, far + 0.5, far + 0.5])
    places = torch.stack([side - shift for shift in (0.0, 2 * far, far, 2 * far + 0.5)])
    scores = torch.zeros(1, 4, 5)
    scores[0, torch.arange(4), torch.arange(1, 5)] = torch.arange(9.0, 5, -1)
    (found,) = detect(torch.zeros(1, 4, 4), scores, to_centres(places))
    assert found.labels.tolist() == [1, 2, 3, 4]


@given(st.lists(st.tuples(with_area, st.tuples(*[st.integers(0, 4)] * 4)), min_size=1, max_size=40))
def test_suppression_is_idempotent(made: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    """Of what stays no two of a class overlap by more than a half; given again as boxes of these scores, all stays."""
    defaults, scores = on_the_grid([corners for corners, _ in made]), torch.tensor([s for _, s in made]).float()
    (found,) = detect(torch.zeros(1, len(made), 4), scores[None], defaults)
    alike = found.labels[:, None] == found.labels
    assert not ((iou(found.boxes, found.boxes) > 0.5) & alike).fill_diagonal_(False).any()
    again = torch.full((len(found), 4), -1e4)
    again[torch.arange(len(found)), found.labels] = found.scores.log()
    again[:, 0] = (1 - found.scores).log()
    (same,) = detect(torch.zeros(1, len(found), 4), again[None], to_centres(found.boxes), threshold=0)
    kept = [each for each in listed(same) if each[1] > 0]
    assert sorted((label, box) for box, _, label in kept) == sorted((label, box) for box, _, label in listed(found))


def test_nothing_above_the_threshold() -> None:
    scores = torch.zeros(2, 50, 81)  # 1/81 each
    scores[1, 7, 5] = 6
    nothing, one = detect(torch.zeros(2, 50, 4), scores, torch.rand(50, 4))
    assert (len(nothing), len(one)) == (0, 1)
    for found in (nothing, one):
        assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (
            torch.float32,
            torch.float32,
            torch.int64,
        )
        assert found.boxes.shape == (len(found), 4)
    assert one.labels.tolist() == [5]
    assert detect(torch.zeros(0, 50, 4), torch.zeros(0, 50, 81), torch.rand(50, 4)) == []


def test_the_threshold_itself_does_not_pass() -> None:
    """Two logits of 0 are a half each."""
    outputs = torch.zeros(1, 1, 4), torch.zeros(1, 1, 2), torch.tensor([[0.5, 0.5, 0.1, 0.1]])
    assert [len(detect(*outputs, threshold=value)[0]) for value in (0.4999, 0.5, 0.5001)] == [1, 0, 0]


def test_two_hundred_of_a_class_enter_and_two_hundred_leave() -> None:
    """Class 1: 300 times one box and one apart, of the lowest score: it is out before anything is suppressed."""
    defaults = on_the_grid([(0, 0, 1, 1)] * 300 + [(7, 7, 8, 8)])
    scores = torch.zeros(1, 301, 3)
    scores[0, :, 1] = torch.linspace(5, 4, 301)
    scores[..., 2] = -9
    assert listed(detect(torch.zeros(1, 301, 4), scores, defaults)[0])[1:] == []
    apart = torch.cat([torch.cartesian_prod(torch.arange(20.0), torch.arange(20.0)), torch.ones(400, 2)], dim=1) / 20
    many = torch.zeros(1, 400, 4)
    many[..., 1] = torch.rand(400, generator=torch.Generator().manual_seed(0)) + 2
    many[..., 2] = many[..., 1].flip(1)
    (found,) = detect(torch.zeros(1, 400, 4), many, apart)
    assert len(found) == 200
    assert listed(found) == slowly(torch.zeros(400, 4), many[0], apart, 0.05, 0.5, 200)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_float32_on_rounded_outputs(dtype: torch.dtype) -> None:
    locations, scores, defaults = drawn(2, 80, 5, seed=3)
    rounded = locations.to(dtype), (4000 * scores).to(dtype)
    for found, expected in zip(
        detect(*rounded, defaults), detect(*(values.float() for values in rounded), defaults), strict=True
    ):
        assert listed(found) == listed(expected)
        assert len(found)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", [0, 1])
def test_nan_and_inf_are_refused(value: float, where: int) -> None:
    outputs = list(drawn(3, 40, 5, seed=4))
    outputs[where][2, 17, 0] = value
    with pytest.raises(ValueError, match="image 2 of the batch: the network gives NaN or Inf"):
        detect(*outputs)
    if where and value != float("-inf"):  # a class that cannot be, with the probability 0, is nothing wrong
        outputs = list(drawn(3, 40, 5, seed=4))
        outputs[1][2, 17, 3] = value
        with pytest.raises(ValueError, match="image 2 of the batch"):
            detect(*outputs)


def test_outputs_without_bounds_are_finite_boxes() -> None:
    locations, scores, defaults = drawn(1, 30, 4, seed=5)
    (found,) = detect(locations * 1e30, scores * 1e30, defaults)
    assert len(found)
    assert bool(found.boxes.isfinite().all())


@pytest.mark.parametrize("wrong", [{"threshold": 1.0}, {"threshold": -0.1}, {"limit": 0}, {"overlap": -0.5}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}.*got"):
        detect(*drawn(1, 5, 3, seed=6), **wrong)  # type: ignore[arg-type]
