import numpy as np
import pytest

from blender_scenes.modules.marks import amounts_of
from blender_scenes.modules.physics import Physics
from blender_scenes.object_spec import BakedMotion
from blender_scenes.sample import PRESETS, sample_scene
from blender_scenes.spec import Cut, LookAtMotion, RenderSettings
from blender_scenes.strides import every
from blender_scenes.trajectories import camera_poses, object_poses, shots

DIVERSE = PRESETS["diverse"]
OFTEN = DIVERSE.modules.model_copy(update={"physics": Physics(share=0.4)})


def draw(catalog, frames, index, **changes):
    config = DIVERSE.model_copy(update={"modules": OFTEN} | changes)
    render = RenderSettings(width=96, height=64, frames=frames)
    return sample_scene(config, render, catalog, seed=8, index=index, split="train")


@pytest.mark.parametrize("stride", [2, 5])
def test_a_strided_clip_shows_every_nth_frame_of_the_longer_video(paper_catalog, stride):
    simulated = 0
    for index in range(12):
        clip = draw(paper_catalog, 8, index, stride=(stride, stride))
        long = draw(paper_catalog, 7 * stride + 1, index)
        assert amounts_of(clip, "stride") == {"stride": stride}
        assert clip.render.frames == 8
        assert np.allclose(camera_poses(clip.camera, 8), camera_poses(long.camera, long.render.frames)[::stride])
        assert clip.camera.shutter * stride == pytest.approx(long.camera.shutter)  # smears as far
        for ours, theirs in zip((*clip.objects, *clip.distractors), (*long.objects, *long.distractors), strict=True):
            if ours.motion.kind == "simulated":
                simulated += 1
                assert clip.physics.rate * stride == pytest.approx(long.physics.rate)
                assert ours == theirs
            else:
                poses = object_poses(theirs, long.render.frames)[::stride]
                assert np.allclose(object_poses(ours, 8), poses)
                assert (ours.deformation, ours.joints) == (theirs.deformation, theirs.joints)
    assert simulated


def test_strides_are_drawn_from_their_range_and_one_changes_nothing(paper_catalog):
    clips = [draw(paper_catalog, 8, index, stride=(1, 4)) for index in range(20)]
    strides = [(amounts_of(clip, "stride") or {"stride": 1})["stride"] for clip in clips]
    assert set(strides) == {1, 2, 3, 4}
    first = strides.index(1)
    assert clips[first] == draw(paper_catalog, 8, first)


def with_cuts(scene, *frames):
    """The scene with cuts to cameras beside the first, some of them baked."""
    poses = np.linalg.inv(camera_poses(scene.camera, scene.render.frames))
    poses[:, 0, 3] += 2
    baked = BakedMotion.model_validate({"poses": poses.tolist()})
    path = LookAtMotion.model_validate(
        {"location": {"axes": [[4.0, 1.0], [-5.0], [1.0]]}, "look_at": {"axes": [[0], [2], [0]]}}
    )
    cuts = tuple(Cut(frame=t, motion=(baked, path)[k % 2]) for k, t in enumerate(frames))
    return scene.model_copy(update={"camera": scene.camera.model_copy(update={"cuts": cuts})})


@pytest.mark.parametrize("frames", [(1,), (3, 6), (4, 5, 11), (1, 2, 3, 12)])
def test_a_clip_cuts_where_its_frames_are_of_another_shot(paper_catalog, frames):
    long = with_cuts(draw(paper_catalog, 13, 0), *frames)
    for stride in (1, 2, 3, 4, 12):
        clip = every(stride, long)
        T = clip.render.frames
        assert np.allclose(camera_poses(clip.camera, T), camera_poses(long.camera, 13)[::stride])
        there = {int(shot): long.camera.motions[shot] for shot in shots(long.camera, 13)[::stride]}
        assert len(clip.camera.motions) == len(there) + (0 not in there)
        assert type(clip).model_validate_json(clip.model_dump_json()) == clip


def test_baked_motion_is_thinned(paper_catalog):
    scene = draw(paper_catalog, 7, 0)
    poses = camera_poses(scene.camera, 7)
    motion = BakedMotion.model_validate({"poses": np.linalg.inv(poses).tolist()})
    scene = scene.model_copy(update={"camera": scene.camera.model_copy(update={"motion": motion})})
    clip = every(3, scene)
    assert np.allclose(camera_poses(clip.camera, 3), poses[::3])
    assert type(clip).model_validate_json(clip.model_dump_json()) == clip
