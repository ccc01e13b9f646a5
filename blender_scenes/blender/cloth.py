"""Simulates the cloths of a scene by Blender's cloth modifier, each by itself: they do not meet one another."""

import bpy
import numpy as np
from mathutils import Vector
from scipy.spatial import ConvexHull, QhullError

from assets.prepared import PreparedMesh
from assets.shapes.cloth import quads
from assets.store import AssetStore
from blender_scenes.blender.build import clear_scene
from blender_scenes.geometry import SceneGeometry, moved
from blender_scenes.object_spec import ClothSpec
from blender_scenes.spec import SceneSpec
from vosforge.errors import VOSForgeError

STEPS, FALLING_STEPS = 96.0, 288.0
"""At least so many steps a second; what falls needs more, or it is crushed where it lands."""
SLOWEST_RATE = 15.0
"""Fewer frames a second are simulated as several each."""
GRAVITY = 9.81
"""Metres a second, each second, of scenes without physics to say so."""
SECOND = 1000**0.5
"""Blender's cloth falls in a frame, at any frame rate, as things do in a second divided by this."""
MASS = 0.3
"""Of a vertex; Blender's own default, which its stiffnesses and forces go with."""
STRETCH, SHEAR, DAMPING = 40.0, 10.0, 0.5
"""Stiffnesses, and damping, that hold edges to a few hundredths of their length, but where a cloth lands."""
DRAG = 0.4
"""Of still air."""
WIND = 400.0
"""Blender's strength of a wind of 1 m/s."""
WHIRL = 0.8
"""Metres across a whirl."""
THICKNESS = 0.008
"""Metres that are kept between a cloth and things, on either side."""
STRAIN, ROUNDS = 0.12, 40
"""By how much an edge may be longer or shorter than at rest, and how often those that are get changed."""
SPARE = 0.3
"""What a cloth keeps between its own parts, in distances of its vertices."""
FLOOR = 60.0
"""Metres along a side of the floor that a cloth can fall on."""
FINENESS = 2.0**16
"""Places are rounded to parts of a cloth's diagonal, so that they take half of the room."""


def limp(spec: SceneSpec) -> bool:
    """Whether a cloth of ``spec`` is still to be simulated."""
    return any(item.cloth and item.cloth.shapes is None for item in (*spec.objects, *spec.distractors))


def with_cloths(spec: SceneSpec, store: AssetStore) -> SceneSpec:
    """``spec``, whose meshes and physics are baked, with its cloths simulated, all in ``store``.

    Raises VOSForgeError when Blender gives no places.
    """
    if not limp(spec):
        return spec
    geometry = SceneGeometry.load(spec, store)
    still = [hull for number in geometry.numbers if (hull := _still(geometry, number)) is not None]
    items = list(geometry.items)
    for place, item in enumerate(items):
        if item.cloth is not None and item.cloth.shapes is None:
            pose = geometry.poses[place][1, 0]
            met = still if item.cloth.held == "nothing" else []
            floor = None if spec.ground is None else spec.ground.offset
            mesh, frames = geometry.mesh(place + 1), spec.render.frames
            gravity = GRAVITY if spec.physics is None else spec.physics.gravity
            shapes = simulated(item.cloth, mesh, pose, frames, floor, met, gravity)
            cloth = item.cloth.model_copy(update={"shapes": store.put_array(shapes)})
            items[place] = item.model_copy(update={"cloth": cloth})
    K = len(spec.objects)
    return spec.model_copy(update={"objects": tuple(items[:K]), "distractors": tuple(items[K:])})


Hull = tuple[np.ndarray, np.ndarray]
"""Vertices ``[V, 3]`` in the world, and triangles ``[F, 3]``."""


def simulated(
    cloth: ClothSpec,
    mesh: PreparedMesh,
    pose: np.ndarray,
    frames: int,
    floor: float | None = None,
    things: list[Hull] | None = None,
    gravity: float = GRAVITY,
) -> np.ndarray:
    """A cloth's vertices in its own axes, float32 ``[T, V, 3]``. It replaces what is in Blender.

    ``pose``: from these to the world, ``[4, 4]``; ``floor``: height of the floor, if there is one.
    """
    clear_scene()
    scene = bpy.context.scene
    scene.gravity = (0.0, 0.0, -gravity)
    per = int(np.ceil(SLOWEST_RATE / cloth.rate))
    rate = cloth.rate * per
    begin = 1 + round(cloth.before * rate)
    last = begin + per * (frames - 1)
    try:
        obj = _cloth(cloth, mesh, pose, rate, last)
        whirls = _wind(cloth)
        if floor is not None:
            flat = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * FLOOR / 2
            _thing(flat + np.array([*pose[:2, 3], floor]), np.array([[0, 1, 2, 3]]))
        for thing in things or ():
            _thing(*thing)
        shapes = []
        for frame in range(1, last + 1):
            if whirls is not None:
                whirls.location = np.array(cloth.wind) * (frame - 1) / rate
            scene.frame_set(frame)
            if frame >= begin and (frame - begin) % per == 0:
                found = np.empty(mesh.vertices.size, np.float32)
                obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).data.vertices.foreach_get("co", found)
                shapes.append(found.reshape(-1, 3))
    finally:
        scene.frame_set(1)
        clear_scene()
    _hold_edges(cloth, mesh, pose, floor, places := np.array(shapes, np.float64))
    own = moved(places, np.linalg.inv(pose))
    if not np.isfinite(own).all():
        raise VOSForgeError("Blender's cloth gave places that are no numbers: draw the scene with other settings")
    return (np.round(own * FINENESS) / FINENESS).astype(np.float32)


def folded(cloth: ClothSpec, vertices: np.ndarray) -> np.ndarray:
    """The flat vertices ``[V, 3]`` of a cloth in the folds that it begins in; all edges keep their lengths.

    A side that is held stays where it is, and otherwise the middle.
    """
    columns, column = np.unique(vertices[:, 0], return_inverse=True)
    middles = (np.arange(len(columns) - 1) + 0.5) / (len(columns) - 1)
    angle = cloth.slope * np.sin(2 * np.pi * (cloth.folds * middles + cloth.phase))
    steps = np.diff(columns)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x, y = np.concatenate([np.zeros((1, 2)), steps.cumsum(axis=0)]).T
    x, y = (x + columns[0], y) if cloth.held == "side" else (x - x.mean(), y - y.mean())
    return np.stack([x[column], y[column], vertices[:, 2]], axis=1)


def _cloth(cloth: ClothSpec, mesh: PreparedMesh, pose: np.ndarray, rate: float, last: int) -> bpy.types.Object:
    """The cloth as it begins, in world coordinates."""
    vertices, faces = mesh.vertices.astype(np.float64), quads(mesh.faces)
    obj = _add("cloth", moved(folded(cloth, vertices), pose), faces)
    modifier = obj.modifiers.new("cloth", "CLOTH")
    settings, collisions = modifier.settings, modifier.collision_settings
    steps = FALLING_STEPS if cloth.held == "nothing" else STEPS
    settings.quality, settings.time_scale = int(np.ceil(steps / rate)), SECOND / rate
    settings.mass, settings.air_damping = MASS, DRAG
    settings.tension_stiffness = settings.compression_stiffness = STRETCH
    settings.tension_damping = settings.compression_damping = settings.shear_damping = DAMPING
    settings.shear_stiffness, settings.bending_stiffness = SHEAR, cloth.stiffness
    collisions.distance_min = THICKNESS
    collisions.use_self_collision = True
    collisions.self_distance_min = SPARE * float(
        np.linalg.norm(np.diff(moved(vertices[faces[0]], pose), axis=0), axis=1).min()
    )
    modifier.point_cache.frame_start, modifier.point_cache.frame_end = 1, last
    held = _held(cloth, vertices)
    if held.any():
        group = obj.vertex_groups.new(name="held")
        group.add(np.flatnonzero(held).tolist(), 1.0, "REPLACE")
        settings.vertex_group_mass = group.name
    return obj


def _hold_edges(
    cloth: ClothSpec, mesh: PreparedMesh, pose: np.ndarray, floor: float | None, places: np.ndarray
) -> None:
    """Change ``places [T, V, 3]`` where edges are far from their length at rest: where a cloth lands, or is crushed.

    Both ends of such an edge go half of the way, or as far as the mean of their edges, over and over again.
    """
    around = quads(mesh.faces)
    edges = np.unique(np.sort(np.stack([around, np.roll(around, 1, axis=1)], axis=2).reshape(-1, 2), axis=1), axis=0)
    flat = moved(mesh.vertices.astype(np.float64), pose)
    rest = np.linalg.norm(flat[edges[:, 0]] - flat[edges[:, 1]], axis=1)
    free = ~_held(cloth, mesh.vertices)
    for shape in places:
        for _ in range(ROUNDS):
            way = shape[edges[:, 1]] - shape[edges[:, 0]]
            length = np.linalg.norm(way, axis=1)
            wanted = np.clip(length, (1 - STRAIN) * rest, (1 + STRAIN) * rest)
            wrong = np.flatnonzero(length != wanted)
            if not len(wrong):
                break
            step = way[wrong] * (0.5 * (wanted / np.maximum(length, 1e-9) - 1))[wrong, None]
            sums, count = np.zeros_like(shape), np.zeros(len(shape))
            np.add.at(sums, edges[wrong], np.stack([-step, step], axis=1))
            np.add.at(count, edges[wrong], 1)
            shape += free[:, None] * sums / np.maximum(count, 1)[:, None]
            if floor is not None:
                shape[free, 2] = np.maximum(shape[free, 2], floor + THICKNESS)


def _held(cloth: ClothSpec, vertices: np.ndarray) -> np.ndarray:
    """Which of the flat vertices stay where they are: bool ``[V]``."""
    x, _, z = vertices.T
    side, top = x == x.min(), z == z.max()
    corners = top & (side | (x == x.max()))
    return {"side": side, "top": top, "corners": corners, "nothing": np.zeros(len(vertices), bool)}[cloth.held]


def _wind(cloth: ClothSpec) -> bpy.types.Object | None:
    """The wind, and its whirls, which go along with it."""
    speed = float(np.linalg.norm(cloth.wind))
    if not speed:
        return None
    wind = _field("WIND", WIND * speed)
    wind.rotation_mode = "QUATERNION"
    wind.rotation_quaternion = Vector(cloth.wind).to_track_quat("Z", "Y")
    whirls = _field("TURBULENCE", WIND * speed * cloth.gusts)
    whirls.field.size, whirls.field.seed = WHIRL, 1 + cloth.seed % 100
    return whirls


def _field(kind: str, strength: float) -> bpy.types.Object:
    bpy.ops.object.effector_add(type=kind)
    obj = bpy.context.object
    obj.field.strength = strength
    return obj


def _still(geometry: SceneGeometry, number: int) -> Hull | None:
    """The convex hull of an object that keeps its place and shape all the time; None of another."""
    poses = geometry.poses[number - 1][1]
    if not geometry.items[number - 1].rigid or np.ptp(poses, axis=0).max() > 0:
        return None
    points = moved(geometry.shaped(number, 0.0), poses[0])
    try:
        hull = ConvexHull(points)
    except QhullError:  # a flat mesh
        return None
    # Triangles face outward: a cloth is pushed to where they face.
    outward = np.einsum("fd,fd->f", hull.equations[:, :3], np.cross(*_edges(points[hull.simplices])))
    faces = np.where(outward[:, None] > 0, hull.simplices, hull.simplices[:, ::-1])
    used, faces = np.unique(faces, return_inverse=True)
    return points[used], faces.reshape(-1, 3)


def _edges(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]


def _thing(vertices: np.ndarray, faces: np.ndarray) -> None:
    """Something that a cloth lies on."""
    obj = _add("thing", vertices, faces)
    obj.modifiers.new("collision", "COLLISION")
    obj.collision.thickness_outer, obj.collision.cloth_friction = THICKNESS, 20.0


def _add(name: str, vertices: np.ndarray, faces: np.ndarray) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], faces.tolist())
    obj = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(obj)
    return obj
