"""What an imported material becomes: the look of a surface, with its images in the store. In a Blender worker only."""

import os
import re
from pathlib import Path

import bpy

from assets.prepared import Material
from assets.store import AssetStore
from vosforge.errors import InputError

PACKED_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "TARGA": ".tga", "TIFF": ".tif", "BMP": ".bmp"}


def read_material(
    block: bpy.types.Material | None, folder: Path, root: Path, store: AssetStore, warnings: list[str]
) -> Material:
    """The prepared material of ``block``; its images go into ``store``, what is left out into ``warnings``.

    Images are taken from below ``root`` only; those not where the mesh file says are looked for in its ``folder``.
    """
    shader = _principled(block)
    if block is None or shader is None:
        return Material()
    values = {name: shader.inputs[name].default_value for name in ("Base Color", "Metallic", "Roughness", "Alpha")}
    color, alpha = _image(shader.inputs["Base Color"]), _image(shader.inputs["Alpha"])
    texture = None if color is None else _keep_image(color, folder, root, store, warnings)
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


def _keep_image(image: bpy.types.Image, folder: Path, root: Path, store: AssetStore, warnings: list[str]) -> str | None:
    """The content hash of an image that lies below ``root`` or in the mesh file; else None, and a warning says why."""
    path, root = _file(image), root.resolve()
    try:
        if image.packed_file is not None:
            suffix = PACKED_SUFFIXES.get(image.file_format, f".{image.file_format.lower()}")
            return store.put_image(bytes(image.packed_file.data), suffix)
        found = _found(path, folder.resolve(), root)
        if found is not None:
            return store.put_image(found.read_bytes(), found.suffix)
        if path.is_relative_to(root):
            warnings.append(f"the image {path.relative_to(root)} is missing: put it beside the mesh file")
        else:
            warnings.append(f"the image {path} lies outside the mesh's folder: put it beside the mesh file")
    except InputError as error:
        warnings.append(f"the image {path.name or image.name}: {error}")
    return None


def _found(path: Path, folder: Path, root: Path) -> Path | None:
    """The file below ``root`` that ``path`` means, also where it was written on Windows; None if there is none."""
    meant = Path(os.path.normpath(str(path).replace("\\", "/")))
    for place in (path, meant, folder / meant.name):
        if not place.is_relative_to(root):
            continue
        here: Path | None = root
        for part in place.relative_to(root).parts:
            here = _entry(here, part) if here is not None else None
        if here is not None and here.is_file() and here.resolve().is_relative_to(root):
            return here
    return None


def _entry(folder: Path, name: str) -> Path | None:
    """The entry ``name`` of ``folder``; if there is none, the first whose name differs in letter case only."""
    if (folder / name).exists():
        return folder / name
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    return next((entry for entry in entries if entry.name.lower() == name.lower()), None)
