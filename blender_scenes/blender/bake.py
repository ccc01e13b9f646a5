"""Bakes a drawn scene: makes its meshes, and simulates its physics by Blender's rigid bodies, and its cloths.

What comes out is stored by content, and named in the spec: whoever renders that spec replays it.
"""

import itertools
from collections.abc import Sequence

import bpy
import numpy as np
from mathutils import Matrix
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.transform import Rotation

from assets.prepared import PreparedMesh
from assets.store import AssetStore
from blender_scenes.blender.build import clear_scene
from blender_scenes.blender.cloth import limp, with_cloths
from blender_scenes.deforming import shaped
from blender_scenes.geometry import mirror_pose, plane_corners, planes_of
from blender_scenes.making import unmade, with_meshes
from blender_scenes.object_spec import ObjectSpec, PhysicsSpec, SimulatedMotion, Vector
from blender_scenes.spec import MirrorSpec, PlaneSpec, SceneSpec
from blender_scenes.trajectories import euler_matrices
from vosforge.errors import VOSForgeError

SUBSTEPS = 240.0
"""At least so many steps a second."""
ITERATIONS = 20
START = 3
"""Blender's frame that is the video's first: then objects are let go. From the frame before they are moved along, which
gives them their speed: not from the first, in which Blender makes the bodies. What it then did in several threads lost
the speed in every second simulation or so.
"""
MARGIN = 0.005
"""Metres that Bullet keeps between things; their hulls are smaller by it."""
THINNEST = 0.02
"""Metres; a flatter hull falls through others."""
FLOOR = 400.0
"""Metres; its sides and its depth, and the depth of walls."""
SETTLING = 5.0
"""Seconds in which things come to rest."""
THICKNESS = 0.04
"""Metres behind a mirror's front that hold bodies back."""
DAMPING, SETTLING_DAMPING = 0.02, 0.5
"""The share of its speed that a body loses in a second, without and while things come to rest."""

UP = 2
"""The axis that a ground faces."""
Bodies = list[tuple[SimulatedMotion, tuple[np.ndarray, np.ndarray]]]
"""How each begins, and its hull's vertices and faces, scaled."""
Walls = Sequence[tuple[PlaneSpec, int]]
"""Upright planes that hold bodies back, each with the axis that it faces."""


def unbaked(spec: SceneSpec, store: AssetStore) -> bool:
    """Whether something of ``spec`` is still to be made or simulated."""
    return unmade(spec, store) or (spec.physics is not None and spec.physics.poses is None) or limp(spec)


def baked(spec: SceneSpec, store: AssetStore) -> SceneSpec:
    """``spec`` with its meshes made and its physics and cloths simulated, all in ``store``.

    Raises VOSForgeError when Blender gives no motion, or a mesh is made differently than before.
    """
    return with_cloths(_with_poses(with_meshes(spec, store), store), store)


def _with_poses(spec: SceneSpec, store: AssetStore) -> SceneSpec:
    if spec.physics is None or spec.physics.poses is not None:
        return spec
    bodies = [
        (item.motion, _hull(item, item.motion.scale, store.mesh(item.mesh)))
        for item in (*spec.objects, *spec.distractors)
        if isinstance(item.motion, SimulatedMotion)
    ]
    walls: Walls = [(plane, facing) for plane, facing in planes_of(spec) if facing != UP]
    bodies = _settled(spec.physics, bodies, walls, spec.mirrors)
    poses = simulated(spec.physics, bodies, spec.render.frames, walls, spec.mirrors)
    return spec.model_copy(update={"physics": spec.physics.model_copy(update={"poses": store.put_array(poses)})})


def _settled(physics: PhysicsSpec, bodies: Bodies, walls: Walls, mirrors: Sequence[MirrorSpec]) -> Bodies:
    """``bodies``, those that lie still when the video begins where they come to rest, by grip and without bouncing."""
    lying = [number for number, (motion, _) in enumerate(bodies) if motion.settled]
    if not lying:
        return bodies
    grip = {"friction": 1.0, "bounce": 0.0}
    rough = [(bodies[number][0].model_copy(update=grip), bodies[number][1]) for number in lying]
    frames = 1 + int(np.ceil(SETTLING * physics.rate))
    still = physics.model_copy(update=grip)
    ends = simulated(still, rough, frames, walls, mirrors, SETTLING_DAMPING, physics.pit)[:, -1]
    begun = list(bodies)
    for number, pose in zip(lying, ends, strict=True):
        motion, (vertices, faces) = bodies[number]
        turn = pose[:3, :3] / np.array(motion.scale)
        low = float(pose[2, 3] + (vertices @ turn.T)[:, 2].min())
        x, y, z = Rotation.from_matrix(turn).as_euler("xyz").tolist()
        start = {"location": (float(pose[0, 3]), float(pose[1, 3]), low), "rotation": (x, y, z)}
        begun[number] = motion.model_copy(update=start), (vertices, faces)
    return begun


def simulated(
    physics: PhysicsSpec,
    bodies: Bodies,
    frames: int,
    walls: Walls = (),
    mirrors: Sequence[MirrorSpec] = (),
    damping: float = DAMPING,
    pit: tuple[float, float, float] | None = None,
) -> np.ndarray:
    """Object to world of each of ``bodies`` at each frame, float64 ``[N, T, 4, 4]``. It replaces what is in Blender.

    pit: as in `PhysicsSpec`, but there all the time.
    """
    clear_scene()
    scene = bpy.context.scene
    bpy.ops.rigidbody.world_add()
    world = scene.rigidbody_world
    world.collection = bpy.data.collections.new("bodies")
    scene.gravity = (0.0, 0.0, -physics.gravity)
    scene.render.fps, world.time_scale = 24, 24.0 / physics.rate
    world.substeps_per_frame, world.solver_iterations = max(4, int(np.ceil(SUBSTEPS / physics.rate))), ITERATIONS
    world.point_cache.frame_start, world.point_cache.frame_end = 1, START + frames
    try:
        _add_block(world, physics, np.full(3, FLOOR / 2), UP, physics.floor, -1)
        for plane, facing in walls:
            _add_wall(world, physics, plane, facing, bodies)
        for mirror in mirrors:
            _add_mirror(world, physics, mirror, bodies)
        if pit is not None:
            for facing, side in itertools.product((0, 1), (-1, 1)):
                _add_block(world, physics, np.full(3, FLOOR / 2), facing, pit[facing] + side * pit[2], side)
        objects = [_add_body(world, motion, *hull, physics.rate, damping) for motion, hull in bodies]
        places = []
        for frame in range(1, START + frames):
            scene.frame_set(frame)
            graph = bpy.context.evaluated_depsgraph_get()
            places.append([np.array(obj.evaluated_get(graph).matrix_world, np.float64) for obj in objects])
    finally:
        bpy.ops.rigidbody.world_remove()
        scene.frame_set(1)
        for action in list(bpy.data.actions):
            bpy.data.actions.remove(action)
        for collection in list(bpy.data.collections):
            bpy.data.collections.remove(collection)
        clear_scene()
    poses = np.array(places[START - 1 :]).reshape(frames, len(bodies), 4, 4).swapaxes(0, 1).copy()
    if not np.isfinite(poses).all():
        raise VOSForgeError("Blender's physics gave places that are no numbers: draw the scene with other settings")
    scales = np.array([motion.scale for motion, _ in bodies]).reshape(-1, 1, 1, 3)
    poses[:, :, :3, :3] *= scales
    return poses


def _hull(item: ObjectSpec, scale: Vector, mesh: PreparedMesh) -> tuple[np.ndarray, np.ndarray]:
    """The convex hull of an object at rest, scaled: vertices ``[V, 3]`` and triangles ``[F, 3]``."""
    points = shaped(item, mesh, 0.0) * np.array(scale)
    try:
        hull = ConvexHull(points)
        low, high = points.min(axis=0), points.max(axis=0)
        if (high - low).min() >= THINNEST:
            used, faces = np.unique(hull.simplices, return_inverse=True)
            return points[used], faces.reshape(-1, 3)
    except QhullError:  # a flat mesh
        low, high = points.min(axis=0), points.max(axis=0)
    middle, half = (low + high) / 2, np.maximum(high - low, THINNEST) / 2
    return middle + half * _CORNERS, _SIDES


_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
_SIDES = ConvexHull(_CORNERS).simplices


def _add(world: bpy.types.RigidBodyWorld, name: str, vertices: np.ndarray, faces: np.ndarray) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], faces.tolist())
    obj = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(obj)
    world.collection.objects.link(obj)
    obj.rigid_body.collision_shape = "CONVEX_HULL"
    obj.rigid_body.use_margin, obj.rigid_body.collision_margin = True, MARGIN
    return obj


def _add_block(
    world: bpy.types.RigidBodyWorld, physics: PhysicsSpec, half: np.ndarray, facing: int, offset: float, side: int
) -> bpy.types.Object:
    """A block that ends at ``offset`` on an axis, on that ``side`` of it."""
    block = _add(world, "block", half * _CORNERS, _SIDES)
    block.location[facing] = offset + side * (MARGIN + half[facing])  # what rests on it touches its end
    body = block.rigid_body
    body.collision_shape = "BOX"  # Bullet rounds hulls to a ten-thousandth of their size
    body.type, body.friction, body.restitution = "PASSIVE", physics.friction, physics.bounce
    return block


def _add_wall(
    world: bpy.types.RigidBodyWorld, physics: PhysicsSpec, plane: PlaneSpec, facing: int, bodies: Bodies
) -> None:
    """A wall. It stands behind all that begins in it or beyond: Bullet would hurl that away."""
    side = -1 if facing == 0 and plane.offset < 0 else 1
    begins = [(side * np.add(*_begun(motion, vertices))[:, facing]).max() for motion, (vertices, _) in bodies]
    half = np.abs(plane_corners(plane, facing)[0][0])
    half[facing] = FLOOR / 2
    _add_block(world, physics, half, facing, side * max([side * plane.offset, *begins]), side)


def _add_mirror(world: bpy.types.RigidBodyWorld, physics: PhysicsSpec, mirror: MirrorSpec, bodies: Bodies) -> None:
    """A mirror as a thin block, unless something begins in it, which Bullet would hurl away."""
    pose, half = mirror_pose(mirror), np.array([mirror.width, THICKNESS, mirror.height]) / 2
    pose[:3, 3] += pose[:3, 1] * (MARGIN + THICKNESS / 2)  # what touches the block touches the mirror
    for motion, (vertices, _) in bodies:
        places = (np.add(*_begun(motion, vertices)) - pose[:3, 3]) @ pose[:3, :3]
        if ((places.min(axis=0) < half) & (places.max(axis=0) > -half)).all():
            return
    _add_block(world, physics, half, 0, 0.0, 0).matrix_world = Matrix(pose.tolist())


def _begun(motion: SimulatedMotion, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where an object is let go: its origin, and its hull's vertices about it."""
    turned = vertices @ euler_matrices(np.array([motion.rotation]))[0].T
    return np.array(motion.location) - [0.0, 0.0, turned[:, 2].min()], turned


def _add_body(
    world: bpy.types.RigidBodyWorld,
    motion: SimulatedMotion,
    vertices: np.ndarray,
    faces: np.ndarray,
    rate: float,
    damping: float,
) -> bpy.types.Object:
    obj = _add(world, "body", vertices, faces)
    body = obj.rigid_body
    body.type, body.mass, body.friction, body.restitution = "ACTIVE", motion.mass, motion.friction, motion.bounce
    body.linear_damping = body.angular_damping = damping
    start, _ = _begun(motion, vertices)
    for frame in (START - 1, START, START + 1):
        before = (frame - START) / rate
        obj.location = start + before * np.array(motion.velocity)
        obj.rotation_euler = np.array(motion.rotation) + before * np.array(motion.spin)
        body.kinematic = frame <= START
        obj.keyframe_insert("location", frame=frame)
        obj.keyframe_insert("rotation_euler", frame=frame)
        obj.keyframe_insert("rigid_body.kinematic", frame=frame)
    for curve in _curves(obj):
        for key in curve.keyframe_points:
            key.interpolation = "LINEAR"
    return obj


def _curves(obj: bpy.types.Object) -> list[bpy.types.FCurve]:
    """The animation curves of an object: in Blender 4.4 and later they lie in layers."""
    action = obj.animation_data.action
    return [
        curve for layer in action.layers for strip in layer.strips for bag in strip.channelbags for curve in bag.fcurves
    ]
