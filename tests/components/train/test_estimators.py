"""From dotted path and JSON to an estimator: what works, and every mistake by name."""

import json
from typing import Any

import pytest

from kfp_lifecycle.components.shared.errors import EstimatorError
from kfp_lifecycle.components.train.estimators import AUTO, build_estimator, json_parameters

FOREST = "sklearn.ensemble.RandomForestClassifier"


@pytest.mark.parametrize(
    ("path", "task"),
    [
        *((path, task) for task, path in AUTO.items()),
        (FOREST, "multiclass"),
        ("sklearn.ensemble.GradientBoostingRegressor", "regression"),
        ("sklearn.linear_model.LogisticRegression", "binary"),
    ],
)
def test_an_estimator_of_the_task_is_built_with_the_seed(path: str, task: str) -> None:
    estimator = build_estimator(path, {}, task=task, seed=7)
    assert type(estimator).__name__ == path.rpartition(".")[2]
    assert estimator.random_state == 7


def test_integers_stay_integers_and_the_users_seed_holds() -> None:
    parameters = json.loads('{"n_estimators": 200, "max_depth": 5, "random_state": 1, "max_features": 0.5}')
    estimator = build_estimator(FOREST, parameters, task="binary", seed=7)
    found = json_parameters(estimator)
    assert found["n_estimators"] == 200
    assert isinstance(found["n_estimators"], int)
    assert (found["random_state"], found["max_features"]) == (1, 0.5)
    assert json.loads(json.dumps(found)) == found


def test_an_estimator_without_a_seed_gets_none() -> None:
    build_estimator("sklearn.naive_bayes.GaussianNB", {}, task="binary", seed=7)


@pytest.mark.parametrize(
    ("path", "task", "said"),
    [
        ("RandomForestClassifier", "binary", "not a dotted path"),
        ("sklearn.ensemble.", "binary", "not a dotted path"),
        ("sklearn.ensemble;print(1)", "binary", "not a dotted path"),
        ("sklearn.ensemble.RandomForrestClassifier", "binary", "'RandomForestClassifier'?"),
        ("sklearn.ensembl.RandomForestClassifier", "binary", "'ensemble'?"),
        ("xgboots.XGBClassifier", "binary", "there is no module 'xgboots'"),
        ("this.XGBClassifier", "binary", "in this"),
        ("sklearn.metrics.roc_auc_score", "binary", "not an estimator"),
        ("sklearn.base.BaseEstimator", "binary", "not an estimator"),
        ("json.JSONDecoder", "binary", "not an estimator"),
        ("sklearn.ensemble.RandomForestRegressor", "binary", "is a regressor, but the task is binary"),
        (
            "sklearn.ensemble.RandomForestRegressor",
            "multiclass",
            "is a regressor, but the task is multiclass",
        ),
        (FOREST, "regression", "is a classifier, but the task is regression"),
        ("sklearn.cluster.KMeans", "binary", "neither a classifier nor a regressor"),
        ("sklearn.preprocessing.StandardScaler", "regression", "neither a classifier nor a regressor"),
        ("sklearn.svm.LinearSVC", "binary", "no predict_proba"),
        ("sklearn.ensemble.StackingClassifier", "binary", "cannot be built"),
    ],
)
def test_a_path_that_cannot_be_is_refused(path: str, task: str, said: str) -> None:
    with pytest.raises(EstimatorError) as caught:
        build_estimator(path, {}, task=task, seed=7)
    assert said in str(caught.value)
    assert path in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"max_dept": 3}, "takes no parameter 'max_dept'. Did you mean 'max_depth'?"),
        ({"n_trees": 3, "max_depth": 2}, "takes no parameter 'n_trees'"),
    ],
)
def test_a_parameter_it_does_not_take_is_named(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(EstimatorError) as caught:
        build_estimator(FOREST, parameters, task="binary", seed=7)
    assert said in str(caught.value)
