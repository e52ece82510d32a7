"""``kfp-lifecycle graph`` as a user starts it."""

import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.repositories import COMMAND, ROOT, run

TRAINING = next((ROOT / "compiled/pipelines/training").glob("*.yaml"))


def test_a_name_is_drawn_as_svg_on_standard_output(tmp_path: Path) -> None:
    done = run("graph", "training", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert ET.fromstring(done.stdout).tag == "{http://www.w3.org/2000/svg}svg"
    assert done.stdout == run("graph", str(TRAINING), cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("file", "start"), [("a.svg", b"<svg "), ("a.PNG", b"\x89PNG"), ("a.mmd", b"---\ntitle"), ("a", b"<svg ")]
)
def test_the_file_says_the_format(tmp_path: Path, file: str, start: bytes) -> None:
    done = run("graph", "training", "--out", f"deep/{file}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "deep" / file).read_bytes().startswith(start)


def test_a_png_goes_into_a_pipe(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(COMMAND), "graph", "training", "--format", "png"], cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stdout.startswith(b"\x89PNG")


def test_the_direction_is_what_was_asked_for(tmp_path: Path) -> None:
    for direction in ("LR", "TB"):
        done = run("graph", "training", "--format", "mermaid", "--direction", direction, cwd=tmp_path)
        assert f"flowchart {direction}" in done.stdout
    wide, high = (
        ET.fromstring(run("graph", "training", "--direction", d, cwd=tmp_path).stdout) for d in ("LR", "TB")
    )
    assert int(wide.get("width", 0)) > int(high.get("width", 0))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trainign"], "Did you mean 'training'?"),
        (["missing.yaml"], "There is no file missing.yaml."),
        (["training", "--out", "."], "is a folder"),
        (["training", "--format", "pdf"], "'pdf' is not one of"),
        (["broken.yaml"], "broken.yaml"),
        (["argo.yaml"], "Argo"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "broken.yaml").write_text("{")
    (tmp_path / "argo.yaml").write_text("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n")
    done = run("graph", *arguments, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_kfp_is_not_imported(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from kfp_lifecycle.scripts.app import app\n"
        "app(['graph', 'training', '--out', 'x.svg'], standalone_mode=False)\n"
        "heavy = {'kfp', 'google', 'kubernetes', 'polars', 'jinja2'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))\n"
    )
    python = COMMAND.with_name("python")
    done = subprocess.run(
        [str(python), "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
