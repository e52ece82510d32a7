"""Writing generated files, and telling how those on disk differ."""

from pathlib import Path

import pytest

from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.files import GeneratedFile, differences, write


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    a, b = GeneratedFile("x/a.txt", "a\n"), GeneratedFile("b.txt", "b\n")
    assert write(tmp_path, [a, b]) == {"x/a.txt": "new", "b.txt": "new"}
    (tmp_path / "b.txt").write_text("old\n")
    before = (tmp_path / "x/a.txt").stat().st_mtime_ns
    assert write(tmp_path, [a, b]) == {"x/a.txt": "unchanged", "b.txt": "changed"}
    assert (tmp_path / "x/a.txt").stat().st_mtime_ns == before
    assert (tmp_path / "b.txt").read_text() == "b\n"


def test_differences_are_readable(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("one\ntwo\n")
    missing, changed = differences(
        tmp_path, [GeneratedFile("a.txt", "a"), GeneratedFile("b.txt", "one\nthree\n")]
    )
    assert (missing.path, missing.kind, missing.diff) == ("a.txt", "missing", "")
    assert (changed.path, changed.kind) == ("b.txt", "changed")
    assert (
        changed.diff
        == "--- b.txt (on disk)\n+++ b.txt (from the code)\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n"
    )


@pytest.mark.parametrize("on_disk", [b"a\r\n", b"a"])
def test_other_line_ends_are_a_difference(on_disk: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(on_disk)
    (changed,) = differences(tmp_path, [GeneratedFile("a.txt", "a\n")])
    assert changed.diff


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(CompileError, match=r"a\.txt cannot be read"):
        differences(tmp_path, [GeneratedFile("a.txt", "a\n")])
