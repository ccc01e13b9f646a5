"""The slow obvious twin of the object-index pass: rays through pixel centres against every triangle of a spec."""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from assets.prepared import PreparedMesh
from assets.store import AssetStore
from blender_scenes.object_spec import BakedMotion, Deformation, ObjectSpec, Swing
from blender_scenes.spec import MirrorSpec, SceneSpec
from blender_scenes.trajectories import camera_poses, object_poses

# Cycles takes its first sample 0.0005 pixels to the right of the centre (measured with edges at known places).
SLACK = 0.002


def undecided(spec: SceneSpec, store: AssetStore, t: int, mask: np.ndarray, where: np.ndarray) -> bool:
    """Whether each pixel ``where`` (bool ``[H, W]``) has in ``mask`` a label seen within SLACK pixels of its centre."""
    angles = np.arange(8) * np.pi / 4
    shifts = [(SLACK * np.cos(a), SLACK * np.sin(a)) for a in angles]
    pixels = np.argwhere(where)
    box = (*pixels.min(axis=0), *pixels.max(axis=0))
    found = [cast(spec, store, t, shift, box)[0] == mask for shift in shifts]
    return bool(np.any(found, axis=0)[where].all())


def cast_mask(spec: SceneSpec, store: AssetStore, t: int) -> np.ndarray:
    """The instance mask of frame ``t``, uint8 ``[H, W]``, from the spec and the prepared meshes alone."""
    return cast(spec, store, t)[0]


def cast(
    spec: SceneSpec,
    store: AssetStore,
    t: int,
    shift: tuple[float, float] = (0.0, 0.0),
    box: tuple[int, int, int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The mask, and the distance along the camera's axis of what is seen, float64 ``[H, W]``, inf where nothing is.

    ``shift`` (x, y): how far from the pixels' centres the rays pass, in pixels. ``box``: the first row and column and
    the last ones that are asked for; elsewhere triangles may be missing.
    """
    width, height, frames = spec.render.width, spec.render.height, spec.render.frames
    to_camera, K = camera_poses(spec.camera, frames)[t], camera_matrix(spec, t)
    K[:2, 2] -= shift
    nearest = np.full((height, width), np.inf)
    mask = np.zeros((height, width), np.uint8)
    surfaces = []
    for number, item in (*enumerate(spec.objects, start=1), *((0, item) for item in spec.distractors)):
        mesh = store.mesh(item.mesh)
        vertices = shape(item, mesh, t / (frames - 1), store)
        pose = to_camera @ standing(spec, item, vertices, object_poses(item, frames)[t])
        surfaces.append((number, vertices[mesh.faces], pose, opacity(item, mesh, store)))
    for plane, axis in ((spec.backdrop, "y"), (spec.ground, "z"), *((wall, "x") for wall in spec.walls)):
        if plane is not None:
            h, v, o = plane.size / 2, (plane.height or plane.size) / 2, plane.offset
            flat = [(-h, -v), (h, -v), (h, v), (-h, v)]
            corners = np.array([{"x": (o, a, b), "y": (a, o, b), "z": (a, b, o)}[axis] for a, b in flat])
            surfaces.append((0, corners[[[0, 1, 2], [0, 2, 3]]], to_camera, None))
    surfaces += [(0, mirror_triangles(mirror), to_camera, None) for mirror in spec.mirrors]
    for number, triangles, pose, alpha in surfaces:
        corners = triangles @ pose[:3, :3].T + pose[:3, 3]
        for face in np.flatnonzero(may_be_seen(corners, K, box or (0, 0, height - 1, width - 1))):
            hit(corners[face], number, K, nearest, mask, alpha and partial(alpha, face))
    return mask, nearest


def may_be_seen(corners: np.ndarray, K: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Which triangles ``[N, 3, 3]`` have the centre of a pixel of ``box`` in their own box on screen: bool ``[N]``.

    There is room for rounding. Those that reach behind the camera have no box, and are kept.
    """
    before = (corners[..., 2] > 1e-3).all(axis=1)
    seen = corners @ K.T
    seen = seen[..., :2] / np.where(before[:, None], seen[..., 2], 1.0)[..., None]
    first = np.ceil(np.maximum(seen.min(axis=1) - 0.5 - 1e-6, box[1::-1]))
    last = np.floor(np.minimum(seen.max(axis=1) - 0.5 + 1e-6, box[:1:-1]))
    return np.where(before, (first <= last).all(axis=1), (corners[..., 2] > 0.01).any(axis=1))


def cast_in_mirror(spec: SceneSpec, store: AssetStore, t: int, mirror: MirrorSpec, depth: np.ndarray) -> np.ndarray:
    """Where frame ``t`` shows a labelled object in a mirror, by its image behind that: bool ``[H, W]``.

    depth: that of what is seen, as of `cast`. All objects must be before the mirror.
    """
    to_camera, K, frames = camera_poses(spec.camera, spec.render.frames)[t], camera_matrix(spec, t), spec.render.frames
    glass, image = np.full(depth.shape, np.inf), np.full(depth.shape, np.inf)
    there, shown = np.zeros(depth.shape, np.uint8), np.zeros(depth.shape, np.uint8)
    for corners in mirror_triangles(mirror, mirror.frame) @ to_camera[:3, :3].T + to_camera[:3, 3]:
        hit(corners, 1, K, glass, there, None)
    normal = np.array([np.sin(mirror.turn), -np.cos(mirror.turn), 0.0])
    for number, item in (*enumerate(spec.objects, start=1), *((0, item) for item in spec.distractors)):
        mesh = store.mesh(item.mesh)
        vertices = shape(item, mesh, t / (frames - 1))
        pose = standing(spec, item, vertices, object_poses(item, frames)[t])
        world = vertices @ pose[:3, :3].T + pose[:3, 3]
        mirrored = world - 2 * np.outer((world - mirror.middle) @ normal, normal)
        for corners in (mirrored @ to_camera[:3, :3].T + to_camera[:3, 3])[mesh.faces]:
            hit(corners, number, K, image, shown, None)
    return (there == 1) & (glass <= depth + 1e-9) & (shown > 0)


def mirror_triangles(mirror: MirrorSpec, frame: float = 0.0) -> np.ndarray:
    """A mirror without so much of its frame as two triangles ``[2, 3, 3]`` in the world."""
    along = np.array([np.cos(mirror.turn), np.sin(mirror.turn), 0.0]) * (mirror.width / 2 - frame)
    up = np.array([0.0, 0.0, mirror.height / 2 - frame])
    corners = np.array(mirror.middle) + np.stack([-along - up, along - up, along + up, up - along])
    return corners[[[0, 1, 2], [0, 2, 3]]]


def camera_matrix(spec: SceneSpec, t: int) -> np.ndarray:
    """The pinhole matrix of frame ``t``, ``[3, 3]`` in pixels."""
    width, height, u = spec.render.width, spec.render.height, t / (spec.render.frames - 1)
    half = np.tan(spec.camera.fov / 2) / 2 ** sum(c * u**n for n, c in enumerate(spec.camera.zoom or ()))
    focal = width / 2 / half
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def standing(spec: SceneSpec, item: ObjectSpec, vertices: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """The pose, with the lowest of the vertices on the ground if the object stands there."""
    if item.stands and spec.ground is not None:
        low = (vertices @ pose[2, :3] + pose[2, 3]).min()
        pose = pose + np.array([[0] * 4, [0] * 4, [0, 0, 0, spec.ground.offset - low], [0] * 4])
    return pose


def opacity(item: ObjectSpec, mesh: PreparedMesh, store: AssetStore) -> Callable[..., np.ndarray] | None:
    """How opaque an object is on triangle ``face`` at ``u`` and ``v`` along its first two edges; None: wholly."""
    materials = mesh.materials if item.material is None else (item.material,) * len(mesh.materials)
    if item.texture is not None or all(each.alpha == 1 and not each.cutout for each in materials):
        return None
    images = {
        each.texture: cv2.imread(str(store.image_path(each.texture)), cv2.IMREAD_UNCHANGED)[:, :, 3] / 255
        for each in materials
        if each.cutout
    }

    def alpha(face: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        material = materials[mesh.material_index[face]]
        if not material.cutout:
            return np.full(np.shape(u), material.alpha)
        image = images[material.texture]
        a, b, c = mesh.corner_uv[face].astype(float)
        s = (a + np.multiply.outer(u, b - a) + np.multiply.outer(v, c - a)) * image.shape[::-1]
        found = np.zeros(np.shape(u))
        # Tents of one texel around each texel's centre; the image repeats, its first row is its top.
        for dy in (0, 1):
            for dx in (0, 1):
                column, row = np.floor(s[..., 0] - 0.5) + dx, np.floor(s[..., 1] - 0.5) + dy
                share = (1 - abs(column + 0.5 - s[..., 0])) * (1 - abs(row + 0.5 - s[..., 1]))
                rows, columns = (-1 - row).astype(int) % len(image), column.astype(int) % image.shape[1]
                found += share * image[rows, columns]
        return found if material.cutoff is None else (found > material.cutoff).astype(float)

    return alpha


def replayed(spec: SceneSpec, store: AssetStore) -> SceneSpec:
    """The spec with its simulated motion written out, pose by pose."""
    if spec.physics is None:
        return spec
    results = iter(store.array(spec.physics.poses))
    items = [
        item.model_copy(update={"motion": BakedMotion(poses=next(results).tolist())})
        if item.motion.kind == "simulated"
        else item
        for item in (*spec.objects, *spec.distractors)
    ]
    K = len(spec.objects)
    return spec.model_copy(update={"objects": tuple(items[:K]), "distractors": tuple(items[K:]), "physics": None})


def shape(item: ObjectSpec, mesh: PreparedMesh, u: float, store: AssetStore | None = None) -> np.ndarray:
    """The vertices of an object's mesh at time ``u``: shape keys are added, joints turn, then it deforms.

    Those of a cloth are stored.
    """
    if item.cloth is not None:
        shapes = store.array(item.cloth.shapes)
        return shapes[round(u * (len(shapes) - 1))].astype(float)
    vertices = mesh.vertices.astype(float)
    for key in item.morphs:
        vertices = vertices + at(key.weight, u) * mesh.morphs[key.morph]
    if item.joints:
        vertices = np.array([skinned(vertex, item, mesh, place, u) for place, vertex in enumerate(vertices)])
    return vertices if item.deformation is None else bent(vertices, item.deformation, u)


def skinned(vertex: np.ndarray, item: ObjectSpec, mesh: PreparedMesh, place: int, u: float) -> np.ndarray:
    """The mean of where each joint takes a vertex: turned about it, then about all that it hangs on."""
    total = np.zeros(3)
    for joint in np.flatnonzero(mesh.skin[place]):
        at_joint, here = vertex, joint
        while here >= 0:
            for motion in item.joints:
                if motion.joint == here:
                    # Rodrigues' formula
                    k, angle = np.array(motion.axis) / np.linalg.norm(motion.axis), at(motion.angle, u)
                    arm = at_joint - mesh.joints[here]
                    arm = arm * np.cos(angle) + np.cross(k, arm) * np.sin(angle) + k * (k @ arm) * (1 - np.cos(angle))
                    at_joint = mesh.joints[here] + arm
            here = mesh.parents[here]
        total = total + mesh.skin[place, joint] * at_joint
    return total


def at(course, u: float) -> float:
    """A number of a deformation at time ``u``."""
    if isinstance(course, Swing):
        return course.mean + course.size * np.sin(2 * np.pi * (course.turns * u + course.phase))
    return sum(c * u**n for n, c in enumerate(course))


def bent(vertices: np.ndarray, how: Deformation, u: float) -> np.ndarray:
    """Each vertex on its own: along the wave, turned about the axis, then carried along the arc the axis becomes."""
    twist, wave, phase, bend = (at(course, u) for course in (how.twist, how.wave, how.phase, how.bend))
    extents = vertices.max(axis=0) - vertices.min(axis=0)
    up = int(np.argmax(extents)) if how.axis == "longest" else "xyz".index(how.axis)
    result = np.empty(vertices.shape)
    for place, vertex in enumerate(vertices):
        x, y, z = (vertex[(up + k) % 3] for k in (1, 2, 3))
        moved = complex(x + wave * np.sin(2 * np.pi * (z / how.wavelength + phase)), y) * np.exp(1j * twist * z)
        x, y = moved.real, moved.imag
        if bend:
            # A circle of radius 1 / bend about (1 / bend, 0), which the axis touches at the origin.
            on_arc = 1 / bend - (1 / bend - x) * np.exp(-1j * bend * z)
            x, z = on_arc.real, on_arc.imag
        for k, value in zip((1, 2, 3), (x, y, z), strict=True):
            result[place, (up + k) % 3] = value
    return result


def hit(
    corners: np.ndarray,
    number: int,
    K: np.ndarray,
    nearest: np.ndarray,
    mask: np.ndarray,
    alpha: Callable[..., np.ndarray] | None = None,
) -> None:
    """Mark the pixels whose rays meet one triangle (camera frame, ``[3, 3]``) closer than anything before.

    ``alpha``: how opaque it is at u and v along its edges; labels see what is more than half opaque.
    """
    height, width = mask.shape
    low, high = np.array([0, 0]), np.array([width, height])
    if (corners[:, 2] > 1e-3).all():  # otherwise the box on screen is unbounded, and every pixel is tried
        seen = corners @ K.T
        seen = seen[:, :2] / seen[:, 2:]
        low = np.clip(np.floor(seen.min(axis=0) - 1), 0, high).astype(int)
        high = np.clip(np.ceil(seen.max(axis=0) + 1), 0, high).astype(int)
    x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    rays = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones_like(x)], axis=-1)
    system = np.stack([corners[0] - corners[1], corners[0] - corners[2]], axis=1)
    if not rays.size or abs(np.linalg.det(np.c_[system, corners[0]])) < 1e-18:
        return
    # origin + z * ray = a + u * (b - a) + v * (c - a), solved by Cramer's rule through cross products.
    edge1, edge2 = corners[1] - corners[0], corners[2] - corners[0]
    p = np.cross(rays, edge2)
    determinant = p @ edge1
    with np.errstate(divide="ignore", invalid="ignore"):
        u = -(p @ corners[0]) / determinant
        q = np.cross(-corners[0], edge1)
        v = (rays @ q) / determinant
        z = (edge2 @ q) / determinant
        inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (z > 0.01)
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    closer = inside & (z < nearest[window])
    if alpha is not None:
        closer[closer] = alpha(u[closer], v[closer]) > 0.5
    nearest[window][closer] = z[closer]
    mask[window][closer] = number
