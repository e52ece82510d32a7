"""Tables and scores in buckets, by real servers."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from kfp_lifecycle.components.batch_predict.planning import Request, make_plan
from kfp_lifecycle.components.batch_predict.scoring import score_shards
from kfp_lifecycle.components.shared.errors import SourceError
from kfp_lifecycle.components.shared.storage import fetch, upload
from tests.components.batch_predict.conftest import run
from tests.servers import gcs_server, s3_server

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", params=["gs", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("bucket")
    server = gcs_server(folder) if request.param == "gs" else s3_server(folder)
    with server as env, pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        if request.param == "s3":
            import boto3

            boto3.client("s3").create_bucket(Bucket="data")
        yield f"{request.param}://data"


def test_from_bucket_to_bucket(bucket: str, place: Path, rows: pl.DataFrame) -> None:
    for number in range(3):
        rows.slice(number * 200, 200).write_csv(place / f"{number}.csv")
        upload(place / f"{number}.csv", f"{bucket}/table/{number}.csv")
    asked = {"shard_rows": 150, "workers": 2, "key_columns": ["customer"]}
    batch = run(f"{bucket}/table", f"{bucket}/out", **asked)
    folder = fetch(batch.done.uri, place / "fetched")
    table = pl.read_parquet(sorted(folder.glob("part-*")))
    rows.head(600).write_csv(place / "all.csv")
    local = run(place / "all.csv", place / "out", key_columns=["customer"])
    assert_frame_equal(table, local.table, abs_tol=1e-12)
    assert batch.manifest["rows"] == 600
    # Again, nothing is left to do.
    assert set(run(f"{bucket}/table", f"{bucket}/out", **asked).scored) == {0}


def test_an_object_that_changes_between_plan_and_work_is_said(
    bucket: str, place: Path, rows: pl.DataFrame
) -> None:
    rows.head(20).write_parquet(place / "t.parquet")
    upload(place / "t.parquet", f"{bucket}/t.parquet")
    (share,) = make_plan(Request(f"{bucket}/t.parquet", "churn", f"{bucket}/out"))
    rows.head(30).write_parquet(place / "t.parquet")
    upload(place / "t.parquet", f"{bucket}/t.parquet")
    with pytest.raises(SourceError, match=r"t\.parquet.* has changed since the shards were planned"):
        score_shards(f"{bucket}/out", share)
