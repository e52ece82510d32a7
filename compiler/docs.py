"""Documents generated from the code: the READMEs, the pipelines' pictures, the top README's table."""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kfp_lifecycle.compiler import catalog
from kfp_lifecycle.compiler.compile import Compiled, compile_repository
from kfp_lifecycle.compiler.files import GeneratedFile
from kfp_lifecycle.compiler.graph.pictures import pictures
from kfp_lifecycle.compiler.render import render
from kfp_lifecycle.compiler.repository import Repository
from kfp_lifecycle.compiler.spec import in_order

#: Between these lines the top README holds the table of components.
BEGIN, END = "<!-- components:begin -->", "<!-- components:end -->"


@dataclass(frozen=True)
class Page:
    """What a document says of one component or pipeline.

    Args:
        compiled: What it is about.
        module: The package to import it from.
    """

    compiled: Compiled
    module: str

    def values(self) -> dict[str, Any]:
        """The values of the templates."""
        source, docstring = self.compiled.definition.source, self.compiled.definition.docstring
        entry = catalog.entry(self.compiled.path, self.compiled.text, self.compiled.spec)
        paragraphs = [docstring.short_description, docstring.long_description]
        text = "\n\n".join(p for p in paragraphs if p) or entry["description"]
        return entry | {
            "path": f"compiled/{self.compiled.path}",
            "function": source.attribute,
            "module": self.module,
            "summary": text.partition("\n")[0],
            "description": text,
            "inputs": self._as_in_signature(entry["inputs"]),
            "outputs": self._as_in_signature(entry["outputs"]),
            "tasks": [name for name, _ in in_order(self.compiled.spec["root"]["dag"])],
            "errors": [{"name": e.type_name, "when": e.description or ""} for e in docstring.raises],
        }

    def _as_in_signature(self, items: list[catalog.Entry]) -> list[catalog.Entry]:
        """In the author's order, what must be given first and returned values last."""
        function = self.compiled.definition.function
        signature = inspect.signature(function) if function else inspect.Signature()
        names = [*signature.parameters, *getattr(signature.return_annotation, "_fields", ())]
        order = {name: at for at, name in enumerate(names)}
        return sorted(items, key=lambda i: (not i.get("required", True), order.get(i["name"], len(order))))


def generated_docs(repository: Repository) -> list[GeneratedFile]:
    """Every generated document of a repository.

    Raises:
        CompileError: A component or pipeline cannot be compiled.
    """
    compiled = compile_repository(repository)
    components = [_page(repository, c).values() for c in compiled if c.definition.source.kind == "component"]
    pipelines = [_page(repository, c).values() for c in compiled if c.definition.source.kind == "pipeline"]
    files = [
        GeneratedFile(f"components/{c['function']}/README.md", render("component_readme.md.j2", **c))
        for c in components
    ]
    if pipelines:
        text = render("pipelines_readme.md.j2", pipelines=pipelines)
        files.append(GeneratedFile("pipelines/README.md", text))
    files += pictures(repository, [c for c in compiled if c.definition.source.kind == "pipeline"])
    return [*files, *_top_readme(repository, _in_order_of_use(components, pipelines))]


def _page(repository: Repository, compiled: Compiled) -> Page:
    source = compiled.definition.source
    return Page(compiled, repository.module(f"{source.kind}s", source.attribute))


def _in_order_of_use(components: Iterable[Any], pipelines: Iterable[Any]) -> list[Any]:
    """As the pipelines use them, those of the most components first; then the others by name."""
    by_size = sorted(pipelines, key=lambda pipeline: -len(set(pipeline["tasks"])))
    used = [task for pipeline in by_size for task in pipeline["tasks"]]
    place = {name: at for at, name in reversed(list(enumerate(used)))}
    return sorted(components, key=lambda c: (place.get(c["name"], len(used)), c["name"]))


def _top_readme(repository: Repository, components: list[Any]) -> list[GeneratedFile]:
    """The top README with its table brought up to date; nothing where there is none, or it has no markers."""
    readme = repository.root / "README.md"
    text = readme.read_bytes().decode() if readme.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        return []
    table = render("components_table.md.j2", components=components)
    return [GeneratedFile("README.md", f"{before}{begin}\n\n{table}\n{end}{after}")]
