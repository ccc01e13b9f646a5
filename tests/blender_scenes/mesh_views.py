"""What stands in Blender, seen from one side: colours without light, and what covers what. In Blender only."""

import bpy
import numpy as np
from mathutils import Vector

from blender_scenes.blender.build import clear_scene
from blender_scenes.blender.mesh_import import DATA_BLOCKS

SIZE = 64
SAMPLES = 8


def reset():
    """An empty scene, and nothing left of the one before."""
    clear_scene()
    bpy.data.batch_remove({block for kind in DATA_BLOCKS if kind != "scenes" for block in getattr(bpy.data, kind)})


def look_at(cycles, direction):
    """Colours and cover of everything that is rendered, fitted to the frame: float32 ``[SIZE, SIZE, 4]``, linear."""
    scene = bpy.context.scene
    scene.frame_set(1)
    corners = []
    for instance in bpy.context.evaluated_depsgraph_get().object_instances:
        obj = instance.object
        if obj.type == "MESH" and instance.show_self and not obj.original.hide_render:
            corners += [instance.matrix_world @ vertex.co for vertex in obj.data.vertices]
    corners = np.array(corners)
    low, high = corners.min(axis=0), corners.max(axis=0)
    middle, size = Vector((low + high) / 2), float(np.linalg.norm(high - low))
    away = Vector(direction).normalized()
    camera = bpy.data.cameras.new("view")
    camera.type, camera.ortho_scale, camera.clip_end = "ORTHO", 0.8 * size, 10 * size
    camera.clip_start = 0.01 * size
    seer = bpy.data.objects.new("view", camera)
    seer.location, seer.rotation_euler = middle + away * 2 * size, away.to_track_quat("Z", "Y").to_euler()
    scene.collection.objects.link(seer)
    scene.camera = seer
    scene.render.engine = "CYCLES"
    scene.render.film_transparent = True
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    scene.cycles.samples, scene.cycles.max_bounces, scene.cycles.transparent_max_bounces = SAMPLES, 0, 16
    scene.cycles.use_adaptive_sampling = scene.cycles.use_denoising = False
    scene.cycles.pixel_filter_type, scene.cycles.seed = "BOX", 1
    scene.cycles.filter_width = 0.01
    layer = scene.view_layers[0]
    layer.use_pass_diffuse_color = layer.use_pass_emit = layer.use_pass_object_index = True
    scene.render.use_persistent_data = False
    held = cycles.pixels()
    return np.concatenate(
        [held["Diffuse Color"][..., :3] + held["Emission"][..., :3], held["Combined"][..., 3:]], axis=-1
    )
