"""Class weights, by the estimator's own parameter and by row weights."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from kfp_lifecycle.components.shared.errors import EstimatorError, ParameterError
from kfp_lifecycle.components.shared.inference.schema import Column, TableSchema
from kfp_lifecycle.components.train.weights import parse_class_weight, row_weights, set_class_weight

SCHEMA = TableSchema([Column("churn", "string", role="target")], "churn", "binary", ["No", "Yes"], "Yes")
NUMBERS = TableSchema([Column("price", "number", role="target")], "price", "regression")


def test_what_the_parameter_says() -> None:
    assert parse_class_weight("none", SCHEMA) is None
    assert parse_class_weight("none", NUMBERS) is None
    assert parse_class_weight("balanced", SCHEMA) == "balanced"
    assert parse_class_weight('{"Yes": 3}', SCHEMA) == {0: 1.0, 1: 3.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("balance", "'class_weight' is 'balance'"),
        ('{"yes": 3}', "Did you mean 'Yes'?"),
        ('{"Yes": "3"}', "the weight '3'"),
        ('{"Yes": 0}', "the weight 0"),
        ('{"Yes": true}', "the weight True"),
        ('{"Yes": 3', "'class_weight' is not JSON"),
    ],
)
def test_what_it_cannot_say(text: str, said: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_class_weight(text, SCHEMA)
    assert said in str(caught.value)


def test_regression_has_no_classes_to_weigh() -> None:
    with pytest.raises(ParameterError, match="the task is regression"):
        parse_class_weight("balanced", NUMBERS)


def test_the_estimators_own_parameter_comes_first_then_row_weights() -> None:
    forest, boosting = RandomForestClassifier(), GradientBoostingClassifier()
    assert set_class_weight(forest, {0: 1.0, 1: 3.0}, "forest") is False
    assert forest.class_weight == {0: 1.0, 1: 3.0}
    assert set_class_weight(boosting, "balanced", "boosting") is True
    assert set_class_weight(boosting, None, "boosting") is False
    with pytest.raises(EstimatorError, match="neither class_weight nor sample_weight"):
        set_class_weight(KNeighborsClassifier(), "balanced", "neighbours")


def test_row_weights() -> None:
    codes = np.array([0, 0, 0, 1])
    np.testing.assert_allclose(row_weights({0: 1.0, 1: 3.0}, codes), [1, 1, 1, 3])
    balanced = row_weights("balanced", codes)
    assert balanced[:3].sum() == pytest.approx(balanced[3])
