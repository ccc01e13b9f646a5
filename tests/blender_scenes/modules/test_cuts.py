"""Cuts as they are claimed: how many videos have them and when, what stays seen, and how far apart cameras are."""

from itertools import pairwise

import numpy as np
import pytest

from blender_scenes.describe import scene_quantities
from blender_scenes.geometry import SceneGeometry, plane_corners, planes_of
from blender_scenes.modules import DIVERSE, Modules
from blender_scenes.modules.blur import Blur, fastest
from blender_scenes.modules.cuts import Cuts
from blender_scenes.modules.marks import amounts_of
from blender_scenes.modules.rooms import Rooms
from blender_scenes.modules.shake import Shake
from blender_scenes.object_spec import BakedMotion
from blender_scenes.sample import PRESETS, sample_scene
from blender_scenes.spec import RenderSettings
from blender_scenes.trajectories import camera_poses, evaluate, focal_lengths, motion_poses, shots
from tests.blender_scenes.modules.labels import labels_of
from tests.blender_scenes.modules.test_modules import draw
from tools.inspect.drawn import drawn_amounts

FRAMES = 24
NONE, CUT = Modules(), Modules(cuts=Cuts(share=1.0))
RIGID = {"shapes": None, "articulation": None, "deformation": None, "physics": None}
"""What test labels cannot show is left out."""


def cut_scenes(catalog, modules=NONE, preset="basic", count=20, **settings):
    """Draws with cuts wherever there is room, and without them."""
    on = modules.model_copy(update={"cuts": Cuts(share=1.0, **settings)})
    return [(draw(catalog, on, n, preset), draw(catalog, modules, n, preset)) for n in range(count)]


def of_each_cut(scene):
    """Of each cut: its frame, and the poses of the cameras before and after it over the video."""
    for (before, after), cut in zip(pairwise(scene.camera.motions), scene.camera.cuts, strict=True):
        yield cut.frame, motion_poses(before, FRAMES), motion_poses(after, FRAMES)


def eye(pose):
    return np.linalg.inv(pose)[:3, 3]


def test_as_many_videos_have_cuts_as_it_says(paper_catalog):
    have = [bool(draw(paper_catalog, Modules(cuts=Cuts(share=0.4)), n, "basic").camera.cuts) for n in range(60)]
    assert np.mean(have) == pytest.approx(0.4, abs=0.13)


@pytest.mark.parametrize(("preset", "least"), [("basic", 0.95), ("diverse", 0.6)])
def test_there_is_room_for_another_camera(paper_catalog, preset, least):
    """In fewer of the scenes of ``diverse``, where nothing may be in sight, or things are close."""
    found = cut_scenes(paper_catalog, PRESETS[preset].modules, preset)
    assert np.mean([bool(on.camera.cuts) for on, _ in found]) >= least


def test_cuts_come_as_often_as_it_says_and_no_shot_is_too_short(paper_catalog):
    frames, numbers = [], []
    for on, off in cut_scenes(paper_catalog, number=(1, 3), shortest=0.12):
        at = [cut.frame for cut in on.camera.cuts]
        assert amounts_of(on, "cuts")["wanted"] >= len(at)
        assert min(np.diff([0, *at, FRAMES])) >= 2
        assert on.model_dump(exclude={"camera", "traits"}) == off.model_dump(exclude={"camera", "traits"})
        assert on.camera.motion == off.camera.motion
        frames, numbers = frames + at, [*numbers, len(at)]
    assert set(numbers) == {1, 2, 3} and np.ptp(frames) > 12 and len(set(frames)) > 8


def test_the_other_camera_is_elsewhere(paper_catalog):
    """At another angle, seen from what it looks at, or nearer or farther; some cuts return to the camera before."""
    angles, factors, back = [], [], []
    for on, _ in cut_scenes(paper_catalog):
        for n, (t, before, after) in enumerate(of_each_cut(on)):
            back.append(n > 0 and on.camera.motions[n + 1] == on.camera.motions[n - 1])
            if back[-1]:
                continue
            target = evaluate(on.camera.cuts[n].motion.look_at, FRAMES)[t]
            one, other = eye(before[t]) - target, eye(after[t]) - target
            cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
            angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
            factors.append(np.linalg.norm(other) / np.linalg.norm(one))
            assert angles[-1] < 86 and 0.39 < factors[-1] < 2.51
            assert angles[-1] >= 20 or not 1 / 1.499 < factors[-1] < 1.499
    angles, factors = np.array(angles), np.array(factors)
    turned = angles >= 20
    assert 0.45 < turned.mean() < 0.85 and angles.max() > 45
    assert 0.1 < np.mean(factors[~turned] < 1) < 0.9 and 0.05 < np.mean(back) < 0.4


@pytest.mark.parametrize("preset", ["basic", "diverse"])
def test_most_objects_that_are_seen_stay_seen(paper_catalog, preset):
    stayed = []
    for on, _ in cut_scenes(paper_catalog, PRESETS[preset].modules.model_copy(update=RIGID), preset):
        seen = labels_of(on).visible > 0 if on.camera.cuts else None
        for cut in on.camera.cuts:
            before, after = seen[cut.frame - 1], seen[cut.frame]
            stayed += [(before & after).sum() / before.sum()] if before.any() else []
    print(f"{preset}: {np.mean(stayed):.1%} stay seen, of {len(stayed)} cuts; at least {min(stayed):.0%}")
    assert np.mean(stayed) > 0.9 and np.quantile(stayed, 0.1) >= 0.6


def beside(scene, poses, t):
    """How many of 15 × 10 rays of the image meet no plane."""
    geometry = SceneGeometry(scene, {})
    x, y = np.meshgrid(np.linspace(0, RenderSettings().width, 15), np.linspace(0, RenderSettings().height, 10))
    scale = geometry.size[1] / RenderSettings().width
    pixels = np.stack([x.ravel() * scale, y.ravel() * scale, np.ones(x.size)])
    rays = poses[t, :3, :3].T @ np.linalg.solve(geometry.K[t], pixels)
    met, origin = np.zeros(x.size, bool), eye(poses[t])
    for plane, facing in planes_of(scene):
        corners = np.delete(plane_corners(plane, facing)[0], facing, axis=1)
        far = (plane.offset - origin[facing]) / rays[facing]
        at = np.delete(origin[:, None] + far * rays, facing, axis=0).T
        met |= (far > 0) & ((at >= corners.min(axis=0)) & (at <= corners.max(axis=0))).all(axis=1)
    return int((~met).sum())


@pytest.mark.parametrize("rooms", [None, Rooms(share=1.0)])
def test_no_camera_looks_past_backdrops_and_walls_where_the_first_did_not(paper_catalog, rooms):
    looked = 0
    for on, _ in cut_scenes(paper_catalog, Modules(rooms=rooms)):
        if on.backdrop is None:
            continue
        poses, first = camera_poses(on.camera, FRAMES), motion_poses(on.camera.motion, FRAMES)
        for t in range(0, FRAMES, 3):
            assert beside(on, poses, t) <= max(beside(on, first, t), 3)
            x, y, z = eye(poses[t])
            assert y < on.backdrop.offset and (on.ground is None or z > on.ground.offset)
            assert all(abs(x) < abs(wall.offset) or np.sign(wall.offset) != np.sign(x) for wall in on.walls)
            looked += bool(shots(on.camera, FRAMES)[t])
    assert looked > 20


def test_a_jump_at_a_cut_counts_as_no_motion(paper_catalog):
    """In what scenes tell of themselves, and in how long the shutter is open."""
    slower = []
    for on, _ in cut_scenes(paper_catalog, number=(3, 3)):
        whole = on.model_copy(update={"camera": on.camera.model_copy(update={"motion": whole_motion(on), "cuts": ()})})
        assert fastest(on) < fastest(whole)
        paths = [scene_quantities([scene])["cam_path_len"][0] for scene in (on, whole)]
        jumps = sum(np.linalg.norm(eye(before[t - 1]) - eye(after[t])) for t, before, after in of_each_cut(on))
        assert paths[1] - paths[0] == pytest.approx(jumps)
        speeds = [[item.motion or 0 for item in drawn_amounts(scene).objects] for scene in (on, whole)]
        slower.append(np.mean(speeds[0]) / np.mean(speeds[1]))
    assert np.mean(slower) < 0.7


def whole_motion(scene):
    """The same poses, as those of a single camera that jumps."""
    return BakedMotion.model_validate({"poses": np.linalg.inv(camera_poses(scene.camera, FRAMES)).tolist()})


def test_all_cameras_are_shaken_alike(paper_catalog):
    modules = Modules(shake=Shake(share=1.0, pixels=(2.0, 2.0), sway=0.0))
    for on, off in cut_scenes(paper_catalog, modules):
        assert amounts_of(on, "shake") == amounts_of(off, "shake") and on.camera.motion == off.camera.motion
        steady = np.linalg.inv(camera_poses(draw(paper_catalog, CUT, on.index, "basic").camera, FRAMES))
        place = np.einsum("tij,tj->ti", camera_poses(on.camera, FRAMES), steady @ [0, 0, 9, 1])  # in its middle
        moves = place[:, :2] / place[:, 2:3] * focal_lengths(on.camera, 1.5 * 480, FRAMES)[:, None]
        for shot in range(len(on.camera.motions)):
            moved = np.linalg.norm(moves[shots(on.camera, FRAMES) == shot], axis=1)
            assert 0.2 < moved.max() < 8


def test_short_clips_and_other_cameras_have_cuts(paper_catalog):
    """Clips of few frames with a stride, cameras above a floor, and a scene of two frames."""
    for preset, frames, stride in (("diverse", 8, (1, 4)), ("movi_e", 24, (1, 1)), ("basic", 2, (1, 1))):
        modules = PRESETS[preset].modules.model_copy(update={"cuts": Cuts(share=1.0), "blur": Blur(share=1.0)})
        config = PRESETS[preset].model_copy(update={"modules": modules, "stride": stride})
        render = RenderSettings(width=96, height=64, frames=frames)
        scenes = [sample_scene(config, render, paper_catalog, seed=3, index=n, split="train") for n in range(20)]
        cuts = [cut for scene in scenes for cut in scene.camera.cuts]
        assert len(cuts) >= 15 and all(0 < cut.frame < frames for cut in cuts)
        for scene in scenes:
            assert type(scene).model_validate_json(scene.model_dump_json()) == scene
            assert np.isfinite(camera_poses(scene.camera, frames, 0.5)).all()


def test_it_is_off_in_diverse():
    assert DIVERSE.cuts is None
