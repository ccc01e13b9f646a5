"""The reader against files that are not what they should be: one sentence each, never more."""

import resource
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.render.conftest import make_record, without_colors
from vosforge import VOSForgeError
from vosforge.videos import ShardSet, pack_shard, stage_video
from vosforge.videos.texts import write_text

MEGABYTE = 2**20


def read_all(path: Path) -> bool:
    """Read everything of a shard; True when nothing was wrong, False when it was said what is."""
    try:
        for video in ShardSet(path):
            video.verify()
            video.masks()
            for t in range(video.num_frames if "amodal" in video.passes else 0):
                _ = video.depth(t), video.flow(t), video.flow(t, backward=True), video.normal(t), video.amodal(t)
            if "tracks" in video.passes:
                _ = video.visibility(), video.tracks()
            if video.has_colors:
                _ = video.frames(), video.encoding
            _ = video.spec_json, video.attributes, video.void
    except VOSForgeError as error:
        assert "\n" not in str(error) and len(str(error)) < 2000
        return False
    return True


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """A whole small shard with every encoding."""
    root = tmp_path_factory.mktemp("whole")
    staged = []
    for index, encoding in enumerate(("jpeg", "png", "webp")):
        staged.append(root / f"{index}.h5")
        stage_video(staged[-1], make_record(index, frames=2, encoding=encoding, passes=index == 0))
    staged.append(root / "3.h5")
    stage_video(staged[-1], without_colors(make_record(3, frames=2)))
    path = pack_shard(root, 0, staged, {"000009": "it broke"})
    assert read_all(path)
    return path


places = st.floats(0, 1, exclude_max=True)
changes = st.one_of(
    st.tuples(st.just("flip"), places, st.integers(0, 7)),
    st.tuples(st.just("set"), places, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("cut"), places, st.none()),
    st.tuples(st.just("insert"), places, st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("remove"), places, st.integers(1, 600)),
    st.tuples(st.just("copy"), places, places),
)


def changed(data: bytes, edits: list) -> bytes:
    result = bytearray(data)
    for kind, place, value in edits:
        at = int(place * len(result))
        if not result:
            break
        if kind == "flip":
            result[at] ^= 1 << value
        elif kind == "set":
            result[at : at + len(value)] = value
        elif kind == "cut":
            del result[at:]
        elif kind == "insert":
            result[at:at] = value
        elif kind == "remove":
            del result[at : at + value]
        else:
            start = int(value * len(result))
            result[at : at + 64] = result[start : start + 64]
    return bytes(result)


@pytest.mark.parametrize("inputs", [400, pytest.param(25_000, marks=pytest.mark.slow)])
def test_damaged_bytes(shard, tmp_path, inputs):
    data = shard.read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = {True: 0, False: 0}

    @settings(max_examples=inputs, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(changes, min_size=1, max_size=4))
    def read(edits):
        path = tmp_path / "damaged.h5"
        path.unlink(missing_ok=True)
        path.write_bytes(changed(data, edits))
        outcomes[read_all(path)] += 1

    read()
    assert outcomes[False] > inputs / 4
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"{sum(outcomes.values())} inputs: {outcomes[False]} named, {outcomes[True]} read; {grown:.0f} MiB more at most"
    )
    assert grown < 300


def replaced(name, **options):
    def change(file):
        del file[f"videos/000000/{name}"]
        file.create_dataset(f"videos/000000/{name}", **options)

    return change


def linked(link):
    def change(file):
        del file["videos/000000/rgb/data"]
        file["videos/000000/rgb/data"] = link

    return change


def external(file):
    del file["videos/000000/rgb/data"]
    file["videos/000000/rgb"].create_dataset("data", (4,), np.uint8, external=[("/etc/passwd", 0, 4)])


def row(text):
    def change(file):
        write_text(file["videos/000000"].attrs, "row", text)

    return change


HUGE = (10**6, 10**5, 10**5)
CRAFTED = {
    "a mask of an exabyte": replaced("mask", shape=HUGE, dtype=np.uint8, chunks=(1, 10**4, 10**4)),
    "frames of a terabyte": replaced("rgb/data", shape=(10**12,), dtype=np.uint8, chunks=(4096,)),
    "frames that are not there": replaced("rgb/data", shape=(10**12,), dtype=np.uint8),
    "places of another type": replaced("rgb/offsets", data=np.zeros(3, np.float64)),
    "places that go back": replaced("rgb/offsets", data=np.array([0, 9, 5])),
    "too few masks": replaced("mask", data=np.zeros((1, 24, 40), np.uint8), chunks=(1, 24, 40)),
    "poses of a terabyte": replaced("objects/pose", shape=(10**6, 10**6), dtype=np.uint8, chunks=(1, 100)),
    "depths of an exabyte": replaced("depth", shape=HUGE, dtype=np.float16, chunks=(1, 10**4, 10**4)),
    "depths in large chunks": replaced("depth", shape=(2, 24, 40), dtype=np.float16, chunks=(2, 24, 40)),
    "depths of another type": replaced("depth", data=np.zeros((2, 24, 40)), chunks=(1, 24, 40)),
    "points of a terabyte": replaced("tracks/points", shape=(2, 10**11, 2), dtype=np.float32),
    "points in chunks": replaced("tracks/points", shape=(2, 9, 2), dtype=np.float32, chunks=(1, 9, 2)),
    "points that are one number": replaced("tracks/points", data=np.float32(1)),
    "other points": replaced("tracks/object", data=np.ones(8, np.uint8)),
    "no normals": lambda file: file.__delitem__("videos/000000/normal"),
    "no masks": lambda file: file.__delitem__("videos/000000/mask"),
    "frames elsewhere": linked(h5py.ExternalLink("/etc/hosts", "/x")),
    "frames behind a link": linked(h5py.SoftLink("/videos/000001/rgb/data")),
    "frames in a file of the machine": external,
    "a group for frames": lambda file: (
        file.__delitem__("videos/000000/rgb/data"),
        file.create_group("videos/000000/rgb/data"),
    ),
    "no encoding": lambda file: file["videos/000000/rgb/data"].attrs.__delitem__("encoding"),
    "two values for void": lambda file: file["videos/000000/mask"].attrs.__setitem__("void", [1, 255]),
    "a row that is no JSON": row("{"),
    "a row of a list": row("[]"),
    "a row of another kind": row('{"frames": 3}'),
    "a row with too many frames": row('{"id": "000000", "num_frames": 1000000000, "height": 24, "width": 40}'),
    "a row with a huge frame": row('{"id": "000000", "num_frames": 2, "height": 1000000, "width": 1000000}'),
    "a row that is a number": lambda file: file["videos/000000"].attrs.__setitem__("row", 5),
    "a row of variable length": lambda file: file["videos/000000"].attrs.__setitem__("row", "{}"),
    "no row": lambda file: file["videos/000000"].attrs.__delitem__("row"),
    "a data set for the videos": lambda file: (file.__delitem__("videos"), file.create_dataset("videos", data=1)),
    "quarantine of numbers": lambda file: write_text(file.attrs, "quarantined", "[1]"),
    "a version of two": lambda file: file.attrs.__setitem__("version", [1, 2]),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_files_are_refused(shard, tmp_path, name):
    path = tmp_path / "crafted.h5"
    path.write_bytes(shard.read_bytes())
    with h5py.File(path, "a") as file:
        CRAFTED[name](file)
    assert not read_all(path)
