"""Where a model version came from, as the registry's tags and as a description for people."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kfp_lifecycle.components.register.registry import APPROVED
from kfp_lifecycle.components.shared.errors import redact
from kfp_lifecycle.components.shared.inference.schema import FeatureSource
from kfp_lifecycle.components.shared.model_format import DATA, DESCRIPTION, ModelDescription

#: Tag with the digest of the model's files: by it the version of a model is found again.
MODEL_DIGEST = "model_digest"
#: What MLflow's databases hold of a tag or a description, in characters.
LONGEST = 5000


@dataclass(frozen=True)
class Pipeline:
    """The pipeline run that made a model; what is not known is empty."""

    pipeline_name: str = ""
    pipeline_version: str = ""
    pipeline_digest: str = ""
    pipeline_run_id: str = ""
    image: str = ""


def tags(
    digest: str,
    model: ModelDescription,
    evaluation: Mapping[str, Any],
    pipeline: Pipeline,
    approved: bool,
    reasons: str,
) -> dict[str, str]:
    """The version's tags: what made it, of which data, how good it is, and what the gate said.

    Metrics are under ``test_<metric>``, with ``_low`` and ``_high``; parameters as JSON under
    ``parameters.<component>``. What is not known is left out.
    """
    metrics = {
        f"test_{name}{end}": f"{value:.6g}"
        for name, estimate in evaluation["metrics"].items()
        for end, value in (("", estimate["value"]), ("_low", estimate["low"]), ("_high", estimate["high"]))
        if value is not None
    }
    parameters = {f"parameters.{name}": _json(values) for name, values in model.parameters.items()}
    found = {
        MODEL_DIGEST: digest,
        APPROVED: "true" if approved else "false",
        "reasons": _short(reasons),
        "task": model.task,
        "target": model.target,
        "estimator": model.estimator,
        "dataset_uri": redact(model.schema.source_uri),
        "dataset_digest": model.schema.source_digest,
        "kfp_lifecycle_version": model.library_version,
        **_features(model.schema.feature_source),
        **asdict(pipeline),
        **metrics,
        **parameters,
    }
    return {name: text for name, text in found.items() if text}


def describe_version(text: str, tags: Mapping[str, str], evaluation: Mapping[str, Any]) -> str:
    """The version's description, in Markdown, which MLflow's UI shows.

    Args:
        text: What the user says of the version.
        tags: The version's tags.
        evaluation: The evaluation artifact.
    """
    level = f"{100 * evaluation['options']['confidence']:g}"
    rows = [
        f"| {name} | {_number(one['value'])} | {_number(one['low'])} to {_number(one['high'])} |"
        for name, one in evaluation["metrics"].items()
    ]
    came = {
        "Estimator": ("estimator",),
        "Data": ("dataset_uri", "dataset_digest"),
        "Features": (
            "feature_store",
            "feature_service",
            "feature_service_version",
            "feature_registry_digest",
        ),
        "Pipeline": ("pipeline_name", "pipeline_version", "pipeline_digest"),
        "Pipeline run": ("pipeline_run_id",),
    }
    lines = {name: " ".join(f"`{tags[key]}`" for key in keys if tags.get(key)) for name, keys in came.items()}
    parts = [
        text.strip(),
        "**Approved**" if tags[APPROVED] == "true" else "**Not approved**",
        "\n".join(f"- {reason}" for reason in tags.get("reasons", "").splitlines()),
        f"| Test metric | Value | {level}% interval |\n| --- | ---: | --- |\n" + "\n".join(rows),
        "\n".join(f"- {name}: {line}" for name, line in lines.items() if line),
    ]
    return _short("\n\n".join(part for part in parts if part))


def _features(source: FeatureSource | None) -> dict[str, str]:
    """The feature store that the model's features come from."""
    if source is None:
        return {}
    return {
        "feature_store": redact(source.repository),
        "feature_service": source.service,
        "feature_service_version": source.version,
        "feature_registry_digest": source.registry_digest,
    }


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.4g}"


def _json(values: Mapping[str, Any]) -> str:
    """The parameters as JSON; where that is too long for a tag, where to read them instead."""
    text = redact(json.dumps(values, ensure_ascii=False, sort_keys=True))
    if len(text) <= LONGEST:
        return text
    return json.dumps(
        {"characters": len(text), "see": f"{DATA.as_posix()}/{DESCRIPTION} in the model's folder"}
    )


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
