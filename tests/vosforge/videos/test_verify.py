import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from tests.render.conftest import make_record, without_colors
from tests.vosforge.videos.damage import PASSES, PIXELS, TABLES, damage_video, reseal, row_says
from vosforge import InputError, VOSForgeError
from vosforge.gates import GateLimits
from vosforge.videos import ShardSet, pack_shard, stage_video
from vosforge.videos.texts import read_text, write_text
from vosforge.videos.verify import find_problem, list_videos


def problems(path, **options):
    """What is wrong with each video of a shard; good ones are left out."""
    listing = list_videos(path)
    found = {video: find_problem(path, row, **options) for video, row in listing.rows.items()}
    return listing.damaged | {video: what for video, what in found.items() if what is not None}


@pytest.fixture
def shard(tmp_path):
    staged = [tmp_path / f"{index:06d}.h5" for index in range(3)]
    for index, path in enumerate(staged):
        stage_video(path, make_record(index))
    return pack_shard(tmp_path, 0, staged, {"000003": "it broke"})


def test_good_videos_are_good(shard):
    assert problems(shard) == {}
    assert list_videos(shard).quarantined == {"000003": "it broke"}


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("kind", TABLES)
def test_damage_to_tables_is_named_and_nothing_else(shard, kind, decode):
    damage, told = TABLES[kind]
    damage_video(shard, "000001", damage)
    found = problems(shard, decode=decode)
    assert list(found) == ["000001"]
    assert told in found["000001"]


@pytest.mark.parametrize("kind", PIXELS)
def test_damage_to_pixels_is_named_and_nothing_else(shard, kind):
    damage, told = PIXELS[kind]
    damage_video(shard, "000001", damage)
    found = problems(shard)
    assert list(found) == ["000001"]
    assert told in found["000001"]
    assert str(shard) not in found["000001"]


@pytest.mark.parametrize("kind", PASSES)
def test_damage_to_passes_is_named(tmp_path, kind):
    path = tmp_path / "000000.h5"
    stage_video(path, make_record(0, passes=True))
    assert problems(path) == {}
    damage, told = PASSES[kind]
    damage_video(path, "000000", damage)
    assert told in problems(path)["000000"]


def test_an_imported_video_needs_no_scene_and_may_have_void(tmp_path):
    record = make_record(0)
    masks = record.mask.copy()
    masks[:, 3:9, 2:7] = 255
    path = tmp_path / "libby.h5"
    stage_video(path, replace(record, id="libby", mask=masks, void=True, scene=None, attributes={}))
    assert problems(path) == {}

    def no_void(group):
        del group["mask"].attrs["void"]

    damage_video(path, "libby", no_void)
    assert problems(path) == {"libby": "the mask of frame 0 holds 255, but there are 2 objects"}


def test_the_gates_hold_only_where_they_are_asked_for(tmp_path):
    record = make_record(0)
    masks = record.mask.copy()
    masks[2] = 0
    path = tmp_path / "000000.h5"
    stage_video(path, replace(record, mask=masks))
    assert problems(path) == {}
    assert "almost no mask" in problems(path, gates=True)["000000"]

    def darken(group):
        row = read_text(group.attrs, "row")
        write_text(group.attrs, "row", row.replace(f'"darkest":{record.darkest}', '"darkest":3.0'))
        reseal(group)

    damage_video(path, "000000", darken)
    assert "a frame is black" in problems(path, gates=True, decode=False)["000000"]
    of_preset = GateLimits(min_coverage=0.0, max_empty=0.9)
    assert "a frame is black" in problems(path, gates=True, decode=False, limits_of=lambda spec: of_preset)["000000"]
    excused = of_preset.without({"black"})
    assert problems(path, gates=True, decode=False, limits_of=lambda spec: excused) == {}


def test_a_video_without_colours_is_good_and_no_gate_asks_for_them(tmp_path):
    path = tmp_path / "000000.h5"
    stage_video(path, without_colors(make_record(0, passes=True)))
    for decode in (False, True):
        assert problems(path, decode=decode, gates=True) == {}
    empty = make_record(0)
    empty.mask[2] = 0
    stage_video(path, without_colors(empty))
    assert "almost no mask" in problems(path, gates=True)["000000"]


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize(
    ("bare", "damage", "told"),
    [
        (True, row_says('"colors":false', '"colors":true'), "it is damaged"),
        (True, row_says('"darkest":null', '"darkest":50.0'), "its row says darkest"),
        (True, row_says('"bytes":', '"bytes":7'), "its row says bytes"),
        (False, row_says('"colors":true', '"colors":false'), "it has colours, but its row says it has none"),
    ],
)
def test_a_row_that_is_wrong_about_colours_is_named(tmp_path, bare, damage, told, decode):
    path, record = tmp_path / "000000.h5", make_record(0)
    stage_video(path, without_colors(record) if bare else record)
    damage_video(path, "000000", damage)
    assert told in problems(path, decode=decode)["000000"]


def test_the_test_of_specs_is_asked(shard):
    def no_spec(spec, row):
        return "it is none" if row.id == "000002" else None

    assert problems(shard, spec_test=no_spec, decode=False) == {"000002": "it is none"}


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_shard_cut_short_has_no_list(shard, size):
    shard.write_bytes(shard.read_bytes()[:size])
    with pytest.raises(InputError, match="not a whole HDF5 file"):
        list_videos(shard)


def test_amodal_visibility_is_looked_at_where_it_is(shard):
    def add(group):
        group["objects"].create_dataset("visibility", data=np.ones((4, 2), np.float32))
        reseal(group, "objects/visibility")

    damage_video(shard, "000000", add)
    assert problems(shard) == {}
    with h5py.File(shard, "a") as file:
        del file["videos/000000/objects/visibility"]
        file["videos/000000/objects"].create_dataset("visibility", data=np.ones((3, 2), np.float32))
    assert "'objects/visibility' is float32 [3, 2]" in problems(shard)["000000"]


def test_readers_know_where_cuts_are_and_no_flow_leads_across(tmp_path):
    record = make_record(0, passes=True)
    spec = json.dumps({"camera": {"cuts": [{"frame": 2}]}})
    cut = replace(record, scene=replace(record.scene, spec=spec))
    for number, known in enumerate((True, False)):
        passes = {name: array.copy() for name, array in record.passes.items()}
        if not known:
            passes["flow_fwd"][1], passes["flow_bwd"][2] = np.nan, np.nan
        for record_of, cuts, wanted in ((record, (), known), (cut, (2,), not known)):
            path = tmp_path / f"{number}{len(cuts)}.h5"
            stage_video(path, replace(record_of, passes=passes))
            (video,) = ShardSet(path)
            assert video.cuts == cuts
            problem = find_problem(path, video.row)
            assert (problem is None) == wanted
            assert wanted or problem == "'flow_fwd' of frame 1 is inconsistent"
    stage_video(tmp_path / "bad.h5", replace(record, scene=replace(record.scene, spec=spec.replace("2", "9"))))
    (video,) = ShardSet(tmp_path / "bad.h5")
    with pytest.raises(VOSForgeError, match=r"'spec' of video 000000 in .* cannot be read"):
        _ = video.cuts
