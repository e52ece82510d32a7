"""Target-encoded columns of noise show no lift, and the test would see one if it were there."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from tests.components.featurize.tables import schema_of, unfitted

ROWS, CATEGORIES = 4_000, 800
#: Standard error of an AUC of two classes of 2,000 rows without signal (Hanley and McNeil, 1982): 0.009.
CHANCE = (0.5 - 0.03, 0.5 + 0.03)
FOLDS = StratifiedKFold(5, shuffle=True, random_state=0)


@pytest.fixture
def noise() -> pl.DataFrame:
    generator = np.random.default_rng(3)
    # Several, because the encoding of a single one may by chance (and rightly) be the mean for all.
    columns = generator.integers(0, CATEGORIES, (6, ROWS))
    noise = {f"noise{number}": [f"v{value}" for value in column] for number, column in enumerate(columns)}
    return pl.DataFrame({**noise, "y": ["no", "yes"] * (ROWS // 2)})


@pytest.mark.parametrize(
    "estimator", [LogisticRegression(), RandomForestClassifier(100, min_samples_leaf=20, random_state=0)]
)
def test_refitted_in_each_fold_noise_shows_no_lift(noise: pl.DataFrame, estimator: Any) -> None:
    transform = unfitted(noise, schema_of(noise, "y"), encode="target")
    scores = cross_val_score(
        make_pipeline(transform, clone(estimator)), noise, noise["y"], cv=FOLDS, scoring="roc_auc"
    )
    assert CHANCE[0] < scores.mean() < CHANCE[1]


def test_fitted_on_all_rows_the_same_noise_would_show_a_lift(noise: pl.DataFrame) -> None:
    transform = unfitted(noise, schema_of(noise, "y"), encode="target").fit(noise, noise["y"])
    leaked = transform.transform(noise)
    scores = cross_val_score(LogisticRegression(), leaked, noise["y"].to_numpy(), cv=FOLDS, scoring="roc_auc")
    assert scores.mean() > 0.75


def test_the_training_rows_features_hold_no_lift_either(noise: pl.DataFrame) -> None:
    # Cross-fitted: even a model that is judged on the rows that it was fitted on finds next to nothing.
    transform = unfitted(noise, schema_of(noise, "y"), encode="target")
    honest = transform.fit_transform(noise, noise["y"])
    scores = cross_val_score(LogisticRegression(), honest, noise["y"].to_numpy(), cv=FOLDS, scoring="roc_auc")
    assert abs(scores.mean() - 0.5) < 0.05
