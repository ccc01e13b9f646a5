"""Bones of mesh files: an imported mesh bends as glTF's own arithmetic, and Blender's, bend the file's."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from assets.store import AssetStore
from blender_scenes.deforming import posed
from blender_scenes.object_spec import JointMotion
from tests.blender_scenes.gltf_files import GLB

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.blender,
    pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy is not installed"),
]
Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""From glTF's axes to those of a prepared mesh."""
LEVELS, SIDES = 9, 6
ROOT_NODE = {"translation": [3.0, 1.0, -2.0], "rotation": Rotation.from_euler("xyz", [0.4, 0.2, -0.3]).as_quat()}
SCALE = 2.0
"""Of the node above all joints."""
BONES = [  # the place and turn of each joint in the one before
    ([0.1, -1.0, 0.2], [0.0, 0.0, 0.3]),
    ([0.2, 0.7, 0.0], [0.5, 0.0, 0.0]),
    ([0.0, 0.7, 0.3], [0.0, 0.8, 0.2]),
    ([0.0, 0.5, 0.0], [0.0, 0.0, 0.0]),  # an end without weights
]
TURNS = [([1.0, 0.2, 0.1], 0.7), ([0.3, 1.0, -0.4], -0.9)]
"""How the second and the third joint turn, about axes of the prepared mesh."""

SCRIPT = """
import json, sys
from pathlib import Path
import bpy
import numpy as np
from mathutils import Matrix
from assets.store import AssetStore
from blender_scenes.blender import mesh_import

folder = Path(sys.argv[1])
bpy.ops.wm.read_factory_settings(use_empty=True)
store, results = AssetStore(folder / "store"), {}

def take(path):
    mesh, warnings = mesh_import.import_mesh(path, store)
    results[path.name] = {"hash": store.put_mesh(mesh), "warnings": warnings}

for path in sorted(folder.glob("*.glb")):
    take(path)

# Blender's own bend of the same file.
mesh_import.IMPORTERS[".glb"](str(folder / "chain.glb"))
bpy.ops.export_scene.fbx(filepath=str(folder / "chain.fbx"), add_leaf_bones=False)
bpy.ops.wm.usd_export(filepath=str(folder / "chain.usdc"))
[skinned] = [obj for obj in bpy.data.objects if any(each.type == "ARMATURE" for each in obj.modifiers)]
armature = skinned.find_armature()

def places():
    bpy.context.view_layer.update()
    evaluated = skinned.evaluated_get(bpy.context.evaluated_depsgraph_get())
    return [list(evaluated.matrix_world @ vertex.co) for vertex in evaluated.data.vertices]

before = places()
world = armature.matrix_world.normalized().to_3x3()
for bone, (axis, angle) in zip(("bone 1", "bone 2"), json.loads(sys.argv[2])):
    # The turn in the axes of the bone at rest.
    own = armature.pose.bones[bone].bone.matrix_local.to_3x3()
    axes = (world @ own).inverted()
    armature.pose.bones[bone].rotation_mode = "QUATERNION"
    turn = axes @ Matrix.Rotation(angle, 3, axis) @ axes.inverted()
    armature.pose.bones[bone].rotation_quaternion = turn.to_quaternion()
results["bent"] = {"before": before, "after": places()}
for group in skinned.vertex_groups:
    group.remove([0, 1, 2])
bpy.ops.export_scene.fbx(filepath=str(folder / "loose.fbx"), add_leaf_bones=False)
bpy.data.batch_remove([*bpy.data.objects, *bpy.data.meshes, *bpy.data.armatures])
take(folder / "chain.fbx")
take(folder / "chain.usdc")
take(folder / "loose.fbx")

# The file, with a copy of all that it has elsewhere.
def twice(path, read=mesh_import.IMPORTERS[".glb"]):
    read(path)
    group, copy = bpy.data.collections.new("group"), bpy.data.objects.new("copy", None)
    for obj in [each for each in bpy.data.objects if each.type == "MESH"]:
        group.objects.link(obj)
    copy.instance_type, copy.instance_collection, copy.location = "COLLECTION", group, (5, 0, 0)
    bpy.context.scene.collection.objects.link(copy)

mesh_import.IMPORTERS[".glb"] = twice
(folder / "chain.glb").rename(folder / "copied.glb")
take(folder / "copied.glb")
(folder / "results.json").write_text(json.dumps(results))
"""


def matrix(place, turn, scale=1.0):
    """Of a node."""
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = scale * Rotation.from_rotvec(turn).as_matrix(), place
    return made


ABOVE = matrix(ROOT_NODE["translation"], Rotation.from_quat(ROOT_NODE["rotation"]).as_rotvec(), SCALE)
LOCAL = [matrix(*bone) for bone in BONES]


def joints_of(local):
    """The matrices of joints in the file's axes, each in the one before."""
    found, last = [], ABOVE
    for each in local:
        last = last @ each
        found.append(last)
    return np.array(found)


def tube():
    """A bent tube along the joints, and how it hangs on them: on at most two each."""
    rest = joints_of(LOCAL)
    along = np.linspace(0, 3, LEVELS)
    centre = np.stack([np.interp(along, range(4), rest[:, axis, 3]) for axis in range(3)], axis=1)
    angle = np.arange(SIDES) / SIDES * 2 * np.pi
    ring = 0.3 * np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=1)
    points = (centre[:, None] + ring).reshape(-1, 3)
    at = np.minimum(np.repeat(along, SIDES), 2.0)
    joints = np.zeros((len(points), 4), np.uint8)
    weights = np.zeros((len(points), 4), np.float32)
    joints[:, 0], weights[:, 0] = np.floor(at), 1 - at % 1
    joints[:, 1], weights[:, 1] = np.minimum(np.floor(at) + 1, 2), at % 1
    level, side = np.divmod(np.arange((LEVELS - 1) * SIDES), SIDES)
    a, b = level * SIDES + side, level * SIDES + (side + 1) % SIDES
    faces = np.concatenate([np.stack([a, a + SIDES, b], 1), np.stack([b, a + SIDES, b + SIDES], 1)])
    return points, joints, weights, faces


def chain(path, scale=None, local=LOCAL, still=False, carried=False, hung=True):
    """A file of the tube on its joints."""
    points, joints, weights, faces = tube()
    glb, rest = GLB(), joints_of(LOCAL)
    bones = [glb.add("nodes", {}) for _ in BONES]
    for number, (bone, own) in enumerate(zip(bones, local, strict=True)):
        node = glb.json["nodes"][bone]
        node |= {"name": f"bone {number}", "translation": own[:3, 3].tolist()}
        node["rotation"] = Rotation.from_matrix(own[:3, :3]).as_quat().tolist()
        if number + 1 < len(bones):
            node["children"] = [bones[number + 1]]
    if scale:
        glb.json["nodes"][bones[1]]["scale"] = scale
    if carried:
        glb.json["nodes"][bones[2]]["children"].append(glb.node(scene=False, mesh=glb.mesh(None, ())))
    if still:
        glb.node(mesh=glb.mesh(None, ()))
    above = {"translation": ROOT_NODE["translation"], "rotation": ROOT_NODE["rotation"].tolist(), "scale": [SCALE] * 3}
    glb.node(**above, children=[bones[0]])
    inverse = np.linalg.inv(rest).transpose(0, 2, 1).reshape(-1, 16).astype(np.float32)
    held = {"POSITION": glb.array(points.astype(np.float32))}
    if hung:
        held |= {"JOINTS_0": glb.array(joints), "WEIGHTS_0": glb.array(weights)}
    primitive = {"attributes": held, "indices": glb.array(faces.astype(np.uint16).ravel())}
    skin = glb.add("skins", {"joints": bones, "inverseBindMatrices": glb.array(inverse)})
    glb.node(mesh=glb.add("meshes", {"primitives": [primitive]}), **({"skin": skin} if hung else {}))
    glb.write(path)


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("joints")
    chain(folder / "chain.glb")
    chain(folder / "plain.glb", hung=False)
    chain(folder / "uneven.glb", scale=[1, 2, 1])
    chain(folder / "with_still.glb", still=True)
    chain(folder / "carried.glb", carried=True)
    chain(folder / "posed.glb", local=turned())
    command = [sys.executable, "-c", SCRIPT, str(folder), json.dumps(TURNS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results, store = json.loads((folder / "results.json").read_text()), AssetStore(folder / "store")

    def get(name):
        return store.mesh(results[name]["hash"]), results[name]["warnings"]

    return get, results["bent"]


def bent(mesh):
    """The mesh with its last two joints turned."""
    first = len(mesh.joints) - 2
    motions = [JointMotion(joint=first + n, axis=axis, angle=(angle,)) for n, (axis, angle) in enumerate(TURNS)]
    return posed(mesh, mesh.vertices, motions, 0.0)


def turned():
    """The joints' matrices, each in the one before, with their turns in the world as turns of their nodes."""
    rest, local = joints_of(LOCAL), [each.copy() for each in LOCAL]
    for number, (axis, angle) in enumerate(TURNS, start=1):
        turn = Rotation.from_rotvec(angle * np.array(axis) / np.linalg.norm(axis)).as_matrix()
        over = rest[number - 1][:3, :3] / SCALE
        local[number][:3, :3] = over.T @ (Z_UP.T @ turn @ Z_UP) @ over @ LOCAL[number][:3, :3]
    return local


def skinned():
    """The tube at rest, and bent by glTF's rules."""
    points, joints, weights, _ = tube()
    moves = joints_of(turned()) @ np.linalg.inv(joints_of(LOCAL))
    after = [
        sum(share * (moves[joint] @ [*point, 1])[:3] for joint, share in zip(js, shares, strict=True))
        for point, js, shares in zip(points, joints, weights, strict=True)
    ]
    return points @ Z_UP.T, np.array(after) @ Z_UP.T


def check_same(mesh, before, after):
    """The mesh, at rest and bent, is these points at rest and bent, in any order."""
    low, high = before.min(axis=0), before.max(axis=0)
    rest, turned = ((points - (low + high) / 2) / np.linalg.norm(high - low) for points in (before, after))
    found, at = bent(mesh), mesh.vertices.astype(float)
    nearest = np.linalg.norm(at[:, None] - rest, axis=2).argmin(axis=1)
    assert set(nearest) == set(range(len(rest)))
    np.testing.assert_allclose(at, rest[nearest], atol=1e-5)
    np.testing.assert_allclose(found, turned[nearest], atol=1e-5)
    assert np.abs(found - at).max() > 0.2


def test_an_imported_mesh_bends_as_the_files_own_arithmetic_says(imported):
    mesh, warnings = imported[0]("chain.glb")
    assert warnings == [] and mesh.parents.tolist() == [-1, 0, 1], "the end that holds nothing is left out"
    check_same(mesh, *skinned())


def test_the_rest_is_the_pose_in_which_the_file_is(imported):
    mesh, warnings = imported[0]("posed.glb")
    after, joints = skinned()[1], joints_of(turned())[:3, :3, 3] @ Z_UP.T
    low, high = after.min(axis=0), after.max(axis=0)
    places, at = ((points - (low + high) / 2) / np.linalg.norm(high - low) for points in (after, joints))
    away = np.linalg.norm(mesh.vertices[:, None] - places, axis=2)
    assert warnings == [] and max(away.min(axis=0).max(), away.min(axis=1).max()) < 1e-5
    np.testing.assert_allclose(mesh.joints, at, atol=1e-5)


@pytest.mark.parametrize("name", ["chain.glb", "chain.fbx", "chain.usdc"])
def test_an_imported_mesh_bends_as_in_blender(imported, name):
    get, bent_there = imported
    assert get(name)[1] == []
    check_same(get(name)[0], np.array(bent_there["before"]), np.array(bent_there["after"]))


def test_bones_change_nothing_else_of_a_mesh(imported):
    jointed, plain = imported[0]("chain.glb")[0], imported[0]("plain.glb")[0]
    assert plain.skeleton is None
    assert jointed.arrays().keys() - plain.arrays().keys() == {"joints", "parents", "skin"}
    for name, array in plain.arrays().items():
        np.testing.assert_allclose(jointed.arrays()[name], array, atol=1e-6)  # Blender moved them by their bones, too
    assert jointed.materials == plain.materials


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("loose.fbx", "some of its vertices have no bone: it stays rigid"),
        ("uneven.glb", "its bone bone 1 is scaled unevenly: it stays rigid"),
    ],
)
def test_what_joints_cannot_hold_is_said_and_the_mesh_is_rigid(imported, name, words):
    mesh, [warning] = imported[0](name)
    assert words in warning and mesh.skeleton is None


def places_on(mesh, joint):
    """How many places have vertices that hang on one joint alone."""
    return len(np.unique(mesh.vertices[mesh.skin[:, joint] == 1], axis=0))


def test_what_a_bone_carries_goes_with_it(imported):
    get, _ = imported
    mesh, warnings = get("carried.glb")
    assert warnings == [] and mesh.parents.tolist() == [-1, 0, 1]
    assert places_on(mesh, 2) == places_on(get("chain.glb")[0], 2) + 4


@pytest.mark.parametrize(("name", "places", "told"), [("with_still.glb", 4, 0), ("copied.glb", LEVELS * SIDES, 1)])
def test_what_hangs_on_no_bone_stays(imported, name, places, told):
    mesh, warnings = imported[0](name)
    assert len(warnings) == told and all("its copies do not move" in warning for warning in warnings)
    assert mesh.parents.tolist() == [-1, 0, 1, 2] and places_on(mesh, 0) == places
    moved = np.linalg.norm(bent(mesh) - mesh.vertices, axis=1)
    assert moved[mesh.skin[:, 0] == 1].max() < 1e-6 and moved.max() > 0.1
