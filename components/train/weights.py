"""Class weights: how much a row of each class counts in fitting."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import has_fit_parameter

from kfp_lifecycle.components.shared.errors import EstimatorError, ParameterError, did_you_mean
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.parameters import json_object

log = logging.getLogger(__name__)

#: ``"balanced"``, or weights by class position; None weighs all rows the same.
ClassWeight = str | dict[int, float] | None


def parse_class_weight(text: str, schema: TableSchema) -> ClassWeight:
    """What the parameter ``class_weight`` says.

    Args:
        text: ``none``, ``balanced``, or a JSON object of class label to weight; a class left out weighs 1.
        schema: The schema, for its task and classes.

    Raises:
        ParameterError: It is none of these, names no class of the table, or the task has no classes.
    """
    if text.strip() in ("", "none"):
        return None
    if schema.task == "regression":
        raise ParameterError(
            f"Parameter 'class_weight' is {text!r}, but the task is regression.", "Set it to none."
        )
    if text.strip() == "balanced":
        return "balanced"
    if not text.strip().startswith("{"):
        raise ParameterError(
            f"Parameter 'class_weight' is {text!r}.",
            "Give none, balanced, or a JSON object of class to weight.",
        )
    return weights_by_code(json_object(text, "class_weight"), schema)


def weights_by_code(weights: Mapping[str, Any], schema: TableSchema) -> dict[int, float]:
    """Weights by class label, as weights by class position. Raises as :func:`parse_class_weight` does."""
    by_code = dict.fromkeys(range(len(schema.classes)), 1.0)
    for label, weight in weights.items():
        if label not in schema.classes:
            raise ParameterError(
                f"Parameter 'class_weight' names the class {label!r}, which {schema.target!r} does not have.",
                did_you_mean(label, schema.classes),
            )
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < np.inf:
            raise ParameterError(
                f"Parameter 'class_weight' has the weight {weight!r} for class {label!r}.",
                "Give a number above 0.",
            )
        by_code[schema.classes.index(label)] = float(weight)
    return by_code


def set_class_weight(estimator: Any, weight: ClassWeight, path: str) -> bool:
    """Gives the estimator its class weights.

    Returns:
        Whether rows must be weighted in ``fit`` instead, because the estimator has no ``class_weight``.

    Raises:
        EstimatorError: It can be weighted neither way.
    """
    if weight is None:
        return False
    if "class_weight" in estimator.get_params(deep=False):
        estimator.set_params(class_weight=weight)
        return False
    if has_fit_parameter(estimator, "sample_weight"):
        log.info("%s has no class_weight: its rows are weighted in fit instead", path)
        return True
    raise EstimatorError(
        f"{path} takes neither class_weight nor sample_weight, so classes cannot be weighted.",
        "Set class_weight to none, or choose another estimator.",
    )


def row_weights(weight: ClassWeight, codes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The weight of each row by its class position, shape ``(n,)``."""
    if isinstance(weight, dict):
        by_code = np.array([weight[code] for code in range(len(weight))], dtype=np.float64)
        return by_code[codes.astype(np.intp)]
    return np.asarray(compute_sample_weight(weight, codes), dtype=np.float64)
