"""A scene without light and colours, for renders of labels only."""

import bpy

from blender_scenes.blender.materials import LABEL_ALPHA


def strip_colors(scene: bpy.types.Scene) -> None:
    """Permanently remove from the Blender scene everything that labels do not need.

    A surface without a shader is black and opaque. Surfaces with holes keep their shaders.
    """
    scene.world, scene.view_layers[0].use_pass_mist = None, False
    scene.camera.data.dof.use_dof = False
    for obj in scene.objects:
        obj.hide_render = obj.type == "LIGHT"
    for material in bpy.data.materials:
        if LABEL_ALPHA not in material.node_tree.nodes:
            material.node_tree.links.clear()
