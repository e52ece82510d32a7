"""Target encoding against its formula, by hand and by simulation."""

import numpy as np
import pytest

from kfp_lifecycle.components.shared.inference.target_encoding import encode, held_out


def sums_of(groups: list[list[float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    counts = np.array([len(group) for group in groups], dtype=float)
    return (
        counts,
        np.array([sum(group) for group in groups], dtype=float),
        np.array([sum(v * v for v in group) for group in groups], dtype=float),
    )


def test_by_hand() -> None:
    # Two groups of two: SSW = 4·0.5² = 1, so σ² = 1 / (4 - 2) = 0.5; SSB = 4·2² = 16, so τ² = (16 - 0.5) / 2.
    counts, sums, squares = sums_of([[0.5, 1.5], [4.5, 5.5]])
    trust = 2 * 7.75 / (0.5 + 2 * 7.75)
    assert encode(counts, sums, squares) == pytest.approx([3 - 2 * trust, 3 + 2 * trust])


def test_it_finds_the_variances_that_made_the_data() -> None:
    generator = np.random.default_rng(0)
    means = generator.normal(0, 2, 3000)
    sizes = generator.integers(1, 8, 3000)
    groups = [list(generator.normal(mean, 3, size)) for mean, size in zip(means, sizes, strict=True)]
    values = encode(*sums_of(groups))
    # The best linear predictor shrinks each mean by n·τ² / (σ² + n·τ²); overall mean near 0.
    best = np.array([len(g) * 4 / (9 + len(g) * 4) * np.mean(g) for g in groups])
    assert np.abs(values - best).mean() < 0.1
    own = np.array([np.mean(group) for group in groups])
    assert np.mean((values - means) ** 2) < 0.8 * np.mean((own - means) ** 2)


def test_no_difference_between_categories_encodes_to_the_mean() -> None:
    assert encode(*sums_of([[0, 1], [1, 0], [0, 1]])) == pytest.approx([0.5] * 3)


def test_one_row_each_encodes_to_the_mean() -> None:
    assert encode(*sums_of([[0.0], [1.0], [5.0]])) == pytest.approx([2.0] * 3)


def test_no_variance_within_keeps_the_categories_own_means() -> None:
    assert encode(*sums_of([[1, 1], [5, 5], []])) == pytest.approx([1, 5, 3])


@pytest.mark.parametrize("groups", [[], [[]], [[], []]])
def test_no_row_at_all_gives_zeros(groups: list[list[float]]) -> None:
    assert encode(*sums_of(groups)).tolist() == [0.0] * len(groups)


def test_sums_beyond_floats_encode_to_the_mean() -> None:
    values = encode(np.array([2.0, 2.0]), np.array([1e200, -1e200]), np.array([np.inf, np.inf]))
    assert values == pytest.approx([0.0, 0.0])


def test_held_out_rows_have_no_part_in_their_encoding() -> None:
    generator = np.random.default_rng(1)
    counts = generator.integers(1, 9, (5, 4)).astype(float)
    sums, squares = counts * generator.random((5, 4)), counts * 0.9
    before = held_out(counts, sums, squares)
    sums[2] += 1
    after = held_out(counts, sums, squares)
    assert np.array_equal(before[2], after[2])
    assert not np.isclose(np.delete(before, 2, 0), np.delete(after, 2, 0)).any()
    others = np.arange(5) != 2
    assert np.array_equal(
        after[2], encode(counts[others].sum(0), sums[others].sum(0), squares[others].sum(0))
    )
