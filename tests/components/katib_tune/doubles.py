"""Test doubles: regressors that misbehave in trials as real ones sometimes do."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from threadpoolctl import threadpool_info


class Level(RegressorMixin, BaseEstimator):
    """Predicts ``level`` everywhere, after ``seconds``; notes each fit in ``journal``."""

    def __init__(self, level: float = 0.0, seconds: float = 0.0, size: int = 1, journal: str = "") -> None:
        self.level, self.seconds, self.size, self.journal = level, seconds, size, journal

    def fit(self, X: Any, y: Any) -> "Level":
        time.sleep(self.seconds)
        if self.journal:
            with Path(self.journal).open("a", encoding="ascii") as file:
                file.write(f"{self.level!r} {self.size}\n")
        self.fitted_ = True
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.level)


class Trouble(Level):
    """Does what ``kind`` says from ``level`` 0.5 on."""

    def __init__(self, level: float = 0.0, kind: str = "raise") -> None:
        super().__init__(level)
        self.kind = kind

    def fit(self, X: Any, y: Any) -> "Trouble":
        super().fit(X, y)
        if self.level < 0.5:
            return self
        if self.kind == "raise":
            raise ValueError(f"level {self.level:.1f} is too high")
        if self.kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "exit":
            os._exit(3)
        if self.kind == "grow":
            self.hoard_ = [np.ones(2**21) for _ in range(100)]  # 16 MiB each
            time.sleep(5)
        return self

    def predict(self, X: Any) -> Any:
        if self.level >= 0.5 and self.kind == "nan":
            return np.full(len(X), np.nan)
        if self.level >= 0.5 and self.kind == "overflow":
            return np.full(len(X), 1e300)
        return super().predict(X)


class Surroundings(Level):
    """Predicts what it sees of its process: a library's most threads, and 1000 for mapped files."""

    def fit(self, X: Any, y: Any) -> "Surroundings":
        threads = max(library["num_threads"] for library in threadpool_info())
        self.seen_ = threads + 1000 * isinstance(X, np.memmap)
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), float(self.seen_))
