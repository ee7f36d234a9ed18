"""Default boxes re-derived one by one, predictions in their order, counts of Table 8."""

from dataclasses import replace
from math import sqrt

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyconv import PYRAMIDS, SSD, ResNet, pyconvresnet, pyconvssd, resnet, ssd
from pyconv.architectures import Stage
from pyconv.models import build, default_boxes
from pyconv.models import ssd as modules

MAPS = (38, 19, 10, 5, 3, 1)
BOXES = (4, 6, 6, 6, 4, 4)


def box_by_hand(index: int) -> tuple[float, float, float, float]:
    """Box `index` of the 8732 from the numbers of SSD300 for COCO alone, in pixels over 300."""
    pixels = [8, 16, 32, 64, 100, 300]
    sizes = [21, 45, 99, 153, 207, 261, 315]
    number = 0
    while index >= MAPS[number] ** 2 * BOXES[number]:
        index -= MAPS[number] ** 2 * BOXES[number]
        number += 1
    cell, shape = divmod(index, BOXES[number])
    row, column = divmod(cell, MAPS[number])
    scale = sizes[number] / 300
    width, height = {
        0: (scale, scale),
        1: (sqrt(sizes[number] * sizes[number + 1]) / 300,) * 2,
        2: (scale * sqrt(2), scale / sqrt(2)),
        3: (scale / sqrt(2), scale * sqrt(2)),
        4: (scale * sqrt(3), scale / sqrt(3)),
        5: (scale / sqrt(3), scale * sqrt(3)),
    }[shape]
    centre = ((column + 0.5) * pixels[number] / 300, (row + 0.5) * pixels[number] / 300)
    x, y, w, h = (min(max(value, 0.0), 1.0) for value in (*centre, width, height))
    return x, y, w, h


def test_default_boxes_one_by_one() -> None:
    expected = torch.tensor([box_by_hand(index) for index in range(8732)])
    torch.testing.assert_close(default_boxes(), expected, rtol=0, atol=1e-6)


def test_default_boxes_by_the_papers_numbers() -> None:
    assert sum(n * n * boxes for n, boxes in zip(MAPS, BOXES, strict=True)) == 8732
    boxes = default_boxes()
    assert boxes.shape == (8732, 4)
    assert boxes.dtype == torch.float32
    assert (
        38 * 38 * 4 == 5776
    )  # appendix A.1: "using the four default boxes on each location results in 5776 detections"
    stage3 = boxes[:5776]
    assert stage3[:, 2:].max() < 0.15
    assert len(stage3[:, :2].unique(dim=0)) == 38 * 38
    assert boxes.min() >= 0
    assert boxes.max() == 1  # wide boxes of the last map are clamped


def test_default_boxes_keep_the_area_of_their_scale_and_mirror_each_other() -> None:
    unclamped = default_boxes()[: 5776 + 19 * 19 * 6]
    second = unclamped[5776:].reshape(19, 19, 6, 4)
    areas = second[..., 2] * second[..., 3]
    torch.testing.assert_close(areas[..., [0, 2, 3, 4, 5]], torch.full((19, 19, 5), 0.15**2))
    torch.testing.assert_close(second[..., 2, 2:], second[..., 3, 2:].flip(-1))
    torch.testing.assert_close(second[..., 4, 2:], second[..., 5, 2:].flip(-1))


def tracer() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """An SSD whose predictions say where they come from.

    The first channel of a map numbers its cells row by row; every predictor looks at its own cell only and gives
    1000 * cell + its own channel, and ten million a map.
    """
    model = ssd(50).build(num_classes=7, seed=0).eval().double()
    maps = []
    for number, size in enumerate(MAPS):
        cells = torch.zeros(1, model.locations[number].in_channels, size, size, dtype=torch.float64)
        cells[0, 0] = torch.arange(size * size).reshape(size, size)
        maps.append(cells)
        for predictor in (model.locations[number], model.scores[number]):
            nn.init.zeros_(predictor.weight)
            predictor.weight.data[:, 0, 1, 1] = 1000
            predictor.bias.data = torch.arange(predictor.out_channels, dtype=torch.float64) + 1e7 * number
    return model, tuple(maps)


def test_predictions_come_in_the_order_of_the_default_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    model, maps = tracer()
    monkeypatch.setattr(model, "maps", lambda _: maps)
    monkeypatch.setattr(model.backbone, "features", None)  # not to be asked
    with torch.inference_mode():
        locations, scores = model(torch.zeros(1, 3, 300, 300, dtype=torch.float64))
    assert locations.shape == (1, 8732, 4)
    assert scores.shape == (1, 8732, 7)
    boxes = default_boxes()
    start = 0
    for number, (size, count) in enumerate(zip(MAPS, BOXES, strict=True)):
        stop = start + size * size * count
        for values, width in ((locations, 4), (scores, 7)):
            traced = values[0, start:stop].long() - 10_000_000 * number
            cell, channel = traced // 1000, traced % 1000
            # The cell that a prediction was made in is the cell that its default box is centred on.
            step = (8, 16, 32, 64, 100, 300)[number] / 300
            centres = (boxes[start:stop, :2] / step).floor().long()
            assert torch.equal(cell, (centres[:, 1] * size + centres[:, 0])[:, None].expand_as(cell))
            # Channels: the shapes of a cell one after the other, `width` values each, the same for every cell.
            assert torch.equal(channel, torch.arange(count * width).reshape(count, width).repeat(size * size, 1))
        start = stop


@pytest.mark.parametrize("network", [ssd(50), pyconvssd(50), ssd(101), pyconvssd(101)], ids=lambda n: n.name)
def test_maps_of_figure_8(network: SSD) -> None:
    with torch.device("meta"):
        maps = build(network).maps(torch.empty(2, 3, 300, 300))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (1024, 38, 38),
        (512, 19, 19),
        (512, 10, 10),
        (256, 5, 5),
        (256, 3, 3),
        (256, 1, 1),
    ]


@pytest.mark.parametrize(
    ("network", "expected"),
    [(ssd(50), 22_894_902), (ssd(101), 41_887_030), (pyconvssd(50), 21_548_662), (pyconvssd(101), 39_008_886)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_exact_parameters(network: SSD, expected: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in build(network).parameters()) == expected


@pytest.mark.parametrize("network", [ssd(50), pyconvssd(50)], ids=lambda n: n.name)
def test_the_head_by_its_formula(network: SSD) -> None:
    model = network.build(seed=0)
    block = model.head[0].eval()
    x = torch.randn(1, 1024, 9, 9)
    out = F.relu(F.conv2d(x, block.conv1.weight) / sqrt(1 + 1e-5))  # fresh batch norms only divide by sqrt(1 + eps)
    if network.head == "conv":
        out = F.conv2d(out, block.conv2.weight, stride=2, padding=1)
    else:
        levels = zip(block.conv2.levels, (3, 5, 7, 9), (1, 4, 8, 16), strict=True)
        out = torch.cat([F.conv2d(out, lv.weight, stride=2, padding=k // 2, groups=g) for lv, k, g in levels], dim=1)
    torch.testing.assert_close(block(x), F.relu(out / sqrt(1 + 1e-5)))


def test_first_weights_of_head_and_predictors_are_xavier_uniform() -> None:
    model = pyconvssd(50).build(seed=0)
    for part in (model.head, model.locations, model.scores):
        for layer in part.modules():
            if isinstance(layer, nn.Conv2d):
                taps = layer.weight[0, 0].numel()
                bound = sqrt(6 / (taps * (layer.weight.shape[0] + layer.weight.shape[1])))
                assert 0.99 * bound < layer.weight.abs().max() <= bound
                assert layer.weight.std().item() == pytest.approx(bound / sqrt(3), rel=0.05)


def test_every_parameter_is_trained() -> None:
    stages = (Stage(1, 4, 16, 2, PYRAMIDS[1]), Stage(1, 4, 16, 2, PYRAMIDS[1]), Stage(1, 4, 32, 1, PYRAMIDS[1]))
    network = SSD(ResNet("bottleneck", stages, "all_shortcuts"), "pyconv")
    model = network.build(num_classes=3, seed=0)
    locations, scores = model(torch.rand(2, 3, 300, 300))
    (locations.square().mean() + scores.square().mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_one_image_in_training_is_refused() -> None:
    with torch.device("meta"):
        model = build(ssd(50))
        with pytest.raises(ValueError, match="train with at least 2 images a batch"):
            model(torch.empty(1, 3, 300, 300))
        assert model.eval()(torch.empty(1, 3, 300, 300))[0].shape == (1, 8732, 4)


@pytest.mark.parametrize("shape", [(1, 3, 512, 512), (1, 3, 300, 299), (1, 1, 300, 300), (3, 300, 300)])
def test_another_input_is_refused(shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = build(ssd(50))
    with pytest.raises(ValueError, match=r"ssd50 takes \(N, 3, 300, 300\), got"):
        model(torch.empty(shape, device="meta"))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (SSD(resnet(50), "conv"), "resnet50 has 4 stages, output stride 32"),
        (SSD(pyconvresnet(50).with_output_stride(8), "conv"), "4 stages, output stride 8"),
        (SSD(resnet(50).truncated(2), "conv"), "2 stages"),
        (SSD(resnet(50).truncated(3), "fpn"), "head must be conv or pyconv, got 'fpn'"),  # type: ignore[arg-type]
    ],
)
def test_a_network_that_cannot_be_is_refused(network: SSD, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        modules.SSD(network)


@pytest.mark.parametrize(("side", "maps"), [(300, MAPS), (160, (20, 10, 5, 3, 1)), (96, (12, 6, 3, 2)), (9, (2, 1))])
def test_smaller_images_end_the_head_before_a_map_vanishes(side: int, maps: tuple[int, ...]) -> None:
    assert modules.map_sizes(side) == maps
    network = replace(pyconvssd(50), image_size=side)
    with torch.device("meta"):
        model = network.build()
        outputs = model.maps(torch.empty(2, 3, side, side))
        locations, scores = model(torch.empty(2, 3, side, side))
    assert [(m.shape[2], m.shape[3]) for m in outputs] == [(size, size) for size in maps]
    boxes = default_boxes(side)
    assert (
        len(boxes) == locations.shape[1] == scores.shape[1] == sum(n * n * k for n, k in zip(maps, BOXES, strict=False))
    )
    assert boxes[0].tolist() == pytest.approx([4 / side, 4 / side, min(21 / side, 1), min(21 / side, 1)])


@pytest.mark.parametrize("side", [1, 8])
def test_images_without_room_for_a_second_map_are_refused(side: int) -> None:
    with pytest.raises(ValueError, match=f"an image of {side}x{side} is too small"):
        default_boxes(side)
