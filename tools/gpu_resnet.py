"""ResNet-18 (He et al. 2015, table 1) in plain torch: the same network with every torch, and no torchvision."""

from typing import Final

import torch
from torch import nn

_STAGES: Final = (64, 128, 256, 512)
_BLOCKS_A_STAGE: Final = 2


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(num_in, num_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(num_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(num_out, num_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(num_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or num_in != num_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(num_in, num_out, 1, stride, bias=False), nn.BatchNorm2d(num_out)
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, num_in, H, W) to (B, num_out, H / stride, W / stride)."""
        return torch.relu(self.body(images) + self.shortcut(images))


def make_resnet18(num_classes: int = 1000) -> nn.Module:
    """Images (B, 3, H, W) to logits (B, num_classes).

    >>> sum(weights.numel() for weights in make_resnet18().parameters())
    11689512
    """
    layers: list[nn.Module] = [
        nn.Conv2d(3, _STAGES[0], 7, 2, 3, bias=False),
        nn.BatchNorm2d(_STAGES[0]),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    num_in = _STAGES[0]
    for stage, num_out in enumerate(_STAGES):
        for block in range(_BLOCKS_A_STAGE):
            layers.append(BasicBlock(num_in, num_out, 2 if stage and not block else 1))
            num_in = num_out
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(num_in, num_classes)]
    return nn.Sequential(*layers)


def make_tiny(num_classes: int = 1000) -> nn.Module:
    """Something that takes the same images and costs nothing, for rehearsals."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(3 * 8 * 8, num_classes))
