"""Parameters are read as the compiled file types them, and refused by name and line."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from kfp import dsl

from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.runner.load import RunnableFile
from kfp_lifecycle.runner.parameters import read_parameters
from tests.runner.components import component
from tests.runner.conftest import Compile


@component
def types(
    text: str = "",
    whole: int = 1,
    number: float = 0.5,
    flag: bool = False,
    items: list[str] = [],  # noqa: B006 - KFP's own way
    mapping: dict[str, str] = {},  # noqa: B006 - KFP's own way
):
    print(text, whole, number, flag, items, mapping)


@component
def needing(source: str, target: str, rows: int = 1):
    """Needs two.

    Args:
        source: Where the table is.
        target: Column to predict.
        rows: How many.
    """
    print(source, target, rows)


@pytest.fixture
def file(compiled: Compile) -> RunnableFile:
    return compiled(types)


def from_yaml(file: RunnableFile, text: str) -> dict[str, Any]:
    path = Path("params.yaml")
    path.write_text(text, encoding="utf-8")
    return read_parameters(file, path)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("text: Yes", "Yes"),  # what YAML 1.1 takes for true
        ("text: 2024-01-31", "2024-01-31"),
        ("text: 012", "012"),
        ("text: 1.0", "1.0"),
        ("text: ''", ""),
        ("text: 'null'", "null"),
        ("text: |\n  two\n  lines", "two\nlines"),
        ("text: Grüße", "Grüße"),
        ("text: {max_iter: 200, rate: 0.05, deep: [1, 2.0, null, true]}",
         '{"max_iter": 200, "rate": 0.05, "deep": [1, 2.0, null, true]}'),
        ("text: [Yes, 1, on, 2024-01-31]", '["Yes", 1, "on", "2024-01-31"]'),
        ("text: {1: a, ü: b}", '{"1": "a", "ü": "b"}'),
        ("whole: -7", -7),
        ("number: 5", 5.0),
        ("number: 1e-3", 0.001),
        ("flag: true", True),
        ("flag: False", False),
        ("items: [a, Yes, 2024-01-31]", ["a", "Yes", "2024-01-31"]),
        ("items:\n  - roc_auc >= 0.80\n  - f1 >= 0.5", ["roc_auc >= 0.80", "f1 >= 0.5"]),
        ("items: [200, 0.5, {a: [1]}]", [200, 0.5, {"a": [1]}]),
        ("mapping: {total_value: tenure * monthly_charges}", {"total_value": "tenure * monthly_charges"}),
        ("mapping: {1: one}", {"1": "one"}),
    ],
)  # fmt: skip
def test_a_line_is_read_as_its_parameter_is_typed(line: str, value: Any, file: RunnableFile) -> None:
    read = from_yaml(file, line)

    assert read == {line.partition(":")[0]: value}
    assert type(next(iter(read.values()))) is type(value)


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("text=a=b", "a=b"),
        ("text=", ""),
        ("text= padded ", " padded "),
        ('text={"max_depth": 5}', '{"max_depth": 5}'),
        ("whole= 3 ", 3),
        ("number=.5", 0.5),
        ("flag=TRUE", True),
        ("items=[a, b]", ["a", "b"]),
        ('items=["a", 1]', ["a", 1]),
        ("mapping={a: 1}", {"a": 1}),
    ],
)
def test_an_assignment_is_read_likewise(assignment: str, value: Any, file: RunnableFile) -> None:
    assert read_parameters(file, None, [assignment]) == {assignment.partition("=")[0]: value}


def test_an_assignment_wins_over_the_file_and_the_last_over_the_first(file: RunnableFile) -> None:
    Path("params.yaml").write_text("whole: 1\nnumber: 2\n")

    read = read_parameters(file, Path("params.yaml"), ["whole=2", "whole=3"])
    assert read == {"whole": 3, "number": 2.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("txet: a", r"types has no parameter 'txet' \(params.yaml, line 1\)\. Did you mean 'text'\?"),
        ("text: a\nwhole: 1.5", r"'whole' is '1\.5' \(params.yaml, line 2\)\. Give a whole number\."),
        ("whole: five", r"'whole' is 'five' .* whole number"),
        ("whole: '5'", r"'whole' is the quoted text '5'"),
        ("whole: [5]", r"'whole' is a list"),
        ("whole: 9007199254740993", r"'whole' is '9007199254740993' .* exactly"),
        ("whole:", r"'whole' has no value .* leave the line out"),
        ("number: .nan", r"'number' is '\.nan' .* Give a number"),
        ("number: 1e999", r"cannot pass it on exactly"),
        ("flag: Yes", r"'flag' is 'Yes' .* Give true or false"),
        ("flag: 1", r"'flag' is '1'"),
        ("items: a, b", r"'items' is 'a, b' .* Give a list"),
        ("items: {a: b}", r"'items' is a mapping .* Give a list"),
        ("items: [a, null]", r"'items' has an empty entry"),
        ("items: [a, ]\nmapping: [b]", r"'mapping' is a list \(params.yaml, line 2\)\. Give a mapping"),
        ("items: [9007199254740993]", r"'items' holds 9007199254740993"),
        ("mapping: {a: {b: }}", r"'mapping' has an empty entry"),
        ("text: ~", r"'text' has no value"),
        ("text: !!python/object/apply:os.system [x]", r"'text' is a list .* Write only texts"),
        ("text: {a: !!binary '_'}", r"'text' is a mapping .* Write only texts"),
        ("text: a\ntext: b", r"'text' is given twice \(params.yaml, line 2\)"),
        ("- text", r"params.yaml is not a mapping"),
        ("text: [a", r"params.yaml, line 1 is not YAML: "),
        ("text: a\n\tb: c", r"params.yaml, line 2 is not YAML: "),
        (f"text: {'x' * 130_000}", r"'text' is 126 KiB long .* Write it to a file"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(text: str, message: str, file: RunnableFile) -> None:
    with pytest.raises(ParameterError, match=message):
        from_yaml(file, text)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("text", r"-p 'text' has no '='"),
        ("who1e=3", r"no parameter 'who1e' \(-p\)\. Did you mean 'whole'"),
        ("whole=", r"'whole' is '' \(-p\)"),
        ("items=[a", r"'items' is '\[a' \(-p\)\. Give a list"),
        ("mapping=a", r"'mapping' is 'a' \(-p\)\. Give a mapping"),
    ],
)
def test_a_wrong_assignment_is_named(assignment: str, message: str, file: RunnableFile) -> None:
    with pytest.raises(ParameterError, match=message):
        read_parameters(file, None, [assignment])


def test_everything_that_is_missing_is_named_with_its_description(compiled: Compile) -> None:
    with pytest.raises(ParameterError) as raised:
        read_parameters(compiled(needing), None, ["rows=2"])

    assert str(raised.value) == (
        "needing needs parameters that are not given: source (Where the table is.); target (Column to "
        "predict.). Give them in the --params file or as -p source=VALUE."
    )


def test_a_value_that_the_file_does_not_allow_is_refused(file: RunnableFile) -> None:
    file.inputs["text"]["literals"] = ["a", "b"]

    assert read_parameters(file, None, ["text=a"]) == {"text": "a"}
    with pytest.raises(ParameterError, match=r"'text' is 'c' \(-p\)\. Give one of: a, b"):
        read_parameters(file, None, ["text=c"])


@pytest.mark.parametrize("name", ["none.yaml", "folder", "latin.yaml"])
def test_a_file_that_cannot_be_read_is_named(name: str, file: RunnableFile) -> None:
    Path("folder").mkdir()
    Path("latin.yaml").write_bytes(b"text: \xe4")
    with pytest.raises(ParameterError, match=name):
        read_parameters(file, Path(name))


def test_an_empty_file_gives_nothing(file: RunnableFile) -> None:
    assert from_yaml(file, "# nothing yet\n") == {}


def test_the_parameter_files_of_this_repository_fit_their_pipelines() -> None:
    from kfp_lifecycle.runner.load import load
    from kfp_lifecycle.runner.resolve import INSTALLED, find

    # A file is named after its pipeline and its table; without a pipeline's name it is for training.
    pipelines = {folder.name for folder in (INSTALLED / "pipelines").iterdir()}
    files = sorted((INSTALLED.parent / "pipelines" / "params").glob("*.yaml"))
    meant = [
        max((p for p in pipelines if f.stem.startswith(f"{p}-")), key=len, default="training") for f in files
    ]
    assert set(meant) == pipelines
    for path, name in zip(files, meant, strict=True):
        pipeline = load(find(name, INSTALLED.parent))
        required = {one for one, about in pipeline.inputs.items() if not about.get("isOptional")}
        assert required <= read_parameters(pipeline, path).keys(), path


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
FILE = RunnableFile(
    Path("types.yaml"),
    {
        "pipelineInfo": {"name": "types"},
        "root": {
            "inputDefinitions": {
                "parameters": {
                    name: {"parameterType": kind, "isOptional": True}
                    for name, kind in {
                        "text": "STRING",
                        "whole": "NUMBER_INTEGER",
                        "number": "NUMBER_DOUBLE",
                        "flag": "BOOLEAN",
                        "items": "LIST",
                        "mapping": "STRUCT",
                    }.items()
                }
            }
        },
    },
    {},
    "",
)


@settings(max_examples=150, deadline=None)
@given(st.lists(JSON, max_size=3) | st.dictionaries(TEXTS, JSON, max_size=3))
def test_a_mapping_or_list_for_a_text_arrives_as_the_same_json(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    path.write_text(yaml.safe_dump({"text": value}), encoding="utf-8")

    assert json.loads(read_parameters(FILE, path)["text"]) == value


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["text", "whole", "number", "flag", "items", "mapping", "other"]),
    st.one_of(TEXTS, JSON.map(lambda value: json.dumps(value)), JSON.map(yaml.safe_dump)),
    st.booleans(),
)
def test_whatever_is_written_ends_in_a_value_of_the_type_or_in_the_declared_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, text: str, in_file: bool
) -> None:
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    path.write_text(f"{name}: {text}", encoding="utf-8")
    read: dict[str, Any] = {}
    with contextlib.suppress(ParameterError):
        read = read_parameters(FILE, path) if in_file else read_parameters(FILE, None, [f"{name}={text}"])
    kinds = {"text": str, "whole": int, "number": float, "flag": bool, "items": list, "mapping": dict}
    assert all(type(value) is kinds[given] for given, value in read.items())
    json.dumps(read, allow_nan=False)


def test_a_pipeline_reads_its_parameters_too(compiled: Compile) -> None:
    @dsl.pipeline
    def pipeline(text: str = "a"):
        types(text=text)

    assert read_parameters(compiled(pipeline), None, ["text=b"]) == {"text": "b"}
