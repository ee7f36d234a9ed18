"""Digests of specs that were resolved before: thousands of records hold the same few, and each is looked at once.

A spec is known again by its content to the byte, never by where it was found: what is remembered of one content is true
of all that is equal to it.
"""

import marshal
from functools import lru_cache
from typing import Any

from experiments.spec import canonical, canonical_spec, digest_of_text, digest_resolved
from results.checks import is_sound

_MANY = 4096  # contents are remembered, of a few kilobytes each


def content_of(plain: Any) -> bytes:
    """All of a value that was JSON, in bytes: the same for equal values only; 1, 1.0 and true are three of them."""
    return marshal.dumps(plain, 2)  # version 2 writes no references to objects


def digest_of(plain: Any) -> str:
    """`experiments.spec.digest_resolved`, remembered."""
    return digest(content_of(plain))


@lru_cache(_MANY)
def digest(content: bytes) -> str:
    """`experiments.spec.digest_resolved` of the value that has this `content_of`. ValueError for infinite numbers."""
    return digest_resolved(marshal.loads(content))


def digest_with_seed(of_any_seed: bytes, seed: Any) -> str:
    """`experiments.spec.digest_resolved` of the spec that is `of_any_seed`, a `content_of`, but for its `seed`."""
    before, after = _around_the_seed(of_any_seed)
    return digest_of_text(f"{before}{canonical(seed)}{after}")


@lru_cache(_MANY)
def _around_the_seed(of_any_seed: bytes) -> tuple[str, str]:
    """The canonical text of a spec up to its seed and from there on: where those of two seeds part and meet again."""
    spec = marshal.loads(of_any_seed)
    zero, one = (canonical_spec({**spec, "seed": seed}) for seed in (0, 1))
    parted = next(place for place, (left, right) in enumerate(zip(zero, one, strict=True)) if left != right)
    return zero[:parted], zero[parted + 1 :]


@lru_cache(_MANY)
def sound(content: bytes) -> bool:
    """`results.checks.is_sound` of the value that has this `content_of`."""
    return is_sound(marshal.loads(content))
