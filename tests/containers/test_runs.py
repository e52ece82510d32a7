"""The compiled pipelines in the images that they ship in."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.containers.conftest import Workshop, docker
from tests.repositories import run

pytestmark = pytest.mark.server

#: In a container only /tmp is writable.
SEARCH = ("storage=/tmp/tuning.db", "experiment=tuning", "bootstrap_samples=100")


@pytest.fixture
def place(workshop: Workshop, tmp_path: Path) -> Path:
    """A working directory with the demo data, into which the user in the containers may look."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    workshop.run("demo-data", "churn", "--out", str(tmp_path / "data"))
    return tmp_path


def metrics(folder: Path) -> dict[str, dict[str, float]]:
    """By step the metrics of a run, the ones that say how long something took aside."""
    steps = json.loads((folder / "run.json").read_text())["steps"]
    return {
        step["name"]: a["metadata"]
        for step in steps
        for a in step["artifacts"]
        if a["type"] == "system.Metrics"
    }


def test_training_in_containers_gives_what_it_gives_as_processes(workshop: Workshop, place: Path) -> None:
    params = ["--params", str(workshop.root / "pipelines/params/churn.yaml")]
    pinned = workshop.root / "pinned/pipelines/training/1.0.0.yaml"
    compiled = str(pinned) if pinned.is_file() else "training"
    done = run("run", compiled, *params, "--runner", "docker", "--output-dir", "inside", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    done = run("run", "training", *params, "--output-dir", "outside", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    inside, outside = metrics(place / "inside"), metrics(place / "outside")
    assert inside["train"]["cv_roc_auc_mean"] > 0.83
    assert inside.keys() == outside.keys()
    for step, values in outside.items():
        assert inside[step] == pytest.approx(values, rel=1e-9), step
    # Nothing ran as root, and nothing but the run's own folders was written.
    if not os.getuid():
        owners = {path.stat().st_uid for path in (place / "inside/artifacts").rglob("*") if path.is_file()}
        assert owners == {65532}
    assert sorted(p.name for p in place.iterdir() if not p.name.startswith(".")) == [
        *("data", "inside", "mlartifacts", "mlflow-containers", "mlflow.db", "outside")
    ]
    assert docker("ps", "--all", "--quiet", "--filter", "name=training-") == ""


@pytest.mark.parametrize(
    ("pipeline", "settings"),
    [
        ("training-torch", ("epochs=3",)),
        ("tuning", ("max_trials=3", "folds=2", *SEARCH)),
        ("tuning-torch", ("max_trials=2", *SEARCH)),
    ],
)
def test_the_other_pipelines_run_in_their_images(
    workshop: Workshop, place: Path, pipeline: str, settings: tuple[str, ...]
) -> None:
    profile = workshop.root / "profiles/without-gpu.yaml"
    image = "kfp-lifecycle/python-torch-cpu:0.1.0"
    profile.write_text(f"images:\n  replace: {{kfp-lifecycle/python-torch: '{image}'}}\n")
    out = workshop.root / "without-gpu"
    workshop.run("compile", pipeline, "--profile", "without-gpu", "--out", str(out))
    given = [option for setting in settings for option in ("-p", setting)]
    params = workshop.root / f"pipelines/params/{pipeline}-churn.yaml"
    done = run(
        *("run", str(out / f"pipelines/{pipeline}/1.0.0.yaml"), "--params", str(params), *given),
        *("--runner", "docker", "--output-dir", "inside"),
        cwd=place,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert metrics(place / "inside")["evaluate"]["roc_auc"] > 0.8


def test_a_failing_step_fails_however_fast_it_is(workshop: Workshop, place: Path) -> None:
    # kfp's own DockerRunner takes some of these for successes.
    for number in range(5):
        done = run(
            *("run", "training", "-p", "source=data/churn.csv", "-p", "target=chrun", "-p", "model_name=m"),
            *("--runner", "docker", "--output-dir", f"failed-{number}"),
            cwd=place,
        )
        assert done.returncode == 1
        assert "prepare failed" in done.stdout
        assert "chrun" in done.stdout
        record = json.loads((place / f"failed-{number}/run.json").read_text())
        states = {step["name"]: step["state"] for step in record["steps"]}
        assert states["prepare"] == "failed"
        assert set(states.values()) == {"failed", "not run"}
    assert docker("ps", "--all", "--quiet", "--filter", "name=training-") == ""


def test_files_that_no_parameter_names_are_out_of_reach(workshop: Workshop, place: Path) -> None:
    secret = place / "data" / "other.csv"
    shutil.copy(place / "data" / "churn.csv", secret)
    component = workshop.root / "components" / "looker"
    component.mkdir(exist_ok=True)
    (component / "component.py").write_text(LOOKER)
    workshop.run("compile", "looker", "--out", str(workshop.root / "looked"))
    compiled = str(workshop.root / "looked/components/looker/1.0.0.yaml")
    arguments = ["-p", "source=data/churn.csv", "-p", f"other={secret.name}", "--runner", "docker"]
    done = run("run", compiled, *arguments, "--output-dir", "looked", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = json.loads((place / "looked/run.json").read_text())["steps"][0]["outputs"]
    assert outputs["Output"] == "True False False 65532" if not os.getuid() else "True False False"


def test_an_image_that_is_nowhere_is_named_before_anything_runs(workshop: Workshop, place: Path) -> None:
    text = (workshop.root / "compiled/components/prepare/1.0.0.yaml").read_text()
    (place / "prepare.yaml").write_text(text.replace("python-core:0.1.0", "python-core:9.9.9"))
    arguments = ["-p", "source=data/churn.csv", "-p", "target=churn", "--runner", "docker"]
    done = run("run", "prepare.yaml", *arguments, cwd=place)
    assert done.returncode == 1
    assert "python-core:9.9.9 is not on this machine, and cannot be pulled" in " ".join(done.stderr.split())
    assert "kfp-lifecycle images build" in done.stderr


LOOKER = '''
from kfp import dsl

VERSION = "1.0.0"


@dsl.component(base_image="kfp-lifecycle/python-core:0.1.0", install_kfp_package=False)
def looker(source: str, other: str) -> str:
    """Looks at what there is.

    Args:
        source: A file that is named.
        other: The name of one beside it.

    Returns:
        Output: What can be seen, what can be written, and who looks.
    """
    import os
    from pathlib import Path

    named = Path(source)
    found = [named.is_file(), (named.parent / other).exists(), os.access(named, os.W_OK)]
    who = [os.getuid()] if os.getuid() == 65532 else []
    return " ".join(map(str, found + who))
'''
