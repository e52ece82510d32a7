"""Parameters of featurize that are wrong, and what is said of them."""

from typing import Any

import pytest

from kfp_lifecycle.components.featurize.options import Options
from kfp_lifecycle.components.shared.errors import ParameterError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"impute_numeric": "mode"}, r"'impute_numeric' is 'mode'.*median, mean, zero, none"),
        ({"impute_category": "median"}, "'impute_category' is 'median'"),
        ({"encode": "hash"}, "'encode' is 'hash'.*auto, onehot, ordinal, target"),
        ({"scale": "robust"}, "'scale' is 'robust'"),
        ({"date_parts": ["year", "week"]}, "'date_parts' is 'week'"),
        ({"max_onehot": 0}, "'max_onehot' is 0"),
        ({"max_onehot": 20.0}, "'max_onehot' is 20.0, which is not a whole number"),
        ({"rare_share": 1.5}, "'rare_share' is 1.5"),
        ({"rare_share": float("nan")}, "'rare_share' is nan"),
        ({"rare_share": "0.1"}, "'rare_share' is '0.1'"),
        ({"seed": -1}, "'seed' is -1"),
        ({"derive": {"a": 1}}, "'derive' is"),
        ({"derive": ["a"]}, "'derive' is"),
        ({"exclude_columns": "tenure"}, "'exclude_columns' is 'tenure'"),
        ({"overrides": {"tenure": "none"}}, "'overrides' has 'none' for column 'tenure'"),
        ({"overrides": {"tenure": {"scales": "none"}}}, "'scales' for column 'tenure'.*Did you mean 'scale'"),
        ({"overrides": {"tenure": {"seed": 1}}}, "'seed' for column 'tenure'"),
        ({"overrides": {"tenure": {"scale": "robust"}}}, "column 'tenure': Parameter 'scale' is 'robust'"),
        ({"overrides": {"tenure": {"max_onehot": "3"}}}, "column 'tenure': Parameter 'max_onehot' is '3'"),
    ],
)
def test_wrong_parameters_are_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        Options(**given)


def test_what_is_given_by_column_wins() -> None:
    options = Options(scale="minmax", overrides={"tenure": {"scale": "none"}})
    assert options.of("tenure").scale == "none"
    assert options.of("monthly_charges").scale == "minmax"
    assert Options(**options.to_dict()) == options
