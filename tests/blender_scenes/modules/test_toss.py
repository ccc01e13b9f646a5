"""Presets like MOVi have its numbers of objects, places, speeds and cameras; what lies there lies still."""

import json

import numpy as np
import pytest

from assets.procedural import procedural_catalog
from assets.store import AssetStore
from blender_scenes.geometry import SceneGeometry
from blender_scenes.modules.marks import amounts_of
from blender_scenes.modules.physics import Physics
from blender_scenes.sample import PRESETS, SceneConfig, sample_scene
from blender_scenes.spec import RenderSettings, SceneSpec
from blender_scenes.trajectories import camera_poses
from render.farm.events import Done
from render.farm.process import BlenderProcess

RENDER = RenderSettings(width=256, height=256, frames=24)
# Kubric, challenges/movi: movi_c_worker.py and movi_def_worker.py.
MOVI = {
    "movi_c": {"tossed": (3, 10), "lying": (0, 0), "camera": (7, 9), "path": 0},
    "movi_d": {"tossed": (1, 3), "lying": (10, 20), "camera": (7, 9), "path": 0},
    "movi_e": {"tossed": (1, 3), "lying": (10, 20), "camera": (8, 12), "path": 4},
}


def scenes(preset, catalog, count=20):
    return [sample_scene(PRESETS[preset], RENDER, catalog, seed=6, index=n, split="train") for n in range(count)]


def kinds(scene):
    return np.array([amounts_of(item, "physics")["kind"] for item in scene.objects])


@pytest.mark.parametrize("preset", MOVI)
def test_scenes_have_movis_numbers(paper_catalog, preset):
    counts, places, speeds = [], {"toss": [], "lie": []}, []
    for scene in scenes(preset, paper_catalog):
        assert scene.physics.floor == scene.ground.offset == 0 and scene.physics.rate == pytest.approx(12)
        assert scene.backdrop is None and not scene.lights and scene.world is not None and not scene.distractors
        here = kinds(scene)
        counts.append(((here == "toss").sum(), (here == "lie").sum()))
        for item, kind in zip(scene.objects, here, strict=True):
            motion = item.motion
            assert motion.settled == (kind == "lie") and len(set(motion.scale)) == 1
            places[kind].append(motion.location)
            if kind == "toss":
                speeds.append(np.add(motion.velocity[:2], motion.location[:2]))
            else:
                assert motion.velocity == (0, 0, 0)
    expected = MOVI[preset]
    for name, found in zip(("tossed", "lying"), np.transpose(counts), strict=True):
        low, high = expected[name]
        assert low <= found.min() and found.max() <= high and np.ptp(found) >= 0.5 * (high - low)
    assert len(set(map(tuple, counts))) > 2
    tossed = np.array(places["toss"])
    assert np.abs(tossed[:, :2]).max() <= 5 and np.abs(tossed[:, :2]).max() > 4
    assert tossed[:, 2].min() >= 1 and np.quantile(tossed[:, 2], 0.9) <= 5.5
    assert 3 < np.abs(speeds).max() <= 4
    lying = np.array(places["lie"]).reshape(-1, 3)
    assert (np.abs(lying[:, :2]) <= 7).all() and (lying[:, 2] == 0).mean() > 0.5 if len(lying) else preset == "movi_c"


@pytest.mark.parametrize("preset", MOVI)
def test_cameras_look_at_the_middle_from_all_around_and_keep_to_a_straight_path(paper_catalog, preset):
    near, far = MOVI[preset]["camera"]
    lengths, directions = [], []
    for scene in scenes(preset, paper_catalog):
        to_camera = camera_poses(scene.camera, 24)
        places = np.linalg.inv(to_camera)[:, :3, 3]
        assert near - 1e-9 <= np.linalg.norm(places[[0, -1]], axis=1).min() and places[:, 2].min() > 0.1
        assert np.linalg.norm(places[[0, -1]], axis=1).max() <= far + 1e-9
        assert np.allclose(to_camera[:, :2, 3], 0, atol=1e-9), "the origin is in the middle of the image"
        assert np.allclose(np.diff(places, n=2, axis=0), 0, atol=1e-9)
        lengths.append(np.linalg.norm(places[-1] - places[0]))
        directions.append(places[0] / np.linalg.norm(places[0]))
        assert scene.camera.fov == pytest.approx(2 * np.arctan(16 / 35), abs=1e-4)
    path = MOVI[preset]["path"]
    assert max(lengths) <= path and min(lengths) >= 0 and np.ptp(lengths) >= path / 2
    mean = np.mean(directions, axis=0)
    assert np.abs(mean[:2]).max() < 0.4 and mean[2] == pytest.approx(0.5, abs=0.2)


def test_scenes_that_are_like_movi_depend_on_their_keys_only_and_others_hold_nothing_of_it(paper_catalog):
    for preset in MOVI:
        first, again = scenes(preset, paper_catalog, 3), scenes(preset, paper_catalog, 3)
        assert first == again == [SceneSpec.model_validate_json(scene.model_dump_json()) for scene in first]
    stored = SceneConfig().model_dump_json() + Physics().model_dump_json()
    assert not any(word in stored for word in ("camera_distance", "camera_path", "toss"))
    scene = sample_scene(PRESETS["basic"], RENDER, paper_catalog, seed=6, index=0, split="train")
    assert "settled" not in json.dumps(scene.model_dump(mode="json"))


@pytest.mark.blender
def test_what_lies_there_lies_on_the_floor_and_waits_for_what_is_tossed(paper_catalog, tmp_path):
    store = AssetStore(tmp_path / "store")
    made = procedural_catalog(store, 12, 4, seed=3)
    catalog = made + type(made)(assets=paper_catalog.of_kind("hdri"))
    first, later, low, thrown = [], [], [], []
    with BlenderProcess(tmp_path / "blender.log") as blender:
        for scene in scenes("movi_d", catalog, 5):
            *_, last = blender.run({"do": "bake", "spec": scene.model_dump_json(), "store": str(store.root)})
            assert isinstance(last, Done), last
            complete = SceneSpec.model_validate_json(last.result)
            geometry = SceneGeometry.load(complete, store)
            for item, poses in zip(complete.objects, geometry.poses, strict=True):
                speed = np.linalg.norm(np.diff(poses[1][:, :3, 3], axis=0), axis=1) * 12
                if not item.motion.settled:
                    thrown.append(np.diff(poses[1][:2, :2, 3], axis=0)[0] * 12 - item.motion.velocity[:2])
                    continue
                vertices = store.mesh(item.mesh).vertices
                low.append((vertices @ poses[1][0, :3, :3].T + poses[1][0, :3, 3])[:, 2].min())
                first.append(speed[:2].max())
                later.append(speed.max())
    assert min(low) > -0.02 and np.quantile(low, 0.8) < 0.02, "some lie on others"
    assert np.quantile(first, 0.8) < 0.1, "until something hits them"
    assert np.mean(np.array(later) > 0.3) > 0.02, "which happens"
    assert np.median(np.abs(thrown)) < 0.2
