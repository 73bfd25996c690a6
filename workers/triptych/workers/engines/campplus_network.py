"""The CAM++ network: features of a stretch of speech in, one vector that tells who speaks out.

Wang et al. 2023, CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware Masking
(https://arxiv.org/abs/2303.00332). Modules are called as in the checkpoints of the 3D-Speaker project.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

MELS = 80
EMBEDDING_SIZE = 192
_HEAD_CHANNELS = 32
_FIRST_CHANNELS = 128
_GROWTH = 32
_BOTTLENECK = 128
# Layers and dilation of each block.
_BLOCKS = ((12, 1), (24, 2), (16, 2))
# Frames that one summary of the near context covers: 2 s, at 50 a second.
_SEGMENT_FRAMES = 100


class CampPlus(nn.Module):
    """Shape (rows, frames, 80) in, (rows, 192) out. Frames are 10 ms apart."""

    def __init__(self) -> None:
        super().__init__()
        self.head = _Head()
        self.xvector = nn.Sequential()
        self.xvector.add_module("tdnn", _Tdnn(_HEAD_CHANNELS * MELS // 8, _FIRST_CHANNELS))
        channels = _FIRST_CHANNELS
        for number, (layers, dilation) in enumerate(_BLOCKS, 1):
            self.xvector.add_module(f"block{number}", _DenseBlock(channels, layers, dilation))
            channels += layers * _GROWTH
            self.xvector.add_module(f"transit{number}", _Transit(channels, channels // 2))
            channels //= 2
        self.xvector.add_module("out_nonlinear", _NormRelu(channels))
        self.xvector.add_module("stats", _Statistics())
        self.xvector.add_module("dense", _Dense(2 * channels, EMBEDDING_SIZE))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """See the class."""
        embeddings: torch.Tensor = self.xvector(self.head(features.transpose(1, 2)))
        return embeddings


class _Head(nn.Module):
    """Two-dimensional convolutions that fold eight mel bands into channels."""

    def __init__(self) -> None:
        super().__init__()
        size = _HEAD_CHANNELS
        self.conv1 = nn.Conv2d(1, size, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(size)
        self.layer1 = nn.Sequential(_Residual(size, 2), _Residual(size, 1))
        self.layer2 = nn.Sequential(_Residual(size, 2), _Residual(size, 1))
        self.conv2 = nn.Conv2d(size, size, 3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.bn1(self.conv1(x.unsqueeze(1))))
        x = self.layer2(self.layer1(x))
        return functional.relu(self.bn2(self.conv2(x))).flatten(1, 2)


class _Residual(nn.Module):
    def __init__(self, size: int, mel_stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(size, size, 3, stride=(mel_stride, 1), padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(size)
        self.conv2 = nn.Conv2d(size, size, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(size)
        self.shortcut = nn.Sequential()
        if mel_stride != 1:
            shorter = nn.Conv2d(size, size, 1, stride=(mel_stride, 1), bias=False)
            self.shortcut = nn.Sequential(shorter, nn.BatchNorm2d(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        found: torch.Tensor = functional.relu(inner + self.shortcut(x))
        return found


class _NormRelu(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.batchnorm = nn.BatchNorm1d(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.batchnorm(x))


class _Tdnn(nn.Module):
    """Halves the frames."""

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(size_in, size_out, 5, stride=2, padding=2, bias=False)
        self.nonlinear = _NormRelu(size_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.nonlinear(self.linear(x))
        return found


class _DenseBlock(nn.Module):
    """Layers that each see the output of all before them."""

    def __init__(self, size: int, layers: int, dilation: int) -> None:
        super().__init__()
        for number in range(layers):
            self.add_module(f"tdnnd{number + 1}", _DenseLayer(size + number * _GROWTH, dilation))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class _DenseLayer(nn.Module):
    def __init__(self, size: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = _NormRelu(size)
        self.linear1 = nn.Conv1d(size, _BOTTLENECK, 1, bias=False)
        self.nonlinear2 = _NormRelu(_BOTTLENECK)
        self.cam_layer = _ContextMask(_BOTTLENECK, _GROWTH, dilation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))
        return found


class _ContextMask(nn.Module):
    """A convolution whose output is weighed by what the whole stretch and its near part sound like."""

    def __init__(self, size_in: int, size_out: int, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(size_in, size_out, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(size_in, size_in // 2, 1)
        self.linear2 = nn.Conv1d(size_in // 2, size_out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frames = x.shape[-1]
        near = functional.avg_pool1d(x, _SEGMENT_FRAMES, stride=_SEGMENT_FRAMES, ceil_mode=True)
        near = near.repeat_interleave(_SEGMENT_FRAMES, dim=-1)[..., :frames]
        context = x.mean(-1, keepdim=True) + near
        mask = torch.sigmoid(self.linear2(functional.relu(self.linear1(context))))
        found: torch.Tensor = self.linear_local(x) * mask
        return found


class _Transit(nn.Module):
    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__()
        self.nonlinear = _NormRelu(size_in)
        self.linear = nn.Conv1d(size_in, size_out, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.linear(self.nonlinear(x))
        return found


class _Statistics(nn.Module):
    """Mean and standard deviation over the frames."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.mean(-1), x.std(-1)], dim=-1)


class _Norm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.batchnorm = nn.BatchNorm1d(size, affine=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.batchnorm(x)
        return found


class _Dense(nn.Module):
    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(size_in, size_out, 1, bias=False)
        self.nonlinear = _Norm(size_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.nonlinear(self.linear(x.unsqueeze(-1)).squeeze(-1))
        return found
