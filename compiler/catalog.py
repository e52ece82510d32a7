"""The catalog: what is in ``compiled/``, for people and programs that do not want to read the IR."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from kfp_lifecycle.compiler.digest import spec_digest
from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.limits import NAME
from kfp_lifecycle.compiler.serialize import from_yaml
from kfp_lifecycle.compiler.spec import PARAMETER_TYPES, Spec, artifacts, images, parameters
from kfp_lifecycle.compiler.versions import VERSION, precedence

Entry = dict[str, Any]

#: Where a compiled file is, below ``compiled/``.
PATH = re.compile(
    rf"(?P<kind>component|pipeline)s/(?P<name>{NAME.pattern})/(?P<version>{VERSION.pattern})\.yaml"
)


def entry(path: str, text: str, spec: Spec) -> Entry:
    """What the catalog says of one compiled file.

    Args:
        path: The file's path in ``compiled/``: kind, name and version are read from it.
        text: The file's content.
        spec: Its first document.
    """
    place = PATH.fullmatch(path)
    if place is None:
        raise CompileError(f"No compiled file belongs at compiled/{path}.", "Move it away, or delete it.")
    root = spec["root"]
    return {
        "path": path,
        "kind": place["kind"],
        "name": place["name"],
        "version": place["version"],
        "released": False,
        "description": description_in(text),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "spec_digest": spec_digest(spec),
        "sdk": spec["sdkVersion"],
        "images": images(spec),
        "inputs": _interface(root, "inputDefinitions"),
        "outputs": _interface(root, "outputDefinitions"),
    }


def released(compiled: Path) -> dict[str, Entry]:
    """The entries of the versions that the catalog in ``compiled`` marks as released, by path.

    Raises:
        CompileError: The catalog is damaged, and with it the marks.
    """
    file = compiled / "catalog.json"
    try:
        entries = json.loads(file.read_bytes())["files"]
        return {
            e["path"]: e for e in entries if e.get("released") and {"sha256", "images", "sdk"} <= e.keys()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CompileError(
            f"{file}, which says what is released, is damaged: {type(error).__name__}: {str(error)[:200]}.",
            "Get it back from version control.",
        ) from error


def image_inputs(compiled: Path) -> dict[str, str]:
    """By image, the hash of what went into it when a version that names it was released."""
    try:
        return dict(json.loads((compiled / "catalog.json").read_bytes()).get("images", {}))
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # nothing is released; released() tells of a damaged file


def to_text(
    compiled: Path,
    fresh: Mapping[str, Entry],
    marked: Collection[str] = (),
    inputs: Mapping[str, str] | None = None,
) -> str:
    """The catalog as JSON: the fresh entries, and one for every other version that lies in ``compiled``.

    Args:
        compiled: The folder of compiled files.
        fresh: Entries of the files that were compiled just now, by path.
        marked: The paths of released versions.
        inputs: What :func:`image_inputs` gives.

    Raises:
        CompileError: A file there is not a compiled one, or has no such place there.
    """
    on_disk = {f.relative_to(compiled).as_posix() for f in compiled.glob("*/*/*.yaml")}
    entries = dict(fresh)
    for path in sorted(on_disk - fresh.keys()):
        entries[path] = _entry_of_file(compiled, path)
    for path in entries.keys() & set(marked):
        entries[path]["released"] = True
    ordered = sorted(entries.values(), key=lambda e: (e["kind"], e["name"], precedence(e["version"])))
    images = {"images": dict(sorted(inputs.items()))} if inputs else {}
    return json.dumps({"format": 1, "files": ordered, **images}, indent=2) + "\n"


def description_in(text: str) -> str:
    """The description in a compiled file's comment header."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("# Description: "):
            lines = [line.removeprefix("# Description: ")]
        elif lines and line.startswith("#              "):
            lines.append(line.removeprefix("#").strip())
        elif lines:
            break
    return " ".join(" ".join(lines).split())


def _entry_of_file(compiled: Path, path: str) -> Entry:
    try:
        text = (compiled / path).read_bytes().decode()
        documents = from_yaml(text)
        return entry(path, text, documents[0])
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        raise CompileError(
            f"{compiled / path} is not a compiled file: {type(error).__name__}: {str(error)[:200]}.",
            "Get it back from version control, or delete it.",
        ) from error


def _interface(root: Spec, side: str) -> list[Entry]:
    """Inputs or outputs: what must be given first, then artifacts before parameters, then by name."""
    items = [_artifact(name, item) for name, item in artifacts(root, side).items()]
    items += [_parameter(name, item) for name, item in parameters(root, side).items()]
    if side == "outputDefinitions":
        items = [{key: value for key, value in item.items() if key != "required"} for item in items]
    return sorted(items, key=lambda i: (not i.get("required", True), i["kind"], i["name"]))


def _artifact(name: str, item: Spec) -> Entry:
    kind = item.get("artifactType", {})
    found = {
        "name": name,
        "kind": "artifact",
        "type": kind.get("schemaTitle", kind.get("instanceSchema", "")).removeprefix("system."),
        "required": not item.get("isOptional", False),
        "description": item.get("description", ""),
    }
    return found | ({"list": True} if item.get("isArtifactList") else {})


def _parameter(name: str, item: Spec) -> Entry:
    known = PARAMETER_TYPES.get(item.get("parameterType", ""))
    found: Entry = {
        "name": name,
        "kind": "parameter",
        "type": known[0] if known else item.get("parameterType", ""),
        "required": not item.get("isOptional", False),
        "description": item.get("description", ""),
    }
    return found | ({"default": item["defaultValue"]} if "defaultValue" in item else {})
