"""As many objects have joints as it says, these move visibly, and everything else stays as it was."""

import numpy as np
import pytest

from assets.catalog import Catalog
from assets.procedural import made_mesh
from assets.store import AssetStore
from blender_scenes.deforming import misfit, shaped
from blender_scenes.making import made_assets, unmade, with_meshes
from blender_scenes.modules import Modules
from blender_scenes.modules.articulation import MAX_SWAY, SWAY, UPRIGHT, Articulated, swaying
from blender_scenes.object_spec import UNMADE
from blender_scenes.spec import SceneSpec
from blender_scenes.trajectories import object_poses
from tests.blender_scenes.modules.test_modules import RENDER, draw
from vosforge import VOSForgeError

ON, OFF = Modules(articulation=Articulated()), Modules()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return AssetStore(tmp_path_factory.mktemp("store"))


def test_an_eighth_of_the_objects_has_joints_that_move_visibly(paper_catalog, store):
    drawn, jointed = 0, []
    for index in range(20):
        on, off = draw(paper_catalog, ON, index), draw(paper_catalog, OFF, index)
        drawn += len(on.objects)
        assert on.model_copy(update={"objects": off.objects}) == off
        for item, plain, complete in zip(on.objects, off.objects, with_meshes(on, store).objects, strict=True):
            assert item.rigid == (item.traits == ()) == (item == plain)
            if not item.rigid:
                mesh = store.mesh(complete.mesh)
                shapes = [shaped(item, mesh, u) for u in np.linspace(0, 1, 9)]
                jointed.append(max(misfit(shapes[0], each) for each in shapes))
    assert len(jointed) / drawn == pytest.approx(0.125, abs=0.08)
    assert min(jointed) > 0.03 and np.median(jointed) > 0.1


def test_all_kinds_are_drawn_and_walkers_stand_upright(paper_catalog):
    everywhere = Modules(articulation=Articulated(share=1.0))
    items = [item for index in range(20) for item in draw(paper_catalog, everywhere, index).objects]
    assert {item.category for item in items} == {"figure", "beast", "snake", "chain", "hinged"}
    for item in items:
        assert item.mesh == UNMADE and item.category == item.made.family == item.traits[0].amounts["family"]
        up = object_poses(item, RENDER.frames)[:, :3, 2]
        steady = np.allclose(up[:, :2], 0) and (up[:, 2] > 0).all()
        assert steady == (item.category in UPRIGHT)
    assert len({item.made for item in items}) == len(items)
    only = Modules(articulation=Articulated(share=1.0, figure=0, beast=0, snake=0, chain=0))
    assert {item.category for item in draw(paper_catalog, only, 0).objects} == {"hinged"}


@pytest.fixture(scope="module")
def with_bones(paper_catalog, store):
    """The catalog with skeletons in half of its meshes: those of each family with joints, by content."""
    meshes = {family: made_mesh(family, 5, store) for family in ("figure", "beast", "snake", "chain", "hinged")}
    assets, skeletons = [], {}
    for asset in paper_catalog.assets:
        if asset.kind == "mesh" and int(asset.name.split()[1]) % 2 == 0:
            mesh = list(meshes.values())[len(skeletons) % len(meshes)]
            skeletons[asset.hash] = mesh
            asset = asset.model_copy(update={"joints": tuple(mesh.parents.tolist())})
        assets.append(asset)
    return Catalog.of(assets), skeletons


def test_models_with_bones_move_in_them_and_all_others_stay_as_they_were(paper_catalog, with_bones):
    catalog, skeletons = with_bones
    jointed = moving = 0
    furthest = []
    for index in range(20):
        for own, plain in zip(draw(catalog, ON, index).objects, draw(paper_catalog, ON, index).objects, strict=True):
            if own.made or own.mesh not in skeletons:
                assert own == plain
                continue
            jointed += 1
            if own.rigid:
                assert own == plain
                continue
            moving += 1
            mesh, [trait] = skeletons[own.mesh], own.traits
            assert (
                own.model_copy(update={"joints": (), "traits": ()}) == plain and trait.amounts["family"] == "armature"
            )
            assert {motion.joint for motion in own.joints} == set(range(1, len(mesh.joints)))
            shapes = [shaped(own, mesh, u) for u in np.linspace(0, 1, 9)]
            furthest.append(max(misfit(shapes[0], each) for each in shapes))
    assert moving / jointed == pytest.approx(0.5, abs=0.15) and jointed > 20
    assert min(furthest) > 0.02 and np.median(furthest) > 0.08


def test_models_with_bones_stay_rigid_on_demand(paper_catalog, with_bones):
    rigid = Modules(articulation=Articulated(armatures=0.0))
    for index in range(5):
        assert draw(with_bones[0], rigid, index) == draw(paper_catalog, rigid, index)


def test_long_chains_of_joints_turn_less_each(with_bones):
    rng = np.random.default_rng(0)
    for count in (2, 3, 30):
        turns = swaying(tuple(range(-1, count - 1)), rng)
        assert [turn.joint for turn in turns] == list(range(1, count))
        assert sum(turn.size for turn in turns) <= max(SWAY, MAX_SWAY * (count - 1)) and turns[0].size <= MAX_SWAY
    legs = swaying((-1, 0, 0, 1, 2), rng)
    assert legs[1].phase - legs[0].phase == 0.5 and legs[0].phase > legs[2].phase, "one goes ahead as the other returns"


def test_a_made_mesh_is_named_by_its_content_and_made_again_where_it_is_missing(paper_catalog, store, tmp_path):
    scene = next(scene for index in range(20) if (scene := draw(paper_catalog, ON, index)).all_traits)
    assert unmade(scene, store)
    complete = with_meshes(scene, store)
    assert not unmade(complete, store)
    elsewhere = AssetStore(tmp_path)
    assert unmade(complete, elsewhere) and with_meshes(complete, elsewhere) == complete
    contents = {item.mesh for item in complete.objects if item.made}
    assert {asset.hash for asset in made_assets(complete).values()} == contents and not contents & complete.assets
    assert SceneSpec.model_validate_json(complete.model_dump_json()) == complete
    other = [item.model_copy(update={"mesh": "1" * 32} if item.made else {}) for item in complete.objects]
    with pytest.raises(VOSForgeError, match="is made differently by this version"):
        with_meshes(complete.model_copy(update={"objects": tuple(other)}), AssetStore(tmp_path / "new"))
