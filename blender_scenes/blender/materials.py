"""Builds Blender materials: of prepared meshes, of replacement images, and of planes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np

from assets.prepared import MATT, REFLECTANCE, SOLID, SPECULAR, Material, PreparedMesh
from assets.store import AssetStore
from blender_scenes.blender.meshes import PAINTED, REST
from blender_scenes.object_spec import BOX_BLEND, Patch, Wrap
from blender_scenes.spec import MirrorSpec

LABEL_ALPHA = "label alpha"
"""Name of the node that routes the alpha of partly transparent surfaces, so that label renders can threshold it."""


def prepared_materials(mesh: PreparedMesh, store: AssetStore) -> list[bpy.types.Material]:
    """The mesh's own materials, in the order of its material indices."""
    return [principled_material(material, store, mesh.corner_color is not None) for material in mesh.materials]


def image_material(image: Path, wrap: Wrap, patch: Patch | None) -> bpy.types.Material:
    """A matte material that maps ``image`` onto any mesh: by box projection, which needs no UVs, or by UVs.

    ``patch``: the part of it that box projection shows.
    """
    material, shader = _new("replacement texture")
    shader.inputs["Roughness"].default_value = 0.6
    nodes, links = material.node_tree.nodes, material.node_tree.links
    texture = _image_node(material, image)
    if wrap == "box":
        texture.projection, texture.projection_blend = "BOX", BOX_BLEND
        rest = nodes.new("ShaderNodeAttribute")  # undeformed coordinates, so that the image follows the surface
        rest.attribute_name = REST
        links.new(rest.outputs["Vector"], texture.inputs["Vector"])
        if patch is not None:
            texture.image = _cut(texture.image, patch)
    links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    _give_reflectance(material, shader, SPECULAR)
    return material


def _cut(image: bpy.types.Image, patch: Patch) -> bpy.types.Image:
    width, height = image.size
    pixels = np.empty((height, width, 4), np.float32)
    image.pixels.foreach_get(pixels.ravel())
    part = np.ascontiguousarray(patch.of(pixels))
    cut = bpy.data.images.new(f"part of {image.name}", part.shape[1], part.shape[0], alpha=True)
    cut.pixels.foreach_set(part.ravel())
    cut.pack()
    return cut


def plane_material(name: str, image: Path, emission: float) -> bpy.types.Material:
    """The material of a backdrop or ground: matte, or emitting its image at strength ``emission``."""
    material, shader = _new(name)
    links = material.node_tree.links
    texture = _image_node(material, image)
    texture.extension = "MIRROR"  # hides the seams of images that do not tile
    if emission > 0:
        shader.inputs["Base Color"].default_value = (0.0, 0.0, 0.0, 1.0)
        shader.inputs["Emission Strength"].default_value = emission
        links.new(texture.outputs["Color"], shader.inputs["Emission Color"])
    else:
        links.new(texture.outputs["Color"], shader.inputs["Base Color"])
        _give_reflectance(material, shader, MATT)
    shader.inputs["Roughness"].default_value = 1.0
    shader.inputs["Specular IOR Level"].default_value = 0.0
    return material


def mirror_materials(mirror: MirrorSpec) -> list[bpy.types.Material]:
    """Those of a mirror, which is matt from behind, and of its frame."""
    (glass, shader), (frame, matt) = _new("mirror"), _new("mirror's frame")
    nodes, links = glass.node_tree.nodes, glass.node_tree.links
    shader.inputs["Base Color"].default_value = (*mirror.tint, 1.0)
    shader.inputs["Metallic"].default_value, shader.inputs["Roughness"].default_value = 1.0, 0.0
    back, mixed, side = (nodes.new(f"ShaderNode{kind}") for kind in ("BsdfDiffuse", "MixShader", "NewGeometry"))
    back.inputs["Color"].default_value = matt.inputs["Base Color"].default_value = (*mirror.color, 1.0)
    matt.inputs["Roughness"].default_value = 1.0
    links.new(side.outputs["Backfacing"], mixed.inputs["Fac"])
    links.new(shader.outputs["BSDF"], mixed.inputs[1])
    links.new(back.outputs["BSDF"], mixed.inputs[2])
    links.new(mixed.outputs["Shader"], nodes["Material Output"].inputs["Surface"])
    return [glass, frame]


def principled_material(prepared: Material, store: AssetStore, painted: bool = False) -> bpy.types.Material:
    """The Blender material of a prepared one; its image, if any, comes from ``store``.

    ``painted``: vertex colours multiply the material's colour.
    """
    material, shader = _new(prepared.name)
    shader.inputs["Base Color"].default_value = (*prepared.base_color, 1.0)
    shader.inputs["Metallic"].default_value = prepared.metallic
    shader.inputs["Roughness"].default_value = prepared.roughness
    shader.inputs["Alpha"].default_value = prepared.alpha
    if prepared.texture is not None:
        texture = _image_node(material, store.image_path(prepared.texture))
        material.node_tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
        if prepared.cutout:
            _link_alpha(material, texture.outputs["Alpha"], shader.inputs["Alpha"], prepared.cutoff)
    if painted:
        _multiply_by_vertex_colors(material, shader.inputs["Base Color"])
    if not prepared.solid:
        _add_label_alpha(material, shader.inputs["Alpha"])
    _give_reflectance(material, shader, SPECULAR)
    return material


def _link_alpha(
    material: bpy.types.Material, alpha: bpy.types.NodeSocket, target: bpy.types.NodeSocket, cutoff: float | None
) -> None:
    if cutoff is not None:
        node = material.node_tree.nodes.new("ShaderNodeMath")
        node.operation = "GREATER_THAN"
        node.inputs[1].default_value = cutoff
        material.node_tree.links.new(alpha, node.inputs[0])
        alpha = node.outputs[0]
    material.node_tree.links.new(alpha, target)


def _multiply_by_vertex_colors(material: bpy.types.Material, color: bpy.types.NodeSocket) -> None:
    nodes, links = material.node_tree.nodes, material.node_tree.links
    painted, product = nodes.new("ShaderNodeVertexColor"), nodes.new("ShaderNodeVectorMath")
    painted.layer_name, product.operation = PAINTED, "MULTIPLY"
    if color.is_linked:
        links.new(color.links[0].from_socket, product.inputs[0])
    else:
        product.inputs[0].default_value = color.default_value[:3]
    links.new(painted.outputs["Color"], product.inputs[1])
    links.new(product.outputs["Vector"], color)


def _give_reflectance(material: bpy.types.Material, shader: bpy.types.ShaderNode, besides: float) -> None:
    """Write the shader's colour plus ``besides`` into the reflectance pass."""
    nodes, links = material.node_tree.nodes, material.node_tree.links
    total, output = nodes.new("ShaderNodeVectorMath"), nodes.new("ShaderNodeOutputAOV")
    color = shader.inputs["Base Color"]
    if color.is_linked:
        links.new(color.links[0].from_socket, total.inputs[0])
    else:
        total.inputs[0].default_value = color.default_value[:3]
    total.inputs[1].default_value = (besides, besides, besides)
    links.new(total.outputs["Vector"], output.inputs["Color"])
    output.aov_name = REFLECTANCE


def _add_label_alpha(material: bpy.types.Material, alpha: bpy.types.NodeSocket) -> None:
    nodes, links = material.node_tree.nodes, material.node_tree.links
    node = nodes.new("ShaderNodeMath")
    node.name = LABEL_ALPHA
    if alpha.is_linked:
        links.new(alpha.links[0].from_socket, node.inputs[0])
    else:
        node.inputs[0].default_value = alpha.default_value
    links.new(node.outputs[0], alpha)
    _set_label_alpha(node, False)


def _set_label_alpha(node: bpy.types.ShaderNode, solid: bool) -> None:
    node.operation = "GREATER_THAN" if solid else "MULTIPLY"
    node.inputs[1].default_value = SOLID if solid else 1.0


def has_holes() -> bool:
    """Whether any surface of the current scene is partly transparent in label renders."""
    return any(_label_alphas())


@contextmanager
def solid_surfaces() -> Iterator[None]:
    """Make every surface point either opaque or absent within this context.

    Otherwise rays pass translucent surfaces at random, and labels become random.
    """
    for node in _label_alphas():
        _set_label_alpha(node, True)
    try:
        yield
    finally:
        for node in _label_alphas():
            _set_label_alpha(node, False)


def _label_alphas() -> Iterator[bpy.types.ShaderNode]:
    for material in bpy.data.materials:
        if material.node_tree is not None and LABEL_ALPHA in material.node_tree.nodes:
            yield material.node_tree.nodes[LABEL_ALPHA]


def _new(name: str) -> tuple[bpy.types.Material, bpy.types.ShaderNode]:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    return material, material.node_tree.nodes["Principled BSDF"]


def _image_node(material: bpy.types.Material, image: Path) -> bpy.types.ShaderNode:
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = bpy.data.images.load(str(image), check_existing=True)
    return node
