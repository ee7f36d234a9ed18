"""What Table 3's context networks add to a ResNet: squeeze-and-excitation, non-local blocks."""

import torch
from torch import Tensor, nn

from pyconv.layers import batch_norm, conv


class SqueezeExcitation(nn.Module):
    """`x * sigmoid(W2 ReLU(W1 mean(x)))` with `channels / 16` hidden units (Hu et al., CVPR 2018).

    Without biases, which is what the printed parameters of SE-ResNet say.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        if channels % reduction:
            raise ValueError(f"channels={channels} must be a multiple of the reduction {reduction}")
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Linear(channels, channels // reduction, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(channels // reduction, channels, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape, every map rescaled by a number in (0, 1)."""
        squeezed = torch.flatten(self.pool(x), 1)
        scale = self.sigmoid(self.fc2(self.relu(self.fc1(squeezed))))
        return x * scale[:, :, None, None]


class NonLocal(nn.Module):
    """`x + BN(W y)`, `y_i = sum_j softmax_j(theta(x_i) . phi(x_j)) g(x_j)` (Wang et al., CVPR 2018, embedded Gaussian).

    The inner width is half of `channels`; j runs over the input max-pooled 2x2, before phi and g. theta, phi, g, W are
    biased 1x1 convolutions. The last batch norm starts at 0: the block is the identity at first.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.theta = conv(channels, inner, bias=True)
        self.phi = nn.Sequential(nn.MaxPool2d(2), conv(channels, inner, bias=True))
        self.g = nn.Sequential(nn.MaxPool2d(2), conv(channels, inner, bias=True))
        self.conv = conv(inner, channels, bias=True)
        self.bn = batch_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape; H and W at least 2."""
        if min(x.shape[-2:]) < 2:
            raise ValueError(
                f"a non-local block needs maps of at least 2x2, got {tuple(x.shape[-2:])}: use larger images"
            )
        theta = torch.flatten(self.theta(x), 2)
        phi = torch.flatten(self.phi(x), 2)
        g = torch.flatten(self.g(x), 2)
        attention = torch.softmax(theta.transpose(1, 2) @ phi, dim=-1)
        y = (g @ attention.transpose(1, 2)).reshape(x.shape[0], -1, *x.shape[2:])
        return x + self.bn(self.conv(y))
