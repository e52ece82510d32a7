"""Which type a column settles to."""

import random

import polars as pl
import pytest

from kfp_lifecycle.components.prepare import csv_files
from kfp_lifecycle.components.shared.errors import SchemaError

ROWS = 40
TARGET = {"y": ["a", "b"] * (ROWS // 2)}


def column(prepare, values, **options):
    """The schema's column of ``values``, repeated to a table's length beside a target and a feature."""
    values = (list(values) * ROWS)[:ROWS]
    data = {**TARGET, "n": list(range(ROWS)), "x": values}
    made = prepare(pl.DataFrame(data, strict=False), target="y", max_missing_share=1, **options)
    return made.schema.column("x"), made.both.sort("n")["x"].to_list()


@pytest.mark.parametrize(
    ("values", "kind", "source_type"),
    [
        (["1", "2", "3"], "integer", "integer"),
        (["1", "2.5"], "number", "number"),
        (["1e3", "-.5"], "number", "number"),
        (["1", " ", "3"], "integer", "string"),
        (["1.5", "NA", None], "number", "number"),
        (["007", "008"], "integer", "integer"),
        (["Yes", "No"], "boolean", "string"),
        (["yes", "NO", ""], "boolean", "string"),
        (["True", "False"], "boolean", "string"),
        (["y", "n"], "boolean", "string"),
        (["T", "F", "NA"], "boolean", "string"),
        (["Yes", "No", "Maybe"], "string", "string"),
        (["Yes", "False"], "string", "string"),
        (["Yes"], "string", "string"),
        (["2024-01-02", "2024-02-29"], "date", "string"),
        (["2024-01-02", "2023-02-29"], "string", "string"),
        (["2024-01-02 10:00:00", "2024-01-02 11:30:00.5"], "timestamp", "string"),
        (["2024-01-02T10:00:00Z", "2024-01-02T11:30:00+02:00"], "timestamp", "string"),
        (["2024-01-02", "2024-01-02T11:30"], "timestamp", "string"),
        (["1", "2", "b", "c"], "string", "string"),
    ],
)
def test_types(prepare, values, kind, source_type):
    found, _ = column(prepare, values)
    assert (found.type, found.source_type) == (kind, source_type)


def test_missing_texts_and_blanks_are_null(prepare):
    found, values = column(prepare, ["1", "", "  ", "NA", "?"], missing_values=["NA", "?"])
    assert values[:5] == [1, None, None, None, None]
    assert found.nullable
    assert found.missing_share == pytest.approx(0.8)


def test_a_number_that_means_missing_is_null(prepare):
    _, values = column(prepare, [1, 2, -999], missing_values=["-999"])
    assert values[:3] == [1, 2, None]


def test_the_target_keeps_its_labels(prepare):
    data = {"y": ["Yes", "No"] * 20, "x": list(range(40)), "z": ["Yes", "No"] * 20}
    made = prepare(data, target="y")
    assert (made.schema.column("y").type, made.schema.classes) == ("string", ["No", "Yes"])
    assert made.schema.column("z").type == "boolean"


@pytest.mark.parametrize(
    ("declared", "values", "expected"),
    [
        ("string", ["007", "8"], ["007", "8"]),
        ("number", ["1", "2"], [1.0, 2.0]),
        ("integer", ["1.0", "2.0"], [1, 2]),
        ("boolean", ["1", "0"], [True, False]),
        ("boolean", ["Yes", "No"], [True, False]),
        ("timestamp:%d.%m.%Y %H:%M", ["02.01.2024 10:00", ""], ["2024-01-02T10:00:00+00:00", None]),
        ("date:%d/%m/%Y", ["02/01/2024", "03/01/2024"], ["2024-01-02", "2024-01-03"]),
        ("date:%Y%m%d", ["20240102", "20240103"], ["2024-01-02", "2024-01-03"]),
    ],
)
def test_a_declared_type_is_kept(prepare, declared, values, expected):
    found, values = column(prepare, values, column_types={"x": declared})
    assert found.type == declared.partition(":")[0]
    assert found.time_format == (declared.partition(":")[2] or None)
    assert [v.isoformat() if hasattr(v, "isoformat") else v for v in values[:2]] == expected


def test_a_declared_type_that_the_values_do_not_have_is_an_error(prepare):
    with pytest.raises(SchemaError, match="Column 'x' is integer, but has 'b'"):
        column(prepare, ["1", "b"], column_types={"x": "integer"})


def test_mixed_types_are_an_error_with_examples_and_the_fix(prepare):
    with pytest.raises(
        SchemaError, match=r"'x' mixes types: 38 of its values are numbers, 2 .* 'n/k'"
    ) as raised:
        column(prepare, ["5"] * 19 + ["n/k"])
    assert "missing_values" in raised.value.fix
    assert "column_types" in raised.value.fix
    assert column(prepare, ["5"] * 19 + ["n/k"], missing_values=["n/k"])[0].type == "integer"
    assert column(prepare, ["5"] * 19 + ["n/k"], column_types={"x": "string"})[0].type == "string"


def test_text_with_many_values_is_judged_by_all_of_them(prepare, monkeypatch):
    """Above a number of distinct values, types are found by a pass over the column instead."""
    monkeypatch.setattr("kfp_lifecycle.components.prepare.settling.COUNTED", 5)
    options = {"max_categories": 3, "key_columns": ["x"]}
    assert column(prepare, [f" {n}.5" for n in range(ROWS)], **options)[0].type == "number"
    assert column(prepare, [f"2024-01-{n % 28 + 1:02d}" for n in range(ROWS)], **options)[0].type == "date"
    assert column(prepare, [f"v{n}" for n in range(ROWS)], **options)[0].type == "string"
    with pytest.raises(SchemaError, match="mixes types"):
        column(prepare, [str(n) for n in range(ROWS - 1)] + ["x"], **options)


def test_parsed_numbers_and_settled_text_are_the_same(prepare, tmp_path, monkeypatch):
    """A column that turns out not to be a number after the parser's sample makes it read all as text."""
    monkeypatch.setattr(csv_files, "SAMPLE_ROWS", 20)
    random.seed(0)
    lines = ["id,small,big,decimal,mostly,word,gap"]
    for n in range(60):
        decimal = f"{random.uniform(-5, 5):.3f}" if n % 7 else "NA"
        lines.append(
            f"{n},{random.choice('01')},{2**60 + n},{decimal},{n},{random.choice('ab')},{n if n % 2 else ''}"
        )
    typed = "\n".join(lines)
    # One value beyond the sample that is a number, but not for the parser.
    late = typed.replace("\n59,", '\n"59 ",')
    scans = []
    scan = csv_files._Reader.scan
    monkeypatch.setattr(
        csv_files._Reader,
        "scan",
        lambda self, types, *rest, **more: scans.append(types) or scan(self, types, *rest, **more),
    )
    first = prepare(typed, target="word")
    assert len([types for types in scans if types]) == 1
    scans.clear()
    second = prepare(late, target="word")
    assert [bool(types) for types in scans[-2:]] == [True, False]
    assert first.both.sort("id").equals(second.both.sort("id"))
    same = [(c.name, c.type, c.nullable, c.minimum, c.maximum) for c in first.schema.columns]
    assert same == [(c.name, c.type, c.nullable, c.minimum, c.maximum) for c in second.schema.columns]
    assert first.schema.column("small").source_type == second.schema.column("small").source_type == "integer"
    assert second.schema.column("id").source_type == "string"


def test_integers_that_become_decimals_later_on_are_numbers(prepare, monkeypatch):
    monkeypatch.setattr(csv_files, "SAMPLE_ROWS", 10)
    found, values = column(prepare, [*range(39), 0.5])
    assert found.type == "number"
    assert values[-1] == 0.5


def test_a_parquet_source_keeps_its_types(prepare, tmp_path):
    frame = pl.DataFrame({**TARGET, "n": range(ROWS)}).with_columns(
        small=pl.col("n").cast(pl.Int8),
        half=pl.when(pl.col("n") > 3).then(pl.col("n") / 2),
        flag=pl.col("n") > 5,
        text=pl.col("n").cast(pl.String),
        kind=pl.col("y").cast(pl.Categorical),
        day=pl.date(2024, 1, 1) + pl.duration(days=pl.col("n")),
        moment=pl.datetime(2024, 1, 1, time_zone="Europe/Berlin") + pl.duration(hours=pl.col("n")),
        money=pl.col("n").cast(pl.Decimal(10, 2)),
    )
    frame.write_parquet(tmp_path / "t.parquet")
    made = prepare(tmp_path / "t.parquet", target="y")
    kinds = {c.name: (c.type, c.source_type) for c in made.schema.columns}
    assert kinds["small"] == ("integer", "integer")
    assert kinds["half"] == ("number", "number")
    assert kinds["flag"] == ("boolean", "boolean")
    assert kinds["text"] == ("integer", "string")
    assert kinds["kind"] == ("string", "string")
    assert kinds["day"] == ("date", "date")
    assert kinds["moment"] == ("timestamp", "timestamp")
    assert kinds["money"] == ("number", "number")
    assert made.both["moment"].dtype == pl.Datetime("us", "UTC")


def test_a_column_of_lists_is_an_error_unless_it_is_dropped(prepare, tmp_path):
    pl.DataFrame({**TARGET, "n": range(ROWS), "x": [[1]] * ROWS}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(SchemaError, match=r"'x' has the type List\(Int64\)"):
        prepare(tmp_path / "t.parquet", target="y")
    assert prepare(tmp_path / "t.parquet", target="y", drop_columns=["x"]).train.height
