"""Rooms and standing objects as they are claimed: how much of the image shows them, and what touches the floor."""

import numpy as np
import pytest

from assets.catalog import Catalog
from blender_scenes.geometry import SceneGeometry
from blender_scenes.modules import DIVERSE, Modules
from blender_scenes.modules.contact import Contact
from blender_scenes.modules.light import Light
from blender_scenes.modules.marks import amounts_of
from blender_scenes.modules.rooms import Rooms
from blender_scenes.modules.view import View
from blender_scenes.spec import SceneSpec
from render.geometry.raycast import pixel_centres, rays
from render.geometry.surfaces import plane_depth
from tests.blender_scenes.modules.labels import mesh_named
from tests.blender_scenes.modules.test_modules import draw

SCENES = range(20)


def seen_planes(scene):
    """The share of the first frame that shows walls, the backdrop and the ground (by the axis each faces)."""
    geometry = SceneGeometry(scene, {item.mesh: mesh_named(item.mesh) for item in (*scene.objects, *scene.distractors)})
    directions = rays(pixel_centres(16, 24) * 16, geometry.K[0])
    depth = [plane_depth(plane, facing, geometry.to_camera[0], directions) for plane, facing in geometry.planes]
    first = np.argmin(depth, axis=0)
    met = np.isfinite(np.min(depth, axis=0))
    facing = np.array([facing for _, facing in geometry.planes])[first]
    return [float((met & (facing == axis)).mean()) for axis in (0, 1, 2)]


def test_a_room_fills_the_image_with_its_floor_and_walls(paper_catalog):
    shares = []
    for n in SCENES:
        on, off = (draw(paper_catalog, Modules(rooms=rooms), n) for rooms in (Rooms(share=1.0), None))
        changed = {"ground", "backdrop", "walls", "lights", "camera", "traits"}
        assert on.model_dump(exclude=changed) == off.model_dump(exclude=changed)
        assert SceneSpec.model_validate_json(on.model_dump_json()) == on
        amounts, shines = amounts_of(on, "rooms"), [plane.emission > 0 for plane in (on.backdrop, *on.walls)]
        assert len(on.walls) == amounts["walls"] and set(shines) == {amounts["photos"]} and on.ground.emission == 0
        assert on.ground.offset == amounts["floor"] and on.backdrop.offset == amounts["back"]
        assert {on.ground.texture, *(wall.texture for wall in on.walls)} <= on.assets
        heights = [np.linalg.inv(View(scene).to_camera)[:, 2, 3] for scene in (on, off)]
        assert np.allclose(heights[0] - heights[1], amounts["raised"], atol=0.02)
        shares.append(seen_planes(on))
    walls, backs, floors = np.array(shares).T
    assert min(floors) > 0.1 and np.median(floors) > 0.3 and min(backs) > 0.1 and max(walls) > 0.1
    assert np.sum(shares, axis=1).min() > 0.8


def test_lamps_stand_inside_and_out_of_sight(paper_catalog):
    for n in SCENES:
        lit = Modules(light=Light(sun=0, panels=0.5, colored=0, night=0), rooms=Rooms(share=1.0, walls=(2, 2)))
        scene = draw(paper_catalog, lit, n)
        low, high = sorted(wall.offset for wall in scene.walls)
        assert scene.lights or scene.panels
        for lamp in (*scene.lights, *scene.panels):
            assert low < lamp.location[0] < high and lamp.location[2] > scene.ground.offset
        assert all(lamp.location[1] < -6 for lamp in scene.lights)


def test_lamps_of_a_room_give_white_paper_no_more_than_white(paper_catalog):
    def brightness(scene):
        return sum(lamp.energy / (4 * np.pi**2 * np.square(lamp.location).sum()) for lamp in scene.lights)

    pairs = [
        (draw(paper_catalog, Modules(rooms=Rooms(share=1.0)), n), draw(paper_catalog, Modules(), n)) for n in SCENES
    ]
    assert any(brightness(off) > 1.2 for _, off in pairs)
    for on, off in pairs:
        assert brightness(on) == pytest.approx(min(brightness(off), 1.0))


def test_what_stands_touches_the_ground_in_every_frame_and_is_upright(paper_catalog):
    wanted = stands = 0
    for n in SCENES:
        modules = Modules(rooms=Rooms(share=1.0), contact=Contact(share=0.7))
        on, off = draw(paper_catalog, modules, n), draw(paper_catalog, Modules(rooms=Rooms(share=1.0)), n)
        geometry = SceneGeometry(on, {item.mesh: mesh_named(item.mesh) for item in on.objects})
        for number, (item, before) in enumerate(zip(on.objects, off.objects, strict=True), start=1):
            wanted += amounts_of(item, "contact") is not None
            stands += item.stands
            if not item.stands:
                assert item.motion == before.motion
                continue
            for t in (0, 11, 23):
                pose = geometry.poses[number - 1][1, t]
                lowest = (geometry.mesh(number).vertices @ pose[:3, :3].T + pose[:3, 3])[:, 2].min()
                assert lowest == pytest.approx(on.ground.offset, abs=1e-9)
                assert np.allclose(pose[2, :2], 0, atol=1e-6) and np.allclose(pose[:2, 2], 0, atol=1e-6)
                moved = View(on).places(item)[:, :2] - View(off).places(before)[:, :2]
                assert np.ptp(moved, axis=0).max() < 0.021  # it goes as it went, there or some way below
                assert -0.011 < moved[:, 1].min() <= moved[:, 1].max() < 0.311
    objects = sum(len(draw(paper_catalog, Modules(), n).objects) for n in SCENES)
    assert wanted / objects == pytest.approx(0.7, abs=0.15) and stands > 0.3 * wanted


def test_ordinary_rooms_have_floors_and_walls_of_their_own_kind(paper_catalog):
    """Where the catalog has none, as those of earlier versions, rooms take any texture; nothing else changes."""
    families = ["tiles", "soil", "plaster", "concrete", "hills", "dots", "stripes", "zigzag"]
    names = dict(zip((asset.hash for asset in paper_catalog.of_kind("texture")), families, strict=True))
    named = Catalog.of(
        asset.model_copy(update={"category": names.get(asset.hash, asset.category)}) for asset in paper_catalog.assets
    )
    ordinary = 0
    for n in SCENES:
        scene, any_texture, nameless = (
            draw(catalog, Modules(rooms=Rooms(share=1.0, ordinary=share)), n)
            for catalog, share in ((named, 1.0), (named, 0.0), (paper_catalog, 1.0))
        )
        assert nameless == any_texture
        where = {"ground", "backdrop", "walls"}
        assert scene.model_dump(exclude=where) == any_texture.model_dump(exclude=where)
        walls = {names[plane.texture] for plane in (scene.backdrop, *scene.walls)}
        assert names[scene.ground.texture] in {"tiles", "soil"}
        assert walls <= ({"hills"} if amounts_of(scene, "rooms")["photos"] else {"plaster", "concrete"})
        assert draw(named, Modules(rooms=Rooms(share=1.0)), n) == any_texture, "settings of earlier versions name none"
        some = draw(named, Modules(rooms=Rooms(share=1.0, ordinary=DIVERSE.rooms.ordinary)), n)
        assert some in (scene, any_texture)
        ordinary += some == scene
    assert 0.6 <= ordinary / len(SCENES) < 1
