"""Evaluates the shader graphs of Blender's importers to numbers and images. Runs in a Blender worker only.

Colours are linear. An unsupported graph raises `NotUnderstoodError`; nothing is guessed.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import bpy
import cv2
import numpy as np
from mathutils import Euler, Matrix
from numpy.typing import NDArray

RGB = tuple[float, float, float]
WHITE = np.ones(3, np.float32)
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Luminance weights for converting a colour to a number (Rec. 709)."""
BLACK = 0.02
"""Below this base colour, only the surface's emission is visible."""

Texels = Callable[[bpy.types.Image | None], NDArray[np.float32] | None]
"""Returns an image's pixels, float32 ``[h, w, 4]``, top row first, linear; None if the image is omitted.

Its argument is None for an image that Blender did not find."""


class NotUnderstoodError(Exception):
    """The graph uses an unsupported node; the text names it."""


class Placement(NamedTuple):
    """Texture mapping of an image: UV map ("": the active one), UV transform, and extension mode."""

    uv: str
    matrix: tuple[float, ...]
    """Row-major 2×3: UVs to texture coordinates."""
    extension: str
    """Blender's extension mode beyond the image's edges: REPEAT, EXTEND, MIRROR or CLIP."""


class Value(NamedTuple):
    """A socket's value: numbers or texels, optionally times the mesh's vertex colours."""

    numbers: NDArray[np.float32] | None
    """``[C]`` or ``[h, w, C]``, C = 1 or 3; None: the unmodified colours, or alpha, of ``image``."""
    placement: Placement | None = None
    """The texels' mapping."""
    image: bpy.types.Image | None = None
    alpha: bool = False
    """Whether ``image`` supplies its alpha instead of its colours."""
    vertex_colors: str = ""
    """The mesh's colour attribute that multiplies the numbers."""


class Look(NamedTuple):
    """A surface's appearance."""

    color: Value
    alpha: Value
    cutoff: float | None = None
    """The alpha cutoff: opaque above, absent below; None if blended."""
    metallic: float = 0.0
    roughness: float = 1.0
    plain: RGB = (0.8, 0.8, 0.8)
    """The material's colour without its image."""
    remarks: tuple[str, ...] = ()
    """Features that are not reproduced, each completing a sentence that begins with the material's name."""


def read_look(block: bpy.types.Material, texels: Texels) -> Look | None:
    """The appearance of a material; None without a shader. Raises NotUnderstoodError."""
    nodes = block.node_tree.nodes if block.node_tree is not None else ()
    output = next((node for node in nodes if node.type == "OUTPUT_MATERIAL" and node.is_active_output), None)
    if output is not None and output.inputs["Surface"].links:
        return Graph(texels).surface(output.inputs["Surface"].links[0].from_node)
    shader = principled(block)
    return None if shader is None else Graph(texels).surface(shader)


def principled(block: bpy.types.Material) -> bpy.types.ShaderNode | None:
    """The first principled shader of a material."""
    nodes = block.node_tree.nodes if block.node_tree is not None else ()
    return next((node for node in nodes if node.type == "BSDF_PRINCIPLED"), None)


class Graph:
    """Evaluates one material's nodes backwards from the output."""

    def __init__(self, texels: Texels) -> None:
        self._texels = texels

    def surface(self, node: bpy.types.ShaderNode) -> Look:
        """The appearance of a shader node."""
        match node.type:
            case "BSDF_PRINCIPLED":
                return self._principled(node)
            case "EMISSION":
                color = self._times(self.value(node.inputs["Color"]), self._dimmed(node.inputs["Strength"]))
                return Look(color, constant(1.0), plain=_rgb(node.inputs["Color"]))
            case "BSDF_DIFFUSE" | "BSDF_GLOSSY" | "BSDF_METALLIC":
                socket = node.inputs["Color" if "Color" in node.inputs else "Base Color"]
                metallic = 0.0 if node.type == "BSDF_DIFFUSE" else 1.0
                rough = 1.0 if node.type == "BSDF_DIFFUSE" else float(node.inputs["Roughness"].default_value)
                return Look(self.value(socket), constant(1.0), None, metallic, rough, _rgb(socket))
            case "MIX_SHADER":
                return self._mixed(node)
            case "REROUTE" if node.inputs[0].links:
                return self.surface(node.inputs[0].links[0].from_node)
        raise NotUnderstoodError(f"a {node.bl_label} shader")

    def _principled(self, node: bpy.types.ShaderNode) -> Look:
        base, inputs = node.inputs["Base Color"], node.inputs
        color = self.value(base)
        remarks: list[str] = []
        light = self._times(self.value(inputs["Emission Color"]), self._dimmed(inputs["Emission Strength"]))
        if light.numbers is None or light.numbers.any():
            if color.numbers is not None and color.numbers.max() <= BLACK:
                color = light
                remarks.append("is emissive: its emission is rendered as its colour")
            else:
                remarks.append("is emissive: its emission is ignored")
        alpha, cutoff = self._opacity(inputs["Alpha"])
        metallic, roughness = (_unit(inputs[name].default_value) for name in ("Metallic", "Roughness"))
        return Look(color, alpha, cutoff, metallic, roughness, _rgb(base), tuple(remarks))

    def _mixed(self, node: bpy.types.ShaderNode) -> Look:
        """The visible one of two mixed shaders, if the other is empty or invisible to the camera."""
        share, [first, second] = self.value(node.inputs[0]), [socket.links for socket in node.inputs[1:3]]
        if share.numbers is not None and share.numbers.size == 1 and float(share.numbers.item()) in (0.0, 1.0):
            shown = second if share.numbers.item() else first
            if not shown or shown[0].from_node.type == "BSDF_TRANSPARENT":
                raise NotUnderstoodError("an invisible shader")
            return self.surface(shown[0].from_node)
        clear = [bool(links) and links[0].from_node.type == "BSDF_TRANSPARENT" for links in (first, second)]
        if clear[0] and second:
            alpha, cutoff = self._opacity(node.inputs[0])
            return self.surface(second[0].from_node)._replace(alpha=alpha, cutoff=cutoff)
        if clear[1] and first:
            return self.surface(first[0].from_node)._replace(alpha=self._minus(constant(1.0), share))
        raise NotUnderstoodError("a mix of shaders")

    def _opacity(self, socket: bpy.types.NodeSocket) -> tuple[Value, float | None]:
        """A socket's alpha, and the cutoff it is compared with, if any."""
        node = socket.links[0].from_node if socket.links else None
        if node is not None and node.type == "MATH" and node.operation == "SUBTRACT" and node.inputs[1].links:
            compared = node.inputs[1].links[0].from_node  # 1 - (alpha < bound), as glTF's importer builds it
            one = not node.inputs[0].links and node.inputs[0].default_value == 1.0
            if one and compared.type == "MATH" and compared.operation == "LESS_THAN" and not compared.inputs[1].links:
                return self._cut(compared)
        if node is not None and node.type == "MATH" and node.operation == "GREATER_THAN" and not node.inputs[1].links:
            return self._cut(node)
        return self.number(socket), None

    def _cut(self, compared: bpy.types.ShaderNode) -> tuple[Value, float | None]:
        value, bound = self.number(compared.inputs[0]), float(compared.inputs[1].default_value)
        if value.numbers is not None and value.numbers.ndim == 1:
            return constant(float(value.numbers.item() > bound)), None
        return value, bound

    def _dimmed(self, strength: bpy.types.NodeSocket) -> Value:
        """An emission strength clamped to 1: an image cannot exceed white."""
        value = self.number(strength)
        return self._each(lambda numbers: numbers.clip(0, 1), value)

    def number(self, socket: bpy.types.NodeSocket) -> Value:
        """The value of a number socket."""
        value = self.value(socket)
        if value.alpha or (value.numbers is not None and value.numbers.shape[-1] == 1):
            return value
        return self._each(lambda numbers: numbers @ LUMINANCE[:, None], value)

    def value(self, socket: bpy.types.NodeSocket) -> Value:
        """The value of a socket: from its link, or its default."""
        if not socket.links:
            own = np.atleast_1d(np.array(socket.default_value, np.float32))
            return Value(own[:3] if len(own) > 1 else own)
        link = socket.links[0]
        found = self._output(link.from_node, link.from_socket)
        if found is None:  # an omitted image
            found = self._own(socket)
        return found

    def _own(self, socket: bpy.types.NodeSocket) -> Value:
        ends = socket.node.type in ("BSDF_PRINCIPLED", "EMISSION", "BSDF_DIFFUSE")
        own = np.atleast_1d(np.array(socket.default_value, np.float32))[:3] if ends else WHITE
        return Value(own)

    def _output(self, node: bpy.types.ShaderNode, output: bpy.types.NodeSocket) -> Value | None:
        match node.type:
            case "TEX_IMAGE":
                return self._picture(node, output.name == "Alpha")
            case "VERTEX_COLOR" if output.name == "Color":
                return Value(WHITE, vertex_colors=node.layer_name or "*")
            case "VERTEX_COLOR":
                return constant(1.0)
            case "ATTRIBUTE" if output.name == "Color" and node.attribute_name:
                return Value(WHITE, vertex_colors=node.attribute_name)
            case "RGB":
                return Value(np.array(output.default_value, np.float32)[:3])
            case "VALUE":
                return constant(output.default_value)
            case "LIGHT_PATH":  # what the camera sees
                return constant(float(output.name == "Is Camera Ray"))
            case "REROUTE":
                return self.value(node.inputs[0])
            case "MIX" | "MIX_RGB":
                return self._mix(node)
            case "MATH":
                inputs = [self.number(socket) for socket in node.inputs[: _operands(node)]]
                return self._calculated(node, inputs)
            case "VECT_MATH":
                inputs = [self.value(socket) for socket in node.inputs[: _operands(node)]]
                return self._calculated(node, inputs)
            case "GAMMA":
                power = self.number(node.inputs["Gamma"])
                return self._each(lambda a, b: np.maximum(a, 0) ** b, self.value(node.inputs["Color"]), power)
            case "INVERT":
                share, color = self.number(node.inputs[0]), self.value(node.inputs[1])
                return self._each(lambda f, a: a * (1 - f) + (1 - a) * f, share, color)
            case "CLAMP":
                return self._each(np.clip, *(self.number(socket) for socket in node.inputs[:3]))
            case "SEPARATE_COLOR" if node.mode == "RGB":
                which = ("Red", "Green", "Blue").index(output.name)
                return self._each(lambda numbers: numbers[..., which : which + 1], self.value(node.inputs[0]))
            case "COMBINE_COLOR" if node.mode == "RGB":
                return self._each(
                    lambda *parts: np.concatenate(np.broadcast_arrays(*parts), axis=-1),
                    *(self.number(socket) for socket in node.inputs[:3]),
                )
        raise NotUnderstoodError(f"a {node.bl_label} node")

    def _picture(self, node: bpy.types.ShaderNode, alpha: bool) -> Value | None:
        if self._texels(node.image) is None:
            return None
        if node.projection != "FLAT":
            raise NotUnderstoodError("an image that is not mapped by UVs")
        uv, matrix = _coordinates(node.inputs["Vector"])
        placement = Placement(uv, tuple(round(float(number), 9) for number in matrix.ravel()), node.extension)
        return Value(None, placement, node.image, alpha)

    def _mix(self, node: bpy.types.ShaderNode) -> Value:
        if node.type == "MIX":
            kind = {"RGBA": "_Color", "FLOAT": "_Float", "VECTOR": "_Vector"}[node.data_type]
            sockets = {socket.identifier: socket for socket in node.inputs}
            share, first, second = sockets["Factor_Float"], sockets[f"A{kind}"], sockets[f"B{kind}"]
            blend = node.blend_type if node.data_type == "RGBA" else "MIX"
        else:
            share, first, second = node.inputs
            blend = node.blend_type
        if blend not in BLENDS:
            raise NotUnderstoodError(f"a {node.bl_label} node ({blend.lower()})")
        f, a, b = self.number(share), self.value(first), self.value(second)
        if blend == "MULTIPLY" and _is(f, 1.0):
            return self._times(a, b)
        if _is(f, 0.0):
            return a
        if blend == "MIX" and _is(f, 1.0):
            return b
        return self._each(lambda f, a, b: a * (1 - f) + BLENDS[blend](a, b) * f, f, a, b)

    def _calculated(self, node: bpy.types.ShaderNode, inputs: Sequence[Value]) -> Value:
        if node.operation == "MULTIPLY":
            return self._times(*inputs)
        if node.operation not in OPERATIONS:
            raise NotUnderstoodError(f"a {node.bl_label} node ({node.operation.lower()})")
        operation = OPERATIONS[node.operation]
        result = self._each(operation, *inputs)
        return self._each(lambda numbers: numbers.clip(0, 1), result) if getattr(node, "use_clamp", False) else result

    def _times(self, a: Value, b: Value) -> Value:
        """The product; an image times 1 stays that image."""
        for one, other in ((a, b), (b, a)):
            if _is(one, 1.0) and not (one.vertex_colors and other.vertex_colors):
                return other._replace(vertex_colors=one.vertex_colors or other.vertex_colors)
        names = {value.vertex_colors for value in (a, b)} - {""}
        if len(names) > 1 or (a.vertex_colors and b.vertex_colors):
            raise NotUnderstoodError("a product of several vertex colours")
        plain = [value._replace(vertex_colors="") for value in (a, b)]
        return self._each(np.multiply, *plain)._replace(vertex_colors="".join(names))

    def _minus(self, a: Value, b: Value) -> Value:
        return self._each(np.subtract, a, b)

    def _each(self, operation: Callable[..., NDArray], *values: Value) -> Value:
        """Apply an operation per texel, at the size of the largest image."""
        if any(value.vertex_colors for value in values):
            raise NotUnderstoodError("a sum with vertex colours")
        placements = {value.placement for value in values if value.placement is not None}
        if len(placements) > 1:
            raise NotUnderstoodError("several images with different mappings")
        arrays = [self.numbers(value) for value in values]
        size = max((array.shape[:2] for array in arrays if array.ndim == 3), default=())
        arrays = [array if array.ndim == 1 else resized(array, size) for array in arrays]
        return Value(np.asarray(operation(*arrays), np.float32), next(iter(placements), None))

    def numbers(self, value: Value) -> NDArray[np.float32]:
        """The numbers of a value, ``[C]`` or ``[h, w, C]``, without its vertex colours."""
        if value.numbers is not None:
            return value.numbers
        assert value.image is not None
        pixels = self._texels(value.image)
        assert pixels is not None
        return pixels[..., 3:] if value.alpha else pixels[..., :3]


def constant(number: float) -> Value:
    """One number everywhere."""
    return Value(np.array([number], np.float32))


def resized(texels: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Texels ``[h, w, C]`` resized to ``(H, W)``."""
    if texels.shape[:2] == size:
        return texels
    other = cv2.resize(texels, size[::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32)
    return other.reshape(size[0], size[1], texels.shape[2])


BLENDS: dict[str, Callable[[NDArray, NDArray], NDArray]] = {
    "MIX": lambda a, b: b + 0 * a,
    "MULTIPLY": np.multiply,
    "ADD": np.add,
    "SUBTRACT": np.subtract,
    "SCREEN": lambda a, b: 1 - (1 - a) * (1 - b),
    "DARKEN": np.minimum,
    "LIGHTEN": np.maximum,
    "DIFFERENCE": lambda a, b: abs(a - b),
}
OPERATIONS: dict[str, Callable[..., NDArray]] = {
    "ADD": np.add,
    "SUBTRACT": np.subtract,
    "DIVIDE": lambda a, b: np.divide(a, b, out=np.zeros_like(a * b), where=b != 0),
    "MULTIPLY_ADD": lambda a, b, c: a * b + c,
    "POWER": lambda a, b: np.maximum(a, 0) ** b,
    "MINIMUM": np.minimum,
    "MAXIMUM": np.maximum,
    "LESS_THAN": lambda a, b: (a < b) * np.float32(1),
    "GREATER_THAN": lambda a, b: (a > b) * np.float32(1),
    "ROUND": lambda a: np.floor(a + 0.5),
    "ABSOLUTE": abs,
}


def _operands(node: bpy.types.ShaderNode) -> int:
    return {"ROUND": 1, "ABSOLUTE": 1, "MULTIPLY_ADD": 3}.get(node.operation, 2)


def _is(value: Value, number: float) -> bool:
    """Whether a value is this constant, ignoring vertex colours."""
    return value.numbers is not None and value.numbers.ndim == 1 and bool((value.numbers == number).all())


def _unit(number: float) -> float:
    return min(max(float(number), 0.0), 1.0)


def _rgb(socket: bpy.types.NodeSocket) -> RGB:
    red, green, blue = (_unit(channel) for channel in socket.default_value[:3])
    return red, green, blue


def _coordinates(socket: bpy.types.NodeSocket) -> tuple[str, NDArray[np.float64]]:
    """The source of an image's texture coordinates: the UV map's name ("": the active one) and a 2×3 matrix."""
    straight = np.eye(2, 3)
    if not socket.links:
        return "", straight
    node, output = socket.links[0].from_node, socket.links[0].from_socket
    match node.type:
        case "UVMAP":
            return node.uv_map, straight
        case "ATTRIBUTE" if output.name == "Vector":
            return node.attribute_name, straight
        case "TEX_COORD" if output.name == "UV":
            return "", straight
        case "REROUTE":
            return _coordinates(node.inputs[0])
        case "MAPPING":
            uv, before = _coordinates(node.inputs["Vector"])
            return uv, (_mapping(node) @ np.vstack([before, [0, 0, 1]]))[:2]
    raise NotUnderstoodError("an image that is not mapped by UVs")


def _mapping(node: bpy.types.ShaderNode) -> NDArray[np.float64]:
    """A Mapping node's 3×3 matrix for points in the plane."""
    parts = [node.inputs[name] for name in ("Location", "Rotation", "Scale") if name in node.inputs]
    if any(socket.links for socket in parts) or node.vector_type not in ("POINT", "TEXTURE", "VECTOR"):
        raise NotUnderstoodError("an image with procedural coordinates")
    turn = Euler(node.inputs["Rotation"].default_value).to_matrix()
    matrix: NDArray[np.float64] = np.array(turn @ Matrix.Diagonal(node.inputs["Scale"].default_value))[:2, :2]
    move = np.zeros(2)
    if node.vector_type != "VECTOR":
        move = np.array(node.inputs["Location"].default_value[:2], np.float64)
    if node.vector_type == "TEXTURE":  # the inverse of scale and rotation, then translation
        if not np.linalg.det(matrix):
            raise NotUnderstoodError("an empty image")
        matrix = np.linalg.inv(matrix)
        move = -matrix @ move
    return np.vstack([np.column_stack([matrix, move]), [0, 0, 1]])
