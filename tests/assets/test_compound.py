"""Shapes without end: closed, no two alike, the same for the same seed."""

import numpy as np
import pytest

from assets.procedural import ENDLESS, made_mesh
from assets.shapes.carved import carved
from assets.shapes.cloth import CLOTHS
from assets.shapes.compound import deformed, primitive, sized
from assets.store import AssetStore
from blender_scenes.modules.shapes import FAMILIES


@pytest.mark.parametrize("family", ENDLESS)
def test_every_seed_is_another_closed_shape(family, tmp_path):
    store, contents, proportions = AssetStore(tmp_path), set(), []
    for seed in range(12):
        mesh = made_mesh(family, seed, store)
        contents.add(mesh.content_hash())
        _, welded = np.unique(mesh.vertices, axis=0, return_inverse=True)  # creases part vertices
        edges = welded.reshape(-1)[mesh.faces[:, [0, 1, 1, 2, 2, 0]]].reshape(-1, 2)
        _, pairs = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
        assert (pairs == 2).mean() > 0.98, "almost all edges lie between two triangles"
        assert np.linalg.det(mesh.vertices[mesh.faces].astype(float)).sum() > 0, "wound outward"
        proportions.append(np.ptp(mesh.vertices, axis=0))
    assert len(contents) == 12
    assert np.std(proportions, axis=0).max() > 0.05
    assert made_mesh(family, 3, store).content_hash() == made_mesh(family, 3, store).content_hash()


def test_carved_shapes_are_solids_with_something_cut_away():
    lost, materials, smooth = [], 0, []
    for seed in range(20):
        shape = carved(np.random.default_rng(seed))
        body = sized(deformed(primitive(rng := np.random.default_rng(seed)), rng, 0.3), 1.0)
        volumes = [np.linalg.det(each.vertices[each.faces]).sum() for each in (shape, body)]
        lost.append(1 - volumes[0] / volumes[1])
        assert np.abs(shape.vertices).max() <= np.abs(body.vertices).max() + 1e-9
        materials += int(shape.slot.max() == 1)
        smooth.append(shape.smooth.mean())
    assert np.mean(np.array(lost) > 0.02) > 0.8 and max(lost) < 0.86
    assert 4 <= materials <= 16
    assert min(smooth) < 0.9


def test_the_module_names_families_there_are(tmp_path):
    store = AssetStore(tmp_path)
    for families in FAMILIES.values():
        for family in families:
            assert len(made_mesh(family, 1, store).faces) > 10


def test_what_a_seed_makes_stays_as_it_is(tmp_path):
    """Records name meshes by family, seed and content. If this fails, they can no longer be made again."""
    store = AssetStore(tmp_path)
    found = {family: made_mesh(family, 7, store).content_hash() for family in (*ENDLESS, *CLOTHS, "figure", "chain")}
    assert found == GOLDEN


GOLDEN = {
    "carved": "0eaa8471ceb72f3acc4ec0f794c86e3d",
    "compound": "cee9a8ef0e02f848b3c644db9315375d",
    "landscape": "5dc240ba65dd8d393dba5162661842ae",
    "cloth": "931b4f322073c63ed1db67a84635935f",
    "rod": "1ca085fd058819588928f37cc889f6fc",
    "figure": "b7fb9f2590ec562bf347c221e45ca209",
    "chain": "f74aeeb23c11709641a0ea788e8068f7",
}
