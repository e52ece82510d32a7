"""The step on real tables and models: outputs, KFP's artifacts, MLflow, errors."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import polars as pl
import pytest
from kfp import dsl
from mlflow.tracking import MlflowClient
from sklearn.metrics import roc_auc_score

from kfp_lifecycle.components.evaluate.step import evaluate_step
from kfp_lifecycle.components.shared.errors import (
    LifecycleError,
    ParameterError,
    SchemaError,
    SplitError,
    TargetError,
    TrackingError,
)
from tests.components.conftest import Telco
from tests.components.trained import Artifact, Prepared, prepare, train

FEW = {"bootstrap_samples": 50}


class Evaluated:
    """The step's outputs and artifacts for one call."""

    def __init__(self, model: Path, prepared: Prepared, out: Path, **options: Any) -> None:
        out.mkdir(exist_ok=True)
        self.metrics = dsl.Metrics(uri=str(out / "metrics"))
        self.classification = dsl.ClassificationMetrics(uri=str(out / "classification"))
        self.report = dsl.HTML(uri=str(out / "report"))
        self.evaluation = dsl.Artifact(uri=str(out / "evaluation"))
        self.outputs = evaluate_step(
            model=Artifact(str(model)),
            test=Artifact(str(prepared.test_path)),
            schema=Artifact(str(prepared.schema_path)),
            metrics=self.metrics,
            classification=self.classification,
            report=self.report,
            evaluation=self.evaluation,
            **{**FEW, **options},
        )

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(Path(self.evaluation.path).read_text()))

    @property
    def html(self) -> str:
        return Path(self.report.path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def binary(telco: Telco, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    return Evaluated(
        telco.good_model,
        telco.prepared,
        tmp_path_factory.mktemp("binary"),
        thresholds=["roc_auc >= 0.8"],
        slices=["contract", "tenure"],
        bootstrap_samples=300,
    )


@pytest.fixture(scope="module")
def diamonds(table: Callable[[str], Any]) -> pl.DataFrame:
    rows = pl.from_pandas(table("diamonds")).sample(4000, seed=0)
    return rows.with_columns(pl.col(pl.Int32).cast(pl.Int64), pl.col(pl.Categorical, pl.Enum).cast(pl.String))


@pytest.fixture(scope="module")
def multiclass(telco: Telco, diamonds: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    return of_table(telco, diamonds, "cut", "multiclass", "LogisticRegression", tmp_path_factory)


@pytest.fixture(scope="module")
def regression(telco: Telco, diamonds: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    return of_table(telco, diamonds, "price", "regression", "LinearRegression", tmp_path_factory)


def of_table(
    telco: Telco, rows: pl.DataFrame, target: str, task: str, estimator: str, places: pytest.TempPathFactory
) -> Evaluated:
    folder = places.mktemp(task)
    prepared = prepare(folder / "prepared", rows, target, task)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", telco.store(folder))
        train(prepared, folder / "model", estimator=f"sklearn.linear_model.{estimator}")
    return Evaluated(folder / "model", prepared, folder / "out", slices=["color"])


# What comes out


def test_the_decision_and_its_reasons_are_outputs(binary: Evaluated) -> None:
    approved, reasons = binary.outputs
    assert approved is True
    assert reasons.splitlines()[0].startswith("roc_auc is 0.8")
    assert "There is no champion" in reasons


def test_the_metrics_are_those_of_the_untouched_test_split(binary: Evaluated, telco: Telco) -> None:
    rows = telco.prepared.test
    model = mlflow.pyfunc.load_model(str(telco.good_model))
    answer = model.predict(rows.drop("churn", "_row_hash").to_pandas())
    area = roc_auc_score(rows["churn"].to_numpy() == "Yes", answer["probability_Yes"])
    assert binary.metrics.metadata["roc_auc"] == pytest.approx(area)
    assert binary.json["rows"] == len(rows)


def test_every_metric_has_an_interval_around_it(
    binary: Evaluated, multiclass: Evaluated, regression: Evaluated
) -> None:
    expected = {
        "binary": 8,
        "multiclass": 4,
        "regression": 3,
    }
    for evaluated in (binary, multiclass, regression):
        found = evaluated.json["metrics"]
        assert len(found) == expected[evaluated.json["task"]]
        values = evaluated.metrics.metadata
        for name, one in found.items():
            assert one["low"] < one["value"] < one["high"], name
            assert (values[name], values[f"{name}_low"], values[f"{name}_high"]) == (
                one["value"],
                one["low"],
                one["high"],
            )


def test_the_roc_curve_is_one_that_kfp_draws(binary: Evaluated) -> None:
    points = binary.classification.metadata["confidenceMetrics"]
    assert 10 < len(points) <= 200
    assert all(math.isfinite(value) for point in points for value in point.values())
    assert (points[0]["falsePositiveRate"], points[-1]["recall"]) == (0, 1)
    json.dumps(binary.classification.metadata, allow_nan=False)


def test_the_confusion_matrix_is_one_that_kfp_draws(
    binary: Evaluated, multiclass: Evaluated, regression: Evaluated, telco: Telco
) -> None:
    drawn = binary.classification.metadata["confusionMatrix"]
    assert [spec["displayName"] for spec in drawn["annotationSpecs"]] == ["No", "Yes"]
    counts = np.array([row["row"] for row in drawn["rows"]])
    truth = telco.prepared.test["churn"].value_counts(sort=True)["count"].to_list()
    assert counts.sum(axis=1).tolist() == truth
    assert len(multiclass.classification.metadata["confusionMatrix"]["rows"]) == 5
    assert "confidenceMetrics" not in multiclass.classification.metadata
    assert regression.classification.metadata == {}


def test_the_evaluation_holds_everything(
    binary: Evaluated, multiclass: Evaluated, regression: Evaluated
) -> None:
    found = binary.json
    assert found["approved"] is True
    assert found["champion"] is None
    assert found["options"]["thresholds"] == ["roc_auc >= 0.8"]
    assert {part["column"] for part in found["slices"]} == {"contract", "tenure"}
    assert found["reliability"]["ece"] < 0.1
    assert len(found["by_threshold"]) == 19
    assert multiclass.json["classes"] == ["Fair", "Good", "Ideal", "Premium", "Very Good"]
    assert len(multiclass.json["by_class"]) == 5
    assert len(regression.json["residuals"]["bins"]) == 10
    assert regression.json["reliability"] is None


def test_the_same_seed_gives_the_same_evaluation(telco: Telco, tmp_path: Path) -> None:
    first, second, third = (
        Evaluated(telco.good_model, telco.prepared, tmp_path / str(number), seed=seed).json
        for number, seed in enumerate((1, 1, 2))
    )
    assert first == second
    assert first["metrics"] != third["metrics"]


# The report


class Page(HTMLParser):
    """Collects what a page would fetch, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.text: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            local = (value or "").startswith("#")
            if name in ("src", "srcset", "data", "action", "xlink:href") or (name == "href" and not local):
                self.fetched.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_report_is_one_page_that_fetches_nothing(
    binary: Evaluated, multiclass: Evaluated, regression: Evaluated
) -> None:
    for evaluated in (binary, multiclass, regression):
        page = Page(evaluated.html)
        assert page.fetched == []
        assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
        assert "http" not in evaluated.html
        assert "@import" not in evaluated.html
        assert "url(" not in evaluated.html.replace("url(#", "")


def test_the_report_says_verdict_reasons_metrics_and_origin(binary: Evaluated) -> None:
    text = " ".join(" ".join(Page(binary.html).text).split())
    for said in (
        "Approved roc_auc is 0.8",
        "There is no champion yet",
        "Area under the ROC curve",
        f"{binary.metrics.metadata['roc_auc']:.4f}",
        "95% interval",
        "Confusion matrix",
        "Month-to-month",
        "Decision thresholds",
        "data/prepared.csv",
        "sha256:0123456789abcdef",
    ):
        assert said in text, said
    assert binary.html.count("<svg") == 4


def test_the_report_of_many_classes_and_of_a_regression(multiclass: Evaluated, regression: Evaluated) -> None:
    assert "By class" in multiclass.html
    assert "Very Good" in multiclass.html
    assert multiclass.html.count("<svg") == 3
    assert "By predicted value" in regression.html
    assert "Root mean squared error" in regression.html
    assert regression.html.count("<svg") == 2
    assert "Confusion matrix" not in regression.html


def test_names_from_the_data_are_escaped_in_the_report(
    store: MlflowClient, telco: Telco, tmp_path: Path
) -> None:
    evil = "<script>alert(1)</script>"
    rows = pl.concat([telco.prepared.train, telco.prepared.test]).drop("_row_hash").head(1500)
    rows = rows.with_columns(
        pl.col("churn").replace_strict({"Yes": f"$yes_{evil}", "No": "_no"}),
        pl.col("contract").replace({"One year": evil}),
    ).rename({"contract": evil})
    prepared = prepare(tmp_path / "prepared", rows, "churn", "binary", positive=f"$yes_{evil}")
    train(prepared, tmp_path / "model")
    html = Evaluated(tmp_path / "model", prepared, tmp_path / "out", slices=[evil]).html
    assert "<script" not in html
    assert "&lt;script&gt;" in html


# MLflow


def test_test_metrics_report_and_decision_are_logged_to_the_run(
    store: MlflowClient, telco: Telco, tmp_path: Path
) -> None:
    evaluated = Evaluated(telco.good_model, telco.prepared, tmp_path / "out", mlflow_run_id=telco.good.run_id)
    run = store.get_run(telco.good.run_id)
    assert run.data.metrics["test_roc_auc"] == pytest.approx(evaluated.metrics.metadata["roc_auc"])
    assert run.data.metrics["test_roc_auc_low"] < run.data.metrics["test_roc_auc_high"]
    assert run.data.tags["approved"] == "true"
    logged = {metric.key for metric in store.get_logged_model(telco.good.model_id).metrics}
    assert "test_roc_auc" in logged
    page = mlflow.artifacts.load_text(f"runs:/{telco.good.run_id}/evaluation/report.html")
    assert page == evaluated.html
    everything = mlflow.artifacts.load_text(f"runs:/{telco.good.run_id}/evaluation/evaluation.json")
    assert json.loads(everything) == evaluated.json


def test_without_run_and_registered_model_no_store_is_asked(
    telco: Telco, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert Evaluated(telco.good_model, telco.prepared, tmp_path / "out").outputs.approved


def test_a_registry_that_cannot_be_reached_fails_the_step_and_leaves_no_output(
    telco: Telco, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:hunter2@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"http://\*\*\*@127") as caught:
        Evaluated(telco.good_model, telco.prepared, tmp_path / "out", model_name="churn")
    assert "hunter2" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


# Bad input


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"thresholds": ["auc >= 0.8"]}, "Did you mean 'roc_auc'"),
        ({"thresholds": ["roc_auc"]}, "'thresholds' has 'roc_auc'"),
        ({"champion_metric": "rmse"}, "'champion_metric' names 'rmse'"),
        ({"on_incomparable": "accept"}, "'on_incomparable' is 'accept'.*reject, thresholds"),
        ({"slices": ["contrat"]}, "Did you mean 'contract'"),
        ({"confidence": 95.0}, "'confidence' is 95"),
        ({"confidence": 0.0}, "'confidence' is 0"),
        ({"bootstrap_samples": 0}, "'bootstrap_samples' is 0"),
        ({"bootstrap_samples": 10**9}, "'bootstrap_samples' is"),
        ({"min_improvement": -0.1}, r"'min_improvement' is -0\.1"),
        ({"min_improvement": math.nan}, "'min_improvement' is nan"),
        ({"seed": -1}, "'seed' is -1"),
    ],
)
def test_parameters_that_are_wrong_are_named(
    telco: Telco, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ParameterError, match=said):
        Evaluated(telco.good_model, telco.prepared, tmp_path / "out", **options)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_test_split_with_one_class(telco: Telco, tmp_path: Path) -> None:
    of_one = telco.prepared.test.filter(pl.col("churn") == "No")
    prepared = replace(telco.prepared, folder=tmp_path / "one", test=of_one).write()
    with pytest.raises(SplitError, match=r"one class of target 'churn' only: 'No', in all 1,\d+ rows"):
        Evaluated(telco.good_model, prepared, tmp_path / "out")


def test_an_empty_test_split(telco: Telco, tmp_path: Path) -> None:
    prepared = replace(telco.prepared, folder=tmp_path / "none", test=telco.prepared.test.head(0)).write()
    with pytest.raises(SplitError, match="holds no rows"):
        Evaluated(telco.good_model, prepared, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda rows: rows.drop("churn"), SchemaError, "no target column 'churn'"),
        (lambda rows: rows.drop("tenure"), SchemaError, "'tenure'"),
        (lambda rows: rows.with_columns(churn=pl.lit("Perhaps")), SchemaError, "'Perhaps'.*No, Yes"),
        (lambda rows: rows.with_columns(churn=pl.lit(None, pl.String)), SchemaError, "'churn'"),
        (
            lambda rows: rows.with_columns(monthly_charges=pl.lit("dear")),
            SchemaError,
            "'monthly_charges' is number, but has 'dear'",
        ),
    ],
)
def test_a_test_split_that_does_not_fit(
    telco: Telco,
    tmp_path: Path,
    change: Callable[[pl.DataFrame], pl.DataFrame],
    error: type[LifecycleError],
    said: str,
) -> None:
    prepared = replace(telco.prepared, folder=tmp_path / "changed", test=change(telco.prepared.test)).write()
    with pytest.raises(LifecycleError, match=said):
        Evaluated(telco.good_model, prepared, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_model_of_another_table(telco: Telco, tmp_path: Path) -> None:
    other = telco.prepared.with_schema(tmp_path / "other", classes=["No", "Perhaps", "Yes"])
    with pytest.raises(SchemaError, match="is not of this schema: its classes differ: No, Yes in"):
        Evaluated(telco.good_model, other, tmp_path / "out")


def test_a_model_that_is_none(telco: Telco, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(LifecycleError, match="not a Model artifact"):
        Evaluated(tmp_path / "model", telco.prepared, tmp_path / "out")


def test_a_class_that_the_test_rows_lack_is_left_out(
    multiclass: Evaluated, diamonds: pl.DataFrame, tmp_path: Path
) -> None:
    folder = Path(multiclass.report.path).parents[1]
    prepared = prepare(tmp_path / "all", diamonds, "cut", "multiclass")
    without = prepared.test.filter(pl.col("cut") != "Fair")
    prepared = replace(prepared, folder=tmp_path / "without", test=without).write()
    evaluated = Evaluated(folder / "model", prepared, tmp_path / "out", thresholds=["roc_auc_ovr > 0.5"])
    assert evaluated.outputs.approved
    fair = evaluated.json["by_class"][0]
    assert (fair["label"], fair["rows"], fair["recall"]) == ("Fair", 0, None)


def test_a_regression_whose_target_is_constant_in_the_test_split(
    regression: Evaluated, diamonds: pl.DataFrame, tmp_path: Path
) -> None:
    folder = Path(regression.report.path).parents[1]
    prepared = prepare(tmp_path / "all", diamonds, "price", "regression")
    constant = prepared.test.with_columns(price=pl.lit(1000))
    prepared = replace(prepared, folder=tmp_path / "constant", test=constant).write()
    evaluated = Evaluated(folder / "model", prepared, tmp_path / "out", thresholds=["r2 > 0"])
    gone = constant.with_columns(price=pl.lit(None, pl.Float64))
    missing = replace(prepared, folder=tmp_path / "missing", test=gone).write()
    with pytest.raises(TargetError, match="'price' is missing or infinite"):
        Evaluated(folder / "model", missing, tmp_path / "out2")
    assert not evaluated.outputs.approved
    assert evaluated.outputs.reasons.startswith("r2 is not defined on the test rows")
