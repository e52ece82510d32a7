"""Any file ends in clean data or in an error that says what it is, in bounded time and memory."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from kfp_lifecycle.compiler.conform import Kind
from kfp_lifecycle.compiler.errors import CompiledFileError
from kfp_lifecycle.compiler.limits import MAX_FILE_BYTES
from kfp_lifecycle.compiler.reader import read, read_bytes
from kfp_lifecycle.compiler.safe_yaml import MAX_VALUES, load_documents
from kfp_lifecycle.components.shared.errors import LifecycleError
from tests.compiler.specs import changed, nested, pipeline, settings, to_bytes

LARGE = MAX_FILE_BYTES - 1000


def laughs() -> bytes:
    """A billion laughs."""
    lines = ["a0: &a0 lol"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(lines).encode()


#: Content, and what the error says. Those of many megabytes are made when they are needed.
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "not YAML": (lambda: b"a: [1", "f.yaml:1: This is not YAML: did not find expected"),
    "a number": (lambda: b"5", "holds no mapping"),
    "empty": (lambda: b"", "The file is empty"),
    "only comments": (lambda: b"# nothing\n---\n", "The file is empty"),
    "not KFP": (lambda: b"a: 1", "not a compiled pipeline or component"),
    "Argo": (
        lambda: b"apiVersion: argoproj.io/v1alpha1\nkind: Workflow",
        "KFP 1 compiled pipelines. Its Python",
    ),
    "Tekton": (lambda: b"apiVersion: tekton.dev/v1\nkind: PipelineRun", "kfp-tekton"),
    "KFP 1 component": (lambda: b"name: x\nimplementation: {container: {image: x}}", "a component of KFP 1"),
    "Vertex job": (lambda: b"pipelineSpec: {}\nruntimeConfig: {}", "as Vertex AI keeps them"),
    "platform alone": (lambda: b"platforms: {kubernetes: {}}", "platform spec without its pipeline"),
    "Pipeline object": (
        lambda: b"apiVersion: pipelines.kubeflow.org/v2beta1\nkind: Pipeline",
        "Kubernetes object without a pipeline spec",
    ),
    "two pipelines": (lambda: changed() + b"---\n" + changed(), "2 pipeline specs; the API server takes one"),
    "two platforms": (
        lambda: changed() + b"---\nplatforms: {}\n---\nplatforms: {}\n",
        "2 platform specs; the API server takes one",
    ),
    "many documents": (lambda: b"--- {}\n" * 1000, "more than 10 documents"),
    "zip": (lambda: b"PK\x03\x04rest", "a zip archive"),
    "gzip": (lambda: b"\x1f\x8brest", "a gzip archive"),
    "web page": (lambda: b"<!DOCTYPE html>", "a web page"),
    "UTF-16": (lambda: "pipelineInfo: {}".encode("utf-16"), "not UTF-8"),
    "Latin-1": (lambda: b"a: 1\nb: \xfc", "f.yaml:2: The file is not UTF-8"),
    "binary": (lambda: bytes(range(256)) * 1000, "not UTF-8"),
    "zero bytes": (lambda: b"\0" * 1000, "control characters are not allowed"),
    "duplicate keys": (lambda: b"a: 1\nb: 2\na: 3", "f.yaml:3: The key 'a' is there twice, first on line 1"),
    "number as a key": (lambda: b"a: {1: 2}", "The key '1' is no text"),
    "list as a key": (lambda: b"? [a]\n: 1", "A key is a mapping or a list"),
    "alias as a key": (lambda: b"{&a x: 1, *a : 2}", "A key is an alias"),
    "recursive anchor": (lambda: b"a: &a\n  b: [*a]", "f.yaml:2: The anchor '&a' contains itself"),
    "unknown alias": (lambda: b"a: *b", "The alias '*b' has no anchor"),
    "exploding anchors": (laughs, f"more than {MAX_VALUES:,} values with its anchors expanded"),
    "exploding text": (
        lambda: b'a: &a "' + b"x" * 100_000 + b'"\nb: [' + b"*a, " * 5000 + b"]",
        "more than 32 MiB with its anchors expanded",
    ),
    "merging no mapping": (lambda: b"a: {<<: 5}", "A merge key (<<) needs a mapping"),
    "Python object": (lambda: b"a: !!python/object/apply:os.system [id]", "has no place in a compiled file"),
    "binary tag": (lambda: b"a: !!binary aGk=", "has no place in a compiled file"),
    "directives": (lambda: b"%TAG ! tag:x,2000:\n" * 1000 + b"--- {}", "no %-directives"),
    "deep lists": (lambda: b"[" * LARGE, "nested more than 100 levels"),
    "deep mappings": (lambda: b"{a: " * (LARGE // 4), "nested more than 100 levels"),
    "deep keys": (lambda: b"? " * (LARGE // 2), "nested more than 100 levels"),
    "deep dashes": (lambda: b"- " * (LARGE // 2), "nested more than 100 levels"),
    "long list": (lambda: b"[" + b"1," * (LARGE // 2) + b"1]", "values with its anchors expanded"),
    "many anchors": (lambda: b"[" + b"&a x," * (LARGE // 5) + b"]", "values with its anchors expanded"),
    "many keys": (
        lambda: b"".join(b"k%d: 1\n" % n for n in range(300_000)),
        "values with its anchors expanded",
    ),
    "one long line": (lambda: b"a: " + b"x" * LARGE, "not a compiled pipeline or component"),
    "long number": (lambda: b"a: " + b"9" * LARGE, "not a compiled pipeline or component"),
    "many lines": (lambda: b"a\n" * (LARGE // 2), "holds no mapping"),
    "bangs": (lambda: b"!" * LARGE, "The tag"),
    "open quote": (lambda: b'"' + b"\\n" * (LARGE // 2), "This is not YAML"),
    "spaces": (lambda: b" " * LARGE, "The file is empty"),
    "50 MB": (lambda: b"a: 1\n" * 10_000_000, "The file has 47.7 MiB; the API server takes 32"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_compiled_file_is_a_declared_error(name: str) -> None:
    make, said = REFUSED[name]
    with pytest.raises(CompiledFileError) as caught:
        read_bytes(make(), "f.yaml")
    assert said in str(caught.value)
    assert isinstance(caught.value, LifecycleError)
    assert len(str(caught.value)) < 500


def test_hostile_files_are_refused_in_bounded_time_and_memory(tmp_path: Path) -> None:
    """All of the above, each in a process of its own that is killed after two seconds or at 700 MB."""
    program = tmp_path / "read.py"
    program.write_text(
        "import resource, signal, sys\n"
        "from kfp_lifecycle.compiler.errors import CompiledFileError\n"
        "from kfp_lifecycle.compiler.reader import read\n"
        "resource.setrlimit(resource.RLIMIT_AS, (700 * 2**20, 700 * 2**20))\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (2, 2))\n"
        "try:\n    read(sys.argv[1])\nexcept CompiledFileError as error:\n    print(error)\n"
    )
    large = [name for name, (make, _) in REFUSED.items() if len(make()) > 10_000_000]
    assert len(large) > 10
    for name in large:
        file = tmp_path / "hostile.yaml"
        file.write_bytes(REFUSED[name][0]())
        done = subprocess.run([sys.executable, program, file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (name, done.stderr[-500:])
        assert REFUSED[name][1].removeprefix("f.yaml") in done.stdout


def test_a_chain_of_components_in_a_circle() -> None:
    spec = pipeline()
    nested(spec, {})
    spec["components"]["comp-inside"]["dag"]["tasks"]["use"]["componentRef"]["name"] = "comp-inside"
    with pytest.raises(CompiledFileError, match="in a circle: comp-inside -> comp-inside"):
        read_bytes(to_bytes(spec), "f.yaml")


def test_a_long_chain_of_components_is_no_circle() -> None:
    spec = pipeline()
    for n in range(5000):
        spec["components"][f"c{n}"] = {"dag": {"tasks": {"t": {"componentRef": {"name": f"c{n + 1}"}}}}}
    assert len(read_bytes(to_bytes(spec), "f.yaml").spec["components"]) == 5002
    spec["components"]["c5000"] = {"dag": {"tasks": {"t": {"componentRef": {"name": "c0"}}}}}
    with pytest.raises(CompiledFileError, match=r"in a circle: c\d+ -> .* -> … -> c\d+\."):
        read_bytes(to_bytes(spec), "f.yaml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, said in (
        (tmp_path / "missing.yaml", "No such file"),
        (tmp_path, "This is a folder"),
        (pipe, "no ordinary file"),
        (Path("/dev/zero"), "no ordinary file"),
        (Path("a\0b"), "cannot be read"),
    ):
        with pytest.raises(CompiledFileError, match=said):
            read(path)


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    with file.open("wb") as out:
        out.truncate(2**40)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CompiledFileError, match=r"1048576\.0 MiB; the API server takes 32"):
        read(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000


def test_a_compiled_file_is_read_with_its_lines() -> None:
    content = changed(lambda spec, platform: settings(platform, "exec-use").update(imagePullPolicy="Always"))
    compiled = read_bytes(content, "f.yaml")
    lines = content.decode().splitlines()
    assert compiled.name == "small"
    assert compiled.size == len(content)
    assert [*compiled.refused, *compiled.dropped, *compiled.ignored, *compiled.notes] == []
    assert compiled.kubernetes == {"exec-use": {"imagePullPolicy": "Always"}}
    tasks = compiled.spec["root"]["dag"]["tasks"]
    assert "      use:" in lines[tasks.line_of("use") - 1]
    assert "name: small" in lines[compiled.spec["pipelineInfo"].line_of("name") - 1]


def test_what_kfp_reads_is_what_we_read() -> None:
    text = b"a: [1, -2, 1.5, .5, 1.0e+3, true, False, null, ~, \"1\", 'x', 0x1f, 0b11, 017, 1_000, plain, -x]"
    assert load_documents(text, "f.yaml")[0].value == yaml.safe_load(text)


def test_scalars_that_readers_differ_on_stay_text_and_are_noted() -> None:
    (document,) = load_documents(
        b"a: [yes, 12:30, 2024-01-01, 1e3, 0o17, 08, .inf, 1.0e+999, 'yes', on_time]", "f"
    )
    assert document.value["a"] == [
        *("yes", "12:30", "2024-01-01", "1e3", "0o17", "08", ".inf", "1.0e+999", "yes", "on_time"),
    ]
    assert [(n.text, n.finite) for n in document.notes] == [
        *((text, True) for text in ("yes", "12:30", "2024-01-01", "1e3", "0o17", "08")),
        *((text, False) for text in (".inf", "1.0e+999")),
    ]


def test_anchors_and_merge_keys_within_bounds() -> None:
    text = b"a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\nd: {<<: [*a, {z: 4}]}"
    value = load_documents(text, "f.yaml")[0].value
    assert value == yaml.safe_load(text)


def test_unknown_fields_and_wrong_types_are_told_and_left_out() -> None:
    spec = pipeline()
    spec["root"]["dag"]["tasks"]["use"]["cachingOption"] = {}
    spec["root"]["dag"]["tasks"]["use"]["retryPolicy"]["maxRetryCount"] = "many"
    spec["deploymentSpec"]["executors"]["exec-use"]["container"]["imag"] = "x"
    spec["deploymentSpec"]["@type"] = "type.googleapis.com/x"
    compiled = read_bytes(to_bytes(spec), "f.yaml")
    first, second = compiled.refused
    assert (first.kind, first.where) == (Kind.UNKNOWN, "root.dag.tasks.use.cachingOption")
    assert first.fix == "Did you mean 'cachingOptions'?"
    assert (second.kind, second.field) == (Kind.WRONG, "maxRetryCount")
    assert "a whole number is wanted, not 'many'" in second.text
    assert [(p.kind, p.field) for p in compiled.dropped] == [(Kind.UNKNOWN, "imag")]
    use = compiled.spec["root"]["dag"]["tasks"]["use"]
    assert "cachingOption" not in use
    assert "maxRetryCount" not in use["retryPolicy"]


def test_protobuf_json_is_taken_as_the_server_takes_it() -> None:
    spec = pipeline()
    use = spec["root"]["dag"]["tasks"]["use"]
    use["retryPolicy"] = {"max_retry_count": "2", "backoff_factor": 2, "backoff_duration": "1.5s"}
    use["trigger_policy"] = {"strategy": 2}
    use["dependentTasks"] = None
    compiled = read_bytes(to_bytes(spec), "f.yaml")
    assert compiled.refused == []
    use = compiled.spec["root"]["dag"]["tasks"]["use"]
    assert use["retryPolicy"] == {"maxRetryCount": 2, "backoffFactor": 2.0, "backoffDuration": "1.5s"}
    assert use["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert "dependentTasks" not in use


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("maxRetryCount", 2**40, "a whole number is wanted"),
        ("maxRetryCount", 1.5, "a whole number is wanted"),
        ("maxRetryCount", True, "a whole number is wanted"),
        ("backoffFactor", [], "a number is wanted, not a list"),
        ("backoffDuration", "60", 'a time such as "60s" is wanted'),
    ],
)
def test_numbers_and_times_that_the_server_refuses(field: str, value: object, said: str) -> None:
    spec = pipeline()
    spec["root"]["dag"]["tasks"]["use"]["retryPolicy"][field] = value
    (problem,) = read_bytes(to_bytes(spec), "f.yaml").refused
    assert said in problem.text


def test_two_of_a_oneof() -> None:
    spec = pipeline()
    spec["root"]["dag"]["tasks"]["make"]["inputs"]["parameters"]["text"]["runtimeValue"] = {"constant": "x"}
    (problem,) = read_bytes(to_bytes(spec), "f.yaml").refused
    assert "only one of componentInputParameter and runtimeValue may be set" in problem.text


def test_a_file_of_problems_is_not_told_in_full() -> None:
    spec = pipeline()
    spec["root"] |= {f"x{n}": 1 for n in range(5000)}
    assert len(read_bytes(to_bytes(spec), "f.yaml").refused) == 200


def test_messages_stay_short_and_printable() -> None:
    spec = pipeline()
    spec["components"]["\x1b[31m\u202e" + "x" * 1_000_000] = {"a\nb": 1}
    (problem,) = read_bytes(to_bytes(spec), "f.yaml").refused
    assert problem.text.isprintable()
    assert len(problem.text + problem.where) < 400


def test_kubernetes_objects_are_read_like_plain_files() -> None:
    objects = [
        {"apiVersion": "pipelines.kubeflow.org/v2beta1", "kind": "Pipeline", "metadata": {"name": "small"}},
        {
            "apiVersion": "pipelines.kubeflow.org/v2beta1",
            "kind": "PipelineVersion",
            "spec": {"pipelineSpec": pipeline(), "platformSpec": {"platforms": {"kubernetes": {}}}},
        },
    ]
    compiled = read_bytes(yaml.safe_dump_all(objects).encode(), "f.yaml")
    assert compiled.name == "small"
    assert compiled.platform == {"platforms": {"kubernetes": {}}}
    assert [found["kind"] for found in compiled.objects] == ["Pipeline", "PipelineVersion"]


def test_json_is_read_too() -> None:
    import json

    assert read_bytes(json.dumps(pipeline(), indent=2).encode(), "f.json").name == "small"


def test_reading_linting_and_comparing_import_no_kfp() -> None:
    program = (
        "import sys\n"
        "from kfp_lifecycle.compiler import diff, lint, reader\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('kfp', 'google', 'rich', 'polars', 'pandas')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
