"""Every bad input ends in a declared error that names it, and leaves nothing that looks like a result."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from kfp_lifecycle.components.prepare.options import Options, Rules
from kfp_lifecycle.components.prepare.table import prepare_table
from kfp_lifecycle.components.shared.errors import (
    ExpressionError,
    LifecycleError,
    ParameterError,
    RuleError,
    SchemaError,
    SourceError,
    SplitError,
    StorageError,
    TargetError,
)
from tests.components.prepare.conftest import outputs
from tests.conftest import ROOT

GOOD = {"y": ["a", "b"] * 20, "n": list(range(40)), "word": ["u", "v", "w", "x"] * 10}


def refused(prepare, data, error, *said, **options):
    """Prepares ``data`` and expects ``error`` with every text of ``said`` in its message and nothing left."""
    with pytest.raises(error) as raised:
        prepare(data, **{"target": "y", **options})
    assert type(raised.value) is error
    message = str(raised.value)
    for text in said:
        assert text in message
    assert "\n" not in message
    return message


def test_a_missing_file_is_named_with_the_nearest_in_its_folder(prepare, tmp_path):
    (tmp_path / "churn.csv").write_text("y,n\n")
    refused(prepare, tmp_path / "chrun.csv", SourceError, "chrun.csv", "Did you mean 'churn.csv'?")


def test_a_missing_folder_is_the_part_that_is_named(prepare, tmp_path):
    (tmp_path / "data").mkdir()
    refused(
        prepare, tmp_path / "dta" / "a" / "b.csv", SourceError, "there is no 'dta'", "Did you mean 'data'?"
    )


def test_a_device_is_no_source(prepare):
    refused(prepare, "/dev/null", SourceError, "/dev/null is neither a file nor a folder")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"  \r\n"])
def test_an_empty_file(prepare, content):
    refused(prepare, content, SourceError, "table.csv is empty")


@pytest.mark.parametrize("content", ["y,n\n", "y,n"])
def test_a_header_only(prepare, tmp_path, content):
    (tmp_path / "h.csv").write_text(content)
    refused(prepare, tmp_path / "h.csv", SourceError, "h.csv has a header but no rows")


def test_a_parquet_file_without_rows(prepare, tmp_path):
    pl.DataFrame(GOOD).clear().write_parquet(tmp_path / "t.parquet")
    refused(prepare, tmp_path / "t.parquet", SourceError, "t.parquet has columns but no rows")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_parquet_file(prepare, tmp_path, kept):
    file = tmp_path / "t.parquet"
    pl.DataFrame({**GOOD, "z": [os.urandom(50).hex() for _ in range(40)]}).write_parquet(file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    refused(prepare, file, SourceError, "t.parquet is not a whole Parquet file")


def test_a_damaged_parquet_file(prepare, tmp_path):
    file = tmp_path / "t.parquet"
    pl.DataFrame({"y": ["a", "b"] * 5000, "n": [os.urandom(20).hex() for _ in range(10_000)]}).write_parquet(
        file
    )
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 400] = b"\xff" * 400
    file.write_bytes(whole)
    refused(prepare, file, SourceError, "t.parquet is not a whole Parquet file", max_categories=20_000)


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("t.parquet", b"y,n\na,1\n", {}, "does not start with PAR1"),
        ("t.csv", b"PK\x03\x04....", {}, "Excel"),
        ("t.csv", b"<!DOCTYPE html><html>", {}, "web page"),
        ("t.csv", b"y,n\na,1\n", {"file_format": "parquet"}, "does not start with PAR1"),
    ],
)
def test_a_file_that_is_not_what_it_is_said_to_be(prepare, tmp_path, name, content, options, said):
    (tmp_path / name).write_bytes(content)
    refused(prepare, tmp_path / name, SourceError, name, said, **options)


def test_parquet_read_as_csv(prepare, tmp_path):
    pl.DataFrame(GOOD).write_parquet(tmp_path / "t.csv")
    refused(prepare, tmp_path / "t.csv", SourceError, "Set file_format to parquet", file_format="csv")


def test_a_csv_that_is_not_utf8_says_so_and_is_read_if_the_encoding_is_given(prepare, tmp_path):
    text = "y,stadt\n" + "a,Zürich\nb,Köln\n" * 10
    file = tmp_path / "latin.csv"
    file.write_bytes(text.encode("latin-1"))
    message = refused(prepare, file, SourceError, "latin.csv is not UTF-8 (line 2)", "Set encoding")
    assert "latin-1" in message


def test_a_header_that_is_not_utf8(prepare):
    refused(prepare, "y,größe\na,1\nb,2\n".encode("cp1252"), SourceError, "is not UTF-8 (line 1)")


def test_utf16_is_recognised(prepare):
    refused(prepare, "y,n\na,1\nb,2\n".encode("utf-16"), SourceError, "Set encoding to utf-16")


def test_a_wrong_encoding(prepare):
    refused(
        prepare, b"y,n\na,1\nb,\xff\n", SourceError, "not in the encoding 'shift_jis'", encoding="shift_jis"
    )


def test_rows_with_more_fields_than_the_header(prepare):
    refused(prepare, "y,n\na,1\nb,2,3\n", SourceError, "more fields than its header", "delimiter")


def test_quotes_that_do_not_close(prepare):
    refused(prepare, 'y,n\na,"1\nb,2\n', SourceError, "cannot be read as CSV")


def test_a_damaged_gzip_file(prepare, tmp_path):
    import gzip

    packed = gzip.compress(b"y,n\n" + b"a,1\nb,2\n" * 200)
    (tmp_path / "t.csv.gz").write_bytes(packed[:-20])
    refused(prepare, tmp_path / "t.csv.gz", SourceError, "damaged gzip")


def test_a_header_with_a_name_twice(prepare):
    refused(prepare, "y,n,n\na,1,2\nb,3,4\n", SchemaError, "two columns named 'n'")


def test_parquet_with_a_name_twice(prepare, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table([["a", "b"], [1, 2], [3, 4]], names=["y", "n", "n"]), tmp_path / "t.parquet")
    refused(prepare, tmp_path / "t.parquet", SourceError, "two columns of one name", "'n'")


def test_files_with_different_headers(prepare, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.csv").write_text("y,n\na,1\n")
    (tmp_path / "in" / "2.csv").write_text("y,m\na,1\n")
    refused(prepare, tmp_path / "in", SchemaError, "2.csv", "m, n")


def test_parquet_files_with_different_types(prepare, tmp_path):
    (tmp_path / "in").mkdir()
    pl.DataFrame({"y": ["a"], "n": [1]}).write_parquet(tmp_path / "in" / "1.parquet")
    pl.DataFrame({"y": ["a"], "n": ["1"]}).write_parquet(tmp_path / "in" / "2.parquet")
    refused(prepare, tmp_path / "in", SourceError, "Column 'n'", "String in 2.parquet", "Int64 in 1.parquet")


def test_folders_without_a_table(prepare, tmp_path):
    (tmp_path / "in").mkdir()
    refused(prepare, tmp_path / "in", SourceError, "holds no CSV or Parquet file", "It is empty")
    (tmp_path / "in" / "notes.md").write_text("x")
    refused(prepare, tmp_path / "in", SourceError, "holds no CSV or Parquet file", "notes.md")
    (tmp_path / "in" / "a.csv").write_text("y\n")
    (tmp_path / "in" / "b.parquet").write_text("y\n")
    refused(prepare, tmp_path / "in", SourceError, "both CSV and Parquet", "file_format")


def test_an_unknown_scheme(prepare):
    refused(prepare, "gcs://bucket/t.csv", SourceError, "gcs://", "Did you mean 'gs'?")


def test_a_target_that_is_not_there(prepare):
    refused(prepare, GOOD, TargetError, "Target 'churned' is no column", "y", target="churned")
    refused(prepare, {"churn": ["a", "b"], "n": [1, 2]}, TargetError, "Did you mean 'churn'?", target="chrun")


def test_a_wrong_delimiter_is_recognised(prepare):
    refused(prepare, "y;n\na;1\nb;2\n", TargetError, "set delimiter to ';'")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([None] * 40, "Target 'y' has no values"),
        (["", "NA"] * 20, "Target 'y' has no values"),
        (["same"] * 40, "Target 'y' is constant: every row has 'same'"),
        ([1.5] * 40, "Target 'y' is constant: every row has '1.5'"),
        (["same", None] * 20, "Target 'y' is constant"),
        (["2024-01-01", "2024-01-02"] * 20, "Target 'y' is a date"),
    ],
)
def test_a_target_of_no_use(prepare, values, said):
    refused(prepare, {**GOOD, "y": values}, TargetError, said)


@pytest.mark.parametrize(
    ("target", "task", "said"),
    [
        ("word", "binary", "4 distinct values, and the task is binary"),
        ("n", "binary", "40 distinct values, and the task is binary"),
        ("word", "regression", "is string, and the task is regression"),
        ("y", "multiclass", "two distinct values, and the task is multiclass"),
    ],
)
def test_a_target_that_does_not_fit_the_task(prepare, target, task, said):
    refused(prepare, GOOD, TargetError, f"Target {target!r}", said, target=target, task=task)


def test_a_target_with_too_many_classes(prepare):
    table = {**GOOD, "y": [f"name{n}" for n in range(40)]}
    refused(prepare, table, TargetError, "more than 30 classes", max_categories=30)


@pytest.mark.parametrize("positive", ["yes", "A"])
def test_a_positive_class_that_is_none(prepare, positive):
    refused(prepare, GOOD, ParameterError, "'positive_class'", "none of the classes", positive_class=positive)


def test_a_positive_class_where_there_is_none(prepare):
    refused(prepare, GOOD, ParameterError, "task is multiclass", target="word", positive_class="u")
    refused(
        prepare, GOOD, ParameterError, "task is regression", target="n", task="regression", positive_class="1"
    )


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("n >", "does not parse"),
        ("nn > 5", "'nn'"),
        ("sum(n) > 5", "outside the row"),
        ("n > (select 1)", ""),
        ("read_csv('/etc/passwd')", ""),
        ("row_number() over () > 3", ""),
        ("word + 1", ""),
        ("upper(word) = 'none'", "constant"),
    ],
)
def test_a_target_expression_that_does_not_work(prepare, sql, said):
    error = TargetError if said == "constant" else ExpressionError
    refused(prepare, GOOD, error, said, target="late", target_expression=sql)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"drop_columns": ["wrd"]}, "'drop_columns' names 'wrd'"),
        ({"key_columns": ["wrd"]}, "'key_columns' names 'wrd'"),
        ({"split": "time", "split_column": "wrd"}, "'split_column' names 'wrd'"),
        ({"column_types": {"wrd": "string"}}, "'column_types' names 'wrd'"),
        ({"rules": {"ranges": {"wrd": (0, 1)}}}, "'rules' names 'wrd'"),
    ],
)
def test_parameters_that_name_no_column_name_the_nearest(prepare, options, said):
    refused(prepare, GOOD, ParameterError, said, "Did you mean 'word'?", **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"drop_columns": ["y"]}, "'y' is in both 'target' and 'drop_columns'"),
        ({"key_columns": ["n"], "drop_columns": ["n"]}, "'n' is in both 'key_columns' and 'drop_columns'"),
        ({"key_columns": ["y"]}, "The target 'y' cannot be a key"),
        ({"drop_columns": ["n", "n"]}, "names 'n' twice"),
        ({"drop_columns": ["n"], "rules": {"ranges": {"n": (0, 1)}}}, "'rules' names 'n'"),
        ({"query": "select 1"}, "'query' is given, but the source is file://"),
        ({"revision": "v1"}, "'revision' is 'v1', but the source is file://"),
        ({"target": ""}, "'target' is empty"),
        ({"task": "clustering"}, "'task' is 'clustering'"),
        ({"file_format": "xlsx"}, "'file_format' is 'xlsx'"),
        ({"encoding": "utf-99"}, "'encoding' is 'utf-99'"),
        ({"encoding": "base64"}, "'encoding' is 'base64'"),
        ({"delimiter": ""}, "'delimiter' is ''"),
        ({"delimiter": "||"}, "'delimiter' is '||'"),
        ({"max_missing_share": 1.5}, "'max_missing_share' is 1.5"),
        ({"max_categories": 0}, "'max_categories' is 0"),
        ({"min_rows": 0}, "'min_rows' is 0"),
        ({"column_types": {"n": "float"}}, "'float' for column 'n'"),
        ({"column_types": {"n": "integer:%Y"}}, "'integer:%Y' for column 'n'"),
        ({"drop_columns": "n"}, "'drop_columns' is 'n', which is not a list of texts"),
        ({"missing_values": [1]}, "'missing_values' is [1]"),
        ({"test_size": "0.2"}, "'test_size' is '0.2', which is not a number"),
        ({"min_rows": 2.5}, "'min_rows' is 2.5, which is not a whole number"),
        ({"drop_duplicates": "yes"}, "'drop_duplicates' is 'yes', which is not true or false"),
        ({"column_types": {"n": 3}}, "'column_types' is {'n': 3}"),
    ],
)
def test_parameters_that_are_wrong(prepare, options, said):
    refused(prepare, GOOD, ParameterError, said, **options)


@pytest.mark.parametrize("content", ["y,n\na,1\nb,inf\n", "y,n\na,1.5\nb,-Infinity\n", "y,n\na, inf\nb,2\n"])
def test_infinite_values(prepare, content):
    refused(prepare, content, SchemaError, "Column 'n' is number", "missing_values")


def test_infinite_values_may_mean_missing(prepare):
    frame = pl.DataFrame({**GOOD, "n": [float("inf"), 1.0] * 20, "row": range(40)})
    assert prepare(frame, target="y", missing_values=["inf"]).both["n"].null_count() == 20


def test_infinite_values_in_parquet(prepare, tmp_path):
    pl.DataFrame({**GOOD, "n": [float("inf"), 1.0] * 20}).write_parquet(tmp_path / "t.parquet")
    refused(
        prepare, tmp_path / "t.parquet", SchemaError, "Column 'n' is number, but has 'inf', which is infinite"
    )


def test_a_column_of_a_million_categories(prepare, tmp_path):
    count = 1_000_000
    frame = pl.DataFrame({"y": ["a", "b"] * (count // 2), "n": range(count)})
    frame.with_columns(name=pl.format("user-{}", "n")).write_parquet(tmp_path / "t.parquet")
    message = refused(
        prepare, tmp_path / "t.parquet", RuleError, "'name' has about", "drop_columns", "key_columns"
    )
    about = int(message.split("about ")[1].split()[0].replace(",", ""))
    assert about == pytest.approx(count, rel=0.2)


def test_a_column_of_a_few_categories_too_many(prepare):
    table = {**GOOD, "name": [f"n{n}" for n in range(40)]}
    refused(
        prepare,
        table,
        RuleError,
        "'name' has 40 categories, more than max_categories (39)",
        max_categories=39,
    )
    assert prepare(table, target="y", max_categories=39, key_columns=["name"]).train.height


def test_too_few_rows(prepare):
    refused(prepare, GOOD, RuleError, "40 usable rows", "41 of min_rows", min_rows=41)
    table = {**GOOD, "y": [None] * 10 + ["a", "b"] * 15}
    refused(prepare, table, RuleError, "30 usable rows", "31 of min_rows", min_rows=31)


def test_one_row(prepare):
    table = {"y": ["a", "b"], "k": [1, 1], "n": [1, 2]}
    refused(prepare, table, SplitError, "one usable row", key_columns=["k"], min_rows=1)


def test_a_key_that_is_missing(prepare):
    refused(
        prepare,
        {**GOOD, "n": [None, *range(39)]},
        SchemaError,
        "Key column 'n' is missing",
        key_columns=["n"],
    )


def test_no_feature_is_left(prepare):
    refused(prepare, GOOD, SchemaError, "No feature column is left", drop_columns=["n", "word"])
    refused(prepare, {"y": GOOD["y"], "n": [None] * 40}, SchemaError, "No feature column is left")


def test_several_broken_rules_are_all_named(prepare):
    table = {**GOOD, "gaps": [None, 1] * 20}
    rules = {
        "max_missing_share": {"gaps": 0.1},
        "ranges": {"n": (0, 30)},
        "categories": {"word": ["u", "v", "w"]},
    }
    message = refused(
        prepare, table, RuleError, "'gaps' is 50.0% missing, more than the allowed 10.0%", rules=rules
    )
    assert "column 'n' has 9 values outside 0 to 30, such as" in message
    assert "column 'word' has 10 values that are none of u, v, w, such as 'x'" in message


@pytest.mark.parametrize("where", ["outputs", "temporary"])
def test_a_full_disk(tmp_path, where):
    """A real file system of one megabyte, in a process of its own."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], capture_output=True
    ).returncode:
        pytest.skip("no right to mount a tmpfs here")
    try:
        count = 60_000
        source = tmp_path / "big.csv"
        frame = pl.DataFrame(
            {"y": ["a", "b"] * (count // 2), "n": [os.urandom(8).hex() for _ in range(count)]}
        )
        frame.write_csv(source)
        out = small if where == "outputs" else tmp_path
        code = (
            "from pathlib import Path\n"
            "from kfp_lifecycle.components.prepare.options import Options\n"
            "from kfp_lifecycle.components.prepare.table import prepare_table\n"
            "from tests.components.prepare.conftest import outputs\n"
            "from kfp_lifecycle.components.shared.errors import StorageError\n"
            "try:\n"
            f"    prepare_table(Options(source={str(source)!r}, target='y', max_categories=10**6),"
            f" **outputs(Path({str(out)!r})))\n"
            "except StorageError as error:\n"
            "    print(error)\n"
        )
        env = os.environ | ({"TMPDIR": str(small)} if where == "temporary" else {})
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert "cannot be written: no space left on device" in done.stdout
        assert str(small) in done.stdout
        assert not [path for path in small.iterdir() if path.name in ("train", "test")]
    finally:
        subprocess.run(["umount", small], check=True)


def test_an_output_that_may_not_be_written(tmp_path):
    (tmp_path / "t.csv").write_text("y,n\n" + "a,1\nb,2\n" * 10)
    paths = {name: Path("/proc/nowhere") / name for name in outputs(tmp_path)}
    with pytest.raises((StorageError, LifecycleError)):
        prepare_table(Options(source=str(tmp_path / "t.csv"), target="y", drop_duplicates=False), **paths)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "'rules' is not JSON"),
        ("[1]", "not an object"),
        ('{"range": {}}', "no rule 'range'. Did you mean 'ranges'?"),
        ('{"ranges": 3}', "Rule 'ranges' in 'rules' is 3"),
        ('{"ranges": {"n": [1]}}', "'rules: ranges: n' is [1]"),
        ('{"ranges": {"n": [1, true]}}', "'rules: ranges: n'"),
        ('{"ranges": {"n": [NaN, 2]}}', "'rules: ranges: n'"),
        ('{"categories": {"n": "a"}}', "'rules: categories: n' is 'a'"),
        ('{"max_missing_share": {"n": 2}}', "'rules: max_missing_share: n' is 2"),
    ],
)
def test_rules_that_are_none(text, said):
    with pytest.raises(ParameterError) as raised:
        Rules.parse(text)
    assert said in str(raised.value)
