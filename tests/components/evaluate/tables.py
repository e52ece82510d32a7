"""Predictions for tests: made-up models of known quality."""

import numpy as np

from kfp_lifecycle.components.evaluate.predictions import Scored


def binary(rows: int = 600, seed: int = 0, signal: float = 1.5, decimals: int = 2) -> Scored:
    """A binary model with many tied scores."""
    generator = np.random.default_rng(seed)
    truth = (generator.random(rows) < 0.265).astype(np.int64)
    noise = np.random.default_rng(seed + 1000 + int(100 * signal)).normal(size=rows)
    probability = np.round(1 / (1 + np.exp(-(noise + signal * truth - 1.4))), decimals)
    probabilities = np.column_stack([1 - probability, probability])
    return Scored("binary", truth, (probability > 0.5).astype(np.int64), probabilities, ("No", "Yes"), "Yes")


def multiclass(rows: int = 600, classes: int = 4, seed: int = 0) -> Scored:
    """A multiclass model."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, rows)
    logits = generator.normal(size=(rows, classes))
    logits[np.arange(rows), truth] += 1
    probabilities = np.round(np.exp(logits), 1) + 0.05
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Scored(
        "multiclass", truth, probabilities.argmax(axis=1), probabilities, tuple("abcdefghij"[:classes])
    )


def regression(rows: int = 600, seed: int = 0, noise: float = 1.0) -> Scored:
    """A regression model with unbiased errors."""
    generator = np.random.default_rng(seed)
    truth = 1000 + 3 * generator.normal(size=rows)
    return Scored("regression", truth, truth + noise * generator.normal(size=rows), np.empty((rows, 0)))
