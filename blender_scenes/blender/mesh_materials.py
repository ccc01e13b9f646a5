"""What an imported material becomes: the look of a surface, with its images in the store. In a Blender worker only."""

import re
from pathlib import Path

import bpy

from assets.prepared import Material
from assets.store import AssetStore
from vosforge.errors import InputError

PACKED_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "TARGA": ".tga", "TIFF": ".tif", "BMP": ".bmp"}


def read_material(block: bpy.types.Material | None, folder: Path, store: AssetStore, warnings: list[str]) -> Material:
    """The prepared material of ``block``; its images go into ``store``, what is left out into ``warnings``."""
    shader = _principled(block)
    if block is None or shader is None:
        return Material()
    values = {name: shader.inputs[name].default_value for name in ("Base Color", "Metallic", "Roughness", "Alpha")}
    color, alpha = _image(shader.inputs["Base Color"]), _image(shader.inputs["Alpha"])
    texture = None if color is None else _keep_image(color, folder, store, warnings)
    red, green, blue = (min(max(float(channel), 0.0), 1.0) for channel in values["Base Color"][:3])
    return Material(
        name=re.sub(r"\.\d{3}$", "", block.name),  # Blender numbers a name that is taken
        base_color=(red, green, blue),
        metallic=min(max(values["Metallic"], 0.0), 1.0),
        roughness=min(max(values["Roughness"], 0.0), 1.0),
        alpha=min(max(values["Alpha"], 0.0), 1.0) if alpha is None else 1.0,
        texture=texture,
        cutout=texture is not None and alpha is not None and _file(alpha) == _file(color),
    )


def _principled(block: bpy.types.Material | None) -> bpy.types.ShaderNode | None:
    nodes = block.node_tree.nodes if block is not None and block.node_tree is not None else ()
    return next((node for node in nodes if node.type == "BSDF_PRINCIPLED"), None)


def _image(socket: bpy.types.NodeSocket) -> bpy.types.Image | None:
    node = socket.links[0].from_node if socket.links else None
    return node.image if node is not None and node.type == "TEX_IMAGE" else None


def _file(image: bpy.types.Image) -> Path:
    return Path(bpy.path.abspath(image.filepath)).resolve()


def _keep_image(image: bpy.types.Image, folder: Path, store: AssetStore, warnings: list[str]) -> str | None:
    """The content hash of an image that lies beside the mesh file or inside it; else None, and a warning says why."""
    path = _file(image)
    try:
        if image.packed_file is not None:
            suffix = PACKED_SUFFIXES.get(image.file_format, f".{image.file_format.lower()}")
            return store.put_image(bytes(image.packed_file.data), suffix)
        if not path.is_relative_to(folder.resolve()):
            warnings.append(f"the image {path} lies outside the mesh's folder: put it beside the mesh file")
        elif not path.is_file():
            warnings.append(f"the image {path.relative_to(folder.resolve())} is missing: put it beside the mesh file")
        else:
            return store.put_image(path.read_bytes(), path.suffix)
    except InputError as error:
        warnings.append(f"the image {path.name or image.name}: {error}")
    return None
