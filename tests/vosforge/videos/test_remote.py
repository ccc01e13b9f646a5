import multiprocessing
import os
import pickle
import select
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest

from benchmarks.s3 import upload
from vosforge import InputError, VOSForgeError
from vosforge.files import UNFINISHED
from vosforge.remote import RemotePath
from vosforge.videos import ShardSet, place
from vosforge.videos.cache import local_copy
from vosforge.videos.manifest import build_piece, has_manifest

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def remote(bucket, folder, cache, request) -> str:
    """The data set of ``folder`` behind an S3 URL of the test's own."""
    url = f"{bucket}/{request.node.name}"
    upload(folder, url)
    return url


def copies(cache: Path) -> set[str]:
    """The files whose copies are kept, by their names."""
    return {path.name.partition("-")[2] for path in cache.glob("*") if path.suffix != ".lock"}


def same(one, other) -> None:
    assert [video.row for video in one] == [video.row for video in other]
    for a, b in zip(one, other, strict=True):
        a.verify()
        assert np.array_equal(a.frames(), b.frames()) and np.array_equal(a.masks(), b.masks())
        assert a.attributes == b.attributes and a.spec_json == b.spec_json


def age(cache: Path) -> None:
    """Have all copies be used long ago, in the order of their names."""
    for number, path in enumerate(sorted(cache.iterdir(), key=lambda path: path.name.partition("-")[2])):
        os.utime(path, (number, number))


@contextmanager
def serving(folder: Path, handler=SimpleHTTPRequestHandler) -> Iterator[str]:
    """Serve a folder over HTTP; gives its URL."""

    class Quiet(handler):
        def log_message(self, *words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_remote_shards_are_read_as_local_ones(remote, folder):
    same(ShardSet(remote), ShardSet(folder))
    assert ShardSet(f"{remote}/").quarantined == ShardSet(folder).quarantined
    same(ShardSet(f"{remote}/shards/shard-00001.h5"), ShardSet(folder / "shards" / "shard-00001.h5"))


def test_only_the_shards_that_are_read_are_fetched(remote, cache):
    shards = ShardSet(remote)
    assert copies(cache) == {"manifest.jsonl"}
    shards.video("000003").frame(0)
    assert copies(cache) == {"manifest.jsonl", "shard-00001.h5"}
    before = {path: path.stat().st_ino for path in cache.iterdir()}
    ShardSet(remote).video("000004").frame(0)
    assert {path: path.stat().st_ino for path in cache.iterdir()} == before


def test_without_a_manifest_the_shards_say_what_they_hold(remote, folder):
    store, path = fsspec.url_to_fs(remote)
    store.rm(f"{path}/manifest.jsonl")
    same(ShardSet(remote), ShardSet(folder))


@pytest.mark.parametrize("whole", [True, False])
def test_pieces_of_a_manifest_count_where_they_are_listed(bucket, folder, cache, request, whole):
    same_rows = ShardSet(folder)
    build_piece(folder, "2-of-2", [folder / "shards" / "shard-00001.h5"])
    manifest = (folder / "manifest.jsonl").read_text().splitlines(keepends=True)
    (folder / "manifest.jsonl").write_text("".join(line for line in manifest if "shard-00000" in line))
    if not whole:
        (folder / "manifest.jsonl").rename(folder / "manifest-1-of-2.jsonl")
    url = f"{bucket}/{request.node.name.replace('[', '-').replace(']', '')}"
    upload(folder, url)
    assert has_manifest(place(url))
    same(ShardSet(url), same_rows)
    assert ShardSet(url).quarantined == same_rows.quarantined
    with serving(folder) as there:
        same(ShardSet(there), same_rows)


def test_any_store_of_fsspec_will_do(folder, cache):
    store = fsspec.filesystem("memory")
    store.put(str(folder / "shards"), "/data/shards", recursive=True)
    store.put(str(folder / "manifest.jsonl"), "/data/manifest.jsonl")
    same(ShardSet("memory://data"), ShardSet(folder))
    same(ShardSet(f"file://{folder}"), ShardSet(folder))
    with serving(folder) as url:
        same(ShardSet(url), ShardSet(folder))
        with pytest.raises(InputError, match="nowhere has no manifest"):
            ShardSet(f"{url}/nowhere")


def _sums(video) -> tuple[int, int]:
    return int(video.frames().sum()), int(video.masks().sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_read_the_same_copies(remote, folder, cache, method):
    videos = list(ShardSet(remote))
    videos[0].frame(0)  # the parent has spoken to the store already
    # Not a Pool, which ends its processes by SIGTERM: those forked after Ray ran in this one ignore it.
    with ProcessPoolExecutor(4, multiprocessing.get_context(method)) as pool:
        assert list(pool.map(_sums, videos * 2)) == [_sums(video) for video in ShardSet(folder)] * 2
    assert copies(cache) == {"manifest.jsonl", "shard-00000.h5", "shard-00001.h5"}


FETCH = """
import sys
from vosforge.remote import RemotePath
download = RemotePath.download
def slow(self, to):
    download(self, to)
    print("fetched", flush=True)
    sys.stdin.readline()
RemotePath.download = slow
from vosforge.videos.cache import local_copy
from vosforge.videos import place
print("asking", flush=True)
print(local_copy(place(sys.argv[1])), flush=True)
"""


def fetching(url: str) -> subprocess.Popen:
    """A process that fetches ``url`` and holds on before its copy is whole, until it is told to go on."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", FETCH, url]
    return subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)


def test_two_processes_fetch_a_shard_once(remote, cache):
    url = f"{remote}/shards/shard-00000.h5"
    with fetching(url) as first, fetching(url) as second:
        assert [process.stdout.readline() for process in (first, second)] == [b"asking\n"] * 2
        select.select([first.stdout, second.stdout], [], [])
        for process in (first, second):  # one of them has fetched; told to go on, it lets the other find its copy
            process.stdin.write(b"\n")
        told = [process.communicate()[0].split() for process in (first, second)]
    assert sorted(map(len, told)) == [1, 2] and told[0][-1] == told[1][-1]
    assert copies(cache) == {"shard-00000.h5"}


def test_a_killed_download_leaves_nothing_that_is_taken_for_whole(remote, folder, cache):
    with fetching(f"{remote}/shards/shard-00000.h5") as process:
        assert [process.stdout.readline() for _ in range(2)] == [b"asking\n", b"fetched\n"]
        process.kill()
    assert next(path.name for path in cache.iterdir() if path.suffix != ".lock").startswith(UNFINISHED)
    same(ShardSet(remote), ShardSet(folder))


def test_a_cut_download_is_refused_and_leaves_nothing(remote, cache, monkeypatch):
    store, _ = fsspec.url_to_fs(remote)
    whole = store.get_file

    def cut(url, to):
        whole(url, to)
        os.truncate(to, 1000)

    video = ShardSet(remote).video("000000")
    with monkeypatch.context() as patch, pytest.raises(VOSForgeError, match=r"arrived truncated \(1,000 of"):
        patch.setattr(store, "get_file", cut)
        video.frame(0)
    assert copies(cache) == {"manifest.jsonl"}
    video.frame(0)


def test_a_connection_that_breaks_leaves_nothing(folder, cache):
    class Breaking(SimpleHTTPRequestHandler):
        def copyfile(self, source, outputfile):
            outputfile.write(source.read(1000))

    with serving(folder, Breaking) as url:
        with pytest.raises(InputError, match=r"shard-00000\.h5 cannot be read"):
            ShardSet(f"{url}/shards/shard-00000.h5")
        assert not copies(cache)


def test_a_copy_that_was_damaged_in_size_is_fetched_again(remote, cache):
    ShardSet(remote).video("000000").frame(0)
    (copy,) = cache.glob("*-shard-00000.h5")
    os.truncate(copy, 1000)
    ShardSet(remote).video("000000").frame(0)


def test_a_shard_that_changed_is_fetched_again(remote, folder):
    """Of two shards that exchange their contents, the readers that begin later see the new one."""
    old = ShardSet(f"{remote}/shards/shard-00000.h5")
    first = old.video("000000").frame(0)
    unread = ShardSet(f"{remote}/shards/shard-00001.h5")
    store, path = fsspec.url_to_fs(remote)
    store.put_file(str(folder / "shards" / "shard-00001.h5"), f"{path}/shards/shard-00000.h5")
    assert np.array_equal(old.video("000000").frame(0), first)
    again = ShardSet(f"{remote}/shards/shard-00000.h5")
    assert [row.id for row in again.videos] == [row.id for row in unread.videos]


def test_a_shard_that_changes_while_it_is_read_is_told(remote, folder, cache):
    shard = place(f"{remote}/shards/shard-00000.h5")
    assert shard.exists()
    store, path = fsspec.url_to_fs(remote)
    store.put_file(str(folder / "shards" / "shard-00001.h5"), f"{path}/shards/shard-00000.h5")
    with pytest.raises(VOSForgeError, match="changed while it was read"):
        local_copy(shard)
    assert not copies(cache)
    local_copy(place(str(shard)))


def test_the_least_recently_used_copies_make_room(remote, cache, folder, monkeypatch):
    videos = list(ShardSet(remote))
    videos[0].frame(0)
    age(cache)
    ShardSet(remote)  # its manifest is used again
    expected = ShardSet(folder).video("000001").frame(0)
    shard = (folder / "shards" / "shard-00001.h5").stat().st_size
    monkeypatch.setenv("VOSFORGE_REMOTE_GB", str((shard + 20_000) / 1e9))
    videos[3].frame(0)
    assert copies(cache) == {"manifest.jsonl", "shard-00001.h5"}
    for _ in range(2):  # once through the file that is open, once through a new copy
        assert np.array_equal(videos[1].frame(0), expected)
    videos[0].verify()  # opened before its copy was removed


@pytest.mark.parametrize("told", ["", "nonsense", "999999999999999", None])
def test_what_the_copies_take_is_counted_anew_where_it_is_not_known(remote, cache, folder, monkeypatch, told):
    """A killed download, a user or a crash may leave any number: it removes nothing that has room."""
    videos = list(ShardSet(remote))
    videos[0].frame(0)
    age(cache)
    taken = cache.with_name("remote.bytes")
    whole = sum(path.stat().st_size for path in cache.iterdir())
    assert int(taken.read_text()) == whole
    taken.unlink() if told is None else taken.write_text(told)
    videos[3].frame(0)
    assert copies(cache) == {"manifest.jsonl", "shard-00000.h5", "shard-00001.h5"}
    assert int(taken.read_text()) == whole + (folder / "shards" / "shard-00001.h5").stat().st_size


def test_what_was_just_handed_out_is_not_removed(remote, cache, monkeypatch):
    monkeypatch.setenv("VOSFORGE_REMOTE_GB", "0")
    for video in ShardSet(remote):
        video.frame(0)
    assert copies(cache) == {"manifest.jsonl", "shard-00000.h5", "shard-00001.h5"}


def test_too_small_a_cache_is_told_once(remote, cache, monkeypatch):
    from vosforge.videos import cache as module

    told = []
    monkeypatch.setattr(module.logger, "warning", told.append)  # a log has it once more for each of its handlers
    monkeypatch.setenv("VOSFORGE_REMOTE_GB", "0")
    shards = [place(f"{remote}/shards/shard-0000{number}.h5") for number in (0, 1)]
    for shard in shards * 3:
        local_copy(shard)
        age(cache)
    assert told == ["this run reads more than 0 GB of copies, so it fetches some again: raise VOSFORGE_REMOTE_GB"]


def test_what_cannot_be_read_is_told_in_one_sentence(remote, bucket, cache, monkeypatch):
    cases = {
        f"{remote}/shards/shard-00009.h5": "s3://.*shard-00009.h5 does not exist",
        f"{remote}/nowhere": r"nowhere has no manifest\.jsonl and no shards",
        "s3://no-such-bucket/data": "s3://no-such-bucket/data.* does not exist",
        "nonsense://data": "nonsense.* is no URL of a known kind: write s3://",
    }
    for url, told in cases.items():
        with pytest.raises(InputError, match=told) as raised:
            ShardSet(url)
        assert "\n" not in str(raised.value)
    monkeypatch.setenv("VOSFORGE_REMOTE_GB", "much")
    with pytest.raises(InputError, match="number of gigabytes, not 'much'"):
        ShardSet(remote)
    assert not copies(cache)


def test_missing_packages_rights_and_hosts_are_told(remote, cache, monkeypatch):
    store, _ = fsspec.url_to_fs(remote)
    for error, told in {
        ImportError("Install s3fs to access S3"): r"pip install 'vosforge\[remote\]'",
        PermissionError("Access Denied"): "may not be read .*Access Denied.*AWS_PROFILE",
        RuntimeError("Unable to locate credentials"): "cannot be read .*AWS_PROFILE",
    }.items():
        with monkeypatch.context() as patch, pytest.raises(InputError, match=told):
            patch.setattr(store, "info", lambda path, error=error: (_ for _ in ()).throw(error))
            ShardSet(remote)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    store.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(InputError, match=r"cannot be read .*Could not connect.*check the address and the network"):
        ShardSet(remote)
    with pytest.raises(InputError, match=r"cannot be read .*check the address and the network"):
        ShardSet(f"http://127.0.0.1:{port}/data")
    store.clear_instance_cache()
    assert not copies(cache)


def test_a_cache_that_cannot_be_written_is_named(remote, cache, monkeypatch):
    shutil.rmtree(cache.parent, ignore_errors=True)
    cache.parent.touch()
    with pytest.raises(InputError, match=r"cannot keep a copy of .* VOSFORGE_CACHE"):
        ShardSet(remote)


def test_places_are_told_apart():
    assert place("s3://bucket/a/b.h5") == RemotePath("s3", "bucket/a/b.h5")
    assert str(place("https://host:80/data/") / "shards") == "https://host:80/data/shards"
    assert place("runs/data") == Path("runs/data") and place("file:///runs/data") == Path("/runs/data")
    shard = place("s3://bucket/a/shards/shard-00000.h5")
    assert isinstance(shard, RemotePath)
    assert (shard.name, shard.stem, str(shard.parent.parent)) == ("shard-00000.h5", "shard-00000", "s3://bucket/a")
    assert shard.is_file() and shard.parent.is_dir()
    assert pickle.loads(pickle.dumps(shard)) == shard and local_copy(Path("a")) == Path("a")
