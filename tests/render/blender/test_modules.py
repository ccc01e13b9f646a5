"""Pairs of renders of one draw, with and without a module: what differs is what it claims, and masks stay exact."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest

from assets.catalog import Catalog
from assets.prepared import Material
from assets.procedural import made_mesh
from blender_scenes.geometry import SceneGeometry
from blender_scenes.modules import DIVERSE
from blender_scenes.modules.articulation import Articulated
from blender_scenes.modules.blur import Blur, fastest
from blender_scenes.modules.camera import Camera
from blender_scenes.modules.camouflage import Camouflage
from blender_scenes.modules.contact import Contact
from blender_scenes.modules.cuts import Cuts
from blender_scenes.modules.deformation import Deforming
from blender_scenes.modules.distractors import Distractors
from blender_scenes.modules.exposure import Exposure
from blender_scenes.modules.light import Light
from blender_scenes.modules.lookalikes import Lookalikes
from blender_scenes.modules.mirrors import Mirrors
from blender_scenes.modules.paths import Paths
from blender_scenes.modules.physics import Physics
from blender_scenes.modules.rain import Rain
from blender_scenes.modules.rooms import Rooms
from blender_scenes.modules.shake import Shake
from blender_scenes.modules.shapes import Shapes
from blender_scenes.modules.weather import Weather
from blender_scenes.trajectories import evaluate
from render.light.rain import Rain as SceneRain
from tests.render.blender.test_engine import light
from tests.render.raycast import cast, cast_in_mirror, replayed, undecided
from vosforge.videos.verify import find_problem

pytestmark = pytest.mark.blender

FRAMES = 2
RAIN = Rain(share=1.0, intensity=(60.0, 60.0), brightness=(16.0, 16.0))
OTHER_LIGHT = {"sun": 0.0, "panels": 0.0, "colored": 0.0, "night": 0.0}


def check_masks(spec, store, masks, t=0):
    """Hold the mask of frame ``t`` against an independent ray cast: the depth of what is seen, ``[H, W]``."""
    spec = replayed(spec, store)
    expected, depth = cast(spec, store, t)
    different = masks[t] != expected
    assert different.sum() <= 2 and (not different.any() or undecided(spec, store, t, masks[t], different))
    return depth


def tint(frames, off, masks):
    """How coloured the light on objects is beside that of ``off``, whatever their own colours: 0 to 1."""
    ratio = ((frames + 1.0) / (off + 1.0))[masks > 0]
    return float((np.ptp(ratio, axis=1) / ratio.max(axis=1)).mean())


@pytest.mark.parametrize("index", [0, 3])
def test_light(show, store, index):
    _, off, masks = show(index)
    shown = {}
    for kind in OTHER_LIGHT:
        spec, shown[kind], lit = show(index, light=Light(**OTHER_LIGHT | {kind: 1.0}))
        assert np.array_equal(lit, masks), "labels do not depend on light"
    if index == 0:
        check_masks(spec, store, masks)
    assert shown["night"].mean() < 0.4 * off.mean()
    assert tint(shown["colored"], off, masks) > tint(shown["panels"], off, masks) + 0.02
    means = [frames[masks > 0].mean(axis=0) for frames in (off, *shown.values())]
    for one, other in itertools.pairwise(means):
        assert np.abs(one - other).max() > 3


def test_fog(show, store):
    _, off, masks = show(3)
    spec, on, foggy = show(3, weather=Weather(fog=1.0, visibility=(20.0, 20.0)))
    assert np.array_equal(foggy, masks), "labels are those of clear air"
    depth = check_masks(spec, store, masks)
    fog = np.array(spec.atmosphere.color)
    seen, clear = light(on), light(off)
    kept = np.exp(-spec.atmosphere.density * depth)[..., None]
    off_by = np.abs(seen[0] - clear[0] * kept - fog * (1 - kept))[masks[0] > 0]
    assert np.median(off_by) < 0.03


@pytest.mark.parametrize("index", [0, 3])
def test_rain(show, store, index):
    """It is where drops fall before what is seen, also where the backdrop or the sky is laid under the frame."""
    _, off, masks = show(index)
    spec, on, wet = show(index, rain=RAIN)
    assert np.array_equal(wet, masks), "labels are those without rain"
    depth = check_masks(spec, store, masks)
    geometry = SceneGeometry.load(replayed(spec, store), store)
    seen, clear, fallen = light(on)[0], light(off)[0], SceneRain(geometry, spec.rain)
    expected = fallen.over(clear.astype(np.float32), depth.astype(np.float32), 0)
    dark = np.maximum(clear, expected).max(axis=2) < 0.9
    drawn, wanted = (seen - clear)[dark].ravel(), (expected - clear)[dark].ravel()
    assert wanted.mean() > 0.005 and drawn.mean() == pytest.approx(wanted.mean(), rel=0.2)
    assert np.corrcoef(drawn, wanted)[0, 1] > 0.8


def test_exposure(show):
    _, off, masks = show(3)
    spec, on, drifting = show(3, exposure=Exposure(drift=1.0, stops=(1.5, 1.5), balance=(0.6, 0.6)))
    assert np.array_equal(drifting, masks)
    stops = evaluate(spec.drift, FRAMES)
    for t in range(FRAMES):
        middle = (np.minimum(on[t], off[t]) > 40) & (np.maximum(on[t], off[t]) < 240)
        for channel in range(3):
            here = middle[:, :, channel]
            ratio = np.median(light(on[t, :, :, channel][here]) / light(off[t, :, :, channel][here]))
            assert np.log2(ratio) == pytest.approx(stops[t, channel], abs=0.06)


def test_blur(show, store):
    """What moves smears; its mask is that of the instant."""
    paths = Paths(median=15.0, fast=0.4, absent=0.0)
    _, off, masks = show(3, paths=paths)
    spec, on, blurred = show(3, paths=paths, blur=Blur(share=1.0, length=(25.0, 25.0)))
    assert np.array_equal(blurred, masks)
    check_masks(spec, store, masks)
    assert spec.camera.shutter * fastest(spec) > 5
    near = [cv2.dilate((mask > 0).astype(np.uint8), np.ones((9, 9))) > 0 for mask in masks]
    detail = [
        np.mean(
            [np.square(cv2.Laplacian(frame, cv2.CV_64F))[here].mean() for frame, here in zip(each, near, strict=True)]
        )
        for each in (off, on)
    ]
    assert detail[1] < 0.7 * detail[0]


def test_a_panned_and_shaken_camera(show, store):
    _, off, masks = show(3)
    spec, on, moved = show(3, camera=Camera(pan=1.0, angle=(0.3, 0.3)), shake=Shake(share=1.0, pixels=(4.0, 4.0)))
    assert np.abs(on[-1] - off[-1]).mean() > 5 and not np.array_equal(moved, masks)
    check_masks(spec, store, moved)


def test_a_room_with_standing_objects(show, store):
    """Walls, floor and what stands on it are where the passes say."""
    room = Rooms(share=1.0, walls=(2, 2), photos=0.0)
    spec, masks, depth = show(3, passes=("depth",), rooms=room, contact=Contact(share=1.0, bend=1.0))
    assert all(item.stands for item in spec.objects) and len(spec.walls) == 2
    expected = check_masks(spec, store, masks)
    assert np.isfinite(expected).mean() > 0.9
    far = np.isfinite(expected) & np.isfinite(depth[0])
    assert np.quantile(np.abs(depth[0][far] / expected[far] - 1), 0.99) < 0.002
    assert (np.isfinite(expected) == np.isfinite(depth[0])).mean() > 0.995


def test_models_that_move_in_their_bones(show, store, catalog):
    """A model of the catalog bends as its joints say, and its mask is that of the bent model."""
    mesh = made_mesh("hinged", 3, store)
    bones = {"hash": store.put_mesh(mesh), "textures": mesh.textures, "joints": tuple(mesh.parents.tolist())}
    others = [asset for asset in catalog.assets if asset.kind != "mesh"]
    with_bones = Catalog.of([catalog.of_kind("mesh")[0].model_copy(update=bones), *others])
    _, still, masks = show(3, assets=with_bones)
    swinging = Articulated(share=0.0, armatures=1.0, reach=(2.0, 2.0))
    spec, moving, bent = show(3, assets=with_bones, articulation=swinging)
    assert all(item.mesh == bones["hash"] and item.joints for item in spec.objects)
    check_masks(spec, store, bent)
    assert (bent != masks).sum() > 0.05 * (masks > 0).sum() and np.abs(moving - still).max() > 30


def test_models_whose_shape_keys_come_and_go(show, store, catalog):
    """A model of the catalog takes on other shapes, and its mask is that of what it becomes."""
    model = next(asset for asset in catalog.of_kind("mesh") if not asset.joints)
    mesh = store.mesh(model.hash)
    keys = np.stack([mesh.vertices * stretch for stretch in ((0.8, 0, 0), (0, 0.8, 0), (0, 0, 0.8))]).astype(np.float32)
    keyed = model.model_copy(update={"hash": store.put_mesh(replace(mesh, morphs=keys)), "morphs": 3})
    assets = Catalog.of([keyed, *(asset for asset in catalog.assets if asset.kind != "mesh")])
    _, still, masks = show(3, assets=assets)
    spec, growing, grown = show(3, assets=assets, deformation=Deforming(share=0.0, morphs=1.0))
    assert all(item.mesh == keyed.hash and item.morphs for item in spec.objects)
    check_masks(spec, store, grown, t=1)
    assert (grown != masks).sum() > 0.05 * (masks > 0).sum() and np.abs(growing - still).max() > 30


@pytest.mark.parametrize(("index", "length"), [(3, 0.0), (3, 25.0), pytest.param(0, 0.0, marks=pytest.mark.slow)])
def test_each_shot_is_what_its_camera_takes(rendered_with, store, index, length):
    """Byte by byte, as if that camera had taken the whole video: colours, also of long exposures, and labels."""
    passes = ("depth", "flow", "normal", "amodal", "tracks")
    settings = {"frames": 3, "passes": passes, "cuts": Cuts(share=1.0, number=(1, 1))}
    if length:
        settings |= {"shake": Shake(share=1.0), "blur": Blur(share=1.0, length=(length, length))}

    def only(shot):
        def change(spec):
            changes = {"motion": spec.camera.motions[shot], "cuts": ()}
            return spec.model_copy(update={"camera": spec.camera.model_copy(update=changes)})

        return change

    spec, video = rendered_with(index, **settings)
    (cut,) = video.cuts
    assert bool(spec.camera.shutter) == bool(length)
    assert find_problem(video.path, video.row) is None
    shots = [rendered_with(index, change=only(shot), **settings)[1] for shot in (0, 1)]
    assert np.abs(shots[0].frame(cut).astype(int) - shots[1].frame(cut)).mean() > 5, "the cut is seen"
    if index == 3 and not length:
        check_masks(spec, store, video.masks(), cut)
    for t in range(3):
        same = shots[t >= cut]
        assert video.encoded(t) == same.encoded(t) and np.array_equal(video.mask(t), same.mask(t))
        assert np.array_equal(video.depth(t), same.depth(t)) and np.array_equal(video.normal(t), same.normal(t))
        assert np.array_equal(video.amodal(t), same.amodal(t))
        for backward in (False, True):
            if (t if backward else t + 1) == cut:
                assert np.isnan(video.flow(t, backward)).all()
            else:
                assert np.array_equal(video.flow(t, backward), same.flow(t, backward), equal_nan=True)


def test_objects_are_seen_in_mirrors_without_a_label(show, store):
    """Where their images behind the mirror are, their colours are seen, and the masks show none of it."""

    def painted(color):
        looks = {"material": Material(base_color=color, roughness=1.0), "texture": None}
        return lambda spec: spec.model_copy(
            update={"objects": tuple(item.model_copy(update=looks) for item in spec.objects)}
        )

    mirrors = Mirrors(share=1.0, number=(1, 1))
    _, off, plain = show(0)
    spec, on, masks = show(0, mirrors=mirrors)
    assert len(spec.mirrors) == 1 and np.abs(on - off).mean() > 1
    depth = check_masks(spec, store, masks)
    assert not masks[masks != plain].any(), "where it is before objects, it hides them"
    colors = ((0.9, 0.02, 0.02), (0.02, 0.9, 0.02))
    (_, red, same), (_, green, _) = (show(0, mirrors=mirrors, change=painted(color)) for color in colors)
    assert np.array_equal(same, masks)
    differs = ((red - green)[0, :, :, 0] > 25) & ((green - red)[0, :, :, 1] > 25)
    image = cast_in_mirror(spec, store, 0, spec.mirrors[0], depth)
    inner = cv2.erode(image.astype(np.uint8), np.ones((3, 3))) > 0
    assert inner.sum() > 20 and differs[inner].mean() > 0.8 and not masks[0][inner].any(), "an object is seen twice"
    near = cv2.dilate((image | (masks[0] > 0)).astype(np.uint8), np.ones((5, 5))) > 0
    assert differs[~near].mean() < 0.02


@pytest.mark.parametrize("photos", [0.0, 1.0])
def test_a_room_is_seen(show, photos):
    _, off, masks = show(3)
    _, on, same = show(3, rooms=Rooms(share=1.0, photos=photos, raised=(0.0, 0.0)))
    away = (masks == 0) & (same == 0)
    assert np.abs(on - off)[away].mean() > 10
    assert on[away].std() > 8


@pytest.mark.slow
@pytest.mark.parametrize("physics", [0.0, 1.0])
def test_masks_of_a_scene_with_all_modules(show, store, physics):
    """Everything at once: what is made and simulated, stands in a room, is camouflaged, hidden, foggy and blurred."""
    always = {
        "weather": Weather(fog=1.0),
        "exposure": Exposure(drift=1.0),
        "rooms": Rooms(share=1.0),
        "shapes": Shapes(share=0.4),
        "articulation": Articulated(share=0.5),
        "deformation": Deforming(share=0.5),
        "lookalikes": Lookalikes(none=1.0, few=0.0),
        "distractors": Distractors(mean=1.0),
        "camouflage": Camouflage(share=0.5),
        "physics": Physics(share=physics, objects=0.7),
        "shake": Shake(share=1.0),
        "blur": Blur(share=1.0),
    }
    spec, _, masks = show(3, **dict(DIVERSE) | always)
    drawn = {trait.module for trait in spec.all_traits}
    assert {"rooms", "weather", "exposure", "shake", "blur", "shapes"} <= drawn
    assert ("physics" in drawn) == bool(physics)
    check_masks(spec, store, masks)
    assert len(np.unique(masks)) > 1
