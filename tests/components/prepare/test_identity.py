"""The row hash is the same in every run, on every machine, in every version: these are its values."""

import polars as pl

from kfp_lifecycle.components.prepare.identity import low_bits, row_hash, salted
from kfp_lifecycle.components.shared.inference.schema import Column

FRAME = pl.DataFrame(
    {
        "i": [1, 2**53 + 1, None],
        "f": [1.0, -0.0, 0.1],
        "s": ["a", "", None],
        "b": [True, False, None],
        "d": pl.Series(["2024-01-02", "1969-12-31", None]).str.to_date(),
        "t": pl.Series(["2024-01-02 00:00:00", "1969-12-31 23:59:59", None]).str.to_datetime(
            time_unit="us", time_zone="UTC"
        ),
    }
)
TYPES = {"i": "integer", "f": "number", "s": "string", "b": "boolean", "d": "date", "t": "timestamp"}


KNOWN = [1488537555370488296, 642666953022676327, 4407337429817838240]
KNOWN_SALTED = [285914527254170113, 7621055767219156231, 17426591773904934106]


def columns(names, **more):
    return [Column(name, TYPES.get(name, "integer"), **more) for name in names]


def hashes(frame, names):
    return frame.select(low_bits(row_hash(columns(names)))).to_series().to_list()


def test_known_values():
    assert hashes(FRAME, "ifsbdt") == KNOWN
    assert FRAME.select(salted(low_bits(row_hash(columns("i"))), 42)).to_series().to_list() == KNOWN_SALTED


def test_types_that_a_column_may_change_between_hash_alike():
    assert hashes(FRAME, "i")[0] == hashes(FRAME, "f")[0]
    assert hashes(FRAME, "d")[0] == hashes(FRAME, "t")[0]
    words = pl.DataFrame({"s": ["Yes", "No", None]})
    flags = FRAME.select(low_bits(row_hash(columns("b", true_value="Yes", false_value="No")))).to_series()
    assert hashes(words, "s") == flags.to_list()


def test_integers_beyond_a_float_are_told_apart():
    frame = pl.DataFrame({"a": [2**53, 2**53 + 1, 2**63 - 1, 2**63 - 2, -(2**63), None]})
    assert len(set(hashes(frame, "a"))) == 6
    pair = pl.DataFrame({"a": [2**53, 2**53 + 1], "c": [2**53 + 1, 2**53]})
    assert len(set(hashes(pair, "ac"))) == 2


def test_values_do_not_run_into_each_other():
    frame = pl.DataFrame({"a": ["ab", "a", None, ""], "b": ["c", "bc", "", None]})
    hashed = frame.select(row_hash([Column("a", "string"), Column("b", "string")])).to_series()
    assert hashed.n_unique() == 4
