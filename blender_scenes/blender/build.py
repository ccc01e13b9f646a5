"""Builds a scene in Blender (``build_scene``) and poses it at a frame (``pose_scene``)."""

from dataclasses import dataclass
from typing import NamedTuple

import bpy
import numpy as np
from mathutils import Matrix, Vector

from assets.prepared import PreparedMesh
from assets.store import AssetStore
from blender_scenes.blender.materials import (
    image_material,
    mirror_materials,
    plane_material,
    prepared_materials,
    principled_material,
)
from blender_scenes.blender.meshes import mesh_from_arrays, mirror_mesh, plane_mesh, unwrap
from blender_scenes.geometry import SceneGeometry, mirror_pose
from blender_scenes.object_spec import ObjectSpec
from blender_scenes.spec import CameraSpec, LightSpec, MirrorSpec, PanelSpec, PlaneSpec, SunSpec, WorldSpec
from blender_scenes.trajectories import focal_lengths

# Blender's cameras look along -z with y up; ours along +z with y down.
CAMERA_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
WORLD_MAP_WIDTH = 512
"""Size of the importance map with which Cycles samples the surroundings; affects noise, never brightness."""


class Deforming(NamedTuple):
    """A deforming object's mesh and number.

    A shape key holds its shape: without one, Cycles renders no motion blur of the deformation.
    """

    mesh: bpy.types.Mesh
    shape: bpy.types.ShapeKey
    number: int


@dataclass(frozen=True)
class BuiltScene:
    """A scene built in Blender: its moving objects and their world matrices ``[3, T, 4, 4]``.

    The three instants: shutter opening, the frame itself, shutter closing.
    """

    scene: bpy.types.Scene
    movers: tuple[tuple[bpy.types.Object, np.ndarray], ...]
    deforming: tuple[Deforming, ...]
    backdrop: bpy.types.Object | None
    geometry: SceneGeometry


def clear_scene() -> None:
    """Remove everything of the previous video, down to Blender's empty scene."""
    scene = bpy.context.scene
    scene.render.use_persistent_data = False
    scene.world = None
    blocks = (
        *bpy.data.objects,
        *bpy.data.meshes,
        *bpy.data.materials,
        *bpy.data.lights,
        *bpy.data.cameras,
        *bpy.data.worlds,
        *(image for image in bpy.data.images if image.name != "Render Result"),
    )
    bpy.data.batch_remove(blocks)


def build_scene(geometry: SceneGeometry, store: AssetStore) -> BuiltScene:
    """Replace Blender's content with the scene of ``geometry``.

    Pass indices are 1 to K for objects, K + 1 and up for distractors, and 0 for planes and mirrors. Raises
    VOSForgeError when ``store`` lacks an image.
    """
    clear_scene()
    spec, scene = geometry.spec, bpy.context.scene
    movers, deforming = [], []
    for number, item in enumerate(geometry.items, start=1):
        obj = _add_object(scene, f"object {number}", item, geometry.mesh(number), store)
        obj.pass_index = number
        movers.append((obj, geometry.poses[number - 1]))
        if item.rigid:
            _share_mesh(scene, obj)
        else:
            shape = obj.shape_key_add(name="shape")
            deforming.append(Deforming(obj.data, shape, number))
    movers.append((_add_camera(scene, spec.camera), np.linalg.inv(geometry.cameras) @ CAMERA_FLIP))
    for number, light in enumerate(spec.lights):
        _add_light(scene, number, light)
    for sun in spec.suns:
        _add_sun(scene, sun)
    for panel in spec.panels:
        _add_panel(scene, panel)
    planes = [_add_plane(scene, plane, facing, store) for plane, facing in geometry.planes]
    for mirror in spec.mirrors:
        _add_mirror(scene, mirror)
    backdrop = planes[0] if spec.backdrop is not None else None
    scene.world = _world(spec.world, store)
    return BuiltScene(scene, tuple(movers), tuple(deforming), backdrop, geometry)


def pose_scene(built: BuiltScene, frame: int, instant: int = 1) -> None:
    """Pose and deform everything for ``frame``.

    ``instant``: 0 when the shutter opens, 1 at the frame itself, 2 when the shutter closes.
    """
    for obj, poses in built.movers:
        obj.matrix_world = Matrix(poses[instant, frame].tolist())
    geometry, lens = built.geometry, built.geometry.spec.camera.lens
    u = (frame + geometry.instants[instant]) / (geometry.frames - 1)
    if lens is not None:
        built.scene.camera.data.dof.focus_distance = float(np.polynomial.polynomial.polyval(u, lens.focus))
    if geometry.spec.camera.zoom is not None:
        focal = focal_lengths(geometry.spec.camera, 1.0, geometry.frames, geometry.instants[instant])[frame]
        built.scene.camera.data.angle = float(2 * np.arctan(0.5 / focal))
    for mesh, shape, number in built.deforming:
        vertices = geometry.shaped(number, u)
        shape.points.foreach_set("co", vertices.astype(np.float32).ravel())
        mesh.update()


def surroundings(world: bpy.types.World) -> np.ndarray:
    """The HDRI of a scene's world, scene-linear float32 ``[h, w, 3]``, top row first."""
    image = next(node.image for node in world.node_tree.nodes if node.type == "TEX_ENVIRONMENT")
    width, height = image.size
    pixels = np.empty((height, width, 4), np.float32)
    image.pixels.foreach_get(pixels.ravel())
    return np.ascontiguousarray(pixels[::-1, :, :3])


def _add_object(
    scene: bpy.types.Scene, name: str, item: ObjectSpec, prepared: PreparedMesh, store: AssetStore
) -> bpy.types.Object:
    mesh = mesh_from_arrays(name, prepared)
    if item.texture is not None:
        materials = [image_material(store.image_path(item.texture), item.wrap, item.patch)]
    elif item.material is not None:
        materials = [principled_material(item.material, store)]
    else:
        materials = prepared_materials(prepared, store)
    if len(materials) < len(prepared.materials):
        mesh.polygons.foreach_set("material_index", np.zeros(len(prepared.faces), np.int32))
    for material in materials:
        mesh.materials.append(material)
    obj = _link(scene, name, mesh)
    if item.texture is not None and item.wrap == "unwrap" and item.cloth is None:  # a cloth lies flat in its own UVs
        unwrap(obj)
    return obj


def _share_mesh(scene: bpy.types.Scene, obj: bpy.types.Object) -> None:
    """Let Cycles move an object without rebuilding its mesh's BVH, as it does for single-user meshes.

    The second user is invisible to all rays.
    """
    twin = _link(scene, f"{obj.name} twin", obj.data)
    twin.visible_camera = twin.visible_diffuse = twin.visible_glossy = False
    twin.visible_transmission = twin.visible_shadow = False


def _add_plane(scene: bpy.types.Scene, plane: PlaneSpec, facing: int, store: AssetStore) -> bpy.types.Object:
    name = ("wall", "backdrop", "ground")[facing]
    mesh = plane_mesh(name, plane, facing)
    mesh.materials.append(plane_material(name, store.image_path(plane.texture), plane.emission))
    return _link(scene, name, mesh)


def _add_mirror(scene: bpy.types.Scene, mirror: MirrorSpec) -> None:
    mesh = mirror_mesh(mirror)
    for material in mirror_materials(mirror):
        mesh.materials.append(material)
    _link(scene, "mirror", mesh).matrix_world = Matrix(mirror_pose(mirror).tolist())


def _link(scene: bpy.types.Scene, name: str, data: bpy.types.ID) -> bpy.types.Object:
    obj = bpy.data.objects.new(name, data)
    scene.collection.objects.link(obj)
    return obj


def _add_camera(scene: bpy.types.Scene, spec: CameraSpec) -> bpy.types.Object:
    data = bpy.data.cameras.new("camera")
    data.sensor_fit = "HORIZONTAL"
    data.angle = spec.fov
    data.clip_start, data.clip_end = 0.01, 1000.0
    if spec.lens is not None:
        data.dof.use_dof = True
        data.dof.aperture_fstop = spec.lens.f_number
    scene.camera = _link(scene, "camera", data)
    return scene.camera


def _add_light(scene: bpy.types.Scene, number: int, spec: LightSpec) -> None:
    data = bpy.data.lights.new(f"light {number}", "POINT")
    data.energy, data.color, data.shadow_soft_size = spec.energy, spec.color, spec.radius
    _link(scene, data.name, data).location = spec.location


def _add_sun(scene: bpy.types.Scene, spec: SunSpec) -> None:
    data = bpy.data.lights.new("sun", "SUN")
    data.energy, data.color, data.angle = spec.strength, spec.color, spec.angle
    _aim(_link(scene, data.name, data), -Vector(spec.toward))


def _add_panel(scene: bpy.types.Scene, spec: PanelSpec) -> None:
    data = bpy.data.lights.new("panel", "AREA")
    data.energy, data.color, data.size = spec.energy, spec.color, spec.size
    obj = _link(scene, data.name, data)
    obj.location = spec.location
    _aim(obj, Vector(spec.target) - Vector(spec.location))


def _aim(lamp: bpy.types.Object, direction: Vector) -> None:
    """Let a lamp shine in a direction, unseen by the camera itself."""
    lamp.rotation_euler = direction.to_track_quat("-Z", "Y").to_euler()
    lamp.visible_camera = False


def _world(spec: WorldSpec | None, store: AssetStore) -> bpy.types.World:
    world = bpy.data.worlds.new("world")
    world.use_nodes = True
    # By default, Cycles spends 1.7 s per video on a map finer than the images.
    world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", WORLD_MAP_WIDTH
    nodes, links = world.node_tree.nodes, world.node_tree.links
    background = nodes["Background"]
    if spec is None:
        background.inputs["Strength"].default_value = 0.0
        return world
    coordinates, mapping = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeMapping")
    environment = nodes.new("ShaderNodeTexEnvironment")
    environment.image = bpy.data.images.load(str(store.hdri_path(spec.hdri)))
    mapping.inputs["Rotation"].default_value = (0.0, 0.0, spec.turn)
    background.inputs["Strength"].default_value = spec.strength
    links.new(coordinates.outputs["Generated"], mapping.inputs["Vector"])
    links.new(mapping.outputs["Vector"], environment.inputs["Vector"])
    tint = nodes.new("ShaderNodeVectorMath")
    tint.operation = "MULTIPLY"
    tint.inputs[1].default_value = spec.tint
    links.new(environment.outputs["Color"], tint.inputs[0])
    links.new(tint.outputs["Vector"], background.inputs["Color"])
    return world
