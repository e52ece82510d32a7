"""This repository's wheel, and an environment that has it and not the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.repositories import ROOT, copy_of_this

#: What pip writes for a package's command.
_SCRIPT = "#!{python}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"

#: The tools of the environment that tests run in, which a user's environment has too.
_TOOLS = {"mypy": ("mypy.__main__", "console_entry"), "pytest": ("pytest", "console_main")}


def build_wheel(folder: Path) -> Path:
    """The wheel of a copy of this repository's working tree, both made in ``folder``."""
    copy = copy_of_this(folder / "copy")
    shutil.copy(ROOT / "LICENSE", copy)
    options = ["-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-w", str(folder)]
    pip = [sys.executable, "-m", "pip", "wheel", *options, "."]
    subprocess.run(pip, cwd=copy, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    shutil.rmtree(copy)
    return wheel


def install(wheel: Path, folder: Path) -> dict[str, str]:
    """Makes a virtual environment with the wheel in ``folder``.

    What the library depends on is not installed anew: it is found in the environment that tests run in. The
    checkout, which is installed there as editable, is not: a path that a ``.pth`` file names is searched, but
    the ``.pth`` files in it are not read.

    Returns:
        The variables of a shell in which the environment is active.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    options = ["-q", "--no-deps", "--no-index", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", *options, str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "bin" / "ruff").symlink_to(Path(sys.executable).with_name("ruff"))
    for name, (module, function) in _TOOLS.items():
        script = folder / "bin" / name
        script.write_text(_SCRIPT.format(python=python, module=module, function=function))
        script.chmod(0o755)
    ours = ("PYTHON", "MLFLOW_", "COVERAGE", "COV_", "PYTEST_", "KFP_", "_KFP_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    return kept | {"PATH": path, "VIRTUAL_ENV": str(folder), "NO_COLOR": "1", "COLUMNS": "120"}
