from dataclasses import replace

import numpy as np
import pytest

from tests.render.conftest import make_record
from tools.convert.writing import palette_png
from train.evaluation.attributes import CLASSES, LIMITS, object_classes
from train.evaluation.results import find_results
from train.evaluation.scoring import score_videos, summarise
from train.evaluation.truth import open_truth
from vosforge.seeding import rng_for
from vosforge.videos import pack_shard, stage_video
from vosforge.videos.amounts import RECORD, ObjectAmounts, VideoAmounts

HARD = ObjectAmounts(
    seen=0.4,
    first=0,
    gaps=(3,),
    area=0.0005,
    occlusion=0.7,
    motion=61,
    scale=0.4,
    contrast=3,
    blur=6,
    deformation=0.2,
    lookalikes=4,
    camouflaged=True,
    deforming=True,
)
EASY = ObjectAmounts(seen=1, first=0, area=0.2, motion=1, scale=1, lookalikes=0, camouflaged=False, deforming=False)


def test_an_object_has_the_class_of_each_amount_that_is_known():
    hard, easy, never = object_classes(
        VideoAmounts(objects=(HARD, EASY, ObjectAmounts(seen=0)), distractors=0, conditions=("fog",))
    )
    last = {name: classes[-1] for name, classes in CLASSES.items()}
    wanted = last | {"absence": "returns", "size": "under 0.1 %", "contrast": "under 15", "night": "no", "drift": "no"}
    assert hard == wanted
    first = {name: classes[0] for name, classes in CLASSES.items() if name not in ("occlusion", "contrast", "blur")}
    assert easy == first | {"size": "over 10 %", "fog": "yes"}
    assert never == {}


def test_without_a_recipe_an_object_has_the_classes_of_its_masks():
    (bare,) = object_classes(VideoAmounts(objects=(ObjectAmounts(seen=0.5, first=0, gone=3, area=0.05),)))
    assert bare == {"absence": "stays away", "size": "1–10 %"}


def test_classes_are_in_order_and_begin_at_their_limits():
    fields = {"look-alikes": "lookalikes", "size": "area"}
    for name, limits in LIMITS.items():
        assert len(CLASSES[name]) == len(limits) + 1
        for place, limit in enumerate(limits):
            item = ObjectAmounts(seen=1, first=0, **{fields.get(name, name): limit})
            assert object_classes(VideoAmounts(objects=(item,)))[0][name] == CLASSES[name][place + 1]


@pytest.fixture
def scored(tmp_path):
    """Noisy videos whose results are right for object 1, which is easy, and empty for object 2, which is hard."""
    paths = []
    for index in range(2):
        record = make_record(index, height=16, width=16)
        amounts = VideoAmounts(objects=(EASY, HARD), distractors=0, conditions=())
        attributes = {RECORD: amounts.model_dump(mode="json", exclude_defaults=True)}
        paths.append(tmp_path / f"{index:06d}.h5")
        stage_video(paths[-1], replace(record, attributes=attributes))
        folder = tmp_path / "results" / record.id
        folder.mkdir(parents=True)
        for t, mask in enumerate(record.mask):
            (folder / f"{t:05d}.png").write_bytes(palette_png(np.where(mask == 1, mask, 0).astype(np.uint8)))
    return open_truth(pack_shard(tmp_path, 0, paths, {})), tmp_path / "results"


def evaluation_of(scored, protocol):
    truths, folder = scored
    results = find_results(folder, truths, [truth.id for truth in truths], False)
    return summarise(score_videos(truths, results, protocol), protocol, "results", "truth")


def test_scores_are_broken_down_by_what_objects_ask(scored):
    found = evaluation_of(scored, "davis17")
    assert {name: value.jf for name, value in found.groups["motion"].items()} == {"under 4 px": 1.0, "over 60 px": 0.0}
    assert [value.objects for value in found.groups["absence"].values()] == [2, 2]
    assert list(found.groups["size"]) == ["under 0.1 %", "over 10 %"]
    assert "occlusion" not in found.groups  # one class only
    assert found.videos[0].objects[1].attributes["look-alikes"] == "4 or more"


def test_objects_that_are_merged_have_no_attributes(scored):
    found = evaluation_of(scored, "davis16")
    assert "motion" not in found.groups
    assert all(not score.attributes for video in found.videos for score in video.objects)


def test_trees_of_masks_are_measured(tmp_path):
    mask = np.zeros((5, 40, 60), np.uint8)
    mask[:, 5:15, 5:15], mask[[0, 3, 4], 20:22, 30:32] = 1, 2
    mask[:, 30:35, 50:55] = 255
    folder = tmp_path / "Annotations" / "bear"
    folder.mkdir(parents=True)
    for t, frame in enumerate(mask):
        (folder / f"{t:05d}.png").write_bytes(palette_png(frame))
    (truth,) = open_truth(tmp_path)
    found = truth.amounts(truth.masks())
    assert [(item.gaps, item.motion) for item in found.objects] == [((), 0), ((2,), 0)]
    frames = tmp_path / "JPEGImages" / "bear"
    frames.mkdir(parents=True)
    for t in range(10):  # every second one has a mask
        noise = rng_for(t).integers(0, 256, (4, 4), dtype=np.uint8)
        (frames / f"{t:05d}.jpg").write_bytes(palette_png(noise))
    (truth,) = open_truth(tmp_path)
    assert [item.motion for item in truth.amounts(truth.masks()).objects] == [None, None]
