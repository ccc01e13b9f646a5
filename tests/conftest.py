import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.s3 import local_s3
from tests.blobs import blob_video
from vosforge.videos.video import MemoryVideo


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """A suite that was begun in the background ignores Ctrl-C, and so would all that it starts and interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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


@pytest.fixture(scope="session")
def make_video() -> Callable[..., MemoryVideo]:
    """Makes a video of moving blobs, by its seed."""
    return blob_video
