"""Generated documents: current, complete, and Markdown that a description cannot break."""

import ast
import re
from pathlib import Path

import pytest

from kfp_lifecycle.compiler.compile import compile_repository
from kfp_lifecycle.compiler.docs import BEGIN, END, generated_docs
from kfp_lifecycle.compiler.files import differences
from kfp_lifecycle.compiler.repository import find_repository
from kfp_lifecycle.components.shared import errors
from tests.repositories import GOOD, OTHER, PIPELINE, ROOT, tiny

REPOSITORY = find_repository(ROOT)
COMPONENTS = sorted(f.parent.name for f in ROOT.glob("components/*/component.py"))


def test_the_documents_on_disk_are_what_the_code_gives() -> None:
    assert differences(ROOT, generated_docs(REPOSITORY)) == []


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_readme_lists_every_input_and_output(name: str) -> None:
    readme = (ROOT / "components" / name / "README.md").read_text()
    (compiled,) = compile_repository(REPOSITORY, [name])
    for side in ("inputDefinitions", "outputDefinitions"):
        for group in compiled.spec["root"].get(side, {}).values():
            for item, definition in group.items():
                assert f"| `{item}` |" in readme
                assert definition["description"].split(",")[0].replace("*", "\\*")[:20] in readme
    link = re.search(r"\]\((\.\./\.\./compiled/[^)]+)\)", readme)
    assert link is not None
    assert (ROOT / "components" / name / link[1]).resolve().is_file()


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_python_in_a_readme_is_python(name: str) -> None:
    readme = (ROOT / "components" / name / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.S)
    assert len(blocks) == 3
    for block in blocks:
        ast.parse(block)


#: What a component's modules raise and its step does not: plan-shards plans with those of batch_predict, and
#: a notification that cannot be sent fails no run.
NOT_ITS_OWN = {"batch_predict": {"RegistryError"}, "notify": {"NotifyError"}}


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_readme_names_every_declared_error_that_the_component_raises_itself(name: str) -> None:
    readme = (ROOT / "components" / name / "README.md").read_text()
    sources = [file.read_text() for file in (ROOT / "components" / name).rglob("*.py")]
    raised = {error for source in sources for error in re.findall(r"raise (\w+)\(", source)}
    listed = set(re.findall(r"\| `(\w+Error)` \|", readme))
    assert (raised & set(errors.__all__)) - NOT_ITS_OWN.get(name, set()) <= listed


def test_the_order_is_the_authors_and_what_must_be_given_comes_first(tmp_path: Path) -> None:
    readme, *_ = generated_docs(tiny(tmp_path / "r", {"good": GOOD}))
    assert re.findall(r"^\| `(\w+)`", readme.text, re.M) == ["table", "size", "name", "result", "Output"]


def test_a_description_cannot_break_the_table(tmp_path: Path) -> None:
    text = GOOD.replace("What to call it.", "a|b, <script>, *c*\n            next line.")
    readme, *_ = generated_docs(tiny(tmp_path / "r", {"good": text}))
    assert '| `name` | str | `"a"` | a\\|b, &lt;script>, \\*c\\* next line. |\n' in readme.text


def test_the_top_readme_keeps_what_is_outside_the_markers(tmp_path: Path) -> None:
    repository = tiny(tmp_path / "r", {"good": GOOD, "other": OTHER}, {"flow": PIPELINE})
    (repository.root / "README.md").write_text(f"# Mine\n\n{BEGIN}\nold\n{END}\n\nend\n")
    readme = generated_docs(repository)[-1]
    assert readme.path == "README.md"
    assert readme.text.startswith(f"# Mine\n\n{BEGIN}\n\n| component | ")
    assert readme.text.endswith(f" |\n\n{END}\n\nend\n")
    assert "[`good`](components/good/README.md) | Does good. | result, Output |" in readme.text


@pytest.mark.parametrize("text", ["# Mine\n", f"# Mine\n{BEGIN}\n"])
def test_a_top_readme_without_both_markers_is_left_alone(text: str, tmp_path: Path) -> None:
    repository = tiny(tmp_path / "r", {"good": GOOD})
    (repository.root / "README.md").write_text(text)
    assert [f.path for f in generated_docs(repository)] == ["components/good/README.md"]
