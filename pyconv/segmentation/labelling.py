"""From a photograph to its label map: softmax averaged over windows, mirror images and scales, at the native size.

    P(y, x) = mean over scales of resize(sum over windows of (softmax(f(w)) + mirror(softmax(f(mirror(w))))) / counts)

The plain way holds P of every scale at the native size: 28 GB for 6000 x 8000 pixels of 150 classes. Here only the
scaled maps are whole; what is larger exists in bands of rows, small enough for the processor's cache.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyconv.data.imagenet import MEAN, STD
from pyconv.models.folded import folded
from pyconv.models.segmentation import SegNet
from pyconv.segmentation.bilinear import Bilinear
from pyconv.segmentation.windows import Layout, Sliding

BAND_BYTES = {"cpu": 4 << 20, "cuda": 256 << 20}
"""Of the probabilities that are held between two steps; on a GPU few large steps are faster."""
PIXELS_AT_ONCE = {"cpu": 473 * 473, "cuda": 4 * 473 * 473}
"""Of windows that pass the network together, without their mirror images: 0.3 and 1.1 GB of logits of 150 classes."""


class Labeller:
    """Label maps by `model`, of which an eval copy with folded batch norms, without auxiliary head, is used.

    `batch_size`: windows at a time, each with its mirror image; None: one of the paper's on a processor, where more are
    not faster, four on a GPU, and of smaller ones as many as hold the same pixels. It changes speed and memory, and the
    numbers by rounding only.
    """

    def __init__(
        self, model: nn.Module, classes: int, test: Sliding, *, device: torch.device, batch_size: int | None = None
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more windows, got {batch_size}")
        self.network = folded(model)
        if isinstance(self.network, SegNet):
            self.network.aux = None
        self.network.to(device).to(memory_format=torch.channels_last)
        self.classes, self.test, self.device = classes, test, device
        kind = device.type if device.type in BAND_BYTES else "cuda"
        self.batch_size = batch_size or max(1, PIXELS_AT_ONCE[kind] // test.crop**2)
        self.band_bytes = BAND_BYTES[kind]

    @torch.inference_mode()
    def label(self, image: Tensor) -> Tensor:
        """uint8 (H, W, 3), any size -> class numbers (H, W) on the device, uint8 or, above 256 classes, int32.

        Raises `ValueError` when the network gives NaN or Inf, or another number of classes.
        """
        size = image.shape[0], image.shape[1]
        maps = [_Map(layout, self.device) for layout in self.test.layouts(*size)]
        self._read(image.to(self.device), maps)
        for each in maps:
            each.open(self.classes)  # after the photograph, whose floats need room of their own
        self._fill(maps)
        return self._argmax([each.averaged(1 + self.test.flip) for each in maps], *size)

    def _read(self, image: Tensor, maps: list["_Map"]) -> None:
        """Scale the photograph, floats as in cv2's INTER_LINEAR (no antialiasing), normalise, put it in its place."""
        for colour, (mean, std) in enumerate(zip(MEAN, STD, strict=True)):
            whole = image[None, None, :, :, colour].float()
            for each in maps:
                size = each.layout.height, each.layout.width
                scaled = functional.interpolate(whole, size, mode="bilinear", align_corners=False)
                each.pixels[colour, *each.layout.inside] = scaled[0, 0].sub_(255 * mean).div_(255 * std)

    def _fill(self, maps: list["_Map"]) -> None:
        """Pass every window of every scale through the network and add up its probabilities."""
        total = torch.zeros((), device=self.device)
        windows = [(each, window) for each in maps for window in each.layout.windows]
        for start in range(0, len(windows), self.batch_size):
            together = windows[start : start + self.batch_size]
            entering = torch.stack([each.pixels[:, *window] for each, window in together])
            if self.test.flip:
                entering = torch.cat([entering, entering.flip(-1)])
            logits = self.network(entering.contiguous(memory_format=torch.channels_last))["out"]
            if logits.shape[1] != self.classes:
                raise ValueError(
                    f"the network gives {logits.shape[1]} classes, the data has {self.classes}; build the network with "
                    f"num_classes={self.classes} or give the data set it is meant for"
                )
            for place, (each, window) in enumerate(together):
                total += self._add(each.sum[window], logits[place :: len(together)].permute(0, 2, 3, 1))
        if not bool(torch.isfinite(total)):
            raise ValueError("the network gives NaN or Inf; its weights are not usable")

    def _add(self, into: Tensor, logits: Tensor) -> Tensor:
        """Add the probabilities of a window, and of its mirror image where there is one; the sum of the logits."""
        total = torch.zeros((), device=self.device)
        for rows in self._bands(*into.shape[:2]):
            for mirrored, values in enumerate(logits[:, rows]):
                total += values.sum()  # NaN and Inf show in it
                probabilities = values.softmax(-1)
                into[rows] += probabilities.flip(1) if mirrored else probabilities
        return total

    def _argmax(self, maps: list[Tensor], height: int, width: int) -> Tensor:
        """The class of the largest mean over `maps`, (h, w, classes) each, at the native size."""
        found = torch.empty(
            height, width, dtype=torch.uint8 if self.classes <= 256 else torch.int32, device=self.device
        )
        across = [Bilinear(height, width, each) for each in maps]
        for rows in self._bands(height, width):
            probabilities = across[0].rows(rows)
            for each in across[1:]:
                probabilities += each.rows(rows)
            found[rows] = probabilities.argmax(-1)
        return found

    def _bands(self, height: int, width: int) -> Iterator[slice]:
        rows = max(1, self.band_bytes // (4 * width * self.classes))
        return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


class _Map:
    """One scale: `pixels` (3, H, W), normalised, around them the mean, 0; `sum` of probabilities (H, W, classes)."""

    sum: Tensor

    def __init__(self, layout: Layout, device: torch.device) -> None:
        self.layout = layout
        self.pixels = torch.zeros(3, *layout.padded, device=device)

    def open(self, classes: int) -> None:
        """Make room for the probabilities."""
        self.sum = torch.zeros(*self.layout.padded, classes, device=self.pixels.device)

    def averaged(self, views: int) -> Tensor:
        """The mean over the windows, `views` in each, that saw a pixel; without the padding. In place."""
        times = torch.zeros(self.layout.padded, device=self.sum.device)
        for window in self.layout.windows:
            times[window] += views
        return self.sum.div_(times[..., None])[self.layout.inside]
