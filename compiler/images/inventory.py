"""What is in an image: its bill of materials, its licences, its known vulnerabilities."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfp_lifecycle.compiler.errors import ImageError
from kfp_lifecycle.compiler.images.build import build
from kfp_lifecycle.compiler.images.definitions import ImageSet
from kfp_lifecycle.compiler.images.engine import Engine
from kfp_lifecycle.compiler.images.requirements import FILE
from kfp_lifecycle.components.shared.errors import redact

SBOM, LICENCES = "sbom.cdx.json", "licences.csv"


def write_inventory(images: ImageSet, name: str, engine: Engine, folder: Path) -> int:
    """Writes an image's CycloneDX bill of materials and its table of licences into ``folder``.

    Returns:
        The number of packages.

    Raises:
        ImageError: The engine fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    build(images, name, engine, target="sbom", extra=["--output", f"type=local,dest={folder}"])
    packages = json.loads((folder / SBOM).read_text(encoding="utf-8"))["components"]
    lines = [f"{p['name']},{p.get('version', '')},{_licence(p)}" for p in packages]
    text = "\n".join(["package,version,licence", *sorted(lines, key=str.lower)])
    (folder / LICENCES).write_text(text + "\n", encoding="utf-8")
    return len(packages)


def _licence(package: dict[str, Any]) -> str:
    """The licences that a package declares, in one cell."""
    found = []
    for entry in package.get("licenses", []):
        licence = entry.get("license", {})
        found.append(entry.get("expression") or licence.get("id") or licence.get("name", ""))
    text = " AND ".join(dict.fromkeys(" ".join(one.split())[:80] for one in found if one)) or "not declared"
    return f'"{text}"' if "," in text or '"' in text else text


def audit(images: ImageSet, name: str, output: Callable[[str], None]) -> bool:
    """Whether no package of an image is known to be vulnerable; prints those that are.

    Raises:
        ImageError: pip-audit is not installed, or its service cannot be reached.
    """
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--disable-pip",
        "--require-hashes",
        "--progress-spinner",
        "off",
    ]
    command += ["--requirement", str(images.folder(name) / FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = redact(f"{done.stdout}\n{done.stderr}".strip())
    if "No module named pip_audit" in said:
        raise ImageError("pip-audit is not installed.", "pip install 'kfp-lifecycle[images]'")
    if "Name" not in done.stdout and "No known vulnerabilities" not in said:
        last = said.splitlines()[-1][:300] if said else "no word"
        raise ImageError(
            f"The vulnerability service did not answer: {last}.",
            "Run this where the service can be reached.",
        )
    output(f"{name}: {said}")
    return done.returncode == 0
