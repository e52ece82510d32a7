"""CSV files, parsed once into one Parquet file that every later pass reads.

Numbers are parsed as numbers where the first rows show nothing else. Where a later row contradicts them,
the files are parsed again as text, and settling types the text: the result is the same, it only takes longer.
"""

import codecs
import gzip
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, cast

import polars as pl

from kfp_lifecycle.components.prepare.files import Fetched
from kfp_lifecycle.components.prepare.options import Options
from kfp_lifecycle.components.shared.errors import SchemaError, SourceError
from kfp_lifecycle.components.shared.outputs import storage_problem

#: Rows by which the parser's types are chosen.
SAMPLE_ROWS = 10_000

_CHUNK = 1 << 20
_REPEATED = re.compile(r"^(.*)_duplicated_\d+$", re.S)


def stage_csv(fetched: Fetched, options: Options, folder: Path) -> tuple[pl.LazyFrame, dict[str, str]]:
    """Parses the files into ``folder``.

    Args:
        fetched: The files, plain or gzipped.
        options: ``encoding``, ``delimiter``, ``missing_values`` and ``column_types`` are read.
        folder: Where to put the Parquet file, about as large as the CSV.

    Returns:
        The table, its columns Int64, Float64 or String; and the columns left out, with the reason: those
        whose header is blank, as R and pandas write row numbers.

    Raises:
        SourceError: A file is not in the encoding, or its rows do not fit its header.
        SchemaError: Two columns have one name, or the files' headers differ.
    """
    files = [_plain_utf8(file, options.encoding, fetched.uri, folder) for file in fetched.files]
    reader = _Reader(files, options, fetched.uri)
    names = reader.names()
    staged = reader.stage(folder)
    blank = [name for name in names if (_REPEATED.sub(r"\1", name)).strip() == ""]
    frame = pl.scan_parquet(staged).drop(blank)
    return frame, {f"(column {names.index(name) + 1})": "its header is blank" for name in blank}


class _Reader:
    """The files of one table, read with the user's options."""

    def __init__(self, files: list[Path], options: Options, uri: str) -> None:
        self.files, self.options, self.uri = files, options, uri

    def scan(
        self, types: Mapping[str, pl.DataType], missing: Sequence[str] = (), files: list[Path] | None = None
    ) -> pl.LazyFrame:
        """The files as one table; columns without a type are text, fields that are in ``missing`` null."""
        return pl.scan_csv(
            files or self.files,
            separator=self.options.separator,
            infer_schema=False,
            schema_overrides=types,
            null_values=list(missing) or None,
        )

    def stage(self, folder: Path) -> Path:
        """Parses all into one Parquet file, in the fastest way that the fields allow.

        Returns:
            The file, in ``folder``. Each way has its own: a sink that Polars broke off may still be opening
            and truncating its file while the next one writes.

        Raises:
            SourceError: The files cannot be parsed even as text.
        """
        missing = self.options.missing_values
        types, has_missing = self._number_types()
        ways: list[tuple[Mapping[str, pl.DataType], Sequence[str]]] = [(types, missing), ({}, missing)]
        if missing and not has_missing:
            # Looking for them in every field takes a quarter of the parser's time.
            ways.insert(0, (types, ()))
        problem: pl.exceptions.PolarsError | None = None
        for number, way in enumerate(ways):
            staged = folder / f"staged-{number}.parquet"
            try:
                # Read back a few times and thrown away: neither compression nor statistics would pay.
                self.scan(*way).sink_parquet(staged, compression="uncompressed", statistics=False)
                return staged
            except pl.exceptions.PolarsError as error:
                if storage_problem(error) is not None:
                    raise
                problem = error
                staged.unlink(missing_ok=True)
        assert problem is not None
        raise self.problem(problem) from problem

    def names(self) -> list[str]:
        """The column names, one header for all files.

        Raises:
            SchemaError: A name is there twice, or headers differ.
            SourceError: A header is not in the encoding, or there is none.
        """
        headers = []
        for file in self.files:
            try:
                headers.append(self.scan({}, files=[file]).collect_schema().names())
            except pl.exceptions.PolarsError as error:
                raise self.problem(error) from error
        names = headers[0]
        if any("\ufffd" in name or "\x00" in name for name in names):
            raise _not_utf8(self.files[0], self.uri)
        for name in names:
            repeated = _REPEATED.match(name)
            if repeated and repeated[1].strip() and repeated[1] in names:
                raise SchemaError(
                    f"{self.uri} has two columns named {repeated[1]!r}.",
                    "Rename or remove one in the header.",
                )
        for file, header in zip(self.files, headers, strict=True):
            if header != names:
                raise SchemaError(
                    f"{file.name} of {self.uri} has other columns than {self.files[0].name}: "
                    f"{', '.join(sorted({*header} ^ {*names})) or 'in another order'}.",
                    "Give all files of a table the same header.",
                )
        return names

    def _number_types(self) -> tuple[dict[str, pl.DataType], bool]:
        """The columns with nothing but numbers in the first rows, and whether a text there means missing."""
        missing = self.options.missing_values
        try:
            sample = self.scan({}, files=self.files[:1]).head(SAMPLE_ROWS).collect()
        except pl.exceptions.PolarsError as error:
            raise self.problem(error) from error
        is_missing = pl.all().is_in(missing)
        has_missing = sample.select(pl.any_horizontal(is_missing.any())).item() if missing else False
        present = sample.select(pl.when(is_missing.not_()).then(pl.all()))
        types: dict[str, pl.DataType] = {}
        for values in present.iter_columns():
            kind = self.options.column_types.get(values.name, "number")
            if kind not in ("integer", "number", "boolean") or values.null_count() == values.len():
                continue
            for dtype in (pl.Int64(), pl.Float64()):
                if values.cast(dtype, strict=False).null_count() == values.null_count():
                    types[values.name] = dtype
                    break
        return types, bool(has_missing)

    def problem(self, error: pl.exceptions.PolarsError) -> SourceError:
        """What is wrong with a file that Polars cannot read even as text."""
        said = str(error)
        if "utf-8" in said.lower():
            for file in self.files:
                if not _is_utf8(file):
                    return _not_utf8(file, self.uri)
        if "more fields" in said:
            return SourceError(
                f"{self.uri} has a row with more fields than its header.",
                f"Check the delimiter ({self.options.delimiter!r}), and quote texts that have one in them.",
            )
        first_line = " ".join(said.partition("\n\n")[0].split())[:200].rstrip(".")
        return SourceError(
            f"{self.uri} cannot be read as CSV: {first_line}.",
            "Check its quotes, and the delimiter parameter.",
        )


def _plain_utf8(file: Path, encoding: str, uri: str, folder: Path) -> Path:
    """The file as plain UTF-8: itself if it is that, else a copy made as a stream.

    Raises:
        SourceError: Its bytes are not in ``encoding``, or its compression is damaged.
    """
    with file.open("rb") as stream:
        gzipped = stream.read(2) == b"\x1f\x8b"
    name = codecs.lookup(encoding).name
    if not gzipped and name in ("utf-8", "utf-8-sig", "ascii"):
        return file
    copy = folder / f"utf8-{file.name}"
    try:
        with _open(file, gzipped) as source, copy.open("wb") as out:
            if name in ("utf-8", "utf-8-sig", "ascii"):
                shutil.copyfileobj(source, out, _CHUNK)
            else:
                _transcode(source, encoding, out)
    except UnicodeError as error:
        raise SourceError(
            f"{uri} is not in the encoding {encoding!r}: {error}.", _other_encoding(file)
        ) from error
    except (gzip.BadGzipFile, EOFError) as error:
        raise SourceError(f"{uri} is a damaged gzip file: {error}.", "Write or copy it again.") from error
    return copy


def _open(file: Path, gzipped: bool) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(file)) if gzipped else file.open("rb")


def _transcode(source: IO[bytes], encoding: str, out: IO[bytes]) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    while chunk := source.read(_CHUNK):
        out.write(decoder.decode(chunk).encode())
    out.write(decoder.decode(b"", final=True).encode())


def _is_utf8(file: Path) -> bool:
    return _first_bad_line(file) is None


def _first_bad_line(file: Path) -> int | None:
    """The number of the first line that is not UTF-8, from 1; None where all are."""
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return None


def _not_utf8(file: Path, uri: str) -> SourceError:
    line = _first_bad_line(file)
    where = f" (line {line})" if line else ""
    return SourceError(f"{uri} is not UTF-8{where}.", _other_encoding(file))


def _other_encoding(file: Path) -> str:
    with file.open("rb") as stream:
        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "Set encoding to utf-16."
    return "Set encoding to what it was written in, such as latin-1, cp1252, utf-16 or shift_jis."
