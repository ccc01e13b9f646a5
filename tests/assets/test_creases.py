import numpy as np
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.creases import SAME_NORMAL, split_creases


def face_normals(vertices, faces):
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def obvious(faces, normals):
    """The partition of corners by the definition: corner by corner, edge by edge."""
    group = {(f, c): {(f, c)} for f in range(len(faces)) for c in range(3)}
    for f in range(len(faces)):
        for g in range(f):
            for c in range(3):
                for d in range(3):
                    pairs = [((f, c), (g, d)), ((f, (c + 1) % 3), (g, (d + 1) % 3))]
                    if faces[f][c] == faces[g][(d + 1) % 3] and faces[f][(c + 1) % 3] == faces[g][d]:
                        pairs = [((f, c), (g, (d + 1) % 3)), ((f, (c + 1) % 3), (g, d))]
                    elif not (faces[f][c] == faces[g][d] and faces[f][(c + 1) % 3] == faces[g][(d + 1) % 3]):
                        continue
                    if all(normals[p] @ normals[q] > SAME_NORMAL for p, q in pairs):
                        for p, q in pairs:
                            merged = group[p] | group[q]
                            for corner in merged:
                                group[corner] = merged
    return {frozenset(members) for members in group.values()}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.6))
def test_equals_the_obvious_way(seed, bumps):
    rng = np.random.default_rng(seed)
    mesh = trimesh.creation.icosphere(subdivisions=1)
    faces = np.asarray(mesh.faces, np.int64)
    vertices = mesh.vertices * (1 + bumps * rng.random((len(mesh.vertices), 1)))
    smooth = rng.random(len(faces)) < 0.6
    corner = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    normals = np.where(smooth[:, None, None], corner[faces], face_normals(vertices, faces)[:, None])
    owner, new = split_creases(faces, normals)
    assert np.array_equal(owner[new], faces)
    found = {}
    for f in range(len(faces)):
        for c in range(3):
            found.setdefault(new[f, c], set()).add((f, c))
    assert {frozenset(members) for members in found.values()} == obvious(faces.tolist(), normals)


def test_a_box_falls_into_its_sides_and_a_ball_stays_whole():
    box, ball = trimesh.creation.box(), trimesh.creation.icosphere(subdivisions=2)
    flat = np.repeat(face_normals(box.vertices, box.faces)[:, None], 3, axis=1)
    owner, faces = split_creases(np.asarray(box.faces), flat)
    assert len(owner) == 24 and faces.max() == 23
    owner, faces = split_creases(np.asarray(ball.faces), ball.vertices[ball.faces])
    assert len(owner) == len(ball.vertices) and np.array_equal(owner[faces], ball.faces)
