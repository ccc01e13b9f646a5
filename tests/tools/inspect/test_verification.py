import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections import deque

import h5py
import pytest

import tools.inspect.verification
from render.farm.jobs import Dataset
from render.farm.parts import Part
from tests.render.conftest import make_record
from tests.tools.painted import CONFIG, paint_missing, painted_catalog, painted_dataset
from tests.vosforge.videos.damage import attribute, damage_video, flipped, row_says
from tools.inspect.stats import collect_stats
from tools.inspect.verification import verify_path
from tools.inspect.view import open_video
from train.evaluation.samples import open_subjects
from train.evaluation.truth import open_truth
from vosforge import InputError
from vosforge.errors import MachineError
from vosforge.guarded import Lost, guarded
from vosforge.log import logger
from vosforge.videos import ShardSet, pack_shard, stage_video
from vosforge.videos.manifest import MANIFEST, build_manifest
from vosforge.videos.texts import read_text


@pytest.fixture
def dataset(tmp_path):
    return painted_dataset(tmp_path / "data")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Look at videos without starting processes, which takes a second each time."""

    def each(function, tasks, workers, patience):
        while tasks:
            task = tasks.popleft()
            yield task, function(task)

    monkeypatch.setattr(tools.inspect.verification, "guarded", each)


def checksums(root):
    """The checksums of every video in shards and staging, by id."""
    found = {}
    for path in [*root.glob("shards/shard-*.h5"), *root.glob("staging/0*.h5")]:
        with h5py.File(path) as file:
            for video, group in file["videos"].items():
                sums = {"": read_text(group.attrs, "checksum")}
                group.visititems(lambda name, item, sums=sums: sums.update({name: item.attrs.get("checksum")}))
                found[video] = sums
    return found


DAMAGES = {
    "a frame": flipped("rgb/data"),
    "a mask": flipped("mask"),
    "no scene": attribute("spec", "{}"),
    "a row": attribute("row", "{}"),
    "darkness": row_says('"darkest":1', '"darkest":'),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_is_damaged_is_named_and_queued_and_nothing_else(dataset, kind):
    before = checksums(dataset.root)
    damage_video(dataset.shard_path(0), "000001", DAMAGES[kind])
    found = verify_path(dataset.root, workers=1)
    assert not found.passed
    assert found.bad() == {"000001"}
    (line,) = [line for line in found.lines() if MANIFEST not in line]
    assert line.startswith("000001: shards/shard-00000.h5: ")
    assert "--repair" in line

    repaired = verify_path(dataset.root, repair=True, workers=1)
    assert repaired.passed
    assert dataset.missing() == [1]
    after = checksums(dataset.root)
    assert after == {video: sums for video, sums in before.items() if video != "000001"}
    assert verify_path(dataset.root, workers=1).bad() == {"000001"}
    paint_missing(dataset)
    assert checksums(dataset.root) == before
    assert verify_path(dataset.root, workers=1).passed


def test_a_good_data_set_is_good_quick_or_not(dataset, monkeypatch):
    monkeypatch.setattr(tools.inspect.verification, "guarded", guarded)
    for quick, workers in ((False, 2), (True, None)):
        found = verify_path(dataset.root, quick=quick, workers=workers)
        assert list(found.lines()) == []
        assert "6 good videos with 18 frames, 1 quarantined" in found.summary()
    assert verify_path(dataset.root / "shards" / "shard-00001.h5", workers=1).passed


def test_an_unreadable_shard_names_all_its_videos_and_they_are_queued(dataset):
    shard = dataset.shard_path(1)
    shard.write_bytes(shard.read_bytes()[:3000])
    for path in (dataset.root, shard):
        lines = list(verify_path(path, workers=1).lines())
        assert [line[:6] for line in lines] == ["000003", "000004", "000005"]
        assert all("shards/shard-00001.h5: its shard is not a whole HDF5 file" in line for line in lines)
    verify_path(dataset.root, repair=True, workers=1)
    assert dataset.missing() == [3, 4, 5]
    assert len(ShardSet(dataset.root).videos) == 4


def test_a_shard_that_cannot_be_opened_is_not_thrown_away(dataset):
    shard = dataset.shard_path(0)
    shard.unlink()
    shard.mkdir()
    found = verify_path(dataset.root, repair=True, workers=1)
    assert not found.passed
    assert {line[:6] for line in found.lines()} == {"000000", "000001", "000002"}
    assert all("left unchanged" in line for line in found.lines())
    assert shard.exists()


def test_missing_and_foreign_videos_are_named(dataset):
    with h5py.File(dataset.shard_path(0), "a") as first, h5py.File(dataset.shard_path(2)) as last:
        del first["videos/000002"]
        last.copy("videos/000006", first["videos"])
    dataset.manifest()
    lines = list(verify_path(dataset.root, workers=1).lines())
    assert lines[0].startswith("000002: shards/shard-00000.h5: it is missing from its shard")
    assert lines[1].startswith("000006: shards/shard-00000.h5: it does not belong to this shard")
    verify_path(dataset.root, repair=True, workers=1)
    assert dataset.missing() == [2]


def test_unrendered_videos_are_told_of_together_and_staged_ones_are_looked_at(tmp_path):
    config = CONFIG.model_copy(update={"videos": 30})
    dataset = Dataset(tmp_path / "data", config, painted_catalog())
    for index in (0, 1):
        stage_video(dataset.staged_path(index), make_record(index))
    lines = list(verify_path(dataset.root, workers=1).lines())
    assert [line.split(":")[0] for line in lines] == ["000000", "000001", "000002 to 000029 (28 videos)"]
    assert "its spec is not a valid scene" in lines[0]
    verify_path(dataset.root, repair=True, workers=1)
    assert dataset.missing() == list(range(30))


def test_a_manifest_that_disagrees_is_rebuilt(dataset):
    path = dataset.root / MANIFEST
    before = path.read_bytes()
    for content in (before.replace(b'"num_objects":2', b'"num_objects":3'), before.split(b"\n", 1)[1], b"{"):
        path.write_bytes(content)
        assert "manifest" in next(verify_path(dataset.root, quick=True, workers=1).lines())
        assert verify_path(dataset.root, repair=True, workers=1).passed
        assert path.read_bytes() == before
        assert dataset.missing() == []


def test_imported_data_is_verified_by_its_manifest_and_not_repaired(tmp_path):
    staged = [tmp_path / "staging" / f"{index:06d}.h5" for index in range(4)]
    for index, path in enumerate(staged):
        stage_video(path, make_record(index))
    damage = [(path, attribute("spec", "")) for path in staged]
    for path, drop in damage:
        with h5py.File(path, "a") as file:
            (group,) = file["videos"].values()
            del group["camera"], group["objects/pose"], group["objects/asset"]
            drop(group)
    for shard in range(2):
        pack_shard(tmp_path / "shards", shard, staged[2 * shard : 2 * shard + 2], {})
    build_manifest(tmp_path)
    assert verify_path(tmp_path, workers=1).passed
    (tmp_path / "shards" / "shard-00001.h5").write_bytes(b"nothing")
    lines = list(verify_path(tmp_path, workers=1).lines())
    assert [line[:6] for line in lines] == ["000002", "000003"]
    assert all("import it again" in line for line in lines)
    with pytest.raises(InputError, match=r"no dataset\.yaml"):
        verify_path(tmp_path, repair=True)


def test_repair_is_refused_while_another_writes_and_after_a_quick_look(dataset):
    with dataset.writing(), pytest.raises(InputError, match="another process"):
        verify_path(dataset.root, repair=True)
    with pytest.raises(InputError, match="leave --quick out"):
        verify_path(dataset.root, quick=True, repair=True)
    with pytest.raises(InputError, match="name its data set's folder"):
        verify_path(dataset.shard_path(0), repair=True)
    with pytest.raises(InputError, match="neither a data set nor a shard"):
        verify_path(dataset.root / "staging")


class Killed(BaseException):
    """Stands for a kill: nothing may tidy up after it."""


@pytest.mark.parametrize("step", range(9))
def test_a_kill_at_any_step_of_a_repair_loses_no_good_video(tmp_path, monkeypatch, step):
    dataset = painted_dataset(tmp_path / "data")
    before = checksums(dataset.root)
    for shard, video in ((0, "000001"), (1, "000005")):
        damage_video(dataset.shard_path(shard), video, flipped("mask"))
    good = {video: sums for video, sums in before.items() if video not in ("000001", "000005")}
    real, steps = os.fsync, iter(range(1000))

    def fsync(handle):  # each change to the disk goes through one
        if next(steps) == step:
            raise Killed
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    try:
        verify_path(dataset.root, repair=True, workers=1)
    except Killed:
        pass
    else:
        pytest.fail("there are fewer steps than that")
    monkeypatch.undo()
    assert good.items() <= checksums(dataset.root).items()
    verify_path(dataset.root, repair=True, workers=1)
    assert dataset.missing() == [1, 5]
    paint_missing(dataset)
    assert checksums(dataset.root) == before
    assert {row.id: row.reason for row in ShardSet(dataset.root).quarantined} == {"000004": "Blender died"}


def _strange(task):
    if task == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if task == "hang":
        signal.pause()
    if task == "raise":
        sys.exit(3)
    return len(task)


def test_tasks_whose_process_crashes_or_hangs_are_told_and_the_rest_goes_on():
    tasks = deque(["crash", "a", "hang", "raise"])
    results = {}
    for task, result in guarded(_strange, tasks, 1, lambda task: 0.1 if task == "hang" else 60.0):
        results[task] = result
        if task == "a":
            tasks.append("bcd")
    assert results == {
        "crash": Lost("crashes the process that reads it (SIGSEGV)"),
        "a": 1,
        "hang": Lost("times out"),
        "raise": Lost("crashes the process that reads it (exit code 3)"),
        "bcd": 3,
    }


def test_the_command_exits_with_1_and_a_line_a_video(dataset):
    damage_video(dataset.shard_path(0), "000000", flipped("objects/box"))
    command = [sys.executable, "-m", "tools.cli", "verify", str(dataset.root), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "000000: shards/shard-00000.h5: 'objects/box' is damaged: 'vosforge verify" in done.stdout
    assert len(done.stderr.strip().splitlines()) == 1
    assert json.loads((dataset.root / MANIFEST).read_text().splitlines()[0])["id"] == "000000"


def test_a_lock_says_nothing_of_a_shard(dataset):
    shard = min((dataset.root / "shards").glob("shard-*.h5"))
    with shard.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as HDF5 holds a file that it writes
        with pytest.raises(BlockingIOError):
            h5py.File(shard, "r", locking=True)
        assert verify_path(dataset.root, repair=True).passed
    assert shard.exists() and not (dataset.root / "quarantine").exists()


def test_a_repair_keeps_the_bad_shard(dataset):
    shard = min((dataset.root / "shards").glob("shard-*.h5"))
    damaged = shard.read_bytes()[:-5000]
    shard.write_bytes(damaged)
    verify_path(dataset.root, repair=True)
    assert [path.read_bytes() for path in (dataset.root / "quarantine").iterdir()] == [damaged]


def failing_reads(monkeypatch, number):
    """Have the machine, not the file, refuse the frames of every video."""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("vosforge.videos.reader.os.pread", refuse)


MACHINE = [
    errno.EIO,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENFILE,
    errno.EACCES,
    errno.ENOLCK,
    errno.EAGAIN,
    errno.ETIMEDOUT,
]


@pytest.mark.parametrize("number", MACHINE)
def test_what_the_machine_did_not_read_is_left_as_it_is(dataset, monkeypatch, number):
    before = {path: path.read_bytes() for path in dataset.root.glob("shards/*")}
    with monkeypatch.context() as patch:
        failing_reads(patch, number)
        found = verify_path(dataset.root, repair=True, workers=1)
    assert not found.passed and not found.bad()
    lines = list(found.lines())
    assert len(lines) == 6
    assert all(f"cannot be read here ({os.strerror(number)})" in line and "left unchanged" in line for line in lines)
    assert {path: path.read_bytes() for path in dataset.root.glob("shards/*")} == before
    assert not (dataset.root / "quarantine").exists()
    assert verify_path(dataset.root, workers=1).passed


HDF5 = [
    "Can't synchronously read data (file read failed: time = Sun\n, filename = 'a', errno = 5, error message = 'x')",
    "Unable to synchronously open file (unable to lock file, errno = 11, error message = 'x')",
    "Can't synchronously read data (required filter 'blosc' is not registered)",
    "Can't synchronously read data (can't dlopen:libsomething.so)",
]


@pytest.mark.parametrize("text", HDF5)
@pytest.mark.parametrize("where", ["h5py.File", "h5py.Dataset.__getitem__"])
def test_what_hdf5_says_of_the_machine_is_no_damage(dataset, monkeypatch, text, where):
    def refuse(*_, **__):
        raise OSError(text)

    with monkeypatch.context() as patch:
        patch.setattr(where, refuse)
        found = verify_path(dataset.root, repair=True, workers=1)
    assert not found.passed and not found.bad()
    assert verify_path(dataset.root, workers=1).passed


def test_a_shard_of_which_something_was_not_read_is_not_taken_apart(dataset, monkeypatch):
    damage_video(dataset.shard_path(0), "000001", flipped("mask"))
    damage_video(dataset.shard_path(1), "000005", flipped("mask"))
    real = tools.inspect.verification.find_problem

    def lose(path, row, *rest):
        if row.id == "000002":
            raise MachineError("no", "Input/output error")
        return real(path, row, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(tools.inspect.verification, "find_problem", lose)
        found = verify_path(dataset.root, repair=True, workers=1)
    assert found.bad() == {"000001", "000005"} and not found.passed
    assert dataset.shard_path(0).exists() and not dataset.shard_path(1).exists()
    assert dataset.missing() == [5]


@pytest.mark.parametrize("lost", ["crashes the process that reads it (SIGKILL)", "times out"])
def test_a_reader_that_was_lost_is_no_proof(dataset, monkeypatch, lost):
    def lose(function, tasks, workers, patience):
        while tasks:
            yield tasks.popleft(), Lost(lost)

    monkeypatch.setattr(tools.inspect.verification, "guarded", lose)
    found = verify_path(dataset.root, repair=True, workers=1)
    assert not found.passed and not found.bad()
    assert dataset.missing() == [] and not (dataset.root / "quarantine").exists()


def test_a_staged_video_is_set_aside_and_told_where(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logger, "propagate", True)
    dataset = Dataset(tmp_path / "data", CONFIG, painted_catalog())
    stage_video(dataset.staged_path(0), make_record(0))  # its spec is no scene
    content = dataset.staged_path(0).read_bytes()
    with caplog.at_level("INFO"):
        verify_path(dataset.root, repair=True, workers=1)
    [kept] = (dataset.root / "quarantine").iterdir()
    assert kept.read_bytes() == content and str(kept) in caplog.text
    assert 0 in dataset.missing()


def test_a_data_set_in_pieces_is_as_good_as_one_with_a_manifest(dataset):
    whole, rows = (dataset.root / MANIFEST).read_bytes(), ShardSet(dataset.root).videos
    (dataset.root / MANIFEST).unlink()
    for number in (1, 2):
        part = Dataset(dataset.root, dataset.config, dataset.catalog, Part(number, 2))
        with part.writing():
            part.manifest()
    assert verify_path(dataset.root, workers=1).passed
    assert ShardSet(dataset.root).videos == rows
    assert sum(collect_stats(dataset.root).sizes.values()) == len(rows)
    assert open_video(str(dataset.root)).id == rows[0].id and len(open_truth(dataset.root)) == len(rows)
    assert len(open_subjects(str(dataset.root), "train")) == sum(row.split == "train" for row in rows)
    verify_path(dataset.root, repair=True, workers=1)
    assert [path.name for path in dataset.root.glob("manifest*")] == [MANIFEST]
    assert (dataset.root / MANIFEST).read_bytes() == whole
