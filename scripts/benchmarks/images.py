"""Our images beside ones made the usual way: size, start of a step, time to build.

Run it where an engine and a registry are, for all images or those that are named:
``scripts/containers.sh .venv/bin/python scripts/benchmarks/images.py [NAME…]``.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import requests
from measure import ROOT, publish, table

from kfp_lifecycle.compiler.images.build import build, pip_secrets
from kfp_lifecycle.compiler.images.definitions import ImageSet, find_images
from kfp_lifecycle.compiler.images.engine import Engine, find_engine
from kfp_lifecycle.compiler.repository import find_repository

NAMES = ("core", "tune", "torch-cpu")
REGISTRY = os.environ["KFP_LIFECYCLE_TEST_REGISTRY"]

#: What everybody writes: the same list, no thought for caches, bytecode or layers.
USUAL = """\
FROM {base}
COPY {copied} /tmp/
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf --mount=type=secret,id=ca,target=/etc/pip-ca.pem \\
    pip install --no-deps --find-links /tmp -r /tmp/requirements.txt
COPY app /app
"""

#: The start of a component that installs its packages itself, as KFP compiles packages_to_install.
INSTALLING = "python3 -m pip install --quiet --no-warn-script-location 'pandas' 'scikit-learn' 'kfp==2.17.0'"


def main() -> None:
    images, engine = find_images(find_repository(ROOT)), find_engine()
    sizes, builds = [], []
    for name in sys.argv[1:] or NAMES:
        engine.run(["builder", "prune", "--all", "--force"], "prune")
        cold = _seconds(lambda name=name: build(images, name, engine))
        changed = _after_a_change(images, name, engine)
        builds.append([f"`python-{name}`", f"{cold:.0f} s", f"{changed:.1f} s"])
        usual = _usual(images, name, engine)
        ours, theirs = (_measure(engine, ref) for ref in (images.references[name], usual))
        sizes += [
            [f"`python-{name}`", *_mb(ours), "1", "1"],
            ["the usual way", *_mb(theirs), *(f"{a / b:.2f}" for a, b in zip(theirs, ours, strict=True))],
        ]
    starts = _starts(images, engine)
    text = "\n\n".join(
        [
            table(["image", "unpacked", "compressed", "", ""], sizes),
            table(["image", "build, nothing cached", "after a one-line change"], builds),
            table(["from `docker run` to the first line of user code", "time"], starts),
        ]
    )
    publish("images", text)


def _after_a_change(images: ImageSet, name: str, engine: Engine) -> float:
    module = ROOT / "components" / "prepare" / "sql.py"
    text = module.read_text()
    try:
        module.write_text(text + "# a change\n")
        return _seconds(lambda: build(images, name, engine))
    finally:
        module.write_text(text)
        build(images, name, engine)


def _usual(images: ImageSet, name: str, engine: Engine) -> str:
    reference = f"usual-{name}:1"
    with tempfile.TemporaryDirectory() as place, pip_secrets() as secrets:
        folder = Path(place)
        (folder / "requirements.txt").write_text((images.folder(name) / "requirements.txt").read_text())
        wheels = list((images.folder(name) / "wheels").glob("*.whl"))
        for wheel in wheels:
            (folder / wheel.name).write_bytes(wheel.read_bytes())
        copied = "requirements.txt *.whl" if wheels else "requirements.txt"
        (folder / "Dockerfile").write_text(USUAL.format(base=images.base, copied=copied))
        subprocess.run(
            ["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(folder / "app")], check=True
        )
        engine.run(["build", "--tag", reference, *secrets, str(folder)], "build the usual image")
    return reference


def _measure(engine: Engine, reference: str) -> tuple[int, int]:
    """Bytes unpacked, and compressed as a registry holds them, without the base image."""
    unpacked = int(engine.run(["inspect", "--format", "{{.Size}}", reference], "inspect")[-1])
    pushed = f"{REGISTRY}/{reference.rpartition('/')[2]}"
    engine.run(["tag", reference, pushed], "tag")
    engine.run(["push", pushed], "push")
    host, _, path = pushed.partition("/")
    name, _, tag = path.rpartition(":")
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    manifest = requests.get(f"http://{host}/v2/{name}/manifests/{tag}", headers=accept, timeout=30).json()
    return unpacked, sum(layer["size"] for layer in manifest["layers"])


def _starts(images: ImageSet, engine: Engine) -> list[list[str]]:
    core = images.references["core"]
    say = ["python3", "-c", "print('user code')"]
    ours = [_seconds(lambda: engine.run(["run", "--rm", core, *say], "run")) for _ in range(5)]
    with pip_secrets() as secrets:
        sources = dict(part.split(",src=") for part in secrets[1::2])
        mounts = ["--volume", f"{sources['id=pipconf']}:/etc/pip.conf:ro"]
        if "id=ca" in sources:
            mounts += ["--volume", f"{sources['id=ca']}:/etc/pip-ca.pem:ro"]
        command = [
            "run",
            "--rm",
            *mounts,
            images.base,
            "sh",
            "-c",
            f"{INSTALLING} && {' '.join(say[:2])} 'print(1)'",
        ]
        theirs = [_seconds(lambda: engine.run(command, "run")) for _ in range(3)]
    a, b = statistics.median(ours), statistics.median(theirs)
    return [
        ["`python-core`", f"{a:.2f} s"],
        [
            "a component that installs pandas, scikit-learn and kfp as it starts",
            f"{b:.1f} s, {b / a:.0f} times",
        ],
    ]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _mb(sizes: tuple[int, int]) -> list[str]:
    return [f"{size / 1e6:,.0f} MB" for size in sizes]


if __name__ == "__main__":
    sys.exit(main())
