"""An S3 server on this machine, in a process of its own: for the benchmark and the tests of remote shards."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec

from vosforge.processes import end_with_owner

STARTING_SECONDS = 60.0


@contextmanager
def local_s3(bucket: str) -> Iterator[str]:
    """Serve an empty ``bucket``; gives its URL. Meanwhile the environment's credentials and endpoint are its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet, preexec_fn=end_with_owner)
    before = dict(os.environ)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    try:
        _wait_for(port, server)
        store = fsspec.filesystem("s3", skip_instance_cache=True)
        store.mkdir(bucket)
        yield f"s3://{bucket}"
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.kill()
        server.wait()


def upload(data: Path, url: str) -> None:
    """Copy a data set's manifest, or its pieces, and shards to ``url``, as ``aws s3 sync`` does."""
    store, path = fsspec.url_to_fs(url)
    for file in (*sorted(data.glob("manifest*.jsonl")), *sorted((data / "shards").glob("shard-*.h5"))):
        store.put_file(str(file), f"{path}/{file.relative_to(data).as_posix()}")


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise RuntimeError("moto's S3 server did not start: pip install 'moto[s3]' flask-cors")
