"""Mirrors as they are claimed: objects are seen in them, touch none of them, and are not hidden by them."""

import numpy as np
import pytest
from pydantic import ValidationError

from blender_scenes.geometry import SceneGeometry, mirror_pose
from blender_scenes.modules import Modules
from blender_scenes.modules.contact import Contact
from blender_scenes.modules.marks import amounts_of
from blender_scenes.modules.mirrors import Mirrors
from blender_scenes.modules.paths import Paths
from blender_scenes.modules.physics import Physics
from blender_scenes.modules.rooms import Rooms
from blender_scenes.modules.weather import Weather
from blender_scenes.spec import MirrorSpec, SceneSpec
from render.geometry.raycast import pixel_centres, rays
from render.light.raster import draw_triangles
from tests.blender_scenes.modules.labels import mesh_named
from tests.blender_scenes.modules.test_modules import draw

SCENES = range(20)
FRAMES = range(0, 24, 4)
ALWAYS = Mirrors(share=1.0)


def small(scene):
    """The geometry of a drawn scene in 96 × 64 pixels."""
    scene = scene.model_copy(update={"render": scene.render.model_copy(update={"width": 96, "height": 64})})
    return SceneGeometry(scene, {item.mesh: mesh_named(item.mesh) for item in (*scene.objects, *scene.distractors)})


def drawn(geometry, t, turn=None):
    """Depth, and number, of what is seen of the objects after ``turn [4, 4]``: ``[H, W]`` each."""
    depth, face = np.full((64, 96), np.inf), np.full((64, 96), -1, np.int32)
    shown = np.zeros((64, 96), int)
    for number in geometry.numbers:
        vertices = geometry.vertices(number, t)
        if turn is not None:
            vertices = vertices @ turn[:3, :3].T + turn[:3, 3]
        before = depth.copy()
        draw_triangles(
            np.ascontiguousarray(vertices[geometry.mesh(number).faces]), 0, geometry.K[t], (0, 0), 1, depth, face
        )
        shown[depth < before] = number
    return depth, shown


def twice(scene):
    """Pixels in which a labelled object is seen in a mirror, at each of `FRAMES`: ``[T]``."""
    geometry, counts = small(scene), []
    directions = rays(pixel_centres(64, 96), geometry.K[0])
    for t in FRAMES:
        nearest, count, depths = drawn(geometry, t)[0].ravel(), 0, []
        for mirror in scene.mirrors:
            own = geometry.to_camera[t] @ mirror_pose(mirror)
            eye, ahead = np.linalg.inv(own)[:3, 3], directions @ own[:3, :3]
            z = -eye[1] / ahead[:, 1]
            met = np.abs((eye + z[:, None] * ahead)[:, [0, 2]]) / np.array([mirror.width, mirror.height]) * 2
            z = np.where((met < 1).all(axis=1) & (z > 0), z, np.inf)
            depths.append(z)
            nearest = np.minimum(nearest, z)
        for mirror, z in zip(scene.mirrors, depths, strict=True):
            own = geometry.to_camera[t] @ mirror_pose(mirror)
            eye = np.linalg.inv(own)[:3, 3]
            met = eye + np.where(np.isfinite(z), z, 0.0)[:, None] * (directions @ own[:3, :3])
            glass = (np.abs(met[:, [0, 2]]) < np.array([mirror.width, mirror.height]) / 2 - mirror.frame).all(axis=1)
            glass &= np.isfinite(z) & (z <= nearest) & (eye[1] < 0)
            image, shown = drawn(geometry, t, own @ np.diag([1.0, -1.0, 1.0, 1.0]) @ np.linalg.inv(own))
            shown = np.where(image.ravel() > z, shown.ravel(), 0)[glass]
            count += ((shown > 0) & (shown <= len(scene.objects))).sum()
        counts.append(count)
    return np.array(counts)


def touched(scene):
    """How deep things reach through the mirrors at most, in metres, over `FRAMES`."""
    geometry, deepest = small(scene), 0.0
    for mirror in scene.mirrors:
        half = np.array([mirror.width, mirror.height]) / 2
        for number in geometry.numbers:
            for t in FRAMES:
                to_mirror = np.linalg.inv(geometry.to_camera[t] @ mirror_pose(mirror))
                places = geometry.vertices(number, t) @ to_mirror[:3, :3].T + to_mirror[:3, 3]
                over = places[(np.abs(places[:, [0, 2]]) < half).all(axis=1), 1]
                if len(over) and over.min() < 0 < over.max():
                    deepest = max(deepest, min(-over.min(), over.max()))
    return deepest


@pytest.mark.parametrize(
    "others", [{}, {"rooms": Rooms(share=1.0), "contact": Contact(share=1.0)}, {"paths": Paths(median=12.0)}]
)
def test_in_nearly_all_scenes_an_object_is_seen_in_a_mirror_and_none_touches_one(paper_catalog, others):
    most = []
    for n in SCENES:
        on, off = (draw(paper_catalog, Modules(mirrors=module, **others), n) for module in (ALWAYS, None))
        assert on.model_dump(exclude={"mirrors", "traits"}) == off.model_dump(exclude={"mirrors", "traits"})
        assert SceneSpec.model_validate_json(on.model_dump_json()) == on
        assert 0 <= len(on.mirrors) <= amounts_of(on, "mirrors")["wanted"] <= 3
        assert touched(on) == 0
        for mirror in on.mirrors:
            low = mirror.middle[2] - mirror.height / 2
            assert on.ground is None or low > on.ground.offset - 1e-6
        most.append(twice(on).max() / (96 * 64) if on.mirrors else 0.0)
    assert np.mean(np.array(most) > 0.003) >= 0.9 and np.median(most) > 0.01


def test_mirrors_stand_on_the_ground_or_hang_on_walls(paper_catalog):
    scenes = [
        draw(paper_catalog, Modules(rooms=Rooms(share=1.0), mirrors=Mirrors(share=1.0, hung=hung)), n)
        for n in SCENES
        for hung in (0.0, 1.0)
    ]
    for stands, hangs in zip(scenes[::2], scenes[1::2], strict=True):
        for mirror in stands.mirrors:
            assert mirror.middle[2] - mirror.height / 2 == pytest.approx(stands.ground.offset)
        for mirror in hangs.mirrors:
            apart = [hangs.backdrop.offset - mirror.middle[1]] if mirror.turn == 0 else []
            apart += [abs(wall.offset - mirror.middle[0]) for wall in hangs.walls if mirror.turn]
            assert min(apart) == pytest.approx(0.03)
    assert min(sum(len(scene.mirrors) for scene in each) for each in (scenes[::2], scenes[1::2])) > 15


def test_as_many_scenes_have_mirrors_as_it_says_and_none_in_haze(paper_catalog):
    drawn = [draw(paper_catalog, Modules(mirrors=Mirrors(share=0.4)), n) for n in range(150)]
    assert np.mean([len(scene.mirrors) > 0 for scene in drawn]) == pytest.approx(0.4, abs=0.1)
    assert not any(draw(paper_catalog, Modules(weather=Weather(fog=1.0), mirrors=ALWAYS), n).mirrors for n in SCENES)


def test_mirrors_keep_clear_of_where_objects_that_fall_are_let_go(paper_catalog):
    scenes = [draw(paper_catalog, Modules(physics=Physics(share=1.0), mirrors=ALWAYS), n) for n in SCENES]
    assert np.mean([len(scene.mirrors) > 0 for scene in scenes]) > 0.8
    for scene in scenes:
        for mirror in scene.mirrors:
            pose = mirror_pose(mirror)
            for item in scene.objects:
                if item.motion.kind == "simulated":
                    place = (np.array(item.motion.location) - pose[:3, 3]) @ pose[:3, :3]
                    assert abs(place[1]) > 0.1 or abs(place[0]) > mirror.width / 2


def test_a_frame_leaves_some_mirror():
    with pytest.raises(ValidationError, match="make it narrower"):
        MirrorSpec(middle=(0.0, 0.0, 0.0), width=1.0, height=2.0, frame=0.5)
