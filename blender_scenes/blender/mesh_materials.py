"""Converts imported materials to surfaces, with images in the store. In a Blender worker only."""

import io
import re
from pathlib import Path
from typing import NamedTuple

import bpy
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assets.prepared import Material
from assets.references import find_below
from assets.store import AssetStore
from blender_scenes.blender.shader_graph import (
    RGB,
    Graph,
    Look,
    NotUnderstoodError,
    Placement,
    Value,
    constant,
    principled,
    read_look,
    resized,
)
from vosforge.errors import InputError

PACKED_SUFFIXES = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "WEBP": ".webp",
    "TARGA": ".tga",
    "TARGA_RAW": ".tga",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "JPEG2000": ".jp2",
}


class ImportedSurface(NamedTuple):
    """An imported material, with its texture coordinates and vertex colours."""

    material: Material
    placement: Placement | None = None
    """The mapping of its image."""
    vertex_colors: str = ""
    """The colour attribute that multiplies its colour; "*": the mesh's active one; "": none."""


class Materials:
    """Reads the materials of one mesh file.

    Images are read only from below ``root``; missing ones are searched in the mesh file's ``folder``. ``warnings``
    lists omissions, one line each.
    """

    def __init__(self, folder: Path, root: Path, store: AssetStore) -> None:
        self.warnings: list[str] = []
        self._folder, self._root, self._store = folder.resolve(), root.resolve(), store
        self._images: dict[bpy.types.Image, tuple[str, NDArray[np.float32] | None] | None] = {}

    def read(self, block: bpy.types.Material | None) -> ImportedSurface:
        """The surface of a material; its images go into the store."""
        if block is None:  # a mesh without a material can have vertex colours
            return ImportedSurface(Material(), vertex_colors="*")
        name = re.sub(r"\.\d{3}$", "", block.name)  # Blender appends a number to duplicate names
        try:
            look = read_look(block, self._texels)
        except NotUnderstoodError as reason:
            look = self._without_graph(block)
            self.warnings.append(f"the material {name} uses {reason}: it is rendered {_as_what(look)}")
        if look is None:
            return ImportedSurface(Material())
        self.warnings += [f"the material {name} {remark}" for remark in look.remarks]
        return self._surface(name, look)

    def _surface(self, name: str, look: Look) -> ImportedSurface:
        color, alpha = look.color, look.alpha
        if alpha.vertex_colors or (color.placement and alpha.placement and color.placement != alpha.placement):
            self.warnings.append(f"the material {name} maps alpha and colour differently: alpha is ignored")
            alpha = constant(1.0)
        seen_through = alpha.placement is not None
        texture = self._texture(color, alpha if seen_through else constant(1.0))
        material = Material(
            name=name,
            base_color=look.plain if color.placement is not None else _rgb(color),
            metallic=look.metallic,
            roughness=look.roughness,
            alpha=1.0 if seen_through else _rgb(alpha)[0],
            texture=texture,
            cutout=texture is not None and seen_through,
            cutoff=look.cutoff if texture is not None and seen_through else None,
        )
        return ImportedSurface(material, color.placement or alpha.placement, color.vertex_colors)

    def _texture(self, color: Value, alpha: Value) -> str | None:
        """The content hash of a colour and alpha as an image; the original file's hash if it is equal."""
        own_alpha = alpha.image is not None and alpha.image == color.image
        if color.image is not None and (own_alpha or alpha.placement is None):
            held = self._held(color.image)
            return None if held is None else held[0]
        if color.placement is None and alpha.placement is None:
            return None
        graph = Graph(self._texels)
        numbers, opacity = graph.numbers(color), graph.numbers(alpha)
        size = max(array.shape[:2] for array in (numbers, opacity) if array.ndim == 3)
        rgb, a = (
            np.broadcast_to(resized(array, size) if array.ndim == 3 else array, (*size, channels))
            for array, channels in ((numbers, 3), (opacity, 1))
        )
        pixels = encoded(rgb)
        if alpha.placement is not None:
            pixels = np.dstack([pixels, np.rint(a.clip(0, 1) * 255).astype(np.uint8)])
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return self._store.put_image(buffer.getvalue(), ".png")

    def _without_graph(self, block: bpy.types.Material) -> Look | None:
        """Fallback for unsupported graphs: the image linked to the colour, or the plain colour."""
        shader = principled(block)
        if shader is None:
            return None
        socket = shader.inputs["Base Color"]
        for node in _behind(socket):
            if node.type == "TEX_IMAGE" and node.image is not None and self._texels(node.image) is not None:
                color = Value(None, Placement("", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), node.extension), node.image)
                return Look(color, constant(1.0), None, 0.0, 0.5)
        return Look(Value(np.array(socket.default_value, np.float32)[:3]), constant(1.0), None, 0.0, 0.5)

    def _texels(self, image: bpy.types.Image | None) -> NDArray[np.float32] | None:
        if image is None:
            self.warnings.append("an image that the file references is missing: put it beside the mesh file")
            return None
        held = self._held(image)
        if held is None:
            return None
        content, texels = held
        if texels is None:
            with Image.open(self._store.image_path(content)) as opened:
                pixels = np.asarray(opened.convert("RGBA"))
            light = pixels / np.float32(255) if image.colorspace_settings.is_data else decoded(pixels)
            texels = np.dstack([light[..., :3], pixels[..., 3] / np.float32(255)])
            self._images[image] = content, texels
        return texels

    def _held(self, image: bpy.types.Image) -> tuple[str, NDArray[np.float32] | None] | None:
        """The content hash of an image, and its texels once requested; None if omitted."""
        if image not in self._images:
            content = self._kept(image)
            self._images[image] = None if content is None else (content, None)
        return self._images[image]

    def _kept(self, image: bpy.types.Image) -> str | None:
        """Store an image below the root or embedded in the mesh file; warn about others."""
        path = Path(bpy.path.abspath(image.filepath)).resolve()
        try:
            if image.packed_file is not None:
                suffix = PACKED_SUFFIXES.get(image.file_format, f".{image.file_format.lower()}")
                return self._store.put_image(bytes(image.packed_file.data), suffix)
            found = find_below(self._root, self._folder, path)
            if found is not None:
                return self._store.put_image(found.read_bytes(), found.suffix)
            if path.is_relative_to(self._root):
                self.warnings.append(
                    f"the image {path.relative_to(self._root)} is missing: put it beside the mesh file"
                )
            else:
                self.warnings.append(f"the image {path} lies outside the mesh's folder: put it beside the mesh file")
        except InputError as error:
            self.warnings.append(f"the image {path.name or image.name}: {error}")
        return None


def _rgb(value: Value) -> RGB:
    """The colour of a value without an image."""
    assert value.numbers is not None
    red, green, blue = (min(max(number, 0.0), 1.0) for number in np.broadcast_to(value.numbers, 3).tolist())
    return red, green, blue


def encoded(light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Linear light as sRGB in 8 bits (IEC 61966-2-1)."""
    light = light.clip(0, 1)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(curve * 255).astype(np.uint8)


def decoded(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """sRGB in 8 bits as linear light (IEC 61966-2-1)."""
    steps = np.arange(256) / 255
    light = np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4).astype(np.float32)
    linear: NDArray[np.float32] = light[pixels]
    return linear


def _as_what(look: Look | None) -> str:
    return "in grey" if look is None else "in its plain colour" if look.color.image is None else "with its image only"


def _behind(socket: bpy.types.NodeSocket) -> list[bpy.types.ShaderNode]:
    """The nodes that a socket depends on, nearest first."""
    found: list[bpy.types.ShaderNode] = []
    ahead = [link.from_node for link in socket.links]
    while ahead:
        node = ahead.pop(0)
        if node not in found:
            found.append(node)
            ahead += [link.from_node for other in node.inputs for link in other.links]
    return found
