import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from assets.interiors import FLOORS, WALLS
from assets.prepared import prepare_mesh
from assets.procedural import TEXTURES, procedural_catalog
from assets.shapes import FAMILIES
from assets.shapes.surfaces import blend, box, ellipsoid, extrude, grid, lathe, tube
from assets.store import AssetStore
from assets.textures import PATTERNS, family_image
from vosforge.seeding import rng_for

ROOT = Path(__file__).parents[2]


def edges(faces):
    return Counter(map(tuple, np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2).tolist()))


def is_closed(faces):
    """Whether every edge is used as often one way as the other: no holes, and the winding is consistent."""
    used = edges(faces)
    return all(used[(b, a)] == count for (a, b), count in used.items())


def part_volumes(vertices, faces):
    """The signed volume of each connected part; positive where the faces look outward."""
    label = np.arange(len(vertices))
    while True:
        least = label[faces].min(axis=1)
        spread = label.copy()
        np.minimum.at(spread, faces.ravel(), np.repeat(least, 3))
        spread = spread[spread]
        if np.array_equal(spread, label):
            break
        label = spread
    a, b, c = (vertices[faces[:, corner]] - vertices.mean(axis=0) for corner in range(3))
    volumes = np.bincount(label[faces[:, 0]], (a * np.cross(b, c)).sum(axis=1) / 6, len(vertices))
    return volumes[np.unique(label[faces[:, 0]])]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_sound(family):
    sizes = set()
    for number in range(4):
        surface = FAMILIES[family](rng_for(5, family, number))
        faces = len(surface.faces)
        assert surface.corner_uv.shape == (faces, 3, 2) and np.isfinite(surface.corner_uv).all()
        assert len(surface.smooth) == len(surface.slot) == faces and surface.slot.min() == 0
        assert is_closed(surface.faces)
        assert part_volumes(surface.vertices, surface.faces).min() > 0
        mesh = prepare_mesh(family, surface.vertices, surface.faces, surface.corner_uv, surface.smooth, 0)
        assert len(mesh.faces) == faces, "has triangles without area"
        assert 50 <= faces <= 120_000
        box_size = np.ptp(mesh.vertices, axis=0)
        assert np.linalg.norm(box_size) == pytest.approx(1, abs=1e-5) and box_size.min() > 0.02
        sizes.add(tuple(box_size.round(4)))
    assert len(sizes) == 4, "seeds give different shapes"


@pytest.mark.parametrize("family", FAMILIES)
def test_images_are_not_drawn_out(family):
    """The UV map stretches little anywhere but near poles: the median of its largest over least stretch is small."""
    surface = FAMILIES[family](rng_for(6, family))
    corners, uv = surface.vertices[surface.faces], surface.corner_uv
    edge, uv_edge = corners[:, 1:] - corners[:, :1], uv[:, 1:] - uv[:, :1]
    metric, uv_metric = edge @ edge.transpose(0, 2, 1), uv_edge @ uv_edge.transpose(0, 2, 1)
    mapped = np.linalg.solve(metric + 1e-12 * np.eye(2), uv_metric)
    least, largest = np.sort(np.sqrt(np.abs(np.linalg.eigvals(mapped))), axis=1).T
    area = np.sqrt(np.maximum(np.linalg.det(metric), 0))
    order = np.argsort(largest / np.maximum(least, 1e-9))
    half = order[np.searchsorted(np.cumsum(area[order]), area.sum() / 2)]
    assert largest[half] / max(least[half], 1e-9) < 4


def test_the_kit_makes_solids_of_known_volume():
    angle = np.arange(256) / 256 * 2 * np.pi
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    spine = np.stack([np.zeros(9), np.zeros(9), np.linspace(0, 2, 9)], axis=1)
    ring = 3 * np.column_stack([circle, np.zeros(256)])
    solids = {
        "box": (box((1, 2, 3)), 6),
        "prism": (extrude(circle, 2.0), 2 * np.pi),
        "twisted": (extrude(circle, 2.0, twist=1.0, rows=64), 2 * np.pi),
        "cone": (extrude(circle, 3.0, taper=0.0001, rows=1), np.pi),
        "lathe": (lathe([[0, 0], [1, 0], [1, 2], [0, 2]], columns=256), 2 * np.pi),
        "ellipsoid": (ellipsoid((1, 2, 0.5), columns=128), 4 / 3 * np.pi),
        "tube": (tube(spine, 1.0, columns=256), 2 * np.pi),
        "torus": (tube(ring, 1.0, columns=128, closed=True), 2 * np.pi**2 * 3),
        "flat tube": (tube(spine, 1.0, columns=256, ratio=0.5), np.pi),
        "blend": (blend([[0, 0, 0, 0, 0, 2, 1, 1]], softness=0.02, detail=90), 4 / 3 * np.pi + 2 * np.pi),
    }
    for name, (surface, volume) in solids.items():
        assert is_closed(surface.faces), name
        assert part_volumes(surface.vertices, surface.faces).sum() == pytest.approx(volume, rel=0.02), name
    assert part_volumes(*_bevelled()).sum() == pytest.approx(6, rel=0.05)
    poles = grid(np.zeros((3, 4, 3)) + np.array([[[0, 0, 0]], [[1, 0, 0]], [[2, 0, 0]]]))
    assert np.isfinite(poles.corner_uv).all()


def _bevelled():
    surface = box((1, 2, 3), bevel=0.05)
    assert is_closed(surface.faces)
    return surface.vertices, surface.faces


@pytest.mark.parametrize("name", TEXTURES)
def test_images_are_pictures(name):
    first, second = (family_image(TEXTURES[name], rng_for(8, name, number), 128) for number in range(2))
    assert first.shape == (128, 128, 3) and first.dtype == np.uint8
    assert np.array_equal(first, family_image(TEXTURES[name], rng_for(8, name, 0), 128))
    assert np.abs(first.astype(int) - second).mean() > 2
    for image in (first, second):
        assert image.std(axis=(0, 1)).max() > 3, "is one colour"
        assert 8 < image.mean() < 247


@pytest.mark.parametrize("name", PATTERNS | FLOORS | WALLS)
def test_patterns_repeat_without_a_seam(name):
    """The step across the border is of the size of the steps inside."""
    steps, seams = [], []
    for number in range(4):
        image = family_image(TEXTURES[name], rng_for(9, name, number), 128).astype(float)
        for axis in (0, 1):
            step = np.abs(image - np.roll(image, 1, axis=axis)).mean(axis=(1 - axis, 2))
            seams.append(step[0])
            steps.append(np.percentile(step[1:], 98))
    assert np.mean(seams) < 1.5 * np.mean(steps) + 1


def test_a_small_catalog_is_varied(tmp_path):
    store = AssetStore(tmp_path)
    catalog = procedural_catalog(store, 27, 12, seed=4)
    meshes, textures = catalog.of_kind("mesh"), catalog.of_kind("texture")
    assert {each.category for each in meshes} == set(FAMILIES) and len({each.category for each in textures}) == 12
    materials = [material for each in meshes for material in store.mesh(each.hash).materials]
    assert any(material.metallic > 0.5 for material in materials)
    assert any(material.roughness < 0.3 for material in materials) and any(m.roughness > 0.7 for m in materials)
    assert sum(bool(each.textures) for each in meshes) >= 5 and sum(not each.textures for each in meshes) >= 5
    for each in meshes:
        assert store.mesh(each.hash).textures == each.textures
        assert all(store.image_path(image).is_file() for image in each.textures)
    worn = [image for each in meshes for image in each.textures]
    assert len(worn) == len(set(worn)) and not set(worn) & {each.hash for each in textures}
    fewer = procedural_catalog(store, 3, 1, seed=4)
    assert fewer.of_kind("mesh") == meshes[:3] and fewer.of_kind("texture") == textures[:1]
    assert procedural_catalog(store, 1, 0, seed=5).assets[0] != meshes[0]


def test_another_process_makes_the_same_bytes(tmp_path):
    script = """
import sys
from pathlib import Path
from assets.procedural import procedural_catalog
from assets.store import AssetStore
root = Path(sys.argv[1])
procedural_catalog(AssetStore(root), 8, 3, 11).save(root / "c.jsonl")
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "there")], check=True, cwd=ROOT)
    here = procedural_catalog(AssetStore(tmp_path / "here"), 8, 3, 11)
    here.save(tmp_path / "here" / "c.jsonl")
    files = {path.relative_to(tmp_path / "here"): path.read_bytes() for path in (tmp_path / "here").rglob("*.*")}
    assert len(files) >= 12
    for name, data in files.items():
        assert (tmp_path / "there" / name).read_bytes() == data, name
