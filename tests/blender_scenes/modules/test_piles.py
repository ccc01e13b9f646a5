"""Piles: what is let go is clear of all else and near one place in view, and ends up on and against one another."""

import itertools

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.optimize import nnls
from scipy.spatial import ConvexHull

from assets.procedural import procedural_catalog
from assets.store import AssetStore
from blender_scenes.geometry import SceneGeometry
from blender_scenes.modules import DIVERSE, Modules
from blender_scenes.modules.distractors import Distractors
from blender_scenes.modules.marks import amounts_of
from blender_scenes.modules.physics import Physics
from blender_scenes.modules.piles import Pile
from blender_scenes.modules.toss import Toss
from blender_scenes.modules.view import centres
from blender_scenes.spec import SceneSpec
from blender_scenes.trajectories import camera_poses, euler_matrices, intrinsics
from render.farm.events import Done
from render.farm.process import BlenderProcess
from tests.blender_scenes.modules.test_modules import RENDER, draw

PILES = Physics(share=1.0, pile=Pile())


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return AssetStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def catalog(store, paper_catalog):
    made = procedural_catalog(store, 20, 4, seed=3)
    return made + type(made)(assets=paper_catalog.of_kind("hdri"))


def piles(catalog, count=20, pile=PILES):
    modules = Modules(distractors=Distractors(share=1.0), physics=pile)
    return [draw(catalog, modules, n) for n in range(count)]


def test_later_modules_take_piles_to_lie_still(paper_catalog):
    for scene in piles(paper_catalog):
        lying = [item for item in in_pile(scene) if item.motion.settled]
        paths = np.stack([centres(item, scene) for item in lying]) - [0.0, 0.0, scene.physics.floor]
        assert (paths == paths[:, :1]).all() and paths[..., 2].min() > 0 and paths[..., 2].max() < 2


def in_pile(scene):
    return [item for item in (*scene.objects, *scene.distractors) if item.motion.kind == "simulated"]


def begun(item, store):
    """The vertices of an object's mesh where it is let go: ``[V, 3]``, in the world."""
    motion = item.motion
    turned = store.mesh(item.mesh).vertices * motion.scale @ euler_matrices(np.array([motion.rotation]))[0].T
    return turned + np.array(motion.location) - [0, 0, turned[:, 2].min()]


def apart(one, other, axis):
    """How far two sets of places are apart along an axis; negative where they overlap."""
    a, b = one @ axis, other @ axis
    return max(a.min() - b.max(), b.min() - a.max())


def distance(one, other):
    """The distance of the convex hulls of two sets of places, 0 where they meet: a least-squares problem."""
    one, other = (each[ConvexHull(each).vertices] for each in (one, other))
    sums = np.array([[1e3] * len(one) + [0] * len(other), [0] * len(one) + [1e3] * len(other)])
    _, residual = nnls(np.vstack([np.hstack([one.T, -other.T]), sums]), np.array([0, 0, 0, 1e3, 1e3]), maxiter=10_000)
    return residual


def test_what_is_let_go_is_clear_of_all_else_near_one_place_in_view(catalog, store):
    parts, sizes = [], []
    for scene in piles(catalog):
        items = in_pile(scene)
        places = [begun(item, store) for item in items]
        assert all(item.motion.kind == "simulated" for item in scene.objects)
        for one, other in itertools.combinations(range(len(items)), 2):
            beside = np.subtract(items[one].motion.location, items[other].motion.location) * [1, 1, 0]
            beside /= np.linalg.norm(beside)
            clear = [apart(places[one], places[other], axis) for axis in (beside, np.array([0.0, 0.0, 1.0]))]
            assert max(clear) > -1e-9
        assert min(place[:, 2].min() for place in places) > scene.physics.floor
        middles = np.array([item.motion.location for item in items])
        spread = np.linalg.norm((middles[:, None] - middles)[..., :2], axis=2).max()
        assert spread <= 2 * 0.05 * 1.5 + 1e-9
        middle = np.append(middles[:, :2].mean(axis=0), scene.physics.floor)
        t = RENDER.frames // 2
        x, y, z = (
            intrinsics(scene.camera, 384, 256, 24)[t] @ (camera_poses(scene.camera, 24)[t] @ np.append(middle, 1))[:3]
        )
        parts.append((x / z / 384, y / z / 256))
        sizes.append(max(max(item.motion.scale) for item in items))
        assert all(item.motion.settled for item in items)
        assert {amounts_of(item, "physics")["kind"] for item in items} == {"pile"}
        assert SceneSpec.model_validate_json(scene.model_dump_json()) == scene
    parts = np.array(parts)
    assert np.mean((np.abs(parts - 0.5) < [0.3, 0.45]).all(axis=1)) >= 0.9
    assert min(sizes) >= 0.9 - 1e-9 and max(sizes) <= 1.5 + 1e-9 and np.ptp(sizes) > 0.3


def test_distractors_take_part_and_none_is_piled_otherwise(paper_catalog):
    shares = []
    for scene in piles(paper_catalog):
        shares += [item.motion.kind == "simulated" for item in scene.distractors]
    assert np.mean(shares) == pytest.approx(0.7, abs=0.15)
    assert "pile" not in DIVERSE.physics.model_dump_json()
    with pytest.raises(ValidationError, match="tossed or piled, not both"):
        Physics(pile=Pile(), toss=Toss())


@pytest.mark.blender
def test_most_things_end_up_on_and_against_one_another(catalog, store, tmp_path):
    touching, floors = [], []
    with BlenderProcess(tmp_path / "blender.log") as blender:
        for scene in piles(catalog, 6):
            *_, last = blender.run({"do": "bake", "spec": scene.model_dump_json(), "store": str(store.root)})
            assert isinstance(last, Done), last
            geometry = SceneGeometry.load(SceneSpec.model_validate_json(last.result), store)
            numbers = [n for n in geometry.numbers if geometry.items[n - 1].motion.kind == "simulated"]
            ends = [
                store.mesh(geometry.items[n - 1].mesh).vertices @ pose[:3, :3].T + pose[:3, 3]
                for n in numbers
                for pose in (geometry.poses[n - 1][1][-1],)
            ]
            floors += [end[:, 2].min() - scene.physics.floor for end in ends]
            touches = np.zeros((len(ends), len(ends)), bool)
            for one, other in itertools.combinations(range(len(ends)), 2):
                touches[one, other] = touches[other, one] = distance(ends[one], ends[other]) < 0.03
            touching += touches.any(axis=1).tolist()
    assert min(floors) > -0.05
    assert np.mean(touching) > 0.6
