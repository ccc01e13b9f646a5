import itertools
from dataclasses import replace

import h5py
import numpy as np
import pytest

from tests.render.conftest import make_record, without_colors
from tests.tools.painted import painted_dataset
from tests.vosforge.videos.damage import damage_video, flipped
from tools.inspect.card import write_card
from tools.inspect.stats import MAX_VALUES, Distribution, Quantity, collect_stats, measure, stats_tables
from vosforge import InputError
from vosforge.seeding import rng_for
from vosforge.videos import ShardSet, build_manifest, pack_shard, stage_video


@pytest.mark.parametrize(
    ("quantity", "values"),
    [
        (Quantity("", 1e-6, 1), 10 ** rng_for("sizes").uniform(-5, -0.5, 4000)),
        (Quantity("", 0, 1, "even"), np.repeat([0.0, 0.25, 1.0], [500, 300, 1200])),
        (Quantity("", 0, 50, "whole"), rng_for("counts").integers(0, 9, 1000).astype(float)),
    ],
)
def test_quantiles_are_as_sorting_gives_them(quantity, values):
    found = Distribution(quantity)
    for part in np.array_split(values, 7):
        found.add(part)
    assert found.count == len(values)
    assert found.mean == pytest.approx(values.mean())
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        wanted = np.quantile(values, share, method="inverted_cdf")
        assert found.quantile(share) == pytest.approx(wanted, rel=0.03, abs=1e-9)


def test_a_video_is_measured_as_by_hand(tmp_path):
    masks = np.zeros((4, 20, 40), np.uint8)
    for t, left in enumerate((0, 3, 7)):
        masks[t, 5:10, left : left + 10] = 1
    masks[[0, 3], 12:16, 20:28] = 2  # comes back once
    record = replace(make_record(0, height=20, width=40), mask=masks)
    stage_video(tmp_path / "000000.h5", record)
    (video,) = ShardSet(tmp_path / "000000.h5")
    found = measure(video)
    assert sorted(found["size"]) == pytest.approx([0.04, 0.04, 0.0625, 0.0625, 0.0625])
    assert found["seen"].tolist() == [0.75, 0.5]
    assert found["returns"].tolist() == [0, 1]
    assert found["border"] == pytest.approx([1 / 3, 0])
    assert found["motion"].tolist() == [3, 4]
    assert found["relative_motion"] == pytest.approx(np.array([3, 4]) / np.hypot(20, 40))
    places = [np.linalg.solve(matrix, [0, 0, 0, 1])[:3] for matrix in record.scene.world_to_camera]
    steps = [np.linalg.norm(b - a) for a, b in itertools.pairwise(places)]
    assert found["camera_path"] == pytest.approx([sum(steps)])
    assert "visibility" not in found


def test_jumps_at_cuts_are_no_motion(tmp_path):
    masks = np.zeros((4, 20, 40), np.uint8)
    for t, left in enumerate((0, 3, 20, 21)):
        masks[t, 5:10, left : left + 10] = 1
    record = replace(make_record(0, height=20, width=40), mask=masks)
    record = replace(record, scene=replace(record.scene, spec='{"camera": {"cuts": [{"frame": 2}]}}'))
    stage_video(tmp_path / "000000.h5", record)
    (video,) = ShardSet(tmp_path / "000000.h5")
    found = measure(video)
    assert found["motion"].tolist() == [3, 1]
    places = [np.linalg.solve(matrix, [0, 0, 0, 1])[:3] for matrix in record.scene.world_to_camera]
    steps = [np.linalg.norm(b - a) for a, b in itertools.pairwise(places)]
    assert found["camera_path"] == pytest.approx([steps[0] + steps[2]])


def test_a_rendered_data_set_gets_a_card(tmp_path):
    dataset = painted_dataset(tmp_path / "painted")
    damage_video(dataset.shard_path(0), "000001", flipped("objects/box"))
    stats = collect_stats(dataset.root)
    assert (stats.whole.videos, stats.whole.frames, stats.rendered) == (5, 15, 5)
    assert stats.groups["split"]["val"].videos == 2
    assert stats.groups["preset"]["basic"].videos == 5
    assert set(stats.gaps) == {"000001", "000004"}
    titles = [table.title for table in stats_tables(stats)]
    assert titles[:4] == [None, "what it asks of trackers", "means by split", "means by preset"]

    card = write_card(stats, dataset.root).read_text()
    assert card.startswith('---\npretty_name: "painted"\nlicense: other\n')
    for told in (
        "CC0-1.0",
        "CC-BY-4.0 (",
        "| Bob |",
        "Blender died",
        "'objects/box'",
        "videos_per_shard: 3",
        "| numpy |",
    ):
        assert told in card
    for name in ("videos.jpg", "credits.csv", "size.png", "relative_motion.png", "camera_path.png"):
        assert f"card/{name}" in card
        assert (dataset.root / "card" / name).stat().st_size > 100
    assert "texture 1,painted/texture/1,CC-BY-4.0,Bob" in (dataset.root / "card" / "credits.csv").read_text()
    again = write_card(collect_stats(dataset.root), tmp_path / "elsewhere").read_text()
    assert again == card


def test_visibility_is_reported_where_there_are_amodal_masks(tmp_path):
    stage_video(tmp_path / "0.h5", make_record(0, passes=True))
    stats = collect_stats(tmp_path / "0.h5")
    visibility = stats.whole.distributions["visibility"]
    assert visibility.count == 4 * 2 and 0 < visibility.least <= visibility.most < 1
    assert "share of an object not hidden by others" in write_card(stats, tmp_path).read_text()


def test_videos_without_colours_count_with_what_they_have(tmp_path):
    staged = [tmp_path / f"{index:06d}.h5" for index in range(2)]
    stage_video(staged[0], without_colors(make_record(0)))
    stage_video(staged[1], make_record(1))
    stats = collect_stats(pack_shard(tmp_path, 0, staged, {}))
    counts = {name: found.count for name, found in stats.whole.distributions.items()}
    assert (counts["frames"], counts["mask_bytes"], counts["rgb_bytes"], counts["darkest"]) == (2, 2, 1, 1)
    card = write_card(stats, tmp_path / "some")
    assert "1 of the videos has masks only, without colours." in card.read_text()
    assert (card.parent / "card" / "videos.jpg").stat().st_size > 100
    bare = write_card(collect_stats(staged[0]), tmp_path / "none").read_text()
    assert "bytes a frame, masks" in bare
    assert not any(told in bare for told in ("bytes a frame, colours", "brightness"))


def test_an_imported_data_set_gets_a_card_too(tmp_path):
    staged = tmp_path / "staging" / "libby.h5"
    record = make_record(0)
    stage_video(staged, replace(record, id="libby", scene=None, attributes={}))
    with h5py.File(staged, "a") as file:
        assert "spec" not in file["videos/libby"].attrs
    pack_shard(tmp_path / "shards", 0, [staged], {})
    build_manifest(tmp_path)
    stats = collect_stats(tmp_path)
    assert list(stats.groups) == ["split"]
    card = write_card(stats, tmp_path).read_text()
    assert "1 video (imported; 1 of 40×24 pixels)" in card
    assert "name no assets" in card
    assert "license" not in card
    assert "Settings" not in card
    assert collect_stats(tmp_path / "shards" / "shard-00000.h5").whole.videos == 1


def test_attributes_make_groups_unless_they_have_too_many_values(tmp_path):
    paths = []
    for index in range(MAX_VALUES + 2):
        record = make_record(index, frames=2, height=8, width=8)
        spec = f'{{"preset":"hard","attributes":{{"fast":{str(index % 2 == 0).lower()},"index":{index}}}}}'
        paths.append(tmp_path / f"{index:06d}.h5")
        stage_video(paths[-1], replace(record, scene=replace(record.scene, spec=spec)))
    stats = collect_stats(pack_shard(tmp_path, 0, paths, {}))
    assert {name: group.videos for name, group in stats.groups["fast"].items()} == {"True": 13, "False": 13}
    assert stats.crowded == {"index"}
    assert not stats.groups["index"]
    assert stats.groups["preset"]["hard"].videos == MAX_VALUES + 2


def test_what_cannot_be_read_or_written_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="not a rendered data set"):
        collect_stats(tmp_path)
    dataset = painted_dataset(tmp_path / "data")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to"):
        write_card(collect_stats(dataset.root), tmp_path / "file")
