"""Images as they are built: small, non-root, reproducible, pinned by digest."""

import csv
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from tests.containers.conftest import IMAGES, Workshop, docker, layers

pytestmark = pytest.mark.server


def inside(image: str, *command: str, options: tuple[str, ...] = ()) -> str:
    return docker("run", "--rm", "--read-only", "--tmpfs", "/tmp", *options, image, *command)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_what_a_restricted_pod_runs(workshop: Workshop, name: str) -> None:
    image = f"kfp-lifecycle/python-{name}:0.1.0"
    found = json.loads(docker("inspect", image))[0]["Config"]
    assert found["User"] == "65532:65532"
    assert found["Entrypoint"] == ["dumb-init", "--"]
    labels = found["Labels"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=workshop.root, capture_output=True, text=True)
    assert labels["org.opencontainers.image.revision"] == head.stdout.strip()
    assert labels["org.opencontainers.image.version"] == "0.1.0"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert "org.opencontainers.image.source" in labels
    assert inside(image, "id", "-u") == "65532"
    # No compiler, no cache, no tests of packages, no configuration of the machine that built it.
    left = "command -v gcc cc make; ls -d /root/.cache /opt/tools /src /dist /etc/pip.conf; "
    left += "find /opt/venv/lib/python3*/site-packages -mindepth 2 -maxdepth 4 -type d -name tests"
    left += " -not -path '*/evidently/*'"
    assert inside(image, "sh", "-c", f"{{ {left}; }} 2>/dev/null || true") == ""
    # What a step's body needs, under the variable that KFP sets.
    program = "import kfp_lifecycle.components.train.training, kfp.dsl.executor_main; print(1)"
    assert inside(image, "python3", "-c", program, options=("--env", "_KFP_RUNTIME=true")) == "1"


def test_bytecode_is_there_and_is_used(workshop: Workshop) -> None:
    program = "import sys, os, pandas as p, kfp_lifecycle.components.train.training as t; "
    program += "print(all(os.path.isfile(m.__cached__) for m in (p, t)), sys.dont_write_bytecode)"
    assert inside("kfp-lifecycle/python-core:0.1.0", "python3", "-c", program) == "True True"


def test_process_1_passes_signals_on(workshop: Workshop) -> None:
    program = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); "
    program += "print('up', flush=True); time.sleep(60)"
    name = docker("run", "--detach", "kfp-lifecycle/python-core:0.1.0", "python3", "-c", program)
    while "up" not in docker("logs", name):
        time.sleep(0.1)
    start = time.monotonic()
    docker("stop", "--time", "30", name)
    assert time.monotonic() - start < 20  # it did not have to be killed
    assert docker("wait", name) == "7"
    docker("rm", name)


def test_two_builds_of_a_commit_are_the_same_to_the_byte(workshop: Workshop) -> None:
    image = "kfp-lifecycle/python-core:0.1.0"
    first = layers(image)
    docker("builder", "prune", "--all", "--force")
    workshop.run("images", "build", "core")
    assert layers(image) == first


def test_a_change_of_code_makes_one_small_layer_anew(workshop: Workshop) -> None:
    image = "kfp-lifecycle/python-core:0.1.0"
    before = layers(image)
    module = workshop.root / "components/prepare/sql.py"
    text = module.read_text()
    try:
        module.write_text(text + "# changed\n")
        start = time.monotonic()
        workshop.run("images", "build", "core")
        print(f"built core after a change of code in {time.monotonic() - start:.1f} s")
    finally:
        module.write_text(text)
    after = layers(image)
    assert [a == b for a, b in zip(after, before, strict=True)].count(False) == 1
    workshop.run("images", "build", "core")
    assert layers(image) == before


def test_push_lock_and_compile_by_digest(workshop: Workshop) -> None:
    workshop.run("images", "push", *IMAGES, "--registry", workshop.registry)
    workshop.run("images", "lock", *IMAGES, "--registry", workshop.registry)
    locked = yaml.safe_load((workshop.root / "images/images.lock").read_text())["images"]
    assert {name.rpartition("/")[2] for name in locked} == {f"python-{name}:0.1.0" for name in IMAGES}
    for reference, digest in locked.items():
        docker("pull", "--quiet", f"{reference.rpartition(':')[0]}@{digest}")
    workshop.run("images", "lock", "--check")

    profile = workshop.root / "profiles/pinned.yaml"
    registries = f"registries: {{kfp-lifecycle: {workshop.registry}}}"
    profile.write_text(f"images:\n  {registries}\n  require_digests: true\n")
    out = workshop.root / "pinned"
    arguments = ["training", "--profile", "pinned", "--out", str(out)]
    assert "has no digest, and the profile demands one" in workshop.refuse("compile", *arguments)
    workshop.run("compile", *arguments, "--locked")
    text = (out / "pipelines/training/1.0.0.yaml").read_text()
    core = f"{workshop.registry}/python-core:0.1.0"
    assert f"image: {core}@{locked[core]}" in text
    assert f"image: {core}\n" not in text


def test_a_lock_is_whole_or_not_written(workshop: Workshop) -> None:
    file = workshop.root / "images/images.lock"
    before = file.read_bytes() if file.is_file() else None
    said = workshop.refuse("images", "lock", "core", "torch", "--registry", workshop.registry)
    assert "The registry does not have" in said
    assert "python-torch:0.1.0" in said
    assert (file.read_bytes() if file.is_file() else None) == before


def test_a_digest_that_the_registry_no_longer_has(workshop: Workshop) -> None:
    import requests

    workshop.run("images", "push", "tune", "--registry", f"{workshop.registry}/old")
    workshop.run("images", "lock", "tune", "--registry", f"{workshop.registry}/old")
    file = workshop.root / "images/images.lock"
    locked = yaml.safe_load(file.read_text())["images"]
    reference = next(name for name in locked if "/old/" in name)
    host, _, path = reference.rpartition(":")[0].partition("/")
    answer = requests.delete(f"http://{host}/v2/{path}/manifests/{locked[reference]}", timeout=10)
    assert answer.status_code == 202
    assert f"The registry does not have {host}/{path}@sha256:" in workshop.refuse("images", "lock", "--check")
    locked.pop(reference)
    file.write_text(yaml.safe_dump({"images": locked}))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("images", "build", "cor"), "There is no image 'cor'. Did you mean 'core'?"),
        (("images", "build", "core", "--engine", "dokcer"), "Did you mean 'docker'?"),
        (("images", "build", "core", "--base", "127.0.0.1:1/none:1"), "cannot be reached"),
        (("images", "push", "torch"), "find torch, which must be built first"),
        (("images", "push", "core", "--registry", "127.0.0.1:1/team"), "cannot be reached"),
        (("images", "lock", "core", "--registry", "127.0.0.1:1/team"), "cannot be reached"),
    ],
)
def test_what_cannot_be_says_what_to_do(workshop: Workshop, arguments: tuple[str, ...], said: str) -> None:
    assert said in " ".join(workshop.refuse(*arguments).split())


def test_an_engine_that_is_not_running(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    said = workshop.refuse("images", "build", "core", "--engine", "docker")
    assert "The container engine is not running" in said
    assert "systemctl start docker" in said


def test_the_bill_of_materials_and_the_licences(workshop: Workshop, tmp_path: Path) -> None:
    workshop.run("images", "sbom", "core", "--out", str(tmp_path))
    sbom = json.loads((tmp_path / "core/sbom.cdx.json").read_text())
    assert sbom["bomFormat"] == "CycloneDX"
    listed = {p["name"].lower(): p["version"] for p in sbom["components"]}
    program = "from importlib.metadata import distributions as found\n"
    program += "for one in found(): print(one.metadata['Name'].lower(), one.version)"
    frozen = inside("kfp-lifecycle/python-core:0.1.0", "python3", "-c", program)
    assert listed == dict(line.split() for line in frozen.splitlines())
    with (tmp_path / "core/licences.csv").open() as file:
        licences = {row["package"].lower(): row["licence"] for row in csv.DictReader(file)}
    assert licences.keys() == listed.keys()
    assert licences["polars"] == "MIT"
    assert not [name for name, licence in licences.items() if "GPL" in licence]


def test_a_container_can_be_stopped_from_outside(workshop: Workshop) -> None:
    """Ctrl-C of a run ends its containers: none is left behind."""
    sleeper = workshop.root / "components" / "sleeper"
    sleeper.mkdir(exist_ok=True)
    (sleeper / "component.py").write_text(SLEEPER)
    workshop.run("compile", "sleeper", "--out", str(workshop.root / "slept"))
    command = [
        str(Path(__import__("sys").executable).with_name("kfp-lifecycle")),
        "run",
        "--runner",
        "docker",
    ]
    process = subprocess.Popen(
        [*command, "slept/components/sleeper/1.0.0.yaml"], cwd=workshop.root, start_new_session=True
    )
    try:
        while "sleeper" not in docker("ps", "--format", "{{.Names}}"):
            assert process.poll() is None
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
    assert "sleeper" not in docker("ps", "--all", "--format", "{{.Names}}")


SLEEPER = '''
from kfp import dsl

VERSION = "1.0.0"


@dsl.component(base_image="kfp-lifecycle/python-core:0.1.0", install_kfp_package=False)
def sleeper() -> str:
    """Sleeps.

    Returns:
        Output: Nothing.
    """
    import time

    time.sleep(600)
    return ""
'''
