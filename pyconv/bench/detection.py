"""What stands around a detection network: post-processing, and matching with the loss, against the textbook's loops.

The textbook's way, written without avoidable waste: for each image and class threshold, sort, and a greedy suppression
with one vectorised IoU a kept box; for each image IoU of its boxes with all default boxes, of which the largest is
given away until each box has one, cross entropy of all, two sorts to rank the negatives; one backward pass for all.
Same tensors on both sides, float32, 8,732 default boxes, 81 classes; one thread, and memory in huge pages where the
kernel has them: the page faults of zeroed gradients, 90 MB a batch, are the same for both and would be half of ours.

The tensors are random but made like a trained network's: 1 to 20 objects an image, 6 in the mean (COCO: 7); default
boxes that lie on an object are sure of its class, less so of two others, and point at it roughly; clutter elsewhere.
Some 380 scores an image, of 37 classes, pass the threshold, some 70 boxes stay.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pyconv.bench.paired import Comparison, compare
from pyconv.detection.boxes import decode, encode, iou, to_corners
from pyconv.detection.loss import multibox_loss
from pyconv.detection.matching import Targets, match
from pyconv.detection.postprocessing import Detections, detect
from pyconv.models.ssd import default_boxes

AIMS = (5.0, 3.0)
"""Of post-processing, and of matching and loss."""
CLASSES = 81
TRAINED, TESTED = 32, 8
"""Images a round."""
ROUNDING = 1e-5


@dataclass(frozen=True)
class Made:
    """Images as a network would see them: what it should find, and what it gives."""

    targets: Targets
    locations: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Agreement:
    """Both ways' results: `detections` of ours, `differing` ones, and the largest difference of losses, gradients."""

    detections: int
    differing: int
    loss: float
    gradient: float

    @property
    def met(self) -> bool:
        """Whether the same is detected, and learnt but for rounding."""
        return not self.differing and max(self.loss, self.gradient) < ROUNDING

    def report(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self)

    def line(self) -> str:
        """For people."""
        return (
            f"{self.differing} of {self.detections} detections differ; losses and gradients differ by at most "
            f"{self.loss:.1e} and {self.gradient:.1e} of their size"
        )


def bench(rounds: int = 7) -> tuple[list[Comparison], Agreement]:
    """Post-processing of some images, and the loss and its gradients of a batch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _bench(rounds)
    finally:
        torch.set_num_threads(threads)


def _bench(rounds: int) -> tuple[list[Comparison], Agreement]:
    defaults = default_boxes()
    made = make(TRAINED, defaults)
    tested = made.locations[:TESTED], made.scores[:TESTED]
    detecting = _textbook_detections(*tested, defaults), lambda: detect(*tested, defaults)
    learning = _textbook_learning(made, defaults), _learning(made, defaults)
    comparisons = [
        compare(f"post-processing of {TESTED} images", TESTED, *detecting, rounds),
        compare(f"matching, loss, gradients of {TRAINED} images", TRAINED, *learning, rounds),
    ]
    return comparisons, _agreement(detecting, learning)


def make(images: int, defaults: Tensor, seed: int = 0) -> Made:
    """Objects and outputs of `images` images, as described above."""
    rng = torch.Generator().manual_seed(seed)
    number = torch.empty(images).geometric_(1 / 7, generator=rng).clamp(max=20).long()
    slots = int(number.max())
    sizes = torch.rand(images, slots, 2, generator=rng).square() * 0.7 + 0.03
    middles = sizes / 2 + torch.rand(images, slots, 2, generator=rng) * (1 - sizes)
    labels = torch.randint(1, CLASSES, (images, slots), generator=rng) * (torch.arange(slots) < number[:, None])
    targets = Targets(to_corners(torch.cat([middles, sizes], dim=2)), labels)
    outputs = [_outputs(*image, defaults, rng) for image in zip(targets.boxes, labels, strict=True)]
    locations, scores = (torch.stack(values) for values in zip(*outputs, strict=True))
    return Made(targets, locations, scores)


def _outputs(boxes: Tensor, labels: Tensor, defaults: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    boxes, labels = boxes[labels > 0], labels[labels > 0]
    most, nearest = iou(boxes, to_corners(defaults)).max(0)
    locations = encode(boxes[nearest], defaults) + torch.randn(len(defaults), 4, generator=rng)
    scores = torch.randn(len(defaults), CLASSES, generator=rng)
    scores[:, 0] += 8
    clutter = torch.rand(len(defaults), generator=rng) < 0.02
    sure = 18 * (most - 0.1).clamp(min=0) + 7 * clutter
    for other, less in ((0, 0), (7, 2), (31, 3)):
        label = 1 + (labels[nearest] - 1 + other) % (CLASSES - 1)
        scores[torch.arange(len(defaults)), label] += (sure - less).clamp(min=0)
    return locations, scores


def _textbook_detections(locations: Tensor, scores: Tensor, defaults: Tensor) -> Callable[[], list[Detections]]:
    def image(offsets: Tensor, logits: Tensor) -> Detections:
        boxes, probabilities = decode(offsets, defaults), logits.softmax(1)
        found = []
        for label in range(1, CLASSES):
            kept = _textbook_class(boxes, probabilities[:, label])
            found.append((boxes[kept], probabilities[kept, label], torch.full((len(kept),), label)))
        parts = [torch.cat(part) for part in zip(*found, strict=True)]
        order = parts[1].argsort(descending=True, stable=True)[:200]
        return Detections(*(part[order] for part in parts))

    return lambda: [image(*outputs) for outputs in zip(locations, scores, strict=True)]


def _textbook_class(boxes: Tensor, probabilities: Tensor) -> Tensor:
    """Numbers of the boxes that stay, best first."""
    passing = (probabilities > 0.05).nonzero()[:, 0]
    left = passing[probabilities[passing].argsort(descending=True, stable=True)[:200]]
    kept = []
    while len(left):
        kept.append(left[0])
        left = left[1:]
        left = left[_textbook_iou(boxes[kept[-1]][None], boxes[left])[0] <= 0.5]
    return torch.stack(kept) if kept else passing


def _textbook_iou(a: Tensor, b: Tensor) -> Tensor:
    sides = (torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])).clamp(min=0)
    both = sides[..., 0] * sides[..., 1]
    areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (a, b)]
    return both / (areas[0][:, None] + areas[1] - both)


def _learning(made: Made, defaults: Tensor) -> Callable[[], list[Tensor]]:
    def learn() -> list[Tensor]:
        outputs = made.locations.detach().requires_grad_(), made.scores.detach().requires_grad_()
        losses = multibox_loss(*outputs, match(made.targets, defaults))
        return [losses.detach(), *torch.autograd.grad(losses.mean(), outputs)]

    return learn


def _textbook_learning(made: Made, defaults: Tensor) -> Callable[[], list[Tensor]]:
    corners = to_corners(defaults)
    targets = zip(made.targets.boxes, made.targets.labels, strict=True)
    wanted = [(boxes[labels > 0], labels[labels > 0]) for boxes, labels in targets]

    def learn() -> list[Tensor]:
        outputs = made.locations.detach().requires_grad_(), made.scores.detach().requires_grad_()
        losses = []
        for (boxes, labels), locations, scores in zip(wanted, *(values.unbind() for values in outputs), strict=True):
            losses.append(_textbook_loss(locations, scores, *_textbook_match(boxes, labels, defaults, corners)))
        together = torch.stack(losses)
        return [together.detach(), *torch.autograd.grad(together.mean(), outputs)]

    return learn


def _textbook_match(boxes: Tensor, labels: Tensor, defaults: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    overlap = _textbook_iou(boxes, corners)
    most, which = overlap.max(0)
    for _ in boxes:
        box, place = divmod(int(overlap.argmax()), len(defaults))
        overlap[box], overlap[:, place] = -1, -1
        most[place], which[place] = 1, box
    learnt = labels[which].masked_fill(most <= 0.5, 0)
    return learnt, encode(boxes[which], defaults)


def _textbook_loss(locations: Tensor, scores: Tensor, learnt: Tensor, offsets: Tensor) -> Tensor:
    positive = learnt > 0
    apart = functional.smooth_l1_loss(locations, offsets, reduction="none").sum(1)
    entropy = functional.cross_entropy(scores, learnt, reduction="none")
    ranks = entropy.detach().masked_fill(positive, 0).argsort(descending=True).argsort()
    negative = ranks < 3 * positive.sum()
    return (apart * positive + entropy * (positive.float() + negative)).sum() / positive.sum()


def _agreement(
    detecting: tuple[Callable[[], list[Detections]], ...], learning: tuple[Callable[[], list[Tensor]], ...]
) -> Agreement:
    expected, found = (way() for way in detecting)
    differing = sum(_differing(*pair) for pair in zip(expected, found, strict=True))
    results = zip(*(way() for way in learning), strict=True)
    loss, *gradients = (float((ours - textbook).abs().max() / textbook.abs().max()) for textbook, ours in results)
    return Agreement(sum(map(len, found)), differing, loss, max(gradients))


def _differing(expected: Detections, found: Detections) -> int:
    if len(expected) != len(found):
        return max(len(expected), len(found))
    same = (expected.boxes == found.boxes).all(1) & (expected.scores == found.scores)
    return int((~(same & (expected.labels == found.labels))).sum())
