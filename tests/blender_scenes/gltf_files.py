"""Small binary glTF files of any feature, written here, so that no exporter decides what is in them."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

QUAD = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
QUAD_UV = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)  # glTF has v down
QUAD_FACES = np.array([0, 1, 2, 0, 2, 3], np.uint16)
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
COMPONENTS = {"float32": 5126, "uint16": 5123, "uint8": 5121}


class GLB:
    """A document being written."""

    def __init__(self) -> None:
        self.data = b""
        self.json: dict[str, Any] = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [], "nodes": [], "meshes": []}
        for key in ("accessors", "bufferViews", "materials", "images", "textures", "samplers"):
            self.json[key] = []

    def view(self, data: bytes) -> int:
        """A buffer view with ``data``."""
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)}
        self.data += data + b"\0" * (-len(data) % 4)
        return self.add("bufferViews", view)

    def array(self, values: np.ndarray, normalized: bool = False) -> int:
        """An accessor with ``values [N]`` or ``[N, C]``."""
        width = 1 if values.ndim == 1 else values.shape[1]
        accessor = {
            "bufferView": self.view(np.ascontiguousarray(values).tobytes()),
            "componentType": COMPONENTS[str(values.dtype)],
            "count": len(values),
            "type": KINDS[width],
            "normalized": normalized,
        }
        if values.dtype == np.float32:
            accessor |= {"min": np.atleast_1d(values.min(0)).tolist(), "max": np.atleast_1d(values.max(0)).tolist()}
        return self.add("accessors", accessor)

    def texture(self, pixels: np.ndarray, **sampler: int) -> int:
        """A texture of a PNG with ``pixels [h, w, 3 or 4]``."""
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        image = self.add("images", {"bufferView": self.view(buffer.getvalue()), "mimeType": "image/png"})
        return self.add("textures", {"source": image, "sampler": self.add("samplers", sampler)})

    def mesh(self, material: int | None, uv: tuple[np.ndarray, ...] = (QUAD_UV,), **attributes: int) -> int:
        """A mesh of one square."""
        held = {"POSITION": self.array(QUAD)} | {f"TEXCOORD_{n}": self.array(each) for n, each in enumerate(uv)}
        primitive = {"attributes": held | attributes, "indices": self.array(QUAD_FACES)}
        if material is not None:
            primitive["material"] = material
        return self.add("meshes", {"primitives": [primitive]})

    def node(self, scene: bool = True, **what: Any) -> int:
        """A node, by default in the first scene."""
        node = self.add("nodes", what)
        if scene:
            self.json["scenes"] = self.json["scenes"] or [{"nodes": []}]
            self.json["scenes"][0]["nodes"].append(node)
        return node

    def add(self, key: str, item: dict[str, Any]) -> int:
        """The item's place under ``key``."""
        self.json.setdefault(key, []).append(item)
        return len(self.json[key]) - 1

    def write(self, path: Path) -> None:
        """The file."""
        document = {key: value for key, value in self.json.items() if value not in ([], {})}
        document["buffers"] = [{"byteLength": len(self.data)}]
        text = json.dumps(document).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(self.data), 0x004E4942)
        total = 12 + len(chunks) + len(self.data)
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, total) + chunks + self.data)
