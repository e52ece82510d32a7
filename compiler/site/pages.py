"""The site's files, from what was collected: the same items give the same bytes."""

import base64
import functools
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from kfp_lifecycle.compiler.diff import Category
from kfp_lifecycle.compiler.files import GeneratedFile
from kfp_lifecycle.compiler.graph import Direction, Drawing, GraphError, build, lay_out, to_svg
from kfp_lifecycle.compiler.graph.style import sheet
from kfp_lifecycle.compiler.graph.svg import MARGIN
from kfp_lifecycle.compiler.repository import Repository
from kfp_lifecycle.compiler.secrets import hidden
from kfp_lifecycle.compiler.site.collect import Item, Version, collect
from kfp_lifecycle.compiler.site.examples import examples
from kfp_lifecycle.compiler.text import shown
from kfp_lifecycle.components.shared.report import TEMPLATES

#: What every page says it was written by; a file without it is somebody else's.
GENERATOR = "kfp-lifecycle catalog"

#: How every compiled file begins.
_HEADER = "# PIPELINE DEFINITION\n"

#: Where the pictures' colours for a dark ground begin.
_DARK = "@media (prefers-color-scheme:dark)"

_HERE = Path(__file__).parent

#: A description that is longer is no description.
_LONGEST = 20_000

#: Pictures wider than this have a narrow form for phones beside them.
_PHONE = 560


def site(repositories: Sequence[Repository]) -> list[GeneratedFile]:
    """Every file of the site: the index, a page for each component and pipeline, and the compiled files.

    Args:
        repositories: The reader's own first; its names hide the same names of the others.

    Raises:
        CompileError: A catalog is missing, broken, or not about the files beside it.
        CompiledFileError: A compiled file cannot be read.
    """
    items = collect(repositories)
    own = repositories[0]
    pages = [GeneratedFile("index.html", _index(items, own))]
    for item in items:
        pages.append(GeneratedFile(_page_of(item), _page(item, items, own)))
    copies = [GeneratedFile(_copy_of(version), version.text) for item in items for version in item.versions]
    return [*pages, *copies]


def outdated(folder: Path, files: Sequence[GeneratedFile]) -> list[Path]:
    """What an earlier site left in ``folder`` that this one has not: its pages, and compiled files."""
    current = {folder / file.path for file in files}
    found = {
        path
        for kind in ("components", "pipelines")
        for pattern, mark in ((f"{kind}/*.html", f'content="{GENERATOR}"'), (f"files/{kind}/*.yaml", _HEADER))
        for path in folder.glob(pattern)
        if path.is_file() and mark.encode() in path.read_bytes()[:2000]
    }
    return sorted(found - current)


def _page_of(item: Item) -> str:
    return f"{item.kind}s/{item.name}.html"


def _copy_of(version: Version) -> str:
    """Where the compiled file is; browsers save it by this name."""
    return f"files/{version.entry['kind']}s/{version.entry['name']}-{version.number}.yaml"


# The index ------------------------------------------------------------------------------------------------


def _index(items: Sequence[Item], own: Repository) -> str:
    entries = [_found(item, own) for item in items]
    return _render("index.html", items=entries, search=Markup(_embedded(entries)))


def _found(item: Item, own: Repository) -> dict[str, Any]:
    """What the index shows of an item and searches in."""
    now = item.current
    ports = [(side, port) for side in ("input", "output") for port in now.entry[f"{side}s"]]
    text = _clean(now.entry["description"])
    return {
        "kind": item.kind,
        "name": item.name,
        "version": now.number,
        "versions": len(item.versions),
        "released": now.released,
        "library": item.repository.root != own.root,
        "href": _page_of(item),
        "text": text,
        "summary": re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0],
        "ports": [
            {
                "side": side,
                "name": _clean(port["name"]),
                "type": _clean(_type(port)),
                "text": _clean(port["description"]),
                "href": f"{_page_of(item)}#{_anchor(now, side, port['name'])}",
            }
            for side, port in ports
        ],
    }


def _embedded(value: Any) -> str:
    """JSON that cannot end the script element that it is in."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


# A page ---------------------------------------------------------------------------------------------------


def _page(item: Item, items: Sequence[Item], own: Repository) -> str:
    twice = any(other.name == item.name and other.kind != item.kind for other in items)
    target = f"{item.kind}s/{item.name}" if twice else item.name
    mine = item.repository.root == own.root

    def shown_version(version: Version) -> dict[str, Any]:
        return _version(version, items) | {"examples": examples(item, version, mine, target)}

    return _render(
        "item.html",
        item=item,
        library=not mine,
        current=shown_version(item.current),
        others=[shown_version(version) for version in item.others],
        versions=[_brief(version) for version in item.versions],
        users=_users(item, items),
    )


def _brief(version: Version) -> dict[str, Any]:
    """A version's line in the list of versions."""
    counts = {str(c): sum(change.category is c for change in version.changes) for c in Category}
    return {
        "number": version.number,
        "released": version.released,
        "previous": version.previous,
        "counts": {category: count for category, count in counts.items() if count},
        "sha256": version.entry["sha256"],
        "href": f"../{_copy_of(version)}",
        "file_name": Path(_copy_of(version)).name,
        "bytes": version.file.size,
    }


def _version(version: Version, items: Sequence[Item]) -> dict[str, Any]:
    entry = version.entry
    sides = {side: [_port(version, side, port) for port in entry[f"{side}s"]] for side in ("input", "output")}
    changes = {str(c): [change for change in version.changes if change.category is c] for c in Category}
    return _brief(version) | {
        "description": entry["description"],
        "images": entry["images"],
        "sdk": entry["sdk"],
        "digest": entry["spec_digest"],
        "inputs": sides["input"],
        "outputs": sides["output"],
        "changes": {category: found for category, found in changes.items() if found},
        "pictures": _pictures(version),
        "uses": _uses(version, items),
    }


def _port(version: Version, side: str, port: dict[str, Any]) -> dict[str, Any]:
    ports = version.pipeline.root.inputs if side == "input" else version.pipeline.root.outputs
    found = {
        "id": _anchor(version, side, port["name"]),
        "name": port["name"],
        "type": _type(port),
        "description": port["description"],
        "required": port.get("required", False),
        "literals": [_json(value) for value in ports[port["name"]].data.get("literals", [])],
    }
    if "default" in port:
        secret = hidden(port["name"], port["default"]) == "***"
        found["default"] = "***" if secret else _json(port["default"])
    return found


def _type(port: dict[str, Any]) -> str:
    return f"list of {port['type']}" if port.get("list") else str(port["type"])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _anchor(version: Version, side: str, name: str) -> str:
    """An input's or output's id on its page; any name gives a valid one."""
    return f"v{version.number}-{side}-" + re.sub(r"[^A-Za-z0-9_-]", lambda m: f".{ord(m[0]):x}", name)


def _pictures(version: Version) -> dict[str, Any]:
    """The graph for wide and, where that makes a difference, for narrow screens; or why there is none."""
    file = version.file
    try:
        root = build(file.spec, file.platform)
        wide, narrow = lay_out(root, Direction.LR), lay_out(root, Direction.TB)
    except GraphError as error:
        return {"problem": str(error)}
    differ = wide.width > _PHONE and narrow.width < wide.width
    return {"problem": "", "wide": _picture(wide), "narrow": _picture(narrow) if differ else None}


def _picture(drawing: Drawing) -> dict[str, Any]:
    """A picture inside a page: its style, which would hold for the whole page, is in the page's own."""
    svg = re.sub(r"<style>.*?</style>", "", to_svg(drawing), count=1, flags=re.DOTALL)
    return {"svg": Markup(svg), "width": drawing.width + 2 * MARGIN}


# Who is made of whom --------------------------------------------------------------------------------------


def _uses(version: Version, items: Sequence[Item]) -> list[dict[str, str]]:
    """The components that a pipeline's tasks run, each with a link to the version that runs the same code."""
    if version.entry["kind"] != "pipeline":
        return []
    code = _code(version)
    return [
        {"name": item.name, "href": f"../{_page_of(item)}#v{candidate.number}", "version": candidate.number}
        for item in items
        if item.kind == "component"
        for candidate in item.versions
        if code & _code(candidate)
    ]


def _users(item: Item, items: Sequence[Item]) -> list[dict[str, str]]:
    """The pipelines whose current version runs the code of any version of a component."""
    return [
        {"name": other.name, "href": f"../{_page_of(other)}"}
        for other in items
        if other.kind == "pipeline"
        and any(used["href"].startswith(f"../{_page_of(item)}#") for used in _uses(other.current, [item]))
    ]


def _code(version: Version) -> set[tuple[str, ...]]:
    """What a version's pods run: commands, which hold the source of what is Python; or else images."""
    return {tuple(executor.command) or (executor.image,) for _, executor in version.pipeline.pod_tasks}


# Templates ------------------------------------------------------------------------------------------------


def _render(template: str, **values: Any) -> str:
    script = (_HERE / "site.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _environment().get_template(template)
    # The pictures' rules hold inside pictures only, and paper is light.
    pictures = sheet().replace(_DARK, _DARK.replace("@media", "@media screen and"))
    style = (_HERE / "site.css").read_text(encoding="utf-8") + f".kfp-graph {{ {pictures} }}\n"
    return (
        page.render(
            generator=GENERATOR,
            script=Markup(script),
            script_digest=Markup(f"sha256-{digest}"),
            site_style=Markup(style),
            **values,
        ).strip()
        + "\n"
    )


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader([_HERE, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    environment.filters["code"] = lambda text: Markup(escape(text))
    return environment


def _clean(value: Any) -> Any:
    """A text without what could turn the text around it, as everything that a page shows is."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return shown(value, _LONGEST, quote=False)
    return value
