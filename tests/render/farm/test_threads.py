"""Rendering without Ray, with real processes that render nothing."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from assets.store import AssetStore
from render.farm import threads
from render.farm.layout import Resources
from render.farm.threads import render_here
from render.farm.worker import Worker
from tests.render.farm.null_runs import CHILD, null_dataset
from vosforge.videos import ShardSet

VIDEOS = 12


@pytest.fixture
def dataset(tmp_path):
    return null_dataset(tmp_path / "data", videos=VIDEOS)


@pytest.fixture
def store(tmp_path):
    return AssetStore(tmp_path / "store")


def children() -> set[int]:
    """The null children of this process."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            own = f"PPid:\t{os.getpid()}\n" in (folder / "status").read_text()
            if own and CHILD.encode() in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
        except OSError:
            continue
    return found


def test_a_data_set_is_rendered_and_not_rendered_twice(dataset, store):
    done = render_here(dataset, store, Resources(workers=2), start=CHILD)
    assert (done.videos_done, done.quarantined, done.left) == (VIDEOS, 0, 0)
    assert [row.id for row in ShardSet(dataset.root).videos] == [f"{index:06d}" for index in range(VIDEOS)]
    assert sorted(path.name for path in (dataset.root / "logs").glob("*.log")) == ["blender-000.log", "blender-001.log"]
    assert render_here(dataset, store, Resources(workers=2), start=CHILD).videos_total == 0
    assert not children()


def test_there_are_as_many_workers_as_fit(dataset, store, monkeypatch):
    sizes = []
    monkeypatch.setattr(threads, "cores", lambda: 3)
    monkeypatch.setattr(threads, "ThreadPool", lambda place, size: sizes.append((size, place.threads)) or 1 / 0)
    for memory, expected in ((2**40, (3, 1)), (3 * 2**30, (3, 1)), (2**30, (1, 3))):
        monkeypatch.setattr(threads, "free_memory", lambda memory=memory: memory)
        with pytest.raises(ZeroDivisionError):
            render_here(dataset, store)
        assert sizes.pop() == expected


def test_killed_processes_are_nobodys_fault(dataset, store):
    killed = Counter()

    def kill(progress):
        for pid in children():
            if sum(killed.values()) < 5 and not killed[pid]:
                killed[pid] += 1
                os.kill(pid, signal.SIGKILL)

    done = render_here(dataset, store, Resources(workers=2), kill, start=CHILD)
    assert killed and (done.videos_done, done.quarantined, done.left) == (VIDEOS, 0, 0)


def test_an_interrupted_run_leaves_no_process_and_writes_nothing_more(dataset, store):
    def stop(progress):
        if progress.frames_done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_here(dataset, store, Resources(workers=2), stop, start=CHILD)
    assert not children()
    missing = dataset.missing()
    time.sleep(0.3)
    assert missing and dataset.missing() == missing
    assert render_here(dataset, store, Resources(workers=2), start=CHILD).videos_done == len(missing)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_a_worker_ends_the_run(dataset, store, monkeypatch):
    def answer(worker, request):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Worker, "answer", answer)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        render_here(dataset, store, Resources(workers=2), start=CHILD)
