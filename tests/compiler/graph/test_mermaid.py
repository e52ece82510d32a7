"""Mermaid: what its grammar takes, with every node and flow, whatever the names are."""

import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings

from kfp_lifecycle.compiler.graph import Direction, Node, build, to_mermaid
from kfp_lifecycle.compiler.graph.flows import flows
from kfp_lifecycle.compiler.graph.model import GROUPS
from tests.compiler.graph.specs import Spec, specs
from tests.conftest import SOAK

NAMES = ("chain", "conditions", "loops", "exits", "nested", "deep", "thirty-tasks", "wide", "fit")

# Inside quotes: no quote, no sign with a meaning other than entities and line breaks.
_TEXT = r'(?:[^"#<>&;`\\\[\]{}|\x00-\x1f]|#\d+;|<br/>)*'
_ID = r"n\d+"
_LINE = re.compile(
    rf'\s*(?:subgraph {_ID}\["{_TEXT}"\]|end'
    rf'|{_ID}(?:\["{_TEXT}"\]|\[/"{_TEXT}"/\]|\(\["{_TEXT}"\]\))'
    rf'|{_ID} (?:-->|-\.->)(?:\|"{_TEXT}"\|)? {_ID}'
    r"|linkStyle \d+(?:,\d+)* stroke:#[0-9a-f]{6}"
    r"|classDef [a-z-]+ fill:#[0-9a-f]{8},stroke:#[0-9a-f]{6}"
    rf"|class {_ID}(?:,{_ID})* [a-z-]+)"
)


def check(root: Node, text: str) -> None:
    before, title, after, first, *lines = text.splitlines()
    assert (before, after) == ("---", "---")
    assert re.fullmatch(r'title: "(?:[^"\\\x00-\x1f]|\\.)*"', title)
    assert first in ("flowchart TB", "flowchart LR")
    for line in lines:
        assert _LINE.fullmatch(line), line
    opened = sum(line.lstrip().startswith("subgraph ") for line in lines)
    assert opened == sum(line.strip() == "end" for line in lines)
    assert opened == sum(node.kind in GROUPS for _, node in root.walk())
    known = re.findall(r"^\s*(?:subgraph )?(n\d+)[\[(]", text, re.M)
    assert len(known) == len(set(known)) == len(list(root.walk()))
    ends = re.findall(r"^\s*(n\d+) -.*?(n\d+)$", text, re.M)
    assert {end for pair in ends for end in pair} <= set(known)
    assert {(e.source, e.target) for e in flows(root)} == _paths(root, ends)


def _paths(root: Node, ends: list[tuple[str, str]]) -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
    by_id = {f"n{number}": path for number, (path, _) in enumerate(root.walk(), 1)}
    return {(by_id[source], by_id[target]) for source, target in ends}


@pytest.mark.parametrize("name", NAMES)
def test_every_node_and_every_flow_is_there(graph: Callable[[str], Node], name: str) -> None:
    root = graph(name)
    check(root, to_mermaid(root))


@settings(max_examples=5000 if SOAK else 100, deadline=None, suppress_health_check=list(HealthCheck))
@given(specs())
def test_hostile_names_stay_text(made: tuple[Spec, Spec]) -> None:
    root = build(*made)
    check(root, to_mermaid(root))


def test_it_reads_well(graph: Callable[[str], Node]) -> None:
    lines = to_mermaid(graph("nested"), Direction.LR).splitlines()
    assert lines[3] == "flowchart LR"
    for line in (
        '  subgraph n1["if inner.score #62; 0.5"]',
        '  n3[/"importer<br/>uri"/]',
        '  n3 -->|"artifact → data: Dataset"| n5',
        "  n4 -.-> n7",
    ):
        assert line in lines, line
