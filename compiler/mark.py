"""Marking versions as released."""

import json
from collections.abc import Sequence

from kfp_lifecycle.compiler.compile import compile_repository, compiled_files
from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.files import GeneratedFile, differences
from kfp_lifecycle.compiler.images.inputs import current_inputs
from kfp_lifecycle.compiler.repository import Repository

CATALOG = "compiled/catalog.json"


def released_catalog(repository: Repository, names: Sequence[str]) -> tuple[GeneratedFile, list[str]]:
    """The catalog with the current versions of some components and pipelines marked as released.

    Args:
        repository: Where they are.
        names: Which ones.

    Returns:
        The catalog, and the paths that are marked anew.

    Raises:
        CompileError: A name is unknown, ``compiled/`` is not what the code gives, or lint finds an error.
    """
    found = differences(repository.root, compiled_files(repository))
    if found:
        raise CompileError(
            f"{found[0].path} is not what the code gives.",
            "Run kfp-lifecycle compile, and commit what it writes.",
        )
    paths = {item.path for item in compile_repository(repository, names)}
    for path in sorted(paths):
        _check_lint(repository, path)
    catalog = json.loads((repository.root / CATALOG).read_bytes())
    anew = [e for e in catalog["files"] if e["path"] in paths and not e["released"]]
    for entry in anew:
        entry["released"] = True
    named = {image for entry in anew for image in entry["images"]}
    if inputs := catalog.get("images", {}) | current_inputs(repository, named):
        catalog["images"] = dict(sorted(inputs.items()))
    text = json.dumps(catalog, indent=2) + "\n"
    return GeneratedFile(CATALOG, text), [entry["path"] for entry in anew]


def _check_lint(repository: Repository, path: str) -> None:
    from kfp_lifecycle.compiler.lint.rule import RULES
    from kfp_lifecycle.compiler.lint.run import failing, lint
    from kfp_lifecycle.compiler.lint.settings import find_settings

    file = repository.compiled / path
    for finding in failing(lint(file, settings=find_settings(RULES, repository.root))):
        raise CompileError(f"compiled/{path} breaks the rule {finding.rule}: {finding.message}", finding.fix)
