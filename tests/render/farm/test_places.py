"""A data set on a store: the same data set as in a folder, whatever the store does meanwhile."""

import io
import threading
from pathlib import Path

import fsspec
import h5py
import pytest

from assets.catalog import Catalog
from benchmarks.farm import dataset_config
from benchmarks.null_child import record_of
from render.farm.events import Done, Refused
from render.farm.jobs import Dataset
from render.farm.places import Places, RemotePlaces
from render.farm.status import read_status
from tests.flaky_s3 import flaky_s3
from tests.render.farm.inline_pool import render_inline
from tools.inspect.verification import verify_path
from vosforge.errors import InputError, MachineError
from vosforge.locks import BusyError
from vosforge.videos import ShardSet, place, read_manifest, stage_video


def rendering(number, job):
    """Stage the video of a job; the third is refused."""
    if job["index"] == 2:
        yield Refused("it is black")
        return
    stage_video(Places(Path(job["dataset"])).staged(job["index"]), record_of(job["index"]))
    yield Done(renderer="nothing")


@pytest.fixture
def url(bucket, cache, request, monkeypatch):
    """Of a data set of the test's own."""
    monkeypatch.setattr("vosforge.trouble.PAUSE", 0.02)
    monkeypatch.setattr("vosforge.trouble.LONGEST_PAUSE", 0.2)
    fsspec.filesystem("s3").clear_instance_cache()
    yield place(f"{bucket}/{request.node.name}")
    fsspec.filesystem("s3").clear_instance_cache()


@pytest.fixture
def settings():
    return dataset_config(7, 3).model_copy(update={"attempts": 1}), Catalog()


def files(root) -> dict[str, bytes]:
    """What a data set holds, but for logs, locks and the time of a shard's making."""
    if isinstance(root, Path):
        found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    else:
        store, key = fsspec.url_to_fs(str(root))
        store.invalidate_cache()
        found = {name.removeprefix(f"{key}/"): store.cat_file(name) for name in store.find(key)}
    return {name: data for name, data in found.items() if not name.startswith(("logs/", "."))}


def test_a_data_set_on_a_store_is_the_one_in_a_folder(url, tmp_path, settings):
    there, here = Dataset(url, *settings), Dataset(tmp_path / "data", *settings)
    assert isinstance(there.places, RemotePlaces)
    ends = [render_inline(dataset, rendering, workers=2) for dataset in (there, here)]
    assert [(end.videos_done, end.quarantined) for end in ends] == [(7, 1), (7, 1)]
    assert files(url) == files(here.root)
    assert not verify_path(url).problems and read_status(url).state == read_status(here.root).state == "quarantined"
    assert not [*there.places.root.rglob("*.h5")], "nothing is left on this machine"
    assert not Dataset(url, *settings).missing()
    with pytest.raises(InputError, match="started with videos = 7, not 8"):
        Dataset(url, settings[0].model_copy(update={"videos": 8}), settings[1])


def test_a_killed_run_resumes_on_another_machine(url, tmp_path, settings, monkeypatch):
    def stop(progress):
        if progress.videos_done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_inline(Dataset(url, *settings), rendering, on_progress=stop)
    monkeypatch.setenv("VOSFORGE_CACHE", str(tmp_path / "another machine"))
    again = Dataset(url, *settings)
    render_inline(again, rendering)
    here = Dataset(tmp_path / "data", *settings)
    render_inline(here, rendering)
    assert files(url) == files(here.root)
    log = fsspec.open(f"{url}/logs/run.jsonl").open().read().decode()
    assert log.count('"run started"') == 2


def test_quarantined_videos_are_retried_and_bad_ones_repaired(url, settings):
    def all_well(number, job):
        stage_video(Places(Path(job["dataset"])).staged(job["index"]), record_of(job["index"]))
        yield Done(renderer="nothing")

    render_inline(Dataset(url, *settings), rendering)
    whole = Dataset(url, *settings)
    render_inline(whole, all_well, retry_quarantined="refused")
    assert len(ShardSet(url).videos) == 7 and not ShardSet(url).quarantined
    before = files(url)
    store, key = fsspec.url_to_fs(f"{url}/shards/shard-00001.h5")
    store.pipe_file(key, damaged(before["shards/shard-00001.h5"]))
    found = verify_path(url, repair=True)
    assert found.problems and found.repaired
    again = Dataset(url, *settings)
    assert again.missing()
    render_inline(again, all_well)
    after = files(url)
    assert {name: data for name, data in after.items() if not name.startswith("quarantine/")} == before
    assert any(name.startswith("quarantine/") for name in after) and not verify_path(url).problems


def damaged(data: bytes) -> bytes:
    """A shard with one video's mask spoilt."""
    file = io.BytesIO(data)
    with h5py.File(file, "r+") as shard:
        shard["videos/000004/mask"].id.write_direct_chunk((3, 0, 0), b"nothing")
    return file.getvalue()


@pytest.mark.parametrize("seed", range(2))
def test_a_store_that_fails_uses_up_no_retries(url, tmp_path, settings, seed):
    here = Dataset(tmp_path / "data", *settings)
    render_inline(here, rendering)
    with flaky_s3(rate=0.15, seed=seed, stall=0.2) as server:
        fsspec.filesystem("s3").clear_instance_cache()
        dataset = patiently(lambda: Dataset(url, *settings))
        done = patiently(lambda: render_inline(dataset, rendering, workers=2))
        assert done.quarantined <= 1 and sum(server.faults.values()) - server.faults[""] > 10
    fsspec.filesystem("s3").clear_instance_cache()
    assert files(url) == files(here.root)


def patiently(run):
    """Call it until it is through, as a user does whose store fails at the start, before there is a run."""
    while True:
        try:
            return run()
        except MachineError:
            pass


def test_a_bucket_that_vanishes_for_a_while_is_waited_for(url, settings):
    with flaky_s3() as server:
        fsspec.filesystem("s3").clear_instance_cache()
        dataset = Dataset(url, *settings)

        def vanish(progress):
            if progress.videos_done == 2 and not server.faults["gone"]:
                server.gone.set()
                threading.Timer(1.5, server.gone.clear).start()

        done = render_inline(dataset, rendering, on_progress=vanish)
        assert (done.videos_done, done.quarantined) == (7, 1) and server.faults["gone"]
    fsspec.filesystem("s3").clear_instance_cache()
    assert len(read_manifest(url)) == 7 and not verify_path(url).problems


def test_what_arrives_damaged_is_sent_again(url, settings, monkeypatch):
    store = type(fsspec.url_to_fs(str(url))[0])
    plain, spoilt = store._put_file, []

    async def spoiling(self, source, target, **options):
        await plain(self, source, target, **options)
        if target.endswith("shard-00000.h5") and len(spoilt) < 2:
            spoilt.append(target)
            await self._pipe_file(target, Path(source).read_bytes()[:-1] + b"?")

    monkeypatch.setattr(store, "_put_file", spoiling)
    store.clear_instance_cache()
    render_inline(Dataset(url, *settings), rendering)
    assert len(spoilt) == 2 and not verify_path(url).problems and len(ShardSet(url).videos) == 6


def test_two_machines_do_not_render_one_data_set_at_once(url, tmp_path, settings, monkeypatch):
    first, refused = Dataset(url, *settings), []

    def try_too(progress):
        if progress.videos_done == 1 and not refused:
            monkeypatch.setattr("platform.node", lambda: "another")
            monkeypatch.setenv("VOSFORGE_CACHE", str(tmp_path / "another machine"))
            with pytest.raises(BusyError, match="another process is rendering into s3://") as error:
                render_inline(Dataset(url, *settings), rendering)
            refused.append(error)

    assert render_inline(first, rendering, on_progress=try_too).videos_done == 7 and refused
