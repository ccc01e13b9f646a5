"""Twice as many videos take twice as many steps, not four times: what is known is not searched or listed again.

Steps are Python's own instructions, which are counted instead of timed, so that a busy machine changes nothing. What
C code compares is not seen, except texts of the class `Seen`.
"""

import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from assets.catalog import Asset, Catalog
from assets.models import Model
from assets.packs import unpack_model
from assets.references import find_below
from render.farm.events import Done, Event
from render.farm.jobs import Dataset, DatasetConfig
from render.farm.places import Places
from render.farm.process import Job
from tests.mivos_models.runner.test_long_videos import DrawnFrames, Standstill, interacting, propagating
from tests.render.farm.inline_pool import render_inline
from tests.tools.convert.conftest import make_record, write_set
from tools.convert.coco import category_numbers
from tools.convert.exporting import choose_videos
from tools.convert.layouts import find_videos, recognise
from tools.convert.sources import Entry, Tree
from tools.inspect.findings import Verification
from tools.inspect.verification import repair_dataset
from vosforge.remote import Version
from vosforge.videos import ShardSet, VideoRow
from vosforge.videos.cache import local_copy
from vosforge.videos.folders import FolderVideo, videos_below
from vosforge.videos.format import shard_name, to_json

Work = Callable[[], object]
MOST = 2.2
"""So many times the steps for twice the videos; sorting takes a little more than 2."""


class Seen(str):
    """A text whose comparisons are steps."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)


def steps(job: Work) -> int:
    """How many instructions ``job`` takes, in all that it calls."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        job()
    finally:
        sys.settrace(before)
    return count


def assert_even(prepared: Callable[[Path, int], Work], folder: Path, V: int) -> None:
    """Hold the steps for 2 V things against those for V; ``prepared(folder, V)`` makes the job."""
    prepared(folder / "first", V)()  # what is imported or computed once is no growth
    once, twice = (steps(prepared(folder / str(number), number)) for number in (V, 2 * V))
    assert twice <= MOST * once, f"{twice / once:.2f} times the steps"


def ids(V: int) -> list[str]:
    return [f"{number:06d}" for number in range(V)]


def tree_of(*folders: str) -> Tree:
    return {folder: {"00000.png": Entry("00000.png")} for folder in folders}


TREES: dict[str, Callable[[str], tuple[str, ...]]] = {
    "two folders": lambda video: (f"frames/{video}", f"gt/{video}"),
    "one root": lambda video: (f"JPEGImages/{video}", f"Annotations/{video}"),
    "a root each": lambda video: (f"{video}/JPEGImages/{video}", f"{video}/Annotations/{video}"),
    "two sizes": lambda video: (f"JPEGImages/480p/{video}", f"JPEGImages/1080p/{video}", f"Annotations/480p/{video}"),
}


@pytest.mark.parametrize("shape", TREES)
def test_the_videos_of_a_source_are_found(tmp_path, shape):
    def prepared(folder: Path, V: int) -> Work:
        tree = tree_of(*(name for video in ids(V) for name in TREES[shape](video)))
        return lambda: find_videos(folder, tree, None, recognise(folder, tree))

    assert_even(prepared, tmp_path, 60)


def test_lists_are_looked_for_in_every_root(tmp_path):
    def prepared(folder: Path, V: int) -> Work:
        tree = tree_of(*(name for video in ids(V) for name in TREES["a root each"](video)))
        tree[f"{ids(V)[-1]}/ImageSets/2017"] = {}
        return lambda: find_videos(folder, tree, None, recognise(folder, tree))

    assert_even(prepared, tmp_path, 60)


def listed(folder: Path, V: int) -> ShardSet:
    """A data set of which there is the manifest only."""
    folder.mkdir()
    rows = (VideoRow(id=video, shard=shard_name(0), split="train") for video in ids(V))
    (folder / "manifest.jsonl").write_text("".join(f"{to_json(row.model_dump(mode='json'))}\n" for row in rows))
    return ShardSet(folder)


def test_videos_are_found_by_their_ids(tmp_path):
    def prepared(folder: Path, V: int) -> Work:
        shards = listed(folder, V)
        return lambda: [shards.video(video) for video in ids(V)]

    assert_even(prepared, tmp_path, 200)


def test_videos_are_chosen_by_their_ids(tmp_path):
    def prepared(folder: Path, V: int) -> Work:
        return partial(choose_videos, listed(folder, V), folder, None, [Seen(video) for video in ids(V)])

    assert_even(prepared, tmp_path, 200)


def test_categories_are_numbered(tmp_path):
    def prepared(folder: Path, V: int) -> Work:
        return partial(category_numbers, write_set(folder, tuple(make_record(video, frames=1) for video in ids(V))))

    assert_even(prepared, tmp_path, 12)


def test_bad_shards_are_repaired(tmp_path):
    """Every shard has a bad video."""

    def prepared(folder: Path, V: int) -> Work:
        found = Verification(folder)
        for shard in range(V):
            found.add(f"{2 * shard:06d}", f"shards/{shard_name(shard)}", "it is bad", "requeue")
        dataset = SimpleNamespace(
            root=folder,
            shards=lambda: range(V),
            shard_path=lambda shard: folder / "shards" / shard_name(shard),
            members=lambda shard: range(2 * shard, 2 * shard + 2),
            reopen=lambda *_: None,
            manifest=lambda **_: None,
        )
        return lambda: repair_dataset(dataset, found)  # type: ignore[arg-type]

    assert_even(prepared, tmp_path, 200)


def test_masks_are_asked_for_at_every_frame(tmp_path):
    def prepared(folder: Path, T: int) -> Work:
        for name in ("frames", "masks"):
            (folder / name).mkdir(parents=True)
            for t in range(T):
                Image.fromarray(np.ones((4, 4), np.uint8)).save(folder / name / f"{t:05d}.png")
        video = FolderVideo(folder / "frames", folder / "masks")
        return lambda: [video.mask(t) for t in range(T) if video.has_masks]

    assert_even(prepared, tmp_path, 60)


def test_films_lie_among_folders_of_frames(tmp_path):
    def prepared(folder: Path, V: int) -> Work:
        for video in ids(V):
            (folder / video).mkdir(parents=True)
            (folder / video / "00000.png").touch()
            (folder / f"film {video}.mp4").touch()
        return partial(videos_below, folder)

    assert_even(prepared, tmp_path, 60)


@dataclass
class Shard:
    """What is asked of a remote shard."""

    name: str
    version = Version(10, "")

    def download(self, to: Path) -> None:
        to.write_bytes(bytes(10))


def test_shards_are_fetched(tmp_path, monkeypatch):
    def prepared(folder: Path, V: int) -> Work:
        def fetch() -> None:
            monkeypatch.setenv("VOSFORGE_CACHE", str(folder))
            for video in ids(V):
                local_copy(Shard(video))  # type: ignore[arg-type]

        return fetch

    assert_even(prepared, tmp_path, 60)


@pytest.mark.parametrize("per_shard", [2, 1000])
def test_videos_are_rendered_and_packed(tmp_path, monkeypatch, per_shard):
    """What the driver does, from the first look at the folder to the last shard."""

    def rendering(number: int, job: Job) -> Iterator[Event]:
        Places(Path(job["dataset"])).staged(job["index"]).touch()
        yield Done(renderer="Blender")

    monkeypatch.setattr("render.farm.sealing.pack_shard", lambda root, number, *_: (root / shard_name(number)).touch())
    monkeypatch.setattr("render.farm.sealing.shard_rows", lambda path: [VideoRow(id=path.stem, shard=path.name)])

    def prepared(folder: Path, V: int) -> Work:
        dataset = Dataset(folder, DatasetConfig(videos=V, videos_per_shard=per_shard, held_out_every=0), Catalog())
        for name in ("staging", "shards"):
            (folder / name).mkdir()

        def work() -> None:
            render_inline(dataset, rendering)
            assert not any((folder / "staging").iterdir())

        return work

    assert_even(prepared, tmp_path, 60)


def test_models_are_taken_out_of_an_archive(tmp_path):
    def prepared(folder: Path, V: int) -> Work:
        folder.mkdir()
        path = folder / "pack.sh3f"
        with zipfile.ZipFile(path, "w") as archive:
            for name in ids(V):
                archive.writestr(f"{name}/{name}.obj", b"v 0 0 0")
        models = [
            Model(name=name, category="", source="", licence="", creator="", path=path, member=f"{name}/{name}.obj")
            for name in ids(V)
        ]
        return lambda: [unpack_model(model, folder / "out") for model in models]

    assert_even(prepared, tmp_path, 60)


def test_images_are_found_in_another_letter_case(tmp_path):
    def prepared(folder: Path, V: int) -> Work:
        folder.mkdir()
        for name in ids(V):
            (folder / f"{name}.PNG").touch()
        return lambda: [find_below(folder, folder, folder / f"{name}.png") for name in ids(V)]

    assert_even(prepared, tmp_path, 60)


def test_assets_are_found_by_their_hashes(tmp_path):
    def prepared(_: Path, V: int) -> Work:
        known = {"kind": "mesh", "category": "", "licence": "", "creator": ""}
        catalog = Catalog.of(Asset(hash=name, name=name, source=name, **known) for name in ids(V))
        return lambda: [(catalog.by_hash(name), catalog.of_kind("mesh")) for name in ids(V)]

    assert_even(prepared, tmp_path, 200)


@pytest.mark.parametrize("run", [propagating, interacting])
def test_masks_are_carried_through_a_video(tmp_path, run):
    """Once the memory is full, from frame 155 on."""
    assert_even(lambda _, T: partial(run, Standstill(True), DrawnFrames(T)), tmp_path, 600)
