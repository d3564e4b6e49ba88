"""The network, written from the paper's description; attributes carry the checkpoint's names."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emonet_deploy.emonet_ref.constants import CLASS_NAMES, NUM_LANDMARKS

__all__ = ["EmoNet", "EmoNetOutput"]

FEATURES = 256
DEPTH = 4
STACKS = 2


class EmoNetOutput(NamedTuple):
    """What EmoNet computes for N face crops, in the order of ``contract.TENSOR_OUTPUTS``."""

    heatmap: Tensor
    """N x 68 x 64 x 64, one map for each iBUG-68 landmark, unbounded."""
    expression: Tensor
    """N x nclass logits."""
    valence: Tensor
    """N, unclipped; readers clip to [-1, 1]."""
    arousal: Tensor
    """N, unclipped; readers clip to [-1, 1]."""


class ConvBlock(nn.Module):
    """Three chained pre-activation 3x3 convolutions, concatenated, plus a shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half, quarter = out_channels // 2, out_channels // 4
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = _conv3x3(in_channels, half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv2 = _conv3x3(half, quarter)
        self.bn3 = nn.BatchNorm2d(quarter)
        self.conv3 = _conv3x3(quarter, quarter)
        self.downsample: nn.Module | None = None
        if in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.BatchNorm2d(in_channels),
                nn.ReLU(),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        a = self.conv1(F.relu(self.bn1(x)))
        b = self.conv2(F.relu(self.bn2(a)))
        c = self.conv3(F.relu(self.bn3(b)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.cat((a, b, c), 1) + shortcut


class HourGlass(nn.Module):
    """A four-level hourglass of ConvBlocks: down by max pooling, up by nearest neighbour."""

    def __init__(self, features: int = FEATURES, depth: int = DEPTH) -> None:
        super().__init__()
        self.depth = depth
        for level in range(depth, 0, -1):
            self.add_module(f"b1_{level}", ConvBlock(features, features))
            self.add_module(f"b2_{level}", ConvBlock(features, features))
        self.add_module("b2_plus_1", ConvBlock(features, features))
        for level in range(1, depth + 1):
            self.add_module(f"b3_{level}", ConvBlock(features, features))

    def forward(self, x: Tensor) -> Tensor:
        return self._level(self.depth, x)

    def _level(self, level: int, x: Tensor) -> Tensor:
        up = self.get_submodule(f"b1_{level}")(x)
        low = self.get_submodule(f"b2_{level}")(F.max_pool2d(x, 2))
        low = self.get_submodule("b2_plus_1")(low) if level == 1 else self._level(level - 1, low)
        low = self.get_submodule(f"b3_{level}")(low)
        result: Tensor = up + F.interpolate(low, scale_factor=2.0, mode="nearest")
        return result


class EmoNet(nn.Module):
    """EmoNet for 5 or 8 emotion classes.

    Input: RGB face crops, float N x 3 x 256 x 256, values in [0, 1]. See ``EmoNetOutput`` for
    what comes out. The input is never changed. 13.96 M parameters; 16.9 GMAC for one image.

    Raises:
        ValueError: ``nclass`` is neither 5 nor 8.
    """

    def __init__(self, nclass: int = 8) -> None:
        super().__init__()
        if nclass not in CLASS_NAMES:
            raise ValueError(f"nclass must be one of {sorted(CLASS_NAMES)}, not {nclass}")
        self.nclass = nclass
        # The order in which modules are added is the order of the published state dict.
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = ConvBlock(64, 128)
        self.conv3 = ConvBlock(128, 128)
        self.conv4 = ConvBlock(128, FEATURES)
        for i in range(STACKS):
            self.add_module(f"m{i}", HourGlass())
            self.add_module(f"top_m_{i}", ConvBlock(FEATURES, FEATURES))
            self.add_module(f"conv_last{i}", nn.Conv2d(FEATURES, FEATURES, 1))
            self.add_module(f"bn_end{i}", nn.BatchNorm2d(FEATURES))
            self.add_module(f"l{i}", nn.Conv2d(FEATURES, NUM_LANDMARKS, 1))
            if i < STACKS - 1:
                self.add_module(f"bl{i}", nn.Conv2d(FEATURES, FEATURES, 1))
                self.add_module(f"al{i}", nn.Conv2d(NUM_LANDMARKS, FEATURES, 1))
        self.conv1x1_input_emo_2 = nn.Conv2d(FEATURES * (STACKS + 1), FEATURES, 1)
        self.emo_net_2 = nn.Sequential(
            *(m for _ in range(4) for m in (ConvBlock(FEATURES, FEATURES), nn.MaxPool2d(2)))
        )
        self.avg_pool_2 = nn.AvgPool2d(4)
        self.emo_fc_2 = nn.Sequential(
            nn.Linear(FEATURES, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, nclass + 2)
        )

    def forward(self, x: Tensor) -> EmoNetOutput:
        """Run crops N x 3 x 256 x 256, RGB in [0, 1]."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(self.conv2(x), 2)
        x = self.conv4(self.conv3(x))

        previous, features = x, [x]
        for i in range(STACKS):
            ll = self.get_submodule(f"top_m_{i}")(self.get_submodule(f"m{i}")(previous))
            ll = self.get_submodule(f"conv_last{i}")(ll)
            ll = F.relu(self.get_submodule(f"bn_end{i}")(ll))
            heatmap: Tensor = self.get_submodule(f"l{i}")(ll)
            if i < STACKS - 1:
                ll = self.get_submodule(f"bl{i}")(ll)
                previous = previous + ll + self.get_submodule(f"al{i}")(heatmap)
            features.append(ll)

        # The face's own landmarks tell the emotion head where to look.
        mask = heatmap.sum(1, keepdim=True)
        attended = torch.cat((x, *(mask * ll for ll in features[1:])), 1)
        emotion = self.emo_net_2(self.conv1x1_input_emo_2(attended))
        values = self.emo_fc_2(self.avg_pool_2(emotion).flatten(1))
        n = self.nclass
        return EmoNetOutput(heatmap, values[:, :n], values[:, n], values[:, n + 1])


def _conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
