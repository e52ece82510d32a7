"""Any table ends in a result that keeps its promises, or in a declared error."""

import datetime as dt
import itertools
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kfp_lifecycle.components.prepare.csv_files import _Reader
from kfp_lifecycle.components.prepare.options import Options
from kfp_lifecycle.components.prepare.table import prepare_table
from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.errors import LifecycleError
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema
from kfp_lifecycle.components.shared.inference.settle import DTYPES
from tests.components.prepare.conftest import outputs
from tests.conftest import SOAK

runs = itertools.count()

words = st.sampled_from(
    ["", " ", "NA", "Yes", "No", "yes", "True", "1", "0", "007", "1.5", "1e400", "inf", "-3", "nan"]
)
texts = st.one_of(words, st.text(max_size=6), st.dates().map(str), st.datetimes().map(str))
values = {
    "text": st.one_of(st.none(), texts),
    "word": st.sampled_from(["a", "b", "c", None]),
    "flag": st.sampled_from(["Yes", "No", ""]),
    "integer": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    "small": st.integers(0, 3),
    "number": st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=False)),
    "float": st.floats(),
    "boolean": st.one_of(st.none(), st.booleans()),
    "date": st.one_of(st.none(), st.dates()),
    "moment": st.one_of(st.none(), st.datetimes()),
    "nothing": st.none(),
}
dtypes = {
    "integer": pl.Int64,
    "small": pl.Int64,
    "number": pl.Float64,
    "float": pl.Float64,
    "boolean": pl.Boolean,
    "date": pl.Date,
    "moment": pl.Datetime("us"),
    "nothing": pl.Null,
}
names = st.one_of(
    st.sampled_from(["y", "n", "a b", "_row_hash", "", "é", "*", "^n.*$", "n missing", 'q"']),
    st.text(min_size=1, max_size=5),
)


@st.composite
def tables(draw):
    """A table of up to six columns, each of one kind, and up to 25 rows of which some are repeated."""
    kinds = draw(st.dictionaries(names, st.sampled_from(sorted(values)), min_size=1, max_size=6))
    rows = draw(st.integers(0, 18))
    columns = {
        name: pl.Series(
            values=draw(st.lists(values[kind], min_size=rows, max_size=rows)),
            dtype=dtypes.get(kind, pl.String),
            strict=False,
        )
        for name, kind in kinds.items()
    }
    frame = pl.DataFrame(columns)
    return pl.concat([frame, frame.head(draw(st.integers(0, 7)))])


@st.composite
def options(draw, columns):
    """Parameters that fit the table more often than not."""
    name = st.sampled_from(columns)
    split = draw(st.sampled_from(["auto", "random", "stratified", "time", "group"]))
    return {
        "target": draw(st.one_of(name, st.just("y"))),
        "task": draw(st.sampled_from(["auto", "auto", "auto", "binary", "multiclass", "regression"])),
        "split": split,
        "split_column": draw(name) if split in ("time", "group") else "",
        "test_size": draw(st.sampled_from([0.2, 0.5, 0.8])),
        "seed": draw(st.integers(0, 3)),
        "key_columns": draw(st.lists(name, max_size=1)),
        "drop_columns": draw(st.lists(name, max_size=1)),
        "drop_duplicates": draw(st.booleans()),
        "max_missing_share": draw(st.sampled_from([0.5, 1.0])),
        "min_rows": draw(st.sampled_from([1, 10])),
        "max_categories": draw(st.sampled_from([3, 1000])),
        "column_types": draw(
            st.dictionaries(name, st.sampled_from(["string", "number", "date", "boolean"]), max_size=1)
        ),
    }


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@settings(max_examples=4000 if SOAK else 120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), table=tables())
def test_any_table_ends_in_a_result_or_in_a_declared_error(tmp_path, kind, data, table):
    folder = tmp_path / f"{next(runs)}"
    folder.mkdir()
    source = folder / f"table.{kind}"
    table.write_csv(source) if kind == "csv" else table.write_parquet(source)
    given_options = data.draw(options(columns=table.columns))
    run(source, folder, table.height, given_options)


@settings(max_examples=4000 if SOAK else 80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    content=st.one_of(
        st.binary(max_size=200), st.text(alphabet='y,n"\n 1.ab\r;é', max_size=120).map(str.encode)
    )
)
def test_any_bytes_end_in_a_result_or_in_a_declared_error(tmp_path, content):
    folder = tmp_path / f"{next(runs)}"
    folder.mkdir()
    (folder / "table.csv").write_bytes(content)
    run(folder / "table.csv", folder, None, {"target": "y", "min_rows": 1})


@settings(max_examples=2000 if SOAK else 60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), table=tables())
def test_parsed_numbers_are_settled_text(tmp_path, data, table):
    """Whatever the parser takes for numbers, the outcome is that of reading text and settling it."""
    folder = tmp_path / f"{next(runs)}"
    folder.mkdir()
    table.write_csv(folder / "table.csv")
    given_options = data.draw(options(columns=table.columns))

    def outcome(name):
        (folder / name).mkdir()
        try:
            prepare_table(
                Options(source=str(folder / "table.csv"), **given_options), **outputs(folder / name)
            )
        except LifecycleError as error:
            return type(error)
        schema = TableSchema.load(folder / name / "schema.json")
        return schema, *(scan(folder / name / side).collect().to_dicts() for side in ("train", "test"))

    parsed = outcome("parsed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Reader, "_number_types", lambda self: ({}, True))
        assert outcome("text") == parsed


def run(source: Path, folder: Path, rows, given_options):
    try:
        prepared = prepare_table(Options(source=str(source), **given_options), **outputs(folder))
    except LifecycleError:
        assert [path.name for path in folder.iterdir()] == [source.name]
        return
    train, test = scan(folder / "train").collect(), scan(folder / "test").collect()
    schema = TableSchema.load(folder / "schema.json")
    assert schema == prepared.schema
    dropped = prepared.rows_without_target + prepared.duplicates
    assert train.height + test.height == prepared.rows_read - dropped
    if rows is not None:
        assert prepared.rows_read == rows
    assert train.height > 0
    assert test.height > 0
    # The splits are disjoint, complete, and as the schema says.
    assert set(train[ROW_HASH]).isdisjoint(test[ROW_HASH]) or schema.split.method in ("time", "group")
    both = pl.concat([train, test])
    assert both.columns == [*(column.name for column in schema.columns), ROW_HASH]
    if given_options.get("drop_duplicates", True):
        assert both[ROW_HASH].is_unique().all()
    for column in schema.columns:
        true_of_the_data(column, both[column.name])
    target = both[schema.target]
    assert target.null_count() == 0
    assert schema.by_role("target")[0].name == schema.target
    if schema.classes:
        assert sorted(target.cast(pl.String).unique()) == schema.classes
        assert set(test[schema.target]) <= set(train[schema.target])
    if schema.split.method == "time":
        assert train[schema.split.column].max() < test[schema.split.column].min()
    if schema.split.method == "group":
        assert set(train[schema.split.column]).isdisjoint(test[schema.split.column])


def true_of_the_data(column, series):
    """What the schema says of a column holds for its values."""
    assert series.dtype == DTYPES[column.type]
    assert column.nullable == (series.null_count() > 0)
    if column.type in ("integer", "number"):
        assert (column.minimum, column.maximum) == (series.min(), series.max())
    if column.type == "number":
        assert series.is_finite().all()
    if column.type in ("date", "timestamp") and series.drop_nulls().len():
        assert isinstance(series.min(), dt.date)
        assert column.minimum == series.min().isoformat()
    if column.type == "string":
        assert column.categories == sorted(series.drop_nulls().unique())
        assert series.drop_nulls().str.strip_chars().equals(series.drop_nulls())
