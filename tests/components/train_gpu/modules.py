"""Modules as users write them for the loop: right ones, and each kind of wrong one."""

import torch
from torch import Tensor, nn


class Plain(nn.Module):
    """A linear layer over the numbers."""

    def __init__(self, *, numbers: int, cardinalities: list[int], outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.cardinalities = cardinalities
        self.layer = nn.Linear(numbers, outputs, bias=bias)

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        assert codes.shape == (len(numbers), len(self.cardinalities))
        out: Tensor = self.layer(numbers)
        return out


class Flat(Plain):
    """Forgets the dimension of the outputs."""

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        return super().forward(numbers, codes)[:, 0]


class Wide(Plain):
    """Gives more outputs than asked for."""

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        return super().forward(numbers, codes).repeat(1, 3)


class Labels(Plain):
    """Gives classes instead of logits."""

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        return super().forward(numbers, codes).argmax(1, keepdim=True)


class Nothing(Plain):
    """Forgets to return."""

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        return None  # type: ignore[return-value]


class Frozen(Plain):
    """Has weights that cannot be learned."""

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        return super().forward(numbers, codes).detach()


class Refuses(Plain):
    """Cannot be built."""

    def __init__(self, *, numbers: int, cardinalities: list[int], outputs: int) -> None:
        raise ValueError("no width was given")


class Late(Plain):
    """Fails in the third batch only."""

    calls = 0

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
            if self.calls == 3:
                raise ValueError("the third batch is too much")
        return super().forward(numbers, codes)


class Explodes(Plain):
    """Gives infinite logits from the third batch of the second epoch on (10 batches an epoch)."""

    calls = 0

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        out = super().forward(numbers, codes)
        if self.training:
            self.calls += 1
            if self.calls > 12:
                return out * float("inf")
        return out


class Hungry(Plain):
    """Wants more memory than any machine has for more than ``most`` rows at once."""

    def __init__(self, *, numbers: int, cardinalities: list[int], outputs: int, most: int = 20) -> None:
        super().__init__(numbers=numbers, cardinalities=cardinalities, outputs=outputs)
        self.most = most

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        if len(numbers) > self.most:
            torch.empty(1 << 60)
        return super().forward(numbers, codes)


class Random(Plain):
    """Draws from NumPy's and Python's generators too, as augmentation may."""

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        import random

        import numpy as np

        noise = float(np.random.normal()) + random.random() if self.training else 0.0
        return super().forward(numbers + 0.01 * noise, codes)


class Poisoned(Plain):
    """Has an infinite gradient in its 15th batch, whose loss is still a number."""

    calls = 0

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        out = super().forward(numbers, codes)
        if self.training:
            self.calls += 1
            if self.calls == 15:
                out.register_hook(lambda gradient: gradient * float("inf"))
        return out
