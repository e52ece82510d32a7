"""Files by URI, in a folder and in real object stores."""

import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest

from kfp_lifecycle.components.shared import storage
from kfp_lifecycle.components.shared.errors import StorageError
from kfp_lifecycle.components.shared.storage import check_writable, fetch, is_remote, open_store, upload
from tests.servers import free_port, gcs_server, s3_server


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    with pytest.MonkeyPatch.context() as patch, gcs_server(folder) as gcs, s3_server(folder) as s3:
        for name, value in {**gcs, **s3}.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="data")
        yield


@pytest.fixture(params=["", "file", "gs", "s3", "minio"])
def place(request, tmp_path):
    """A URI below which nothing is."""
    if request.param in ("", "file"):
        return f"file://{tmp_path}/place" if request.param else str(tmp_path / "place")
    request.getfixturevalue("servers")
    return f"{request.param}://data/{tmp_path.name}"


@pytest.mark.server
def test_a_folder_goes_up_and_comes_back(place, tmp_path):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "a.bin").write_bytes(bytes(range(256)) * 1000)
    (source / "deep" / "b ü.txt").write_text("hello")
    upload(source, place)
    assert open_store(place).names() == ["a.bin", "deep/b ü.txt"]
    back = fetch(place, tmp_path / "back")
    for name in ("a.bin", "deep/b ü.txt"):
        assert (back / name).read_bytes() == (source / name).read_bytes()
    assert (back == tmp_path / "back") is is_remote(place)


@pytest.mark.server
def test_one_file_goes_up_and_comes_back(place, tmp_path):
    (tmp_path / "plan.json").write_text("{}")
    upload(tmp_path / "plan.json", f"{place}/plan.json")
    assert fetch(f"{place}/plan.json", tmp_path / "back").read_text() == "{}"


@pytest.mark.server
def test_files_are_replaced_and_deleted_and_deleting_twice_is_no_error(place, tmp_path):
    store, file = open_store(place), tmp_path / "file"
    assert store.names() == []
    for text in ("one", "two"):
        file.write_text(text)
        store.write(file, "x/y")
    store.read("x/y", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "two"
    store.delete("x/y")
    store.delete("x/y")
    assert store.names() == []


@pytest.mark.server
def test_what_is_not_there_is_named(place, tmp_path):
    with pytest.raises(StorageError, match="nothing"):
        open_store(place).read("nothing", tmp_path / "back")
    with pytest.raises(StorageError, match="nowhere"):
        fetch(f"{place}/nowhere", tmp_path / "back")


@pytest.mark.server
def test_a_place_is_tried_before_it_is_needed_and_left_as_it_was(place):
    check_writable(place)
    assert open_store(place).names() == []


@pytest.mark.server
@pytest.mark.parametrize("scheme", ["gs", "s3", "minio"])
def test_a_bucket_that_is_not_there_cannot_be_written(servers, scheme):
    with pytest.raises(StorageError, match=f"{scheme}://other/x.* cannot be written"):
        check_writable(f"{scheme}://other/x")


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_store_that_does_not_answer(monkeypatch, scheme):
    monkeypatch.setattr(storage, "DEADLINE_S", 1.0)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://localhost:{free_port()}")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    with pytest.raises(StorageError, match=f"{scheme}://data/x cannot be read") as raised:
        open_store(f"{scheme}://data/x").names()
    assert "hush-hush" not in str(raised.value)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("gcs://data/x", "Did you mean 'gs'"),
        ("ftp://data/x", "Known: file, gs, minio, s3"),
        ("s3://", "names no bucket"),
        ("s3:///x", "names no bucket"),
    ],
)
def test_a_uri_that_is_none(uri, said):
    with pytest.raises(StorageError, match=said):
        open_store(uri)


def test_a_client_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(StorageError, match=r"pip install 'kfp-lifecycle\[s3\]'"):
        open_store("s3://data/x")


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({}, "http://minio-service.kubeflow:9000"),
        ({"AWS_ENDPOINT_URL": "http://here:1"}, "http://here:1"),
        ({"AWS_ENDPOINT_URL": "http://here:1", "AWS_ENDPOINT_URL_S3": "http://there:2"}, "http://there:2"),
    ],
)
def test_minio_is_where_the_environment_says_or_kubeflows_own(monkeypatch, environment, endpoint):
    made = []
    real = boto3.client
    monkeypatch.setattr(boto3, "client", lambda *a, **k: made.append(real(*a, **k)) or made[-1])
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"AWS_DEFAULT_REGION": "us-east-1", **environment}.items():
        monkeypatch.setenv(name, value)
    open_store("minio://mlpipeline/v2/artifacts")
    assert made[0].meta.endpoint_url == endpoint


def test_writers_of_one_file_leave_one_whole(tmp_path):
    store = open_store(str(tmp_path / "place"))
    files = []
    for number in range(8):
        files.append(tmp_path / f"{number}")
        files[-1].write_bytes(bytes([number]) * 200_000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda file: store.write(file, "same"), files * 5))
    content = (tmp_path / "place" / "same").read_bytes()
    assert len(content) == 200_000
    assert len(set(content)) == 1
    assert [file.name for file in (tmp_path / "place").iterdir()] == ["same"]


def test_a_full_disk_leaves_the_file_before(small_disk, tmp_path):
    store = open_store(str(small_disk / "place"))
    (tmp_path / "little").write_bytes(b"before")
    (tmp_path / "large").write_bytes(bytes(64 << 20))
    store.write(tmp_path / "little", "state")
    with pytest.raises(StorageError, match="no space left"):
        store.write(tmp_path / "large", "state")
    assert open_store(str(small_disk / "place")).names() == ["state"]
    assert (small_disk / "place" / "state").read_bytes() == b"before"
