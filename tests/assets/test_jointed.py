"""Shapes with joints: the same joints for every seed, each vertex hanging on them."""

import numpy as np
import pytest

from assets.procedural import made_mesh
from assets.shapes.jointed import BEAST, FIGURE, JOINTED, LEAVES, LINKS, VERTEBRAE
from assets.store import AssetStore
from blender_scenes.modules import articulation

JOINTS = {"figure": len(FIGURE), "beast": len(BEAST), "snake": VERTEBRAE, "chain": LINKS, "hinged": LEAVES + 1}


@pytest.mark.parametrize("family", JOINTED)
def test_every_seed_is_another_shape_with_the_same_joints(family, tmp_path):
    store, parents, contents = AssetStore(tmp_path), set(), set()
    for seed in range(4):
        mesh = made_mesh(family, seed, store)
        contents.add(store.put_mesh(mesh))
        assert mesh.joints.shape == (JOINTS[family], 3) and mesh.skin.shape == (len(mesh.vertices), JOINTS[family])
        assert (mesh.parents < np.arange(JOINTS[family])).all() and mesh.parents[0] == -1
        np.testing.assert_allclose(mesh.skin.sum(axis=1), 1.0, atol=1e-5)
        assert (np.abs(mesh.joints) <= 0.55).all(), "joints lie in the mesh, as it is prepared"
        parents.add(tuple(mesh.parents))
        again = store.mesh(mesh.content_hash())
        np.testing.assert_array_equal(again.skin, mesh.skin)
        corners = mesh.vertices[mesh.faces].astype(float)
        assert np.linalg.det(corners).sum() > 0, "closed and wound outward"
    assert len(parents) == 1 and len(contents) == 4


def test_the_module_knows_the_joints():
    assert (articulation.VERTEBRAE, articulation.LINKS, articulation.LEAVES) == (VERTEBRAE, LINKS, LEAVES)
    for family, turns in articulation.WALK.items():
        assert {turn.joint for turn in turns} == set(range(JOINTS[family]))
