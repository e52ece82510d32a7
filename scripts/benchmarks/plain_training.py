"""The churn model as a plain script: the training pipeline's work in one process, without this library.

Reads, settles, checks, splits, profiles, featurizes, cross-validates, trains, logs, evaluates with bootstrap
intervals and slices, draws the report, registers. Usage: plain_training.py TABLE.csv OUTPUT_FOLDER [SAMPLES]

SAMPLES is the number of bootstrap samples; 0 leaves the intervals out.
"""

import base64
import io
import json
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mlflow.models import infer_signature
from sklearn.calibration import calibration_curve
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TARGET = "churn"
SLICES = ("contract", "internet_service", "senior_citizen")
PACKAGES = ["mlflow-skinny", "pandas", "scikit-learn"]


def prepare(source: str, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = pd.read_csv(source, na_values=[" "])
    frame = frame.loc[:, frame.isna().mean() <= 0.5]
    if len(frame) < 1000 or not frame["tenure"].between(0, 100).all():
        sys.exit("the table breaks a rule")
    frame.describe(include="all").to_html(folder / "profile.html")
    train, test = train_test_split(frame, test_size=0.2, stratify=frame[TARGET], random_state=42)
    train.to_parquet(folder / "train.parquet")
    test.to_parquet(folder / "test.parquet")
    return train, test


def features(frame: pd.DataFrame) -> pd.DataFrame:
    spent = frame["tenure"] * frame["monthly_charges"]
    return frame.drop(columns=TARGET).assign(total_value=spent, charge_gap=frame["total_charges"] - spent)


def build(X: pd.DataFrame):
    numeric = list(X.select_dtypes("number"))
    text = [column for column in X if column not in numeric]
    transform = ColumnTransformer(
        [
            ("numeric", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numeric),
            ("text", OneHotEncoder(handle_unknown="infrequent_if_exist", sparse_output=False), text),
        ]
    )
    return make_pipeline(
        transform,
        HistGradientBoostingClassifier(max_iter=200, learning_rate=0.05, max_depth=3, random_state=42),
    )


def scores(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    return {
        "roc_auc": roc_auc_score(y, p),
        "average_precision": average_precision_score(y, p),
        "log_loss": log_loss(y, p),
        "brier": brier_score_loss(y, p),
        "accuracy": accuracy_score(y, p > 0.5),
        "f1": f1_score(y, p > 0.5),
    }


def intervals(y: np.ndarray, p: np.ndarray, samples: int) -> dict[str, tuple[float, float]]:
    if not samples:
        return {name: (value, value) for name, value in scores(y, p).items()}
    draws = np.random.default_rng(42).integers(0, len(y), (samples, len(y)))
    drawn = pd.DataFrame([scores(y[d], p[d]) for d in draws if 0 < y[d].sum() < len(d)])
    return {name: tuple(drawn[name].quantile([0.025, 0.975])) for name in drawn}


def report(y: np.ndarray, p: np.ndarray, result: dict, path: Path) -> None:
    figure = Figure(figsize=(12, 4))
    roc, precision, reliability = figure.subplots(1, 3)
    roc.plot(*roc_curve(y, p)[:2])
    precision.plot(*precision_recall_curve(y, p)[:2])
    reliability.plot(*calibration_curve(y, p, n_bins=10))
    image = io.BytesIO()
    figure.savefig(image)
    encoded = base64.b64encode(image.getvalue()).decode()
    path.write_text(f"<img src='data:image/png;base64,{encoded}'><pre>{json.dumps(result, indent=1)}</pre>")


def main(source: str, output: str, samples: int = 1000) -> None:
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    train, test = prepare(source, folder)
    X, y = features(train), (train[TARGET] == "Yes").to_numpy()
    folds = StratifiedKFold(5, shuffle=True, random_state=42)

    mlflow.set_tracking_uri(f"sqlite:///{folder.resolve()}/mlflow.db")
    experiment = mlflow.create_experiment(
        "churn", artifact_location=(folder / "artifacts").resolve().as_uri()
    )
    mlflow.set_experiment(experiment_id=experiment)
    with mlflow.start_run():
        out_of_fold = cross_val_predict(build(X), X, y, cv=folds, method="predict_proba")[:, 1]
        cross = [scores(y[rows], out_of_fold[rows]) for _, rows in folds.split(X, y)]
        mlflow.log_metrics({f"cv_{name}": float(value) for name, value in pd.DataFrame(cross).mean().items()})
        reference = train.assign(prediction=out_of_fold)
        reference.sample(2000, random_state=42).to_parquet(folder / "reference.parquet")
        model = build(X).fit(X, y)
        mlflow.log_params(model[-1].get_params())
        mlflow.log_input(mlflow.data.from_pandas(train, source=source, targets=TARGET))
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(X, model.predict_proba(X)),
            input_example=X.head(5),
            pip_requirements=PACKAGES,
            serialization_format="cloudpickle",
        )

        X_test, y_test = features(test), (test[TARGET] == "Yes").to_numpy()
        p = model.predict_proba(X_test)[:, 1]
        result = {"metrics": scores(y_test, p), "intervals": intervals(y_test, p, samples)}
        result["confusion"] = confusion_matrix(y_test, p > 0.5).tolist()
        for column in SLICES:
            for value, rows in X_test.reset_index(drop=True).groupby(column).groups.items():
                result[f"{column}={value}"] = intervals(y_test[rows], p[rows], samples // 5)
        report(y_test, p, result, folder / "report.html")
        mlflow.log_metrics({f"test_{name}": float(value) for name, value in result["metrics"].items()})
        mlflow.log_artifact(folder / "report.html")
        if result["metrics"]["roc_auc"] >= 0.8:
            version = mlflow.register_model(logged.model_uri, "churn")
            mlflow.MlflowClient().set_registered_model_alias("churn", "champion", version.version)
    print(json.dumps(result["metrics"]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
