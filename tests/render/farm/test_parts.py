"""Parts of a data set: which shards they have, which exclude each other, and which are missing."""

import json
import shutil
from dataclasses import replace
from itertools import product

import pytest

from render.farm.events import Done
from render.farm.jobs import Dataset
from render.farm.parts import WHOLE, Part, missing_parts
from tests.render.conftest import make_record
from tests.render.farm.inline_pool import render_inline
from vosforge.errors import InputError, MachineError, VOSForgeError
from vosforge.files import UNFINISHED
from vosforge.videos import read_manifest, stage_video
from vosforge.videos.manifest import MANIFEST, PIECES

DIVISIONS = (1, 2, 3, 7, 40)


@pytest.mark.parametrize("of", DIVISIONS)
@pytest.mark.parametrize("total", [1, 5, 40, 41])
def test_each_shard_is_in_one_part(of, total):
    parts = [Part(number, of) for number in range(1, of + 1)]
    assert sorted(shard for part in parts for shard in part.shards(total)) == [*range(total)]
    assert len({part.label for part in parts}) == of


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "a/4", "1/0", "1/2/3", "-1/4", "1/9999999", "", " 1/4"])
def test_what_is_no_part_is_refused_in_a_sentence(text):
    with pytest.raises(InputError, match="no part"):
        Part.parse(text)


def test_a_part_is_written_as_it_is_read():
    assert Part.parse("7/40") == Part(7, 40) and Part(7, 40).label == "07-of-40"
    assert Part.parse("1/1") == WHOLE and WHOLE.label == ""


def test_parts_of_different_divisions_exclude_each_other_and_no_others():
    parts = [Part(number, of) for of in DIVISIONS for number in range(1, of + 1)]
    for one, other in product(parts, repeat=2):
        assert one.excludes(other.label) == other.excludes(one.label) == (one.of != other.of)
    assert not any(part.excludes("preparing") for part in parts)


@pytest.fixture
def dataset(tmp_path, small_config, catalog):
    """Nine shards of two videos."""
    config = small_config.model_copy(update={"videos": 18, "videos_per_shard": 2})
    return Dataset(tmp_path / "data", config, catalog)


def seal(dataset, shards):
    for shard in shards:
        for index in dataset.members(shard):
            stage_video(dataset.staged_path(index), make_record(index))
    dataset.pack()


def test_missing_parts_are_written_as_slurm_has_them(dataset):
    root = dataset.root
    assert missing_parts(root, 40) == "1-9" and missing_parts(root, 4) == "1-4"
    seal(dataset, [0, 1, 3, 4, 5])
    assert missing_parts(root, 40) == "3,7-9" and missing_parts(root, 4) == "1,3-4" and missing_parts(root, 1) == "1"
    for index in dataset.members(2):
        dataset.quarantine(index, "it broke")
    assert missing_parts(root, 40) == "3,7-9", "its quarantined videos are not in a shard yet"
    dataset.pack()
    assert missing_parts(root, 40) == "7-9"
    seal(dataset, range(6, 9))
    assert missing_parts(root, 40) == missing_parts(root, 3) == ""


def test_missing_parts_of_nothing_say_how_to_start(tmp_path):
    with pytest.raises(InputError, match="--prepare-only"):
        missing_parts(tmp_path, 4)


def test_a_part_knows_of_its_own_shards_only(dataset):
    seal(dataset, [0, 1])
    stage_video(dataset.staged_path(4), make_record(4))  # of shard 2
    stage_video(dataset.staged_path(6), make_record(6))  # of shard 3
    parts = [Dataset(dataset.root, dataset.config, dataset.catalog, Part(number, 2)) for number in (1, 2)]
    assert [part.missing() for part in parts] == [[5, 8, 9, 12, 13, 16, 17], [7, 10, 11, 14, 15]]
    assert sorted(index for part in parts for index in part.missing()) == dataset.missing()
    for part in parts:
        part.manifest()
    held = [[json.loads(line)["id"] for line in path.open()] for path in sorted(dataset.root.glob(PIECES))]
    assert held == [["000000", "000001"], ["000002", "000003"]]


def test_a_part_cleans_up_after_itself_only(dataset):
    first, second = (Dataset(dataset.root, dataset.config, dataset.catalog, Part(number, 2)) for number in (1, 2))
    own = ["shards/{}shard-00002-x.h5", "staging/{}000004-x.h5", "{}manifest-1-of-2-x.jsonl"]
    others = ["shards/{}shard-00003-x.h5", "staging/{}000006.quarantined-x.json", "{}manifest-2-of-2-x.jsonl"]
    for name in (*own, *others):
        path = dataset.root / name.format(UNFINISHED)
        path.parent.mkdir(exist_ok=True)
        path.touch()

    def left():
        return {str(path.relative_to(dataset.root)) for path in dataset.root.rglob(f"{UNFINISHED}*")}

    with first.writing():
        assert left() == {name.format(UNFINISHED) for name in others}
        with second.writing():
            assert not left()


def test_a_part_and_the_whole_exclude_each_other(dataset):
    def of(number, of):
        return Dataset(dataset.root, dataset.config, dataset.catalog, Part(number, of))

    with of(1, 2).writing():
        for other in (dataset, of(1, 2), of(3, 4)):
            with pytest.raises(InputError, match="another process is rendering into"), other.writing():
                pass
        with of(2, 2).writing():
            pass
    with dataset.writing(), pytest.raises(InputError, match="another process"), of(1, 2).writing():
        pass


def test_what_other_divisions_left_is_folded_before_a_part_starts(dataset):
    def of(number, of):
        return Dataset(dataset.root, dataset.config, dataset.catalog, Part(number, of))

    with of(1, 2).writing():
        seal(of(1, 2), [0, 2])
    with of(2, 3).writing():
        assert not list(dataset.root.glob(PIECES)) and (dataset.root / MANIFEST).exists()
        seal(of(2, 3), [1])
    assert [path.name for path in dataset.root.glob(PIECES)] == ["manifest-2-of-3.jsonl"]
    rows = read_manifest(dataset.root)
    assert [row.id for row in rows] == [f"{index:06d}" for index in range(6)]
    with dataset.writing():
        dataset.manifest()
    assert not list(dataset.root.glob(PIECES)) and read_manifest(dataset.root) == rows


@pytest.mark.parametrize("same", [True, False])
def test_parts_that_start_at_once_with_different_renderers_do_not_mix(dataset, same):
    part = Dataset(dataset.root, dataset.config, dataset.catalog, Part(2, 2))

    def staged(index, renderer):
        record = make_record(index)
        stage_video(dataset.staged_path(index), replace(record, attributes={**record.attributes, "renderer": renderer}))
        return Done(renderer=renderer)

    def rendering(number, job):
        staged(0, "one")  # by part 1, meanwhile
        yield staged(job["index"], "one" if same else "other")

    if same:
        assert render_inline(part, rendering).videos_done == 8
    else:
        with pytest.raises(VOSForgeError, match="started with one, and other may give different frames"):
            render_inline(part, rendering)
        assert len(part.missing()) == 8


def test_a_full_disk_leaves_no_half_line_in_a_piece(small_disk, small_config, catalog):
    part = Dataset(small_disk / "data", small_config, catalog, Part(1, 2))
    seal(part, [0])
    (piece,) = part.root.glob(PIECES)
    rows, before = read_manifest(part.root), piece.read_bytes()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free))
    with pytest.raises(MachineError, match="No space left"):
        part.record(0, rows * 20)
    assert piece.read_bytes() == before
    ballast.unlink()
    part.record(0, rows * 20)
    assert read_manifest(part.root) == rows
