"""A user's own repository: begun by ``kfp-lifecycle init``, with this library installed from its wheel.

Outside this repository, every command a process of its own. What the workflow runs is run here from the
workflow's file.
"""

import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kfp_server import KfpServer
from tests.repositories import ROOT, files
from tests.wheels import build_wheel, install

pytestmark = pytest.mark.e2e

WRITTEN = (
    ".github/workflows/pipelines.yaml",
    ".gitignore",
    ".pre-commit-config.yaml",
    "Dockerfile",
    "README.md",
    "compiled/catalog.json",
    "compiled/components/count-rows/0.1.0.yaml",
    "compiled/pipelines/penguins/0.1.0.yaml",
    "components/count_rows/component.py",
    "docs/pictures/penguins.svg",
    "pipelines/params/penguins.yaml",
    "pipelines/penguins.py",
    "profiles/cluster.yaml",
    "pyproject.toml",
    "tests/components/count_rows/test_count_rows.py",
    "tests/pipelines/test_params.py",
)


@dataclass(frozen=True)
class User:
    """Somebody with an environment of their own, in their repository."""

    root: Path
    environment: Mapping[str, str]

    def call(
        self, command: str, folder: str = ".", code: int = 0, env: Mapping[str, str] | None = None
    ) -> str:
        """What a shell command printed; it ended with ``code``."""
        done = subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=self.root / folder,
            env={**self.environment, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    @property
    def workflow(self) -> dict[str, Any]:
        """The workflow's file."""
        found: dict[str, Any] = yaml.safe_load((self.root / WRITTEN[0]).read_text())
        return found

    def work_through(self, job: str) -> None:
        """Runs what a job of the workflow runs, but for the installation."""
        for step in self.workflow["jobs"][job]["steps"]:
            if "run" in step and step["name"] != "Install":
                self.call(step["run"], env=self.workflow["env"])


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    wheel = build_wheel(tmp_path_factory.mktemp("wheel"))
    return install(wheel, tmp_path_factory.mktemp("user") / ".venv")


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> User:
    folder = tmp_path_factory.mktemp("repositories")
    User(folder, environment).call("kfp-lifecycle init 'My Models'")
    return User(folder / "My Models", environment)


def test_the_library_is_the_wheels(user: User) -> None:
    parts = ("compiler.init", "components.prepare.step", "runner.local", "scripts.app")
    code = f"import importlib as i\nfor p in {parts}: print(i.import_module(f'kfp_lifecycle.{{p}}').__file__)"
    places = [Path(line) for line in user.call(f"python -c {shlex.quote(code)}").splitlines()]
    assert len(places) == len(parts)
    assert not user.root.is_relative_to(ROOT)
    assert all(place.is_relative_to(user.environment["VIRTUAL_ENV"]) for place in places)


def test_init_writes_a_repository(user: User) -> None:
    assert set(WRITTEN) <= files(user.root).keys()
    assert 'name = "my-models"' in (user.root / "pyproject.toml").read_text()
    assert "image: my-models/python-steps:0.1.0" in (user.root / WRITTEN[6]).read_text()
    assert "count_rows/README.md" in (user.root / "README.md").read_text()


def test_init_overwrites_nothing(user: User) -> None:
    before = files(user.root)
    said = user.call("kfp-lifecycle init", code=1)
    assert "CompileError" in said
    assert ".github/workflows/pipelines.yaml" in said
    assert files(user.root) == before


def test_init_names_what_is_in_its_way(user: User, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    said = User(tmp_path, user.environment).call("kfp-lifecycle init .", code=1)
    assert "has README.md already" in said
    assert files(tmp_path) == {"README.md": b"mine"}


def test_the_workflow_is_whole(user: User) -> None:
    jobs = user.workflow["jobs"]
    assert list(jobs) == ["check", "train", "image", "submit"]
    assert [jobs[name].get("needs") for name in jobs] == [None, "check", "train", "image"]
    # Nothing leaves the repository where no variable says where to.
    assert "vars.IMAGE_REGISTRY != ''" in jobs["image"]["if"]
    assert "vars.KFP_HOST != ''" in jobs["submit"]["if"]
    assert all(job["timeout-minutes"] for job in jobs.values())


def test_what_the_workflow_checks_holds(user: User) -> None:
    user.work_through("check")


def test_the_workflow_trains_and_asks_the_gate(user: User) -> None:
    user.work_through("train")
    record = json.loads((user.root / "run/run.json").read_text())
    assert [step["name"] for step in record["steps"]] == [
        "prepare", "count-rows", "featurize", "train", "evaluate", "register",
    ]  # fmt: skip
    assert record["outputs"]["approved"] is True
    assert {step["state"] for step in record["steps"]} == {"succeeded"}


def test_a_model_that_the_gate_refuses_fails_the_job(user: User) -> None:
    """Started from a folder below, where the user's component is found too."""
    refused = (
        "-p source=../data/penguins.csv -p folds=0 -p 'thresholds=[accuracy >= 0.9999]' --output-dir out"
    )
    said = user.call(
        f"kfp-lifecycle run penguins --params params/penguins.yaml {refused}", folder="pipelines"
    )
    assert "count-rows succeeded" in said
    said = user.call("python ../ci/gate.py out/run.json", folder="pipelines", code=1)
    assert "NOT approved: accuracy is 0.9" in said
    user.call("rm -r out mlflow.db mlartifacts", folder="pipelines")


def test_our_files_are_found_by_name(user: User) -> None:
    user.call("kfp-lifecycle run prepare -p source=data/penguins.csv -p target=species --output-dir prepared")
    assert "Nothing changes" in user.call("kfp-lifecycle diff training@1.0.0 training")
    assert "featurize" in user.call("kfp-lifecycle graph training --format mermaid")
    mermaid = user.call("kfp-lifecycle graph penguins --format mermaid")
    assert "count-rows" in mermaid
    assert "prepare" in mermaid
    user.call("rm -r prepared")


def test_profiles_change_platform_settings_only(user: User) -> None:
    user.call("kfp-lifecycle compile --profile cluster --out build")
    user.call("kfp-lifecycle compile penguins --profile gpu --out build-gpu")
    for build in ("build", "build-gpu"):
        said = user.call(f"kfp-lifecycle diff penguins {build}/pipelines/penguins/0.1.0.yaml")
        assert "Internal" in said
        assert "Compatible" not in said
    script = next(
        s["run"] for s in user.workflow["jobs"]["image"]["steps"] if "docker build" in s.get("run", "")
    )
    said = user.call(script.replace("docker", "echo"))
    image = "registry.example.com/my-models/python-steps:0.1.0"
    assert said.splitlines() == [f"build --tag {image} .", f"push {image}"]
    user.call("kfp-lifecycle lint build")
    user.call("rm -r build-gpu")


def test_a_second_component_passes_every_check(user: User) -> None:
    user.call("kfp-lifecycle new component clean_text")
    face = (user.root / "components/clean_text/component.py").read_text()
    assert "from components.shared.image import CORE_IMAGE" in face
    user.call("ruff check . && ruff format --check . && pytest -q tests/components/clean_text")
    user.call("kfp-lifecycle compile --check && kfp-lifecycle docs --check")


def test_the_hooks_pass_and_fetch_nothing(user: User) -> None:
    user.call("git init -q && git add .")
    assert {r["repo"] for r in yaml.safe_load((user.root / WRITTEN[2]).read_text())["repos"]} == {"local"}
    said = user.call("python -m pre_commit run --all-files")
    assert said.count("Passed") == 4
    assert "penguins.csv" in user.call("git ls-files")
    assert "mlflow.db" not in user.call("git ls-files")


def test_a_changed_component_is_seen(user: User) -> None:
    face, compiled = user.root / "components/count_rows/component.py", user.root / WRITTEN[6]
    before = face.read_text(), compiled.read_text()
    face.write_text(before[0].replace("min_rows: int = 1,", "min_rows: int,"))
    said = user.call("kfp-lifecycle compile --check", code=1)
    assert "compiled/components/count-rows/0.1.0.yaml is changed." in said
    user.call("cp compiled/components/count-rows/0.1.0.yaml old.yaml && kfp-lifecycle compile count_rows")
    said = user.call("kfp-lifecycle diff old.yaml count-rows", code=1)
    assert "needs a major bump" in said
    face.write_text(before[0])
    user.call("kfp-lifecycle compile && kfp-lifecycle compile --check && rm old.yaml")
    assert compiled.read_text() == before[1]


def test_a_released_component_stays_as_it_is(user: User, tmp_path: Path) -> None:
    shutil.copytree(user.root, tmp_path / "copy", ignore=shutil.ignore_patterns(".git", "run*"))
    copy = User(tmp_path / "copy", user.environment)
    face = copy.root / "components/count_rows/component.py"
    assert "compiled/components/count-rows/0.1.0.yaml is released." in copy.call(
        "kfp-lifecycle release count-rows"
    )
    copy.call("kfp-lifecycle compile --check")
    face.write_text(face.read_text().replace("min_rows: int = 1,", "min_rows: int = 2,"))
    said = copy.call("kfp-lifecycle compile count_rows", code=1)
    assert "The default of 'min_rows' changes from 1 to 2." in said
    assert 'VERSION = "0.2.0"' in said


def test_objects_for_clusters_that_keep_pipelines_so(user: User, tmp_path: Path) -> None:
    user.call(f"kfp-lifecycle compile penguins --format kubernetes --namespace team --out {tmp_path}")
    (file,) = (f for f in tmp_path.rglob("*.yaml") if "penguins" in f.as_posix())
    kinds = [document["kind"] for document in yaml.safe_load_all(file.read_text())]
    assert sorted(kinds) == ["Pipeline", "PipelineVersion"]


def test_the_catalog_has_their_components_beside_ours(user: User, tmp_path: Path) -> None:
    user.call(f"kfp-lifecycle catalog --out {tmp_path}")
    pages = [file.read_text() for file in tmp_path.rglob("*.html")]
    for name in ("count-rows", "penguins", "prepare", "training"):
        assert any(f"{name}</h1>" in page or f">{name}<" in page for page in pages), name


def test_the_workflow_submits_what_it_compiled(user: User, tmp_path: Path) -> None:
    user.call("kfp-lifecycle compile --profile cluster --out build")
    script = user.workflow["jobs"]["submit"]["steps"][-1]["run"]
    with KfpServer() as server:
        env = {**user.workflow["env"], "KFP_HOST": server.url, "GITHUB_SHA": "0123456789abcdef" * 2}
        for _ in range(2):  # a job that is run again
            said = user.call(script, env={**env, "HOME": str(tmp_path)})
            assert f"{server.url}/#/runs/details/" in said
    (version,) = server.state.versions.values()
    assert version["name"] == "0123456789ab"
    compiled = yaml.safe_load_all((user.root / "build/pipelines/penguins/0.1.0.yaml").read_text())
    assert version["pipeline_spec"]["pipeline_spec"] == next(compiled)
    runs = [run.wire for run in server.state.runs.values()]
    assert [run["runtime_config"]["parameters"]["target"] for run in runs] == ["species"] * 2
    names = {e["experiment_id"]: e["display_name"] for e in server.state.experiments.values()}
    assert {names[run["experiment_id"]] for run in runs} == {"my-models"}
