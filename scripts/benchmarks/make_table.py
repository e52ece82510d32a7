"""Writes the table of the features benchmark: 14 numeric columns with 5% missing, 6 text, a target.

Usage: make_table.py ROWS FILE.csv
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl

CHUNK = 500_000
CATEGORIES = (8, 12, 16, 20, 24, 28)


def chunk(rows: int, random: np.random.Generator) -> pl.DataFrame:
    columns = {}
    for i in range(14):
        values = random.normal(size=rows) * (i + 1)
        columns[f"n{i}"] = pl.Series(np.where(random.random(rows) < 0.05, np.nan, values)).fill_nan(None)
    for i, count in enumerate(CATEGORIES):
        names = np.array([f"value {j}" for j in range(count)])
        columns[f"c{i}"] = pl.Series(names[random.integers(0, count, rows)])
    columns["target"] = pl.Series(random.integers(0, 2, rows))
    return pl.DataFrame(columns)


def main(rows: int, path: str) -> None:
    random = np.random.default_rng(0)
    with Path(path).open("wb") as file:
        for start in range(0, rows, CHUNK):
            chunk(min(CHUNK, rows - start), random).write_csv(file, include_header=start == 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
