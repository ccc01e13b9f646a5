from dataclasses import replace

import numpy as np
import pytest

from tests.render.conftest import make_record
from tools.inspect.amounts import LINES, REAL_SETS, Tally, amount_rows, beside_real_sets
from tools.inspect.card import write_card
from tools.inspect.stats import collect_stats, stats_tables
from vosforge.videos import pack_shard, stage_video
from vosforge.videos.amounts import RECORD, ObjectAmounts, VideoAmounts

TWO = (
    ObjectAmounts(
        seen=0.5, first=0, gaps=(3, 2), occlusion=0.7, motion=70, scale=3, lookalikes=2, blur=9, deforming=True
    ),
    ObjectAmounts(seen=1, first=0, occlusion=0.1, motion=4, scale=1.5, lookalikes=0, blur=1, deforming=False),
)
HARD = VideoAmounts(objects=TWO, distractors=3, conditions=("fog",))
EASY = VideoAmounts(
    objects=(ObjectAmounts(seen=1, first=0, gone=1, motion=4, scale=1, lookalikes=0, blur=0),),
    distractors=0,
    conditions=(),
)


def tally_of(*videos):
    tally = Tally()
    for video in videos:
        tally.add(video, np.array([0.0005, 0.005, 0.05, 0.5]))
    return tally


def cells(tally, targets=True):
    rows = amount_rows(tally, lambda name: {"objects": 3, "speed": 4}[name], targets)
    names = (line.name if line.kind == "share" else f"{line.name} {line.kind}" for line in LINES)
    return dict(zip(names, rows, strict=True))


def test_shares_are_those_counted_by_hand():
    tally = tally_of(HARD, EASY)
    shares = {"absent": 2 / 3, "returns": 1 / 2, "back": 1 / 3, "small": 1 / 2, "tiny": 1 / 4}
    shares |= {"occlusion": 0.4, "heavy": 1 / 2, "fast": 1 / 3, "very_fast": 1 / 3, "varies": 1 / 3}
    shares |= {"like_none": 1 / 2, "like_few": 1 / 2, "like_many": 0, "deforming": 1 / 2}
    shares |= {"conditions": 1 / 2, "blurred": 1 / 2, "lookalikes": 2 / 3, "objects": 1.5}
    assert {name: tally.mean(name) for name in shares} == pytest.approx(shares)
    assert (tally.least["distractors"], tally.most["distractors"]) == (0, 3)


def test_each_line_says_what_was_measured_and_whether_that_is_the_target():
    found = cells(tally_of(HARD, EASY))
    assert found["absent"][1:] == ["3", "66.7 %", "45 % ± 10", "no"]
    assert found["heavy"][2:] == ["50.0 %", "15 %", "no"]
    assert found["speed median"][1:] == ["3", "4", "4", "yes"]
    assert found["objects range"][2:] == ["1–2", "1–12", "yes"]
    assert found["distractors range"][2:] == ["0–3", "0–20", "yes"]
    assert found["camouflaged"][2:] == ["– (needs a recipe)", "10 %", "–"]
    assert all(len(row) == 3 for row in cells(tally_of(EASY), targets=False).values())


def test_a_target_holds_up_to_its_ends():
    for line in LINES:
        for value, met in ((line.low, "yes"), (line.high, "yes"), (line.high * 1.01, "no"), (line.low * 0.98, "no")):
            if line.kind == "share":
                tally = Tally()
                tally.sums[line.name], tally.counts[line.name] = value, 1
                assert cells(tally)[line.name][-1] == met


def test_every_published_quantity_has_the_data_sets_own_value():
    own = beside_real_sets(tally_of(HARD, EASY), 24.0)
    assert own == pytest.approx(
        {"absent": 200 / 3, "back": 100 / 3, "small": 50, "lookalikes": 2 / 3, "occlusion": 40, "objects": 1.5}
        | {"frames": 24}
    )
    for quantity in REAL_SETS["quantities"].values():
        assert len(quantity["values"]) == len(REAL_SETS["sets"])


def test_stats_and_the_card_tell_targets_for_diverse_only(tmp_path):
    for preset, columns in (("diverse", 5), ("basic", 3)):
        paths = []
        for index, amounts in enumerate((HARD, EASY)):
            record = make_record(index)
            scene = replace(record.scene, spec=f'{{"preset":"{preset}"}}')
            attributes = {RECORD: amounts.model_dump(mode="json", exclude_defaults=True)}
            paths.append(tmp_path / preset / f"{index:06d}.h5")
            stage_video(paths[-1], replace(record, scene=scene, attributes=attributes))
        stats = collect_stats(pack_shard(tmp_path / preset, 0, paths, {}))
        assert len(stats_tables(stats)[1].columns) == columns
        assert stats.whole.distributions["gap"].total == 5
        assert stats.whole.distributions["blur"].count == 2  # the shutter of the other is closed
        card = write_card(stats, tmp_path / preset).read_text()
        assert ("| 70 % ± 10 |" in card) == (preset == "diverse")
        assert "arXiv 2508.05630" in card and "card/speed.png" in card
        assert (tmp_path / preset / "card" / "beside-real-sets.png").stat().st_size > 10_000


def test_of_many_videos_without_a_record_some_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("tools.inspect.stats.MEASURED_VIDEOS", 2)
    paths = [tmp_path / f"{index:06d}.h5" for index in range(5)]
    for index, path in enumerate(paths):
        attributes = {RECORD: HARD.model_dump(mode="json", exclude_defaults=True)} if index == 1 else {}
        stage_video(path, replace(make_record(index, height=8, width=8), attributes=attributes))
    stats = collect_stats(pack_shard(tmp_path, 0, paths, {}))  # 0 and 3 are measured, 1 is recorded
    assert (stats.whole.videos, stats.unmeasured, stats.tally.counts["objects"]) == (5, 2, 3)
    assert "(2 videos without a record are left out)" in str(stats_tables(stats)[1].title)
