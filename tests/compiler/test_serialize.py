"""YAML: libyaml's writer and the one in Python write the same bytes, and what is written is read back."""

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kfp_lifecycle.compiler import serialize
from tests.conftest import SOAK


class PythonDumper(yaml.SafeDumper):
    """What a machine without libyaml writes with."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


PythonDumper.add_representer(str, serialize._text)

keys = st.text(st.characters(min_codepoint=33, max_codepoint=126) | st.just(" "), min_size=1, max_size=60)
lines = st.text(
    st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\n \t:#-'\"{[|>"), max_size=200
)
awkward = st.sampled_from(
    ["yes", "null", "1.0", "1e3", "~", "", "=", "<<", "...\n", "---", "0x1f", "\n\n", " a\n b "]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | lines | awkward,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=20_000 if SOAK else 300, deadline=None)
@given(st.dictionaries(keys, values, max_size=4))
def test_both_writers_write_the_same_and_it_reads_back(data: dict[str, Any]) -> None:
    with_libyaml = serialize.body([data], serialize.IrDumper)
    assert with_libyaml == serialize.body([data], PythonDumper)
    assert serialize.from_yaml(with_libyaml) == [data] == list(yaml.safe_load_all(with_libyaml))


def test_libyaml_is_what_we_test_against() -> None:
    assert issubclass(serialize.IrDumper, yaml.CSafeDumper)


def test_sources_are_readable() -> None:
    text = serialize.body([{"command": ["def f():\n    return 1\n"]}], serialize.IrDumper)
    assert text == "command:\n- |\n  def f():\n      return 1\n"
