from pathlib import Path

import pytest

from benchmarks.s3 import local_s3


@pytest.fixture(scope="session")
def bucket():
    """The URL of a bucket on an S3 server of the tests' own."""
    with local_s3("bucket") as url:
        yield url


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """Where copies of remote files go."""
    monkeypatch.setenv("VOSFORGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "remote"
