"""Networks as users write them, one that works and some that cannot be what they are asked to be."""

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """Takes missing numbers by an indicator and categories by embeddings; with batch norm and dropout."""

    def __init__(self, *, numbers: int, cardinalities: list[int], outputs: int, width: int = 16) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(cardinality, 3) for cardinality in cardinalities)
        self.layers = nn.Sequential(
            nn.Linear(2 * numbers + 3 * len(cardinalities), width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(width, outputs),
        )

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        embedded = [embedding(codes[:, place]) for place, embedding in enumerate(self.embeddings)]
        gaps = torch.isnan(numbers)
        out: Tensor = self.layers(torch.cat([torch.nan_to_num(numbers), gaps.float(), *embedded], dim=1))
        return out


class Branching(Small):
    """Chooses its way by a value, which no graph can hold."""

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        return super().forward(numbers, codes) * (2 if torch.nan_to_num(numbers).sum() > 0 else 1)


class Bessel(Small):
    """Uses an operator that PyTorch has and ONNX has not."""

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        return super().forward(numbers, codes) + torch.special.bessel_j0(torch.nan_to_num(numbers[:, :1]))


class Flat(Small):
    """Gives one number too many a row."""

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        return torch.cat([super().forward(numbers, codes)] * 2, dim=1)
