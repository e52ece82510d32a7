"""The committed field tree is the installed kfp's, and what kfp writes conforms to it."""

from pathlib import Path

from kfp_lifecycle.compiler import spec_fields
from kfp_lifecycle.compiler.lint.document import _SUCCESSOR
from kfp_lifecycle.compiler.reader import read
from kfp_lifecycle.scripts.generate_spec_fields import generate
from tests.compiler.compiled import EXAMPLES


def test_the_tree_is_current() -> None:
    assert Path(spec_fields.__file__).read_text(encoding="utf-8") == generate()


def test_every_type_is_known() -> None:
    scalars = {"string", "bool", "int32", "int64", "double"}
    free = {"protobuf.Struct", "protobuf.Value", "protobuf.Duration"}
    for fields in spec_fields.MESSAGES.values():
        for kind in fields.values():
            shape, name, *rest = kind.split(" ")
            assert shape in ("one", "list", "map")
            assert name in scalars | free | spec_fields.MESSAGES.keys() | spec_fields.ENUMS.keys()
            assert len(rest) <= 1


def test_successors_of_deprecated_fields_exist() -> None:
    for name, successor in _SUCCESSOR.items():
        assert name in spec_fields.DEPRECATED
        assert successor in spec_fields.MESSAGES[name.rpartition(".")[0]]


def test_what_kfp_compiles_conforms(compiled: dict[str, Path]) -> None:
    assert compiled.keys() == EXAMPLES.keys()
    for name, file in compiled.items():
        found = read(file)
        assert [*found.refused, *found.dropped, *found.ignored, *found.notes] == [], name
