"""Cloth hangs and falls as it is drawn to, and is simulated once: by the same bytes anywhere."""

import shutil

import cv2
import numpy as np
import pytest

from assets.procedural import made_mesh, procedural_catalog
from assets.shapes.cloth import quads
from assets.store import AssetStore, array_hash
from blender_scenes.describe import scene_quantities
from blender_scenes.geometry import SceneGeometry, moved
from blender_scenes.making import with_meshes
from blender_scenes.modules import Modules
from blender_scenes.modules.camouflage import Camouflage
from blender_scenes.modules.cloth import HELD_BY, Cloth
from blender_scenes.modules.deformation import Deforming
from blender_scenes.modules.lookalikes import Lookalikes
from blender_scenes.modules.marks import amounts_of
from blender_scenes.modules.physics import Physics
from blender_scenes.modules.rain import Rain
from blender_scenes.modules.view import View
from blender_scenes.object_spec import Deformation
from blender_scenes.sample import PRESETS, sample_scene
from blender_scenes.spec import RenderSettings
from blender_scenes.strides import every
from render.farm.events import Done, Working
from render.farm.process import BlenderProcess
from tests.blender_scenes.modules.test_modules import RENDER, draw
from tests.blender_scenes.modules.test_physics import baked
from tests.render.raycast import cast_mask
from vosforge.amounts import misfit
from vosforge.errors import MachineError, VOSForgeError
from vosforge.videos import ShardSet

ALWAYS = Modules(cloth=Cloth(share=1.0))
HANGING = Modules(cloth=Cloth(share=1.0, sheet=0.0))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return AssetStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def catalog(store, paper_catalog):
    made = procedural_catalog(store, 10, 4, seed=3)
    return made + type(made)(assets=paper_catalog.of_kind("hdri"))


@pytest.fixture(scope="module")
def blender(tmp_path_factory):
    with BlenderProcess(tmp_path_factory.mktemp("log") / "blender.log") as process:
        yield process


def cloths(scene):
    return [(number, item) for number, item in enumerate(scene.objects, start=1) if item.cloth is not None]


def test_a_share_of_scenes_has_cloth(paper_catalog):
    shares = [draw(paper_catalog, Modules(cloth=Cloth()), index, "basic") for index in range(80)]
    assert np.mean([bool(cloths(scene)) for scene in shares]) == pytest.approx(0.25, abs=0.12)


def test_what_is_drawn_is_what_it_says_over_20_seeds(paper_catalog):
    kinds, numbers, draped, longest = [], [], [], []
    for index in range(20):
        on, off = (draw(paper_catalog, modules, index, "basic") for modules in (ALWAYS, Modules()))
        assert amounts_of(on, "cloth")["rate"] == pytest.approx(cloths(on)[0][1].cloth.rate, abs=1e-3)
        assert 15 <= cloths(on)[0][1].cloth.rate <= 30
        numbers.append(len(cloths(on)))
        for item, plain in zip(on.objects, off.objects, strict=True):
            drawn = amounts_of(item, "cloth")
            if drawn is None:
                assert item == plain
                continue
            kinds.append(drawn["kind"])
            assert item.category == drawn["kind"] and item.cloth.held == HELD_BY[drawn["kind"]] and not item.rigid
            width, _, height = (axis[0] for axis in item.motion.scale.axes)
            assert max(width, height) / np.sqrt(2) == pytest.approx(drawn["size"], abs=1e-3)
            longest.append(drawn["size"])
            view = View(on)
            spots = view.seen(np.tile([axis[0] for axis in item.motion.location.axes], (view.moments, 1)))
            assert (np.abs(spots[:, :2]) < view.half).all(axis=1).mean() > 0.6, "it is in view most of the time"
            if drawn["kind"] == "sheet":
                draped.append(drawn["draped"])
                assert item.motion.location.axes[2][0] - on.ground.offset > 0.3 and item.cloth.before == 0
            else:
                assert 1 <= np.linalg.norm(item.cloth.wind) <= 8 and item.cloth.before > 0
        below = [item for item in on.distractors if item.stands]
        rods = [item for item in on.distractors if item.category == "rod"]
        assert len(below) + len(rods) == len(on.distractors) - len(off.distractors)
        assert len(rods) == sum(item.category != "sheet" for _, item in cloths(on))
    assert set(kinds) == set(HELD_BY) and 0.15 < np.mean(np.array(kinds) == "sheet") < 0.6
    assert np.mean(np.array(numbers) == 2) == pytest.approx(0.3, abs=0.2) and set(numbers) == {1, 2}
    assert 0.2 < np.mean(draped) < 0.8 and 1.1 <= min(longest) < 1.4 and 1.9 < max(longest) <= 2.2


def test_what_moves_by_physics_is_no_cloth_and_gives_it_its_rate(paper_catalog):
    found = 0
    for index in range(12):
        modules = {"physics": Physics(share=1.0, objects=0.6), "cloth": Cloth(share=1.0)}
        on, off = (
            draw(paper_catalog, Modules(**modules), index),
            draw(paper_catalog, Modules(physics=modules["physics"]), index),
        )
        assert [item.motion.kind for item in on.objects] == [item.motion.kind for item in off.objects]
        for _, item in cloths(on):
            found += on.physics is not None
            assert on.physics is None or (item.cloth.rate == on.physics.rate and on.ground.offset == on.physics.floor)
    assert found > 2


def test_what_others_depend_on_is_no_cloth_and_cloth_has_no_shape_keys(paper_catalog):
    def become_cloth(assets, **others):
        for index in range(20):
            scene = draw(assets, Modules(**others, cloth=Cloth(share=1.0)), index, "basic")
            yield scene, type(scene).model_validate_json(scene.model_dump_json()).objects

    for _, items in become_cloth(paper_catalog, camouflage=Camouflage(share=0.5)):
        assert not any(item.cloth and amounts_of(item, "camouflage") is not None for item in items)
    for scene, items in become_cloth(paper_catalog, lookalikes=Lookalikes(none=0.0)):
        assert items[amounts_of(scene, "lookalikes")["original"] - 1].cloth is None
        assert not any(item.cloth for item in items if amounts_of(item, "lookalikes") is not None)
    with_keys = type(paper_catalog).of(
        [asset.model_copy(update={"morphs": 3 * (asset.kind == "mesh")}) for asset in paper_catalog.assets]
    )
    keys = Deforming(share=0.0, morphs=1.0)
    assert any(item.cloth for _, items in become_cloth(with_keys, deformation=keys) for item in items)
    assert any(item.morphs for _, items in become_cloth(with_keys, deformation=keys) for item in items)


def test_rain_falls_by_the_clock_of_cloth(paper_catalog):
    for index in range(5):
        scene = draw(paper_catalog, Modules(cloth=Cloth(share=1.0), rain=Rain(share=1.0)), index, "basic")
        assert scene.rain.rate == cloths(scene)[0][1].cloth.rate


def test_cloth_is_stored_only_where_there_is_some_and_stands_alone(paper_catalog):
    plain, scene = (draw(paper_catalog, modules, 0, "basic") for modules in (Modules(), ALWAYS))
    assert '"cloth"' not in plain.model_dump_json()
    assert type(scene).model_validate_json(scene.model_dump_json()) == scene
    item = cloths(scene)[0][1]
    with pytest.raises(ValueError, match="no deformation, joints or shape keys"):
        type(item).model_validate(item.model_dump() | {"deformation": Deformation().model_dump()})
    with pytest.raises(ValueError, match="it does not stand"):
        type(item).model_validate(item.model_dump() | {"stands": True})
    assert every(3, scene).objects[cloths(scene)[0][0] - 1].cloth.rate == pytest.approx(item.cloth.rate / 3)


def test_cloth_that_is_not_baked_is_described_and_has_no_shape(paper_catalog, store):
    scene = draw(paper_catalog, ALWAYS, 1, "basic")
    number, item = cloths(scene)[0]
    assert scene_quantities([scene])["deforming_frac"].sum() == len(cloths(scene))
    mesh = made_mesh("cloth", 1, store)
    known = {each.mesh: mesh for each in scene.objects}
    with pytest.raises(VOSForgeError, match="a cloth without shapes for 24 frames"):
        SceneGeometry(scene, known).shaped(number, 0.0)
    short = item.model_copy(update={"cloth": item.cloth.model_copy(update={"shapes": "0" * 32})})
    scene = scene.model_copy(update={"objects": (short,)})
    with pytest.raises(VOSForgeError, match="a cloth without shapes for 24 frames"):
        SceneGeometry(scene, known, cloths={"0" * 32: np.zeros((3, len(mesh.vertices), 3))}).shaped(1, 0.0)


def test_arrays_of_both_kinds_are_stored_as_they_are(store):
    for kind in (np.float32, np.float64):
        array = np.arange(12, dtype=kind).reshape(2, 2, 3) / 7
        content = store.put_array(array)
        assert content == array_hash(array) and store.array(content).dtype == kind
        assert np.array_equal(store.array(content), array)


def edge_lengths(vertices, mesh):
    around = quads(mesh.faces)
    return np.stack(
        [np.linalg.norm(vertices[..., around[:, k], :] - vertices[..., around[:, k - 1], :], axis=-1) for k in range(4)]
    )


@pytest.mark.blender
@pytest.mark.parametrize("scenes", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_every_cloth_deforms_keeps_its_edges_stays_in_view_and_above_the_floor(blender, catalog, store, scenes):
    deformed, strained, seen, kinds = [], [], [], []
    for index in range(scenes):
        scene = draw(catalog, ALWAYS, index, "basic")
        complete = baked(blender, scene, store)
        geometry = SceneGeometry.load(with_meshes(complete, store), store)
        for number, item in cloths(complete):
            mesh, pose = made_mesh("cloth", item.made.seed, store), geometry.poses[number - 1][1, 0]
            assert mesh.content_hash() == item.mesh
            places = moved(geometry.cloths[item.cloth.shapes].astype(float), pose)
            deformed.append(misfit(places))
            flat = edge_lengths(moved(mesh.vertices.astype(float), pose), mesh)[:, None]
            strained.append(np.abs(edge_lengths(places, mesh) / flat - 1).max())
            kinds.append(item.category)
            if complete.ground is not None:
                assert places[..., 2].min() > complete.ground.offset - 1e-3
            if item.category == "sheet":
                assert places[-1, :, 2].mean() < places[0, :, 2].mean() - 0.2, "it falls"
                if not amounts_of(item, "cloth")["draped"]:
                    assert places[-1, :, 2].min() < complete.ground.offset + 0.1
            pixels = np.stack([geometry.K[t] @ moved(places[t], geometry.to_camera[t]).T for t in range(RENDER.frames)])
            spots = pixels[:, :2] / pixels[:, 2:]
            inside = (spots > 0).all(axis=1) & (spots[:, 0] < RENDER.width) & (spots[:, 1] < RENDER.height)
            seen.append((inside & (pixels[:, 2] > 0)).any(axis=1).mean())
    print(sorted(zip(np.round(deformed, 3), kinds, strict=True))[:5], max(strained), min(seen))
    assert min(deformed) > 0.02 and max(strained) < 0.2 and min(seen) > 0.5
    if scenes == 20:
        assert set(kinds) == set(HELD_BY) and np.median(deformed) > 0.05


@pytest.mark.blender
def test_the_same_bytes_come_out_of_any_process_after_anything_else(blender, catalog, store, tmp_path):
    config = PRESETS["basic"].model_copy(update={"modules": ALWAYS})
    settings = RENDER.model_copy(update={"frames": 8})
    scenes = [sample_scene(config, settings, catalog, seed=4, index=n, split="train") for n in range(2)]
    first = [baked(blender, scene, store) for scene in scenes]
    assert [baked(blender, scene, store) for scene in scenes[::-1]] == first[::-1]
    with BlenderProcess(tmp_path / "blender.log") as other:
        assert [baked(other, scene, store) for scene in scenes[1:]] == first[1:]


@pytest.mark.blender
def test_frames_without_a_stride_are_those_between(blender, catalog, store):
    """A long video and its stride show the same motion, but for the steps it is simulated in."""
    config = PRESETS["basic"].model_copy(update={"modules": HANGING})
    settings = RENDER.model_copy(update={"frames": 9})
    scene = sample_scene(config, settings, catalog, seed=4, index=0, split="train")
    places = []
    for spec in (scene, every(2, scene)):
        complete = baked(blender, spec, store)
        number, item = cloths(complete)[0]
        geometry = SceneGeometry.load(with_meshes(complete, store), store)
        places.append(moved(geometry.cloths[item.cloth.shapes].astype(float), geometry.poses[number - 1][1, 0]))
    assert len(places[1]) == 5
    assert np.linalg.norm(places[0][::2] - places[1], axis=2).mean() < 0.1


@pytest.mark.blender
def test_an_image_lies_flat_on_cloth(blender, catalog, store, tmp_path):
    """All of its eight stripes are seen, and not two of them drawn out."""
    stripes = np.full((256, 256, 3), 255, np.uint8)
    stripes[:, :, 0] = np.arange(256) // 32 * 22
    image = store.put_image(cv2.imencode(".png", cv2.cvtColor(stripes, cv2.COLOR_HSV2BGR))[1].tobytes(), ".png")
    config = PRESETS["basic"].model_copy(update={"modules": HANGING, "world": 0.0})
    settings = RenderSettings(width=96, height=64, frames=2, samples=2)
    scene = sample_scene(config, settings, catalog, seed=4, index=0, split="train")
    number, item = cloths(scene)[0]
    items = [*scene.objects]
    items[number - 1] = item.model_copy(update={"texture": image})
    scene = scene.model_copy(update={"objects": tuple(items)})
    striped = catalog.of_kind("texture")[0].model_copy(update={"hash": image})
    (catalog + type(catalog).of([striped])).save(tmp_path / "catalog.jsonl")
    job = {"do": "render", "spec": scene.model_dump_json(), "store": str(store.root), "gates": False, "renderer": None}
    job |= {"catalog": str(tmp_path / "catalog.jsonl"), "staged": str(tmp_path / "video.h5")}
    assert isinstance(list(blender.run(job))[-1], Done)
    video = ShardSet(tmp_path / "video.h5").video(scene.video_id)
    seen = cv2.cvtColor(video.frame(0), cv2.COLOR_RGB2HSV)[video.mask(0) == number]
    shares = np.bincount((seen[:, 0] + 11) // 22 % 8, minlength=8) / len(seen)
    assert len(seen) > 50 and (shares > 0.03).sum() >= 6, shares


@pytest.mark.blender
def test_a_stored_video_replays_its_cloth_to_the_byte(blender, catalog, store, tmp_path):
    settings = RenderSettings(width=64, height=48, frames=4, samples=1, passes=("flow",))
    config = PRESETS["basic"].model_copy(update={"modules": ALWAYS, "world": 0.0})
    scene = sample_scene(config, settings, catalog, seed=4, index=1, split="train")
    catalog.save(tmp_path / "catalog.jsonl")

    def render(spec, place, name):
        job = {"do": "render", "spec": spec, "store": str(place), "gates": False, "renderer": None}
        job |= {"catalog": str(tmp_path / "catalog.jsonl"), "staged": str(tmp_path / f"{name}.h5")}
        return list(blender.run(job)), tmp_path / f"{name}.h5"

    events, first = render(scene.model_dump_json(), store.root, "first")
    assert Working("baking") in events and isinstance(events[-1], Done)
    video = ShardSet(first).video(scene.video_id)
    video.verify()
    recorded = type(scene).model_validate_json(video.spec_json)
    number, item = cloths(recorded)[0]
    shapes = video.baked[item.cloth.shapes]
    assert shapes.dtype == np.float32 and shapes.shape == (4, 676, 3)
    assert np.array_equal(shapes, store.array(item.cloth.shapes))
    stored = video.group[f"baked/{item.cloth.shapes}"].id.get_storage_size()
    print(f"{stored / 4:.0f} bytes a frame, {shapes.nbytes / 4:.0f} in memory")
    assert stored < 0.8 * shapes.nbytes
    with_meshes(recorded, store)
    different = video.mask(3) != cast_mask(recorded, store, 3)
    assert (video.mask(3) == number).any() and different.sum() <= 2, "masks equal an independent ray cast"

    elsewhere = AssetStore(tmp_path / "store")
    for folder in ("meshes", "images"):
        shutil.copytree(store.root / folder, elsewhere.root / folder)
    with pytest.raises(MachineError, match="put it there from the video's shard"):
        render(video.spec_json, elsewhere.root, "lacking")
    for content, array in video.baked.items():
        assert elsewhere.put_array(array) == content
    events, again = render(video.spec_json, elsewhere.root, "again")
    assert isinstance(events[-1], Done)
    assert again.read_bytes() == first.read_bytes()
