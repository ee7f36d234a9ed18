"""1x1 convolutions by oneDNN are the convolutions: strides, biases, one pixel; who gets them."""

import pytest
import torch
from torch import nn

from pyconv.models.pointwise import Pointwise, use_onednn


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (7, 12)])
def test_it_is_the_convolution(size: tuple[int, int], stride: int, bias: bool) -> None:
    convolution = nn.Conv2d(24, 17, 1, stride=stride, bias=bias)
    x = torch.randn(2, 24, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for memory in (torch.contiguous_format, torch.channels_last):
            found = Pointwise(convolution)(x.contiguous(memory_format=memory))
            torch.testing.assert_close(found, convolution(x), rtol=0, atol=1e-5)


def test_only_dense_1x1_convolutions_are_replaced() -> None:
    others = [nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, (1, 3)), nn.Linear(4, 4)]
    model = nn.Sequential(*others, nn.Sequential(nn.Conv2d(4, 4, 1)))
    use_onednn(model)
    assert list(model[:4]) == others
    assert isinstance(model[4][0], Pointwise)
