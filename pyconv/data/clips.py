"""Which frames of a video are seen: clips of `length` frames, every `stride`-th one. No torch.

A video shorter than a clip is looped: its clip starts at frame 0, and frame i of the clip is i * stride mod frames.
"""

import random


def random_clip(frames: int, length: int, stride: int, rng: random.Random) -> tuple[int, ...]:
    """Frame numbers of a clip that starts anywhere it fits into a video of `frames`, each place equally likely."""
    return _clip(rng.randrange(_starts(frames, length, stride)), frames, length, stride)


def uniform_clips(frames: int, length: int, stride: int, most: int) -> list[tuple[int, ...]]:
    """At most `most` different clips whose starts are spread evenly over all possible ones, the ends included.

    Every possible clip once where there are no more than `most`; with `most` 1, the one in the middle.
    """
    if most < 1:
        raise ValueError(f"at least 1 clip of a video is needed, got {most}")
    last = _starts(frames, length, stride) - 1
    return [_clip(start, frames, length, stride) for start in spread(last, min(most, last + 1))]


def spread(last: int, count: int) -> list[int]:
    """`count` whole numbers from 0 to `last`, as evenly as they can be; the middle (rounded down) if it is one."""
    if count == 1:
        return [last // 2]
    gaps = count - 1
    return [(2 * place * last + gaps) // (2 * gaps) for place in range(count)]  # halves are rounded up


def _starts(frames: int, length: int, stride: int) -> int:
    """How many frames a clip can start at; 1 in a video that must be looped."""
    if min(frames, length, stride) < 1:
        raise ValueError(f"frames, length and stride must be positive, got {frames}, {length} and {stride}")
    return max(1, frames - (length - 1) * stride)


def _clip(start: int, frames: int, length: int, stride: int) -> tuple[int, ...]:
    return tuple((start + place * stride) % frames for place in range(length))
