import json
import time
from dataclasses import replace

import numpy as np
import pytest

from tests.render.conftest import make_record
from vosforge import VOSForgeError, amounts
from vosforge.seeding import rng_for
from vosforge.videos import ShardSet, stage_video
from vosforge.videos.amounts import RECORD, ObjectAmounts, amounts_of, conditions, measure_video, recorded_amounts
from vosforge.videos.codec import encode

THING = {"mesh": "a", "texture": None, "material": None, "wrap": "box"}


def two_objects() -> np.ndarray:
    """Object 1 moves by 3 and 4 pixels to the right, touches the border, and is away for a frame; object 2 stays."""
    mask = np.zeros((4, 24, 48), np.uint8)
    for t, left in enumerate((0, 3, None, 7)):
        if left is not None:
            mask[t, 5:10, left : left + 10] = 1
    mask[:2, 12:16, 20:28] = 2
    return mask


def scene(**changes):
    objects = [THING, THING | {"texture": "t"}]
    return json.dumps({"objects": objects, "distractors": [THING], "camera": {"shutter": 0.5}} | changes)


def staged(path, record):
    stage_video(path, record)
    (video,) = ShardSet(path)
    return video


def test_a_video_is_measured_as_by_hand():
    found = measure_video(two_objects(), 2, recipe=scene(), visibility=np.full((4, 2), 0.8), contrast=[[9, 1], [7, 2]])
    one, two = found.objects
    assert (one.seen, one.first, one.gaps, one.gone, one.absent) == (0.75, 0, (1,), 0, True)
    assert (two.seen, two.gaps, two.gone) == (0.5, (), 2)
    assert one.motion == pytest.approx(3 * 480 / 24) and two.motion == 0
    assert one.blur == pytest.approx(30) and found.blur == one.blur
    assert one.area == pytest.approx(50 / (24 * 48), rel=1e-3)
    assert one.occlusion == pytest.approx(0.2)
    assert (one.contrast, two.contrast) == (8, 1.5)
    assert (one.lookalikes, two.lookalikes, found.lookalikes, found.distractors) == (1, 0, 1, 1)
    assert (one.deformation, one.deforming, one.camouflaged) == (0, False, False)
    assert (one.scale, one.varies, found.conditions) == (1, False, ())


def test_a_jump_at_a_cut_is_no_motion():
    mask = two_objects()
    mask[2:] = np.roll(mask[1:3], 17, axis=2)
    mask[2, 5:10, 30:40] = 1
    whole = measure_video(mask, 2, recipe=scene()).objects
    found = measure_video(mask, 2, recipe=scene(camera={"shutter": 0.5, "cuts": [{"frame": 2}]})).objects
    assert found[0].motion == pytest.approx(3 * 480 / 24) and found[0].blur == pytest.approx(30)
    assert whole[0].motion > 2 * found[0].motion
    for bad in ({"frame": 4}, {"frame": 0}, {"frame": "2"}):
        with pytest.raises(ValueError, match="its cuts are at"):
            measure_video(mask, 2, recipe=scene(camera={"cuts": [bad]}))


def test_frames_left_out_between_masks_leave_motion_unknown():
    assert measure_video(two_objects(), 2, in_time=False).objects[0].motion is None


def test_without_a_recipe_nothing_is_said_of_it():
    found = measure_video(two_objects(), 2)
    for item in found.objects:
        assert (item.blur, item.lookalikes, item.camouflaged, item.deforming, item.deformation) == (None,) * 5
    assert (found.lookalikes, found.blur, found.distractors, found.conditions) == (None,) * 4


def test_look_alikes_are_those_that_frame_0_shows():
    mask = two_objects()
    same = scene(objects=[THING, THING])
    assert [item.lookalikes for item in measure_video(mask, 2, recipe=same).objects] == [2, 2]
    assert [item.lookalikes for item in measure_video(mask, 2, recipe=same, shown=[0, 1, 2]).objects] == [1, 1]
    mask[0][mask[0] == 2] = 0
    late = measure_video(mask, 2, recipe=same)
    assert [item.lookalikes for item in late.objects] == [1, 2]
    assert late.lookalikes == 1  # object 2 is no target in frame 0


def test_camouflage_is_the_texture_of_what_is_behind():
    for planes in ({"backdrop": {"texture": "t"}}, {"ground": {"texture": "t"}}, {"walls": [{"texture": "t"}]}):
        found = measure_video(two_objects(), 2, recipe=scene(**planes))
        assert [item.camouflaged for item in found.objects] == [False, True]


def test_what_may_deform_is_known_only_when_measured():
    recipe = scene(objects=[THING, THING | {"deformation": {"twist": [1]}}])
    assert [item.deformation for item in measure_video(two_objects(), 2, recipe=recipe).objects] == [0, None]
    found = measure_video(two_objects(), 2, recipe=recipe, deformation={1: 0.123456})
    assert [(item.deformation, item.deforming) for item in found.objects] == [(0, False), (0.1235, True)]
    jointed = scene(objects=[THING | {"joints": []}, THING | {"joints": [{"joint": 0}]}])
    assert [item.deforming for item in measure_video(two_objects(), 2, recipe=jointed).objects] == [False, True]


def test_conditions_are_those_of_the_recipe():
    night = {"module": "light", "amounts": {"kind": "night"}}
    sun = {"module": "light", "amounts": {"kind": "sun"}}
    assert conditions({"traits": [sun], "atmosphere": None}) == ()
    all_three = {"traits": [night], "drift": {"knots": []}, "atmosphere": {"density": 1}}
    assert conditions(all_three) == ("night", "fog", "drift")


def test_a_record_is_read_back_and_one_is_measured_where_there_is_none(tmp_path):
    mask = two_objects()
    frames = np.full((*mask.shape, 3), 100, np.uint8)
    frames[mask == 1] = 160
    bare = make_record(0, height=24, width=48)
    bare = replace(bare, mask=mask, rgb=tuple(encode(frame, "png", 95) for frame in frames), encoding="png")
    measured = amounts_of(staged(tmp_path / "bare.h5", bare))
    one, two = (item.contrast for item in measured.objects)
    assert one == pytest.approx(60) and 0 < two < 3  # a corner of object 1 is in the ring of object 2
    found = measure_video(mask, 2, recipe=scene())
    record = {RECORD: found.model_dump(mode="json", exclude_defaults=True)}
    video = staged(tmp_path / "recorded.h5", replace(bare, attributes=record))
    assert amounts_of(video) == recorded_amounts(video) == found
    wrong = staged(tmp_path / "wrong.h5", replace(bare, attributes={RECORD: {"objects": [{"seen": "much"}]}}))
    with pytest.raises(VOSForgeError, match=r"amounts of video 000000 .* are damaged"):
        amounts_of(wrong)


def test_amodal_masks_and_poses_of_older_videos_are_used(tmp_path):
    record = make_record(0, passes=True)
    found = amounts_of(staged(tmp_path / "0.h5", record))
    visibility = record.passes["objects/visibility"]
    assert [item.occlusion for item in found.objects] == pytest.approx(1 - visibility.mean(axis=0), rel=1e-3)
    pose = np.tile(np.eye(4), (4, 2, 1, 1))
    pose[:, 0, 2, 3], pose[:, 1, 2, 3] = [4, 3, 2, 2], 5
    still = np.tile(np.eye(4), (4, 1, 1))
    posed = replace(record, scene=replace(record.scene, pose=pose, world_to_camera=still, intrinsics=still[:, :3, :3]))
    found = amounts_of(staged(tmp_path / "posed.h5", posed))
    assert [(item.scale, item.varies) for item in found.objects] == [(4, True), (1, False)]


def test_eight_objects_in_160_frames_take_a_fraction_of_a_second():
    T, H, W, K = 160, 256, 384, 8
    mask = np.zeros((T, H, W), np.uint8)
    for t in range(T):
        for k in range(K):
            mask[t, 20 + 20 * k : 80 + 20 * k, 30 * k + t // 4 : 60 + 30 * k + t // 4] = k + 1
    frame = rng_for("speed").integers(0, 256, (H, W, 3), dtype=np.uint8)

    def seconds():
        begun = time.process_time()
        contrast = [amounts.contrast(frame, mask[t], K) for t in amounts.contrast_times(T)]
        measure_video(mask, K, contrast=contrast, visibility=np.ones((T, K)))
        return time.process_time() - begun

    assert min(seconds() for _ in range(5)) < 0.6  # 0.2 on a busy machine


def test_records_are_compact():
    text = measure_video(two_objects(), 2, recipe=scene()).model_dump(mode="json", exclude_defaults=True)
    assert len(json.dumps(text)) < 450
    assert ObjectAmounts(seen=1).model_dump(mode="json", exclude_defaults=True) == {"seen": 1.0}
