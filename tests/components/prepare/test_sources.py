"""The same table from every kind of place, by real servers."""

import gzip
import http.server
import os
import sys
import threading
from pathlib import Path

import boto3
import polars as pl
import pytest

from kfp_lifecycle.components.prepare import remote
from kfp_lifecycle.components.shared.errors import ParameterError, SourceError
from tests.servers import free_port, gcs_server, s3_server

ROWS = 60
TABLE = pl.DataFrame(
    {"y": ["a", "b"] * (ROWS // 2), "n": range(ROWS), "word": [f"wört{n % 5}" for n in range(ROWS)]}
)
CSV = TABLE.write_csv().encode()


def parquet(frame: pl.DataFrame, path: Path) -> bytes:
    frame.write_parquet(path)
    return path.read_bytes()


def same(made):
    """Whether the table that was prepared is the one that was stored."""
    return made.both.select(TABLE.columns).sort("n").equals(TABLE)


# Local files


@pytest.mark.parametrize("name", ["t.csv", "t.CSV", "data", "t.txt"])
def test_a_csv_file_by_any_name(prepare, tmp_path, name):
    (tmp_path / name).write_bytes(CSV)
    made = prepare(tmp_path / name, target="y")
    assert same(made)
    assert made.schema.source_uri == str(tmp_path / name)
    assert made.schema.source_digest.startswith("sha256:")


def test_a_file_uri_and_the_home_folder(prepare, tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_bytes(CSV)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert same(prepare(f"file://{tmp_path}/t.csv", target="y"))
    assert same(prepare("~/t.csv", target="y"))


def test_the_digest_is_that_of_the_content(prepare, tmp_path):
    import hashlib

    (tmp_path / "t.csv").write_bytes(CSV)
    assert (
        prepare(tmp_path / "t.csv", target="y").schema.source_digest
        == f"sha256:{hashlib.sha256(CSV).hexdigest()}"
    )
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "1.csv").write_bytes(CSV)
    before = prepare(folder, target="y").schema.source_digest
    (folder / "1.csv").rename(folder / "2.csv")
    assert prepare(folder, target="y").schema.source_digest != before


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_folder_of_files_with_others_left_out(prepare, tmp_path, kind):
    folder = tmp_path / "in"
    (folder / "b").mkdir(parents=True)
    for name, part in (("a", TABLE[:20]), ("b/c", TABLE[20:])):
        part.write_csv(folder / f"{name}.csv") if kind == "csv" else part.write_parquet(
            folder / f"{name}.parquet"
        )
    (folder / "_SUCCESS").touch()
    (folder / ".hidden.csv").write_text("nothing")
    (folder / "README.md").write_text("nothing")
    assert same(prepare(folder, target="y"))


def test_both_kinds_in_a_folder_if_the_format_is_given(prepare, tmp_path):
    TABLE.write_csv(tmp_path / "a.csv")
    TABLE.write_parquet(tmp_path / "a.parquet")
    assert same(prepare(tmp_path, target="y", file_format="parquet"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "UTF-32"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings_and_gzip(prepare, tmp_path, encoding, packed):
    content = CSV.decode().encode(encoding)
    name = "t.csv.gz" if packed else "t.csv"
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    assert same(prepare(tmp_path / name, target="y", encoding=encoding))


def test_a_utf8_byte_order_mark_is_no_part_of_the_first_name(prepare, tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + CSV)
    assert same(prepare(tmp_path / "t.csv", target="y"))


@pytest.mark.parametrize(("delimiter", "character"), [(";", ";"), ("|", "|"), (r"\t", "\t"), ("\t", "\t")])
def test_delimiters(prepare, tmp_path, delimiter, character):
    TABLE.write_csv(tmp_path / "t.csv", separator=character)
    assert same(prepare(tmp_path / "t.csv", target="y", delimiter=delimiter))


def test_windows_line_ends_quotes_and_line_breaks_inside(prepare, tmp_path):
    frame = TABLE.with_columns(word=pl.format('a "{}"\r\nb, c', pl.col("n") % 3))
    frame.write_csv(tmp_path / "t.csv", line_terminator="\r\n")
    assert prepare(tmp_path / "t.csv", target="y").both.select(frame.columns).sort("n").equals(frame)


def test_a_column_with_a_blank_header_is_left_out(prepare, tmp_path):
    """R and pandas write row numbers so."""
    (tmp_path / "t.csv").write_bytes(TABLE.with_row_index("").write_csv().encode())
    made = prepare(tmp_path / "t.csv", target="y")
    assert same(made)
    assert made.schema.dropped == {"(column 1)": "its header is blank"}
    assert "its header is blank" in made.profile


def test_a_table_that_prepare_wrote_is_a_source(prepare, tmp_path):
    (tmp_path / "t.csv").write_bytes(CSV)
    first = prepare(tmp_path / "t.csv", target="y")
    again = prepare(first.folder / "train", target="y")
    assert again.both.height == first.train.height
    assert again.schema.dropped == {"_row_hash": "the name is prepare's own"}


# Object stores


@pytest.fixture(scope="module")
def gcs(tmp_path_factory):
    """A running Cloud Storage emulator with a bucket."""
    from google.cloud import storage

    folder = tmp_path_factory.mktemp("gcs")
    with pytest.MonkeyPatch.context() as patch, gcs_server(folder) as environment:
        patch.setenv("STORAGE_EMULATOR_HOST", environment["STORAGE_EMULATOR_HOST"])
        client = storage.Client.create_anonymous_client()
        bucket = client.bucket("data")
        bucket.blob("churn/table.csv").upload_from_string(CSV)
        bucket.blob("parts/1.parquet").upload_from_string(parquet(TABLE[:30], folder / "1"))
        bucket.blob("parts/2.parquet").upload_from_string(parquet(TABLE[30:], folder / "2"))
        bucket.blob("parts/_SUCCESS").upload_from_string(b"")
        yield


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """A running S3 server with a bucket."""
    folder = tmp_path_factory.mktemp("s3")
    with pytest.MonkeyPatch.context() as patch, s3_server(folder) as environment:
        for name, value in environment.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="data")
        client.put_object(Bucket="data", Key="churn/table.csv", Body=CSV)
        client.put_object(Bucket="data", Key="public.csv", Body=CSV, ACL="public-read")
        client.put_object(Bucket="data", Key="parts/1.parquet", Body=parquet(TABLE[:30], folder / "1"))
        client.put_object(Bucket="data", Key="parts/2.parquet", Body=parquet(TABLE[30:], folder / "2"))
        client.put_object(Bucket="data", Key="parts/_SUCCESS", Body=b"")
        yield


@pytest.mark.server
@pytest.mark.parametrize(("scheme", "version"), [("gs", "generation:"), ("s3", "etag:")])
def test_an_object_and_a_folder_in_a_bucket(prepare, request, scheme, version):
    request.getfixturevalue("gcs" if scheme == "gs" else "s3")
    made = prepare(f"{scheme}://data/churn/table.csv", target="y")
    assert same(made)
    assert made.schema.source_uri == f"{scheme}://data/churn/table.csv"
    assert made.schema.source_digest.startswith(version)
    folder = prepare(f"{scheme}://data/parts", target="y")
    assert same(folder)
    assert folder.schema.source_digest.startswith("sha256:")
    assert same(prepare(f"{scheme}://data/parts/", target="y"))


@pytest.mark.server
@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_what_is_not_in_a_bucket_is_named_with_the_nearest(prepare, request, scheme):
    request.getfixturevalue("gcs" if scheme == "gs" else "s3")
    with pytest.raises(SourceError, match=r"Did you mean 'churn/table.csv'\?"):
        prepare(f"{scheme}://data/churn/tabel.csv", target="y")
    with pytest.raises(SourceError, match=f"{scheme}://nowhere/t.csv"):
        prepare(f"{scheme}://nowhere/t.csv", target="y")
    with pytest.raises(SourceError, match="names no bucket"):
        prepare(f"{scheme}://", target="y")


@pytest.mark.server
@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_store_that_does_not_answer(prepare, monkeypatch, scheme):
    monkeypatch.setattr(remote, "DEADLINE_S", 1.0)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://localhost:{free_port()}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    with pytest.raises(SourceError, match=f"{scheme}://data/t.csv cannot be read") as raised:
        prepare(f"{scheme}://data/t.csv", target="y")
    assert "hush-hush" not in str(raised.value)


# HTTP


class Shaky(http.server.BaseHTTPRequestHandler):
    """Serves a table; some paths fail at first, and then do not, or do something else that servers do."""

    asked: dict[str, int] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked[path] = self.asked.get(path, 0) + 1
        if path == "/gone.csv":
            self.send_error(404)
        elif path == "/secret.csv":
            self.send_error(403)
        elif path == "/busy.csv" and self.asked[path] < 3:
            self.send_error(503)
        elif path == "/login.csv":
            self.answer(b"<html>Please log in</html>")
        elif path == "/broken.csv" or (path == "/cut.csv" and self.asked[path] < 3):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CSV)))
            self.end_headers()
            self.wfile.write(CSV[:50])
        else:
            self.answer(CSV)

    def answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.server
@pytest.mark.parametrize("path", ["/table.csv", "/busy.csv", "/cut.csv", "/download?id=3"])
def test_a_web_server_even_a_shaky_one(prepare, site, path):
    made = prepare(site + path, target="y")
    assert same(made)
    assert made.schema.source_uri == site + path
    assert made.schema.source_digest.startswith("sha256:")


@pytest.mark.server
@pytest.mark.parametrize(
    ("path", "said"),
    [("/gone.csv", "404"), ("/secret.csv", "403"), ("/login.csv", "is a web page")],
)
def test_what_a_web_server_refuses(prepare, site, path, said):
    with pytest.raises(SourceError, match=said) as raised:
        prepare(site + path, target="y")
    assert site in str(raised.value)


@pytest.mark.server
def test_a_download_that_always_breaks_off(prepare, site, monkeypatch):
    monkeypatch.setattr(remote, "_ATTEMPTS", 2)
    with pytest.raises(SourceError, match=r"broken.csv cannot be read: the download broke off"):
        prepare(f"{site}/broken.csv", target="y")


@pytest.mark.server
def test_public_data_in_s3_needs_no_account(prepare, s3, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert same(prepare("s3://data/public.csv", target="y"))
    with pytest.raises(SourceError, match=r"s3://data/churn/table.csv cannot be read: .*403.* access"):
        prepare("s3://data/churn/table.csv", target="y")


@pytest.mark.server
def test_a_web_server_that_does_not_answer(prepare):
    with pytest.raises(SourceError, match="cannot be read"):
        prepare(f"http://127.0.0.1:{free_port()}/t.csv", target="y")


@pytest.mark.server
def test_a_signed_address_is_read_and_its_signature_is_nowhere(prepare, site):
    made = prepare(f"{site}/table.csv?X-Amz-Signature=abc123&part=1", target="y")
    assert same(made)
    for path in made.folder.rglob("*"):
        assert path.is_dir() or b"abc123" not in path.read_bytes()
    assert made.schema.source_uri == f"{site}/table.csv?X-Amz-Signature=***&part=1"
    with pytest.raises(SourceError) as raised:
        prepare(f"{site}/gone.csv?token=abc123", target="y")
    assert "abc123" not in str(raised.value)


@pytest.mark.parametrize(
    "source",
    [
        "https://me:hunter2@host/t.csv",
        "https://hunter2@host/t.csv",
        "postgresql://me:hunter2@host/db",
        "postgresql://me:hun/ter2@host/db",
        "postgresql://host/db?password=hunter2",
        "s3://key:hunter2@bucket/t.csv",
    ],
)
def test_a_password_in_the_source_is_refused_and_not_repeated(prepare, source):
    query = {"query": "select 1"} if source.startswith("postgresql") else {}
    with pytest.raises(ParameterError, match="holds a password") as raised:
        prepare(source, target="y", **query)
    assert "hunter2" not in str(raised.value)
    assert "ter2" not in str(raised.value)


def test_a_client_that_is_not_installed_is_named_with_its_extra(prepare, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(SourceError, match=r"'boto3', which is not installed. .*kfp-lifecycle\[s3\]"):
        prepare("s3://data/t.csv", target="y")


def test_a_file_that_may_not_be_read(prepare, tmp_path):
    (tmp_path / "t.csv").write_bytes(CSV)
    (tmp_path / "t.csv").chmod(0)
    if os.access(tmp_path / "t.csv", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(SourceError, match="permission denied"):
        prepare(tmp_path / "t.csv", target="y")
