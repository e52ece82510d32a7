"""Damaged files end in findings and changes or in a declared error, in bounded time."""

import json
import random
import time
from pathlib import Path

from kfp_lifecycle.compiler.diff import diff, to_json
from kfp_lifecycle.compiler.errors import CompiledFileError
from kfp_lifecycle.compiler.lint import Options, lint_compiled
from kfp_lifecycle.compiler.lint.report import to_json as findings_to_json
from kfp_lifecycle.compiler.lint.report import to_sarif
from kfp_lifecycle.compiler.reader import CompiledFile, read, read_bytes
from tests.compiler.lint.cases import CASES, objects
from tests.compiler.mutate import mutated
from tests.compiler.specs import changed, nested
from tests.conftest import SOAK

#: The soak takes about twenty minutes.
COUNT = 100_000 if SOAK else 400
#: What the project allows for a file, of processor time.
MOST_SECONDS = 2.0

OPTIONS = (Options(), Options(backend=(2, 0), require_digests=True), Options(backend=(2, 14)))


def test_damaged_files(compiled: dict[str, Path]) -> None:
    seeds = [file.read_bytes() for file in compiled.values()]
    seeds += [
        changed(),
        changed(nested),
        objects({"tags": {"a": "b"}}),
        *(case.bad for case in small_cases()),
    ]
    others = [read(file) for file in compiled.values()]
    read_on, refused, slowest = 0, 0, 0.0
    for number in range(COUNT):
        rng = random.Random(number)
        content = mutated(seeds, rng)
        start = time.process_time()
        try:
            error = try_on(content, rng.choice(others), rng.choice(OPTIONS))
        except Exception as bug:
            raise AssertionError(f"file number {number}") from bug
        read_on, refused = read_on + (not error), refused + bool(error)
        assert error.isprintable(), number
        spent = time.process_time() - start
        slowest = max(slowest, spent)
        assert spent < MOST_SECONDS, number
    print(f"{COUNT:,} damaged files: {read_on:,} read, {refused:,} refused, slowest {slowest:.2f} s.")
    assert min(read_on, refused) > COUNT / 10


def small_cases() -> list:
    return [case for id, case in CASES.items() if len(case.bad) < 20_000 and id != "KL001"]  # noqa: A001


def try_on(content: bytes, other: CompiledFile, options: Options) -> str:
    """What a declared error says of the file; empty where there is none."""
    try:
        look_at(read_bytes(content, "damaged.yaml"), other, options)
    except CompiledFileError as error:
        return str(error)
    return ""


def look_at(file: CompiledFile, other: CompiledFile, options: Options) -> None:
    """All that the commands do with a file."""
    findings = lint_compiled(file, options)
    for finding in findings:
        assert f"{finding.message}{finding.fix}{finding.place}".isprintable()
        assert finding.line >= 0
    json.dumps(findings_to_json(findings), allow_nan=False)
    json.dumps(to_sarif(findings, "0"), allow_nan=False)
    for old, new in ((file, other), (other, file)):
        changes = diff(old, new)
        assert all(f"{c.place}{c.message}{c.hint}".isprintable() for c in changes)
        json.dumps(to_json(changes, "a", "b"), allow_nan=False)
    assert diff(file, file) == []
