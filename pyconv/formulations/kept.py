"""Weights laid out once, of a network for testing, instead of with every call."""

from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor


class Kept:
    """What was made of a layer's weights, by which of them; a copy of the layer begins anew.

    It is made again when the weight is another one, was written to, or is asked for in another way. What writes past
    torch's count of changes (`weight.data.mul_(2)`) is not seen: only for networks whose weights no longer change.
    """

    def __init__(self) -> None:
        self._found: dict[int, tuple[Hashable, Tensor]] = {}

    def get(self, number: int, weight: Tensor, way: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """What `make` gives for the layer's weight `number`, or gave before."""
        changes = None if weight.is_inference() else weight._version
        now = (way, weight.data_ptr(), changes, weight.dtype, weight.device, weight.shape, weight.stride())
        before = self._found.get(number)
        if before is None or before[0] != now:
            before = self._found[number] = (now, make())
        return before[1]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Kept":
        return Kept()

    def __reduce__(self) -> tuple[type["Kept"], tuple[()]]:
        return Kept, ()
