"""The Katib backend: its objects against Katib's rules and models, and whole courses on doubles."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as some
from kubeflow_katib_api.models import V1beta1Experiment

from kfp_lifecycle.components.katib_tune import katib as module
from kfp_lifecycle.components.katib_tune.backend import Problem, Progress, Trial, TrialData
from kfp_lifecycle.components.katib_tune.experiment import baseline, experiment, experiment_name
from kfp_lifecycle.components.katib_tune.katib import KatibSearch
from kfp_lifecycle.components.katib_tune.katib_course import EXPERIMENT, SUGGESTION, TRIAL, Patience
from kfp_lifecycle.components.katib_tune.search_file import parse_search
from kfp_lifecycle.components.katib_tune.trial_job import PODS_VARIABLE, TrialPod, command_line
from kfp_lifecycle.components.shared.cluster import Kind, connect
from kfp_lifecycle.components.shared.errors import ClusterError, TuningError
from kfp_lifecycle.components.shared.flags import hyperparameters
from kfp_lifecycle.components.shared.tracking import PARENT_RUN_ID
from kfp_lifecycle.components.train_gpu.flags import options_of
from tests.components.katib_tune.katib_controller import Katib, Outcome, suggestions
from tests.components.katib_tune.katib_rules import collected, complaints, run_spec, shell_line
from tests.components.trained import Prepared
from tests.conftest import SOAK
from tests.kubernetes_api import USER, KubernetesApi

LABELS = {module.INJECTION: "enabled"}
DATA = TrialData("minio://mlpipeline/run/train", "minio://mlpipeline/run/schema", "s3://b/plan")
QUICK = Patience(poll=0.02, taken_up=20, progress=20, stuck=0.05, deletion=5)
SPACE = {
    "learning_rate": {"type": "float", "min": 0.01, "max": 0.3, "log": True},
    "max_depth": {"type": "int", "min": 2, "max": 8},
    "l2_regularization": {"type": "float", "min": 0.0, "max": 1.0, "step": 0.1},
    "max_features": {"values": [0.5, 1.0]},
}
PROFILE = {
    "resources": {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"cpu": 4, "memory": "8Gi"}},
    "accelerator": {"type": "nvidia.com/gpu", "count": 1},
    "node_selector": {"pool": "gpu"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule", "seconds": 60}],
    "secrets": [{"name": "mlflow", "env": {"uri": "MLFLOW_TRACKING_URI"}, "optional": True}],
    "env": {"HTTP_PROXY": "http://proxy:3128"},
    "volumes": [{"claim": "tables", "path": "/data", "sub_path": "churn"}],
    "shared_memory": "1024Mi",
    "timeout_seconds": 3600,
    "labels": {"team": "churn"},
    "annotations": {"note": "trial"},
    "pull_policy": "IfNotPresent",
    "pull_secrets": ["registry"],
}
POD = TrialPod("registry.example.com/team/python-core@sha256:" + "0" * 64, PROFILE, "default-editor")


def problem(parameters: Any = None, data: TrialData = DATA, **more: Any) -> Problem:
    asked = {"parameters": parameters or SPACE, "objective": more.pop("objective", "roc_auc"), **more}
    space, objective, own = parse_search(asked, "binary")
    flags = {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "folds": 3}
    fixed = {"max_iter": 30, "note": """it's "quoted" $HOME $(PATH) `ls`"""}
    return Problem(space, objective, own, data, fixed=fixed, options=flags, name="churn run 7/katib-tune")


def place(of: dict[str, Any], path: str) -> Any:
    for key in path.split("."):
        of = of[int(key)] if isinstance(of, list) else of[key]  # type: ignore[assignment]
    return of


# The objects ------------------------------------------------------------------------------------------------

ALGORITHMS = [
    {"algorithm": "random"},
    {"algorithm": "tpe", "algorithm_settings": {"n_startup_trials": 5, "n_ei_candidates": 24}},
    {"algorithm": "cmaes", "algorithm_settings": {"sigma": 0.2, "restart_strategy": "none"}},
    {
        "algorithm": "gp",
        "algorithm_settings": {"n_initial_points": 5, "acq_func": "EI", "base_estimator": "GP"},
        "parameters": {name: own for name, own in SPACE.items() if "step" not in own},
    },
    {
        "algorithm": "grid",
        "parameters": {name: own for name, own in SPACE.items() if "log" not in own},
        "max_trials": 500,
        "parallel_trials": 300,
    },
    {
        "algorithm": "hyperband",
        "algorithm_settings": {"resource_name": "max_iter", "eta": 3},
        "parameters": {"max_iter": {"type": "int", "min": 1, "max": 27}, "max_depth": SPACE["max_depth"]},
        "max_trials": 60,
        "parallel_trials": 27,
    },
]


@pytest.mark.parametrize("asked", ALGORITHMS, ids=lambda asked: str(asked["algorithm"]))
@pytest.mark.parametrize("stopping", ["none", "median"])
def test_katib_takes_what_is_made_of_each_algorithm(asked: dict[str, Any], stopping: str) -> None:
    own = problem(**asked, early_stopping=stopping)
    made = experiment(own, POD, "team", "run-7")
    assert complaints(made) == []
    assert V1beta1Experiment.from_dict(made).to_dict() == made
    assert ("earlyStopping" in made["spec"]) == (stopping == "median")
    first = baseline(own, POD, "team", "run-7")
    assert complaints(first) == []
    assert first["metadata"]["name"] == made["metadata"]["name"] + "-0"


@pytest.mark.parametrize("asked", ALGORITHMS[:-1], ids=lambda asked: str(asked["algorithm"]))
def test_what_katibs_services_suggest_is_in_the_space(asked: dict[str, Any]) -> None:
    own = problem(**asked)
    ask = suggestions(experiment(own, POD, "team")["spec"])
    for _ in range(12):
        texts = ask()
        job = run_spec(experiment(own, POD, "team"), "t", texts)
        line = job["spec"]["template"]["spec"]["containers"][0]["args"][0]
        words = dict(word.removeprefix("--").split("=", 1) for word in shlex.split(line)[3:])
        for parameter in own.space:
            value = parameter.cast(texts[parameter.name])
            assert words[parameter.name] == texts[parameter.name]
            if grid := parameter.grid():
                assert any(abs(value - one) < 1e-9 for one in grid)
            else:
                assert (parameter.min or 0) <= value <= (parameter.max or 0)


def test_each_field_is_where_katib_looks_for_it() -> None:
    asked = {"metric": "log_loss", "goal": 0.3, "additional_metrics": ["roc_auc"]}
    own = problem(objective=asked, max_trials=10, parallel_trials=4, max_failed_trials=2)
    made = experiment(replace(own, seed=7), POD, "team", "run-7")
    expected = {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata.namespace": "team",
        "metadata.labels": {
            "app.kubernetes.io/part-of": "kfp-lifecycle",
            "app.kubernetes.io/component": "katib-tune",
            "kfp-lifecycle/run-id": "run-7",
        },
        "spec.maxTrialCount": 9,
        "spec.parallelTrialCount": 4,
        "spec.maxFailedTrialCount": 2,
        "spec.objective.type": "minimize",
        "spec.objective.goal": 0.3,
        "spec.objective.objectiveMetricName": "log_loss",
        "spec.objective.additionalMetricNames": ["roc_auc"],
        "spec.objective.metricStrategies.0": {"name": "log_loss", "value": "latest"},
        "spec.algorithm.algorithmSettings": [{"name": "random_state", "value": "7"}],
        "spec.parameters.0": {
            "name": "learning_rate",
            "parameterType": "double",
            "feasibleSpace": {"min": "0.01", "max": "0.3", "distribution": "logUniform"},
        },
        "spec.parameters.1": {
            "name": "max_depth",
            "parameterType": "int",
            "feasibleSpace": {"min": "2", "max": "8"},
        },
        "spec.parameters.2.feasibleSpace": {"min": "0.0", "max": "1.0", "step": "0.1"},
        "spec.parameters.3": {
            "name": "max_features",
            "parameterType": "categorical",
            "feasibleSpace": {"list": ["0.5", "1.0"]},
        },
        "spec.metricsCollectorSpec.collector.kind": "StdOut",
        "spec.trialTemplate.primaryContainerName": "training-container",
        "spec.trialTemplate.trialSpec.spec.backoffLimit": 0,
    }
    assert {path: place(made, path) for path in expected} == expected


def test_the_pod_is_as_the_profile_says() -> None:
    own = problem(data=TrialData("minio://mlpipeline/train", "/data/schema.json", "pvc://plans/a/plan.json"))
    pod = place(experiment(own, POD, "team", "run-7"), "spec.trialTemplate.trialSpec.spec.template")
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    assert pod["metadata"]["labels"]["team"] == "churn"
    assert pod["metadata"]["labels"]["kfp-lifecycle/run-id"] == "run-7"
    assert pod["metadata"]["annotations"] == {"note": "trial", "sidecar.istio.io/inject": "false"}
    assert (spec["restartPolicy"], spec["serviceAccountName"]) == ("Never", "default-editor")
    assert spec["nodeSelector"] == {"pool": "gpu"}
    assert spec["tolerations"][0]["tolerationSeconds"] == 60
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert container["image"] == POD.image
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["resources"] == {
        "requests": {"cpu": "2", "memory": "4Gi"},
        "limits": {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"},
    }
    env = {item["name"]: item for item in container["env"]}
    assert env["HTTP_PROXY"]["value"] == "http://proxy:3128"
    tracking = {"name": "mlflow", "key": "uri", "optional": True}
    assert env["MLFLOW_TRACKING_URI"]["valueFrom"]["secretKeyRef"] == tracking
    assert env["AWS_ENDPOINT_URL_S3"]["value"] == "http://minio-service.kubeflow:9000"
    assert env["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"]["name"] == "mlpipeline-minio-artifact"
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert set(mounts) == {"/data", "/mnt/plans", "/dev/shm"}
    assert mounts["/data"]["subPath"] == "churn"
    assert mounts["/mnt/plans"]["readOnly"] is True
    assert spec["volumes"][-1]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    line = container["args"][0]
    assert "--train=minio://mlpipeline/train --schema=/data/schema.json --plan=/mnt/plans/a/plan.json" in line


def test_the_step_learns_of_the_profile_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"train": PROFILE, "train-gpu": {"env": {"A": "b"}}}
    monkeypatch.setenv(PODS_VARIABLE, json.dumps(told))
    assert TrialPod.of_profile("image", "train").settings == PROFILE
    assert TrialPod.of_profile("image", "train-gpu").settings == {"env": {"A": "b"}}
    monkeypatch.delenv(PODS_VARIABLE)
    assert TrialPod.of_profile("image", "train").settings == {}
    bare = experiment(problem(), TrialPod("image"), "team")
    assert complaints(bare) == []
    assert "kfp-lifecycle/run-id" not in bare["metadata"]["labels"]
    odd = experiment(problem(), TrialPod("image"), "team", "/runs/2026 7?")
    assert odd["metadata"]["labels"]["kfp-lifecycle/run-id"] == "runs-2026-7"


def test_a_network_keeps_its_best_epoch_and_gets_flags_that_it_takes() -> None:
    own = replace(
        problem({"learning_rate": [0.1, 0.2], "batch_size": {"type": "int", "min": 32, "max": 64}}),
        trainer="train-gpu",
        fixed={"epochs": 3, "network": "mlp", "network_parameters": {"layers": 2}},
        options={},
        parent_run="abc",
    )
    made = experiment(own, POD, "team")
    assert complaints(made) == complaints(baseline(own, POD, "team")) == []
    assert place(made, "spec.objective.metricStrategies.0.value") == "max"
    container = "spec.template.spec.containers.0"
    job = run_spec(made, "tune-abc", {"learning_rate": "0.2", "batch_size": "48"})
    words = shlex.split(place(job, f"{container}.args.0"))
    assert words[:3] == ["python", "-m", "kfp_lifecycle.components.train_gpu"]
    texts = hyperparameters(words[3:])
    data = {name: texts.pop(name) for name in ("train", "schema", "plan", "model")}
    assert data == {"train": DATA.rows, "schema": DATA.schema, "plan": DATA.plan, "model": "/tmp/model"}
    options = options_of(texts)
    assert (options.learning_rate, options.batch_size, options.epochs, options.seed) == (0.2, 48, 3, 42)
    assert (options.network, options.network_parameters) == ("mlp", {"layers": 2})
    assert options.run_name == "tune-abc"
    env = {item["name"]: item.get("value") for item in place(job, f"{container}.env")}
    assert (env["KATIB_TRIAL_NAME"], env[PARENT_RUN_ID]) == ("tune-abc", "abc")
    first = run_spec(baseline(own, POD, "team"), "tune-0-abc", {"seed": "42"})
    texts = hyperparameters(shlex.split(place(first, f"{container}.args.0"))[3:])
    assert (texts["seed"], texts["epochs"]) == ("42", "3")
    assert "learning_rate" not in texts


@pytest.mark.parametrize("stem", ["tune", "a" * 200, "7 runs", "Ünï/çode", "x" * 28 + "-" * 9, "-"])
def test_names_are_such_as_katib_takes_and_the_same_for_the_same(stem: str) -> None:
    name = experiment_name(stem)
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert len(f"{name}-0") <= 40
    assert name == experiment_name(stem) != experiment_name(stem + "!")


KATIB_CANNOT = [
    (
        {"parameters": {"a": [1, 2], "b": {"type": "int", "min": 1, "max": 2, "when": {"a": 1}}}},
        "'b' under a condition",
    ),
    ({"parameters": {"a": ["it's", "b"]}}, "pass the value \"it's\" of 'a'"),
    ({"parameters": {"a": ['"', "b"]}}, "pass the value '\"' of 'a'"),
    ({"parameters": {"a": ["ü", "b"]}}, "pass the value 'ü'"),
    ({"parameters": {"a": ["${x}", "b"]}}, "pass the value"),
    ({"parameters": {"a": ["1", 1]}}, "two values of 'a' that both read 1"),
    ({"parameters": {"a b": [1, 2]}}, "a parameter named 'a b'"),
    ({"algorithm": "gp"}, "the step of 'l2_regularization' with bayesianoptimization"),
    ({"parameters": {"a": {"type": "float", "min": 1e-12, "max": 1, "log": True}}}, "below 1e-10"),
    (
        {
            "algorithm": "hyperband",
            "algorithm_settings": {"resource_name": "n"},
            "parameters": {"n": {"type": "int", "min": 1, "max": 81}},
        },
        "first round has 81.*Give parallel_trials 81",
    ),
    (
        {
            "algorithm": "hyperband",
            "algorithm_settings": {"resource_name": "n"},
            "parameters": {"n": {"type": "int", "min": 10, "max": 81}},
            "max_trials": 100,
            "parallel_trials": 81,
        },
        "begin hyperband at 'n' 10: it begins at 1. Give min 1",
    ),
    (
        {
            "algorithm": "hyperband",
            "algorithm_settings": {"resource_name": "n"},
            "parameters": {"n": {"type": "int", "min": 1, "max": 81}},
            "max_trials": 81,
            "parallel_trials": 81,
        },
        "max_trials 81: its first round has 81, beside trial 0. Give 82 or more",
    ),
    ({"max_trials": 1, "parallel_trials": 1}, "max_trials 1: that is trial 0.*Give 2 or more"),
    (
        {
            "algorithm": "hyperband",
            "algorithm_settings": {"resource_name": "n"},
            "parameters": {
                "n": {"type": "int", "min": 1, "max": 3},
                "r": {"type": "float", "min": 0.1, "max": 1, "log": True},
            },
            "parallel_trials": 9,
        },
        "'r' on a log scale with hyperband",
    ),
]


@pytest.mark.parametrize(("asked", "says"), KATIB_CANNOT)
def test_what_katib_cannot_search_is_refused(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(TuningError, match=f"Katib cannot .*{says}"):
        experiment(problem(**asked), POD, "team")


def test_data_on_this_pods_own_disk_is_refused() -> None:
    with pytest.raises(TuningError, match=r"/tmp/x is on this pod's own disk"):
        experiment(problem(data=replace(DATA, plan="/tmp/x")), POD, "team")


@pytest.mark.parametrize("where", ["metadata.labels", "spec.objective", "spec.trialTemplate", "spec"])
def test_the_rules_of_the_test_find_what_is_wrong(where: str) -> None:
    """The double of the webhook is itself no yes-sayer."""
    made = json.loads(json.dumps(experiment(problem(), POD, "team")))
    broken = {
        "metadata.labels": lambda: made["metadata"].update(name="x" * 41),
        "spec.objective": lambda: made["spec"]["objective"].update(additionalMetricNames=["roc_auc"]),
        "spec.trialTemplate": lambda: made["spec"]["trialTemplate"]["trialParameters"].pop(),
        "spec": lambda: made["spec"].update(parallelTrialCount=99),
    }
    broken[where]()
    assert complaints(made)


def test_a_trial_runs_as_katib_would_run_it(telco: Any, here: Path) -> None:
    """The real program, in the shell line that Katib's webhook makes, read by its collector's pattern."""
    prepared: Prepared = telco.prepared
    plan = telco.folder / "good-inputs" / "plan.json"
    data = TrialData(str(prepared.folder / "train"), str(prepared.schema_path), str(plan))
    own = replace(
        problem({"max_depth": [2, 3], "scoring": ["loss", "accuracy"]}, data),
        fixed={"max_iter": 3, "learning_rate": 0.3},
        options={"folds": 2, "estimator": "auto"},
    )
    volumes = {"volumes": [{"claim": "c", "path": "/"}]}
    made = experiment(own, TrialPod("image", volumes), "team")
    job = run_spec(made, "tune-abc", {"max_depth": "3", "scoring": "loss"})
    printed = here / "metrics.log"
    env = _python_first() | {"KATIB_TRIAL_NAME": "tune-abc"}
    subprocess.run(shell_line(job, str(printed)), check=True, cwd=here, env=env)
    found = collected(printed.read_text(), ["roc_auc", "log_loss"])
    assert len(found["roc_auc"]) == 2
    moments, values = zip(*found["roc_auc"], strict=True)
    assert 0.7 < float(values[-1]) < 0.9
    # Katib tells the last of the values by its time.
    assert moments[0] < moments[1]


def _python_first() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


ANY_TEXT = some.text(some.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


@given(ANY_TEXT, ANY_TEXT)
def test_no_text_breaks_out_of_the_shells_quotes(one: str, other: str) -> None:
    own = replace(problem(), fixed={"a": one, "b": [other]}, options={"estimator": other or "x"})
    line = command_line(own, ("max_depth",), {})
    # What Kubernetes, and then the shell, make of it.
    words = shlex.split(re.sub(r"\$\$", "$", line))
    assert words[:3] == ["python", "-m", "kfp_lifecycle.components.train"]
    given_ = dict(word.removeprefix("--").split("=", 1) for word in words[3:])
    assert given_["estimator"] == (other or "x")
    assert json.loads(given_["estimator_parameters"]) == {"a": one, "b": [other]}
    assert given_["max_depth"] == "${trialParameters.max_depth}"


NAMES = some.from_regex(r"[a-z_][a-z0-9_]{0,12}", fullmatch=True).filter(lambda name: name != "seed")
VALUES = some.lists(
    some.one_of(
        some.integers(-9, 999),
        some.booleans(),
        some.none(),
        some.sampled_from(["gini", "log loss", "a,b", "", "x=y", "-1", "1e5", "#", "$", "[64]", "~"]),
        some.lists(some.integers(1, 512), max_size=3),
    ),
    min_size=2,
    max_size=5,
)


@some.composite
def spaces(draw: some.DrawFn) -> dict[str, Any]:
    """Parameters of any kind, not all of which make a space."""
    found: dict[str, Any] = {}
    for name in draw(some.lists(NAMES, min_size=1, max_size=4, unique=True)):
        low, step = draw(some.integers(1, 50)), draw(some.sampled_from([1, 2, 0.5, 0.1]))
        high = low + step * draw(some.integers(1, 6))
        found[name] = draw(
            some.one_of(
                VALUES.map(lambda values: {"values": values}),
                some.just({"type": "float", "min": low / 7, "max": high, "log": True}),
                some.just({"type": "float", "min": low, "max": high, "step": step}),
                some.just({"type": "int", "min": low, "max": low + 6, "step": 2}),
            )
        )
    return found


@settings(max_examples=300 if SOAK else 60, deadline=None)
@given(spaces(), some.sampled_from(["random", "tpe", "grid", "cmaes"]))
def test_what_is_not_refused_katib_takes_and_gives_back(found: dict[str, Any], algorithm: str) -> None:
    try:
        own = problem(found, algorithm=algorithm, max_trials=4)
        made = experiment(own, POD, "team")
    except TuningError:
        return
    assert complaints(made) == []
    ask = suggestions(made["spec"])
    for texts in (ask(), ask()):
        job = run_spec(made, "t", texts)
        line = place(job, "spec.template.spec.containers.0.args.0").replace("$$", "$")
        words = dict(word.removeprefix("--").split("=", 1) for word in shlex.split(line)[3:])
        for parameter in own.space:
            value = parameter.cast(words[parameter.name])
            if parameter.type == "categorical":
                assert any(value is one or value == one for one in parameter.values)


# Courses on the doubles -------------------------------------------------------------------------------------


def good(assignments: dict[str, str]) -> Outcome:
    depth = int(assignments.get("max_depth", 5))
    return Outcome({"roc_auc": 0.8 + depth / 100})


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    monkeypatch.setattr("kfp_lifecycle.components.shared.cluster_errors.FIRST_WAIT_S", 0.01)
    with KubernetesApi([EXPERIMENT, TRIAL, SUGGESTION], {"team": LABELS}) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kube_config(tmp_path)))
        yield api


def backend(**more: Any) -> KatibSearch:
    return KatibSearch(connect(), POD, "run-7", **({"patience": QUICK} | more))


def said(_: Progress) -> None:
    """Nothing."""


def test_a_search_from_beginning_to_end(api: KubernetesApi) -> None:
    Katib(api, good, step_s=0.05)
    told: list[Progress] = []
    found = backend().search(problem(max_trials=7), told.append)
    assert found.reason == "all trials are done"
    assert [trial.number for trial in found.trials] == list(range(7))
    first, *others = found.trials
    assert (first.parameters, first.value, first.state) == ({}, 0.8 + 5 / 100, "complete")
    for trial in others:
        assert set(trial.parameters) == set(SPACE)
        assert type(trial.parameters["max_depth"]) is int
        assert trial.parameters["max_features"] in (0.5, 1.0)
        assert trial.value == pytest.approx(0.8 + trial.parameters["max_depth"] / 100)
    best = found.best(problem().objective)
    assert best is not None
    assert best.value == max(trial.value or 0 for trial in found.trials)
    assert (told[-1].done, told[-1].running, told[-1].total, told[-1].best) == (7, 0, 7, best.value)
    assert len({str(one) for one in told}) == len(told) > 2
    kinds = [body["kind"] for body in yaml.safe_load_all(found.experiment_yaml)]
    assert kinds == ["Experiment", "Experiment"]
    assert api.all("experiments") == api.all("trials") == []


def test_the_experiment_is_kept_by_choice(api: KubernetesApi) -> None:
    Katib(api, good)
    found = backend(keep=True).search(problem(max_trials=3), said)
    assert len(api.all("experiments")) == 2
    # A step that is run again finds it done.
    again = backend(keep=True).search(problem(max_trials=3), said)
    assert [trial.name for trial in again.trials] == [trial.name for trial in found.trials]
    assert api.verbs("experiments").count("create") == 2


def test_a_goal_ends_the_search(api: KubernetesApi) -> None:
    Katib(api, good)
    found = backend().search(problem(objective={"metric": "roc_auc", "goal": 0.5}), said)
    assert found.reason == "the goal is reached"
    assert len(found.trials) == 2


def test_some_trials_fail_and_others_are_stopped_early(api: KubernetesApi) -> None:
    kinds = iter(["Failed", "EarlyStopped", "Succeeded", "MetricsUnavailable", *["Succeeded"] * 9])
    lock = threading.Lock()

    def mixed(assignments: dict[str, str]) -> Outcome:
        if "max_depth" not in assignments:
            return Outcome({"roc_auc": 0.7})
        with lock:
            kind = next(kinds)
        log = "INFO fold 1\nERROR EstimatorError: max_depth must be odd.\n"
        log = log if kind == "Failed" else "roc_auc=nan\n"
        return Outcome({"roc_auc": 0.8} if kind in ("Succeeded", "EarlyStopped") else {}, kind, log)

    Katib(api, mixed)
    logged: list[int] = []

    def told(trial: Trial) -> str:
        logged.append(trial.number)
        return f"run-{trial.number}"

    found = backend(told=told).search(problem(max_trials=7, max_failed_trials=2), said)
    assert logged == [1, 2, 4]
    assert [trial.run_id for trial in found.trials] == ["", "run-1", "run-2", "", "run-4", "", ""]
    states = [trial.state for trial in found.trials]
    assert states == ["complete", "failed", "pruned", "complete", "failed", "complete", "complete"]
    assert found.trials[1].error == "ERROR EstimatorError: max_depth must be odd."
    assert found.trials[4].error == "the objective 'roc_auc' is nan, which is no finite number"
    assert found.trials[1].value is None
    assert found.trials[2].value == 0.8


def failing(_: dict[str, str]) -> Outcome:
    return Outcome({}, "Failed", "INFO fold 1\nERROR EstimatorError: no such column 'x'.\n")


def test_all_trials_fail_and_the_first_ones_own_error_is_said(api: KubernetesApi) -> None:
    Katib(api, failing)
    with pytest.raises(TuningError) as caught:
        backend().search(problem(max_failed_trials=1), said)
    assert re.search(r"2 of 2 trials failed, and 1 may\.", str(caught.value))
    assert "says: ERROR EstimatorError: no such column 'x'." in str(caught.value)
    assert api.all("experiments") == []


def test_where_logs_may_not_be_read_katibs_own_words_are_said(api: KubernetesApi) -> None:
    for verb, resource in (("list", "pods"), ("get", "pods/log"), ("get", "namespaces")):
        api.deny(verb, resource)
    Katib(api, failing)
    with pytest.raises(TuningError, match="says: Job has reached the end"):
        backend().search(problem(max_failed_trials=0), said)


def test_an_objective_that_is_never_printed(api: KubernetesApi) -> None:
    Katib(api, lambda _: Outcome({}, "MetricsUnavailable", "accuracy=0.5\n"))
    with pytest.raises(TuningError) as caught:
        backend().search(problem(max_trials=20, max_failed_trials=2), said)
    assert "never printed the objective as roc_auc=…; it printed last: accuracy=0.5" in str(caught.value)
    assert len(api.all("trials")) == 0


def test_a_pod_that_cannot_start_is_said(api: KubernetesApi, caplog: pytest.LogCaptureFixture) -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    pod = {"phase": "Pending", "containerStatuses": [{"state": waiting}]}
    Katib(api, lambda _: Outcome({}, "Running", pod=pod))
    with pytest.raises(ClusterError, match=r"has not changed for .*ImagePullBackOff: no such image"):
        backend(patience=replace(QUICK, progress=2)).search(problem(), said)
    assert "its pod is ImagePullBackOff" in caplog.text


def test_the_algorithms_service_refuses(api: KubernetesApi) -> None:
    def refuse(api: KubernetesApi, change: str, body: dict[str, Any]) -> None:
        if body["kind"] != "Experiment" or change != "ADDED":
            return
        why = {"type": "Failed", "status": "True", "message": "unknown setting for algorithm tpe"}
        name = body["metadata"]["name"]
        about = {"apiVersion": "kubeflow.org/v1beta1", "kind": "Suggestion", "metadata": {"name": name}}
        api.put({**about, "status": {"conditions": [why]}})
        failed = {"type": "Failed", "status": "True", "message": "Suggestion has failed"}
        api.update("experiments", name, lambda own: own.update(status={"conditions": [failed]}))

    api.controller(refuse)
    with pytest.raises(TuningError, match="tpe refuses the search: unknown setting for algorithm tpe"):
        backend().search(problem(), said)


def test_the_controller_is_gone(api: KubernetesApi) -> None:
    Katib(api, good, gone=True)
    with pytest.raises(ClusterError, match=r"has not taken up .* deployment/katib-controller"):
        backend(patience=replace(QUICK, taken_up=0.3)).search(problem(), said)
    # It stays, for the step to go on with when the controller is back.
    assert len(api.all("experiments")) == 2


def test_the_controller_goes_away_in_between(api: KubernetesApi) -> None:
    Katib(api, lambda _: Outcome({}, "Running", pod={"phase": "Succeeded"}))
    with pytest.raises(ClusterError, match=r"has not changed for .* s\. Look at kubectl"):
        backend(patience=replace(QUICK, progress=1)).search(problem(), said)


def test_a_long_trial_is_no_controller_gone(api: KubernetesApi) -> None:
    Katib(api, good, step_s=3)
    own = problem(max_trials=2, parallel_trials=1)
    found = backend(patience=replace(QUICK, progress=1.5)).search(own, said)
    assert [trial.state for trial in found.trials] == ["complete"] * 2


def test_another_search_of_the_name_is_left_alone(api: KubernetesApi) -> None:
    Katib(api, good)
    backend(keep=True).search(problem(max_trials=3), said)
    before = api.all("experiments")
    says = r"searches something else\. kubectl -n team delete experiment churn-run-7"
    with pytest.raises(ClusterError, match=says):
        backend().search(problem(max_trials=4), said)
    assert api.all("experiments") == before


def test_a_step_that_is_run_again_adopts_the_running_experiment(api: KubernetesApi) -> None:
    def lost(_: Progress) -> None:
        raise ClusterError("The first attempt loses sight of the cluster.")

    Katib(api, good, step_s=0.1)
    with pytest.raises(ClusterError, match="loses sight"):
        backend().search(problem(max_trials=5), lost)
    again = replace(problem(max_trials=5), parent_run="another MLflow run")
    assert len(backend().search(again, said).trials) == 5
    assert api.verbs("experiments").count("create") == 2


def test_what_cannot_be_deleted_is_said_and_the_result_stands(
    api: KubernetesApi, caplog: pytest.LogCaptureFixture
) -> None:
    Katib(api, good)
    api.fail(400, verb="delete", times=2, message="no")
    assert len(backend().search(problem(max_trials=3), said).trials) == 3
    assert "could not be deleted" in caplog.text


def test_one_that_another_makes_and_deletes_all_the_time(api: KubernetesApi) -> None:
    api.fail(409, verb="create", times=3, message="already exists")
    with pytest.raises(ClusterError, match="is made and deleted by another"):
        backend().search(problem(), said)


def test_an_answer_that_was_lost_makes_no_second_experiment(api: KubernetesApi) -> None:
    api.fail(0, verb="create", plural="experiments", after=True)
    Katib(api, good)
    assert len(backend(keep=True).search(problem(max_trials=3), said).trials) == 3
    assert len(api.all("experiments")) == 2


def test_one_that_failed_before_is_made_anew(api: KubernetesApi) -> None:
    outcomes = [failing, good]
    Katib(api, lambda assignments: outcomes[0](assignments))
    with pytest.raises(TuningError):
        backend(keep=True).search(problem(max_trials=3, max_failed_trials=0), said)
    del outcomes[0]
    found = backend().search(problem(max_trials=3, max_failed_trials=0), said)
    assert [trial.state for trial in found.trials] == ["complete"] * 3


def test_a_deletion_under_way_is_waited_for(api: KubernetesApi) -> None:
    Katib(api, good)
    own = problem(max_trials=3)
    body = experiment(own, POD, "team", "run-7")
    body["metadata"]["finalizers"] = ["update-prometheus-metrics"]
    connect().objects(EXPERIMENT).create(body)
    name = body["metadata"]["name"]
    connect().objects(EXPERIMENT).delete(name)
    with pytest.raises(ClusterError, match="is being deleted, and is still there"):
        backend(patience=replace(QUICK, deletion=0.05)).search(own, said)
    threading.Timer(0.5, lambda: api.remove("experiments", name)).start()
    assert len(backend().search(own, said).trials) == 3


def test_an_experiment_that_somebody_deletes(api: KubernetesApi) -> None:
    Katib(api, lambda _: Outcome({}, "Running"))
    own = problem()
    threading.Timer(0.5, lambda: api.remove("experiments", experiment_name(own.name))).start()
    with pytest.raises(ClusterError, match="was deleted while it ran"):
        backend().search(own, said)


@pytest.mark.parametrize("verb", ["get", "create", "delete"])
def test_a_right_that_is_missing_is_named_before_anything_begins(api: KubernetesApi, verb: str) -> None:
    api.deny(verb, "experiments")
    with pytest.raises(ClusterError, match=rf"{USER} may not {verb} experiments\.kubeflow\.org"):
        backend().search(problem(), said)
    assert api.all("experiments") == []


def test_katib_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with KubernetesApi([Kind("Other", "kubeflow.org", "v1", "others")], {"team": LABELS}) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kube_config(tmp_path)))
        with pytest.raises(ClusterError, match=r"does not know experiments\.kubeflow\.org\. Install Katib"):
            backend().search(problem(), said)


def test_a_namespace_without_the_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with KubernetesApi([EXPERIMENT, TRIAL], {"team": {}}) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kube_config(tmp_path)))
        with pytest.raises(ClusterError, match=rf"kubectl label namespace team {module.INJECTION}=enabled"):
            backend().search(problem(), said)
        assert api.verbs("experiments") == ["get"]


def long_ago(api: KubernetesApi) -> None:
    """The Experiments were made in another year."""
    for body in api.all("experiments"):
        name = body["metadata"]["name"]
        api.update("experiments", name, lambda own: own["metadata"].update(creationTimestamp=LONG_AGO))


LONG_AGO = "2020-01-01T00:00:00Z"


def test_the_time_budget_ends_the_search_with_what_there_is(api: KubernetesApi) -> None:
    kinds = iter(["Succeeded", "Succeeded", *["Running"] * 9])

    def some(assignments: dict[str, str]) -> Outcome:
        kind = next(kinds) if "max_depth" in assignments else "Succeeded"
        if kind == "Running":
            long_ago(api)
        return Outcome({"roc_auc": 0.8}, kind)

    Katib(api, some)
    found = backend(keep=True).search(problem(time_budget=5000), said)
    assert found.reason == "the time budget is spent"
    assert [trial.state for trial in found.trials if trial.number] == ["complete"] * 2 + ["stopped"]
    assert api.all("experiments") == []  # trials would go on beyond the budget


def test_a_time_budget_that_is_too_short_for_any_trial(api: KubernetesApi) -> None:
    def none(_: dict[str, str]) -> Outcome:
        long_ago(api)
        return Outcome({}, "Running")

    Katib(api, none)
    with pytest.raises(TuningError, match=r"No trial gave a value: the time budget is spent"):
        backend().search(problem(time_budget=5000), said)


def test_a_cluster_that_stutters_is_no_failure(api: KubernetesApi) -> None:
    for status in (500, 429, 503, 0):
        api.fail(status, times=2)
    Katib(api, good)
    assert len(backend().search(problem(max_trials=4), said).trials) == 4
