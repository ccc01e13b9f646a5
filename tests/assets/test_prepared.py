import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from assets.prepared import Material, prepare_mesh
from vosforge.errors import InputError

TETRA = np.array([[0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 6.0]])
TETRA_FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def test_is_centred_and_of_unit_size():
    mesh = prepare_mesh("tetra", TETRA, TETRA_FACES)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    assert np.linalg.norm(high - low) == pytest.approx(1, abs=1e-6)
    assert np.allclose(low + high, 0, atol=1e-6)
    assert np.allclose((high - low) / (high - low)[0], [1, 1.5, 3], atol=1e-5)
    assert (mesh.vertices.dtype, mesh.faces.dtype, mesh.material_index.dtype) == (np.float32, np.int32, np.int16)
    assert np.array_equal(mesh.faces, TETRA_FACES) and mesh.smooth.all() and mesh.corner_uv is None


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.float64, (6, 3), elements=st.floats(-100, 100)),
    st.floats(0.001, 1000),
    arrays(np.float64, 3, elements=st.floats(-50, 50)),
)
def test_size_and_place_do_not_matter(points, scale, shift):
    faces = np.array([[0, 1, 2], [3, 4, 5], [0, 2, 4]])
    low, high = points.min(axis=0), points.max(axis=0)
    corners = points[faces] / max(np.linalg.norm(high - low), 1e-9)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if areas.min() < 1e-3:
        return
    here, there = prepare_mesh("a", points, faces), prepare_mesh("b", points * scale + shift, faces)
    assert np.allclose(here.vertices, there.vertices, atol=1e-5)
    assert np.array_equal(here.faces, there.faces)


@pytest.mark.parametrize(
    ("vertices", "faces", "reason"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3), int), "is empty"),
        (TETRA, np.zeros((0, 3), int), "is empty"),
        (np.full((3, 3), np.nan), [[0, 1, 2]], "NaN or infinite"),
        (np.array([[0, 0, 0], [1, np.inf, 0], [0, 1, 0]]), [[0, 1, 2]], "NaN or infinite"),
        (np.ones((3, 3)), [[0, 1, 2]], "no size"),
        ([[0, 0, 0], [1, 1, 1], [2, 2, 2]], [[0, 1, 2]], "no area"),
        (TETRA, [[0, 1, 1]], "no area"),
        (TETRA, [[0, 1, 4]], "vertices it does not have"),
        (TETRA, [[0, 1, -1]], "vertices it does not have"),
    ],
)
def test_refuses_what_cannot_be_seen(vertices, faces, reason):
    with pytest.raises(InputError, match=reason) as caught:
        prepare_mesh("the-file.obj", vertices, faces)
    assert "the-file.obj" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refuses_wrong_materials_and_uvs():
    with pytest.raises(InputError, match="materials it does not have"):
        prepare_mesh("tetra", TETRA, TETRA_FACES, material_index=2, materials=[Material(), Material()])
    with pytest.raises(InputError, match="NaN or infinite"):
        prepare_mesh("tetra", TETRA, TETRA_FACES, corner_uv=np.full((4, 3, 2), np.nan))


def test_drops_what_is_not_seen():
    vertices = np.vstack([TETRA, [[1000, 0, 0], [50, 50, 50]]])  # far vertices: one unused, one in a face without area
    faces = np.vstack([TETRA_FACES, [[5, 5, 0]]])
    uv = np.arange(30).reshape(5, 3, 2)
    colors = [Material(name=name) for name in "abc"]
    mesh = prepare_mesh("tetra", vertices, faces, uv, [1, 0, 1, 0, 1], [0, 2, 2, 0, 1], colors)
    assert np.array_equal(mesh.vertices, prepare_mesh("tetra", TETRA, TETRA_FACES).vertices)
    assert np.array_equal(mesh.corner_uv, uv[:4]) and mesh.smooth.tolist() == [True, False, True, False]
    assert [mesh.materials[i].name for i in mesh.material_index] == ["a", "c", "c", "a"]
    assert len(mesh.materials) == 2


def test_hash_tells_every_part_apart():
    uv = np.random.default_rng(0).random((4, 3, 2))
    base = {"vertices": TETRA, "faces": TETRA_FACES, "corner_uv": uv, "smooth": True, "materials": [Material()]}
    changes = [
        {},
        {"vertices": TETRA * np.array([1, 1, 1.01])},
        {"faces": TETRA_FACES[::-1]},
        {"corner_uv": uv + 0.001},
        {"corner_uv": None},
        {"smooth": False},
        {"materials": [Material(roughness=0.51)]},
        {"materials": [Material(texture="0" * 32)]},
    ]
    hashes = [prepare_mesh("tetra", **(base | change)).content_hash() for change in changes]
    assert len(set(hashes)) == len(changes) and all(len(content) == 32 for content in hashes)
    assert prepare_mesh("other name", **base).content_hash() == hashes[0]
