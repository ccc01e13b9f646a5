"""Where everything in a scene is: meshes are read once, and stand where curves and deformations put them."""

from collections import Counter

import numpy as np
import pytest

from assets.procedural import procedural_catalog
from assets.store import AssetStore, MissingAssetError
from blender_scenes.deforming import deformed
from blender_scenes.geometry import SceneGeometry
from blender_scenes.object_spec import Deformation
from blender_scenes.sample import SceneConfig, sample_scene
from blender_scenes.spec import Cut, LookAtMotion, RenderSettings
from blender_scenes.trajectories import camera_poses, object_poses

FRAMES = 3


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return AssetStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def spec(store):
    """Three objects, two of one mesh, one of them bent, and a distractor of the same, behind an open shutter."""
    catalog = procedural_catalog(store, 4, 4, seed=1)
    config = SceneConfig(objects=(3, 3), world=0.0, backdrop=1.0)
    settings = RenderSettings(width=48, height=32, frames=FRAMES)
    drawn = sample_scene(config, settings, catalog, seed=1, index=0, split="train")
    first, second, third = drawn.objects
    bent = second.model_copy(update={"mesh": first.mesh, "deformation": Deformation(twist=(0.0, 2.0), wave=(0.1,))})
    camera = drawn.camera.model_copy(update={"shutter": 0.5})
    return drawn.model_copy(update={"objects": (first, bent, third), "distractors": (first,), "camera": camera})


def test_each_mesh_is_read_once(spec, store, monkeypatch):
    read, mesh_of = Counter(), AssetStore.mesh

    def counted(self, content):
        read[content] += 1
        return mesh_of(self, content)

    monkeypatch.setattr(AssetStore, "mesh", counted)
    geometry = SceneGeometry.load(spec, store)
    for t in range(FRAMES):
        for number in geometry.numbers:
            geometry.vertices(number, t)
    assert read == dict.fromkeys({item.mesh for item in geometry.items}, 1)
    assert geometry.mesh(1) is geometry.mesh(2) is geometry.mesh(4)


def test_objects_stand_where_the_spec_puts_them(spec, store):
    geometry = SceneGeometry.load(spec, store)
    assert list(geometry.numbers) == [1, 2, 3, 4]
    for t in (0, 2, 1, 1):  # any order, and again
        for number, item in enumerate((*spec.objects, *spec.distractors), start=1):
            vertices = store.mesh(item.mesh).vertices.astype(float)
            if item.deformation is not None:
                vertices = deformed(vertices, item.deformation, t / (FRAMES - 1))
            pose = camera_poses(spec.camera, FRAMES)[t] @ object_poses(item, FRAMES)[t]
            expected = (pose @ np.insert(vertices, 3, 1.0, axis=1).T).T[:, :3]
            np.testing.assert_allclose(geometry.vertices(number, t), expected, atol=1e-9)
            faces = geometry.mesh(number).faces[:5]
            np.testing.assert_allclose(geometry.corners(number, t, np.arange(5)), expected[faces], atol=1e-9)


def test_poses_are_those_when_the_shutter_opens_in_between_and_when_it_closes(spec):
    geometry = SceneGeometry(spec, {})
    for shift, camera, poses in zip((-0.25, 0.0, 0.25), geometry.cameras, geometry.poses[0], strict=True):
        np.testing.assert_array_equal(camera, camera_poses(spec.camera, FRAMES, shift))
        np.testing.assert_array_equal(poses, object_poses(spec.objects[0], FRAMES, shift))
    np.testing.assert_array_equal(geometry.to_camera, camera_poses(spec.camera, FRAMES))


def test_a_mesh_that_is_missing_is_named(spec, tmp_path):
    with pytest.raises(MissingAssetError, match=spec.objects[0].mesh):
        SceneGeometry.load(spec, AssetStore(tmp_path))


def test_each_camera_takes_the_frames_of_its_shot_through_a_shutter_of_its_own(spec, store):
    there = {"location": {"axes": [[5.0, 1.0], [-3.0], [1.0]]}, "look_at": {"axes": [[0], [2], [0]]}}
    other = LookAtMotion.model_validate(there)
    cut = {"cuts": (Cut(frame=2, motion=other),)}
    cameras = {
        "first": spec.camera,
        "other": spec.camera.model_copy(update={"motion": other}),
        "cut": spec.camera.model_copy(update=cut),
    }
    found = {
        name: SceneGeometry.load(spec.model_copy(update={"camera": camera}), store) for name, camera in cameras.items()
    }
    assert np.array_equal(found["cut"].cameras[:, :2], found["first"].cameras[:, :2])
    assert np.array_equal(found["cut"].cameras[:, 2:], found["other"].cameras[:, 2:])
    assert found["cut"].shots.tolist() == [0, 0, 1] and not found["first"].shots.any()
    # A look straight from the formula, half a shutter before the frame after the cut.
    u = 1 - 0.25 / 2
    assert np.allclose(found["cut"].cameras[0, 2] @ [5 + u, -3, 1, 1], [0, 0, 0, 1])
