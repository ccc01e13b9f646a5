"""Objects fall as gravity says, stay on the floor and hit one another; what was simulated and made is replayed."""

import shutil

import numpy as np
import pytest

from assets.procedural import procedural_catalog
from assets.store import AssetStore
from blender_scenes.describe import scene_quantities
from blender_scenes.geometry import SceneGeometry
from blender_scenes.making import with_meshes
from blender_scenes.modules import Modules
from blender_scenes.modules.articulation import Articulated
from blender_scenes.modules.physics import Physics
from blender_scenes.modules.rooms import Rooms
from blender_scenes.spec import MirrorSpec, RenderSettings, SceneSpec
from render.farm.events import Done, Working
from render.farm.process import BlenderProcess
from tests.blender_scenes.modules.test_modules import RENDER, draw
from tests.render.raycast import cast_mask, replayed
from vosforge.errors import MachineError, VOSForgeError
from vosforge.videos import ShardSet

ALWAYS = Modules(physics=Physics(share=1.0))


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


def baked(blender, scene, store):
    *_, last = blender.run({"do": "bake", "spec": scene.model_dump_json(), "store": str(store.root)})
    assert isinstance(last, Done), last
    return SceneSpec.model_validate_json(last.result)


def test_some_scenes_have_physics_and_their_specs_say_how_it_starts(paper_catalog):
    with_it = 0
    for index in range(60):
        on, off = (draw(paper_catalog, modules, index) for modules in (Modules(physics=Physics()), Modules()))
        if on.physics is None:
            assert on == off
            continue
        with_it += 1
        assert on.ground.offset == on.physics.floor and on.traits[0].module == "physics"
        for item, plain in zip(on.objects, off.objects, strict=True):
            assert (item.mesh, item.texture) == (plain.mesh, plain.texture)
            assert (item.motion.kind == "simulated") == bool(item.traits)
            assert item.motion.kind == "curve" or item.motion.location[2] > on.physics.floor - 1e-9
    assert pytest.approx(with_it, abs=6) == 0.12 * 60


def test_what_falls_in_a_room_falls_on_the_rooms_floor(paper_catalog):
    rooms = Rooms(share=1.0)
    for index in range(6):
        on, off = (
            draw(paper_catalog, Modules(rooms=rooms, physics=physics), index) for physics in (Physics(share=1.0), None)
        )
        assert on.ground == off.ground and (on.physics is None or on.physics.floor == on.ground.offset)


def test_scenes_that_are_not_baked_are_described_and_have_no_places(paper_catalog):
    scene = next(scene for index in range(9) if (scene := draw(paper_catalog, ALWAYS, index)).physics)
    found = scene_quantities([scene])
    moved_by_curves = sum(item.motion.kind == "curve" for item in scene.objects)
    assert len(found["n_objects"]) == 1 and len(found.get("obj_path_len", ())) == moved_by_curves
    assert found["simulated_frac"].sum() == len(scene.objects) - moved_by_curves
    with pytest.raises(VOSForgeError, match="once a worker has baked its scene"):
        SceneGeometry(scene, {})


@pytest.mark.blender
def test_objects_fall_by_gravity_stay_on_the_floor_and_collide(blender, catalog, store):
    falls, clashes, lowest = [], [], []
    for index in range(20):
        scene = draw(catalog, ALWAYS, index)
        if scene.physics is None:
            continue
        complete = baked(blender, scene, store)
        assert complete.model_copy(update={"physics": scene.physics}) == scene
        geometry = SceneGeometry.load(complete, store)
        for item, poses in zip(complete.objects, geometry.poses, strict=True):
            if item.motion.kind != "simulated":
                continue
            path, rate = poses[1][:, :3, 3], complete.physics.rate
            vertices = store.mesh(item.mesh).vertices
            heights = np.array([(vertices @ p[:3, :3].T + p[:3, 3])[:, 2].min() for p in poses[1]])
            lowest.append((heights - complete.physics.floor).min())
            assert np.allclose(path[0, :2], item.motion.location[:2], atol=1e-5)
            assert heights[0] == pytest.approx(item.motion.location[2], abs=1e-4)
            assert np.allclose(np.linalg.norm(poses[1][:, :3, :3], axis=1), item.motion.scale, atol=1e-4)
            # Before they can reach the floor: half of the time that falling takes.
            free = int(0.5 * np.sqrt(2 * max(heights[0] - complete.physics.floor, 0) / 9.81) * rate)
            if free >= 3:
                falls.append(np.diff(path[: free + 1], n=2, axis=0)[:, 2].mean() * rate**2)
            speeds = np.diff(path, axis=0) * rate
            clashes.append(np.linalg.norm(np.diff(speeds[:, :2], axis=0), axis=1).max())
    assert len(falls) > 10 and np.median(falls) == pytest.approx(-9.81, rel=0.03)
    assert np.quantile(lowest, 0.1) > -0.02 and min(lowest) > -0.1
    assert np.mean(np.array(clashes) > 0.5) > 0.3, "sideways, only a collision or the floor changes speed so fast"


@pytest.mark.blender
def test_what_is_thrown_has_its_speed_also_in_a_process_of_several_threads(catalog, store, tmp_path):
    thrown = Modules(physics=Physics(share=1.0, objects=1.0, drop=0.0, throw=1.0, roll=0.0))
    scene = draw(catalog, thrown, 0, "basic")
    with BlenderProcess(tmp_path / "blender.log", threads=2) as blender:
        found = [baked(blender, scene, store) for _ in range(10)]
    assert found == found[:1] * 10
    poses = store.array(found[0].physics.poses)
    for motion, pose in zip([item.motion for item in scene.objects], poses, strict=True):
        # The centre of gravity is not the origin, about which what spins turns.
        speed = (pose[1, :3, 3] - pose[0, :3, 3]) * scene.physics.rate
        assert np.linalg.norm(motion.velocity) > 1
        assert np.linalg.norm(speed - motion.velocity) < 0.5 * np.linalg.norm(motion.velocity)


def beyond(scene, store, facing, side):
    """How far each simulated object reaches at each frame along an axis, to one side: ``[N, T]``."""
    geometry = SceneGeometry.load(scene, store)
    return np.array(
        [
            [(side * (store.mesh(item.mesh).vertices @ p[:3, :3].T + p[:3, 3])[:, facing]).max() for p in poses[1]]
            for item, poses in zip(scene.objects, geometry.poses, strict=True)
            if item.motion.kind == "simulated"
        ]
    )


@pytest.mark.blender
@pytest.mark.parametrize(("facing", "side"), [(0, -1), (0, 1), (1, 1)])
def test_walls_and_the_backdrop_hold_back_what_flies_at_them(blender, catalog, store, facing, side):
    """A wall stands where it is drawn, or just behind what begins in it, which else would be hurled away."""
    modules = Modules(rooms=Rooms(share=1.0, walls=(2, 2)), physics=Physics(share=1.0, objects=1.0))
    velocity = tuple((np.eye(3)[facing] * side * 12.0).tolist())
    for index, within in ((0, False), (1, True), (2, False), (3, True)):
        scene = draw(catalog, modules, index)
        wall = max(side * plane.offset for plane in (scene.walls if facing == 0 else (scene.backdrop,)))
        items = []
        for k, item in enumerate(scene.objects):
            update = {"velocity": velocity}
            if within and k == 0:
                at = [*item.motion.location]
                at[facing] = side * wall
                update = {"velocity": (0.0, 0.0, 0.0), "location": tuple(at)}
            items.append(item.model_copy(update={"motion": item.motion.model_copy(update=update)}))
        scene = scene.model_copy(update={"objects": tuple(items)})
        reached = beyond(baked(blender, scene, store), store, facing, side)
        stands = max(wall, reached[:, 0].max())
        assert within == (stands > wall + 0.01)
        assert reached.max() < stands + 0.05 and np.abs(np.diff(reached)).max() < 2.0
        without = scene.model_copy(update={"walls": (), "backdrop": None})
        assert beyond(baked(blender, without, store), store, facing, side).max() > stands + 1


@pytest.mark.blender
def test_a_mirror_holds_back_what_flies_at_it_unless_that_begins_in_it(blender, catalog, store):
    scene = draw(catalog, ALWAYS, 0)
    for within in (False, True):
        start = (0.0, 1.0 if within else -3.0, scene.physics.floor + 1.0)
        moves = {"location": start, "velocity": (0.0, 0.0 if within else 12.0, 0.0)}
        thrown = scene.objects[0].model_copy(update={"motion": scene.objects[0].motion.model_copy(update=moves)})
        mirror = MirrorSpec(middle=(0.0, 1.0, scene.physics.floor + 3.0), turn=0.3, width=6.0, height=6.0)
        furthest, steps = [], []
        for mirrors in ((mirror,), ()):
            changes = {"objects": (thrown,), "distractors": (), "mirrors": mirrors}
            complete = baked(blender, scene.model_copy(update=changes), store)
            poses = SceneGeometry.load(complete, store).poses[0][1]
            normal = np.array([-np.sin(mirror.turn), np.cos(mirror.turn), 0.0])
            vertices = store.mesh(thrown.mesh).vertices
            beyond = [((vertices @ p[:3, :3].T + p[:3, 3] - mirror.middle) @ normal).max() for p in poses]
            furthest.append(max(beyond))
            steps.append(np.abs(np.diff(poses[:, :3, 3], axis=0)).max())
        if within:
            assert furthest[0] == pytest.approx(furthest[1]) and steps[0] < 1.0
        else:
            assert furthest[0] < 0.05 and furthest[1] > 1


@pytest.mark.blender
def test_a_stored_video_replays_its_physics_to_the_byte(blender, catalog, store, tmp_path):
    settings = RenderSettings(width=64, height=48, frames=4, samples=1, passes=("flow",))
    plain = {"world": None, "backdrop": None, "render": settings}
    jointed = Modules(physics=Physics(share=1.0), articulation=Articulated(share=1.0))
    scene = next(scene for index in range(9) if (scene := draw(catalog, jointed, index)).physics)
    scene = scene.model_copy(update=plain)
    catalog.save(tmp_path / "catalog.jsonl")
    assert RENDER.frames != 4

    def render(spec, place, name):
        job = {"do": "render", "spec": spec, "store": str(place), "gates": False, "renderer": None}
        job |= {"catalog": str(tmp_path / "catalog.jsonl"), "staged": str(tmp_path / f"{name}.h5")}
        return list(blender.run(job)), tmp_path / f"{name}.h5"

    events, first = render(scene.model_dump_json(), store.root, "first")
    assert Working("baking") in events and isinstance(events[-1], Done)
    video = ShardSet(first).video(scene.video_id)
    video.verify()
    recorded = SceneSpec.model_validate_json(video.spec_json)
    physics = recorded.physics
    made = {f"procedural/{item.made.family}/made-{item.made.seed}" for item in recorded.objects}
    assert made <= {credit["source"] for credit in video.attributes["credits"]}
    assert list(video.baked) == [physics.poses]
    simulated = [item.motion.kind == "simulated" for item in scene.objects]
    np.testing.assert_array_equal(
        video.group["objects/pose"][()][:, simulated].swapaxes(0, 1), video.baked[physics.poses]
    )

    with_meshes(recorded, store)
    for t in (0, 3):
        different = video.mask(t) != cast_mask(replayed(recorded, store), store, t)
        assert different.sum() <= 2, "masks equal an independent ray cast"

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
