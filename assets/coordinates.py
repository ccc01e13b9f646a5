"""Checks coordinates of OBJ, PLY and STL files before Blender's importers read them in single precision.

The importers read NaN as 0, drop faces with invalid indices, and round coordinates far from the origin.
"""

import os
import re
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from assets.ply import read_ply
from assets.references import find_below
from vosforge.errors import InputError

MOVED_FROM = 100.0
"""Meshes farther from the origin than this many times their size are moved there: float32 holds 7 digits."""
OBJ_VERTEX = re.compile(rb"^[ \t]*v[ \t]+([^\r\n]*)", re.MULTILINE)
OBJ_FACE = re.compile(rb"^[ \t]*f[ \t]+([^\r\n]*?)(?=[ \t]#|[\r\n]|\Z)", re.MULTILINE)
OBJ_VERTEX_OR_FACE = re.compile(rb"^[ \t]*([vf])[ \t]+([^\r\n]*?)(?=[ \t]#|[\r\n]|\Z)", re.MULTILINE)
OBJ_LIBRARY = re.compile(rb"^[ \t]*mtllib[ \t]+([^\r\n]*?)[ \t\r]*$", re.MULTILINE)
STL_VERTEX = re.compile(rb"^[ \t]*vertex[ \t]+([^\r\n]*)", re.MULTILINE | re.IGNORECASE)
STL_HEADER = 84
STL_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


class CheckedMesh(NamedTuple):
    """A mesh file that is safe to import, and warnings about missing parts, one line each."""

    path: Path
    warnings: tuple[str, ...] = ()


def check_coordinates(path: Path, root: Path, scratch: Path) -> CheckedMesh:
    """Return ``path``, or a copy in the folder ``scratch`` that importers read exactly; other formats pass unchanged.

    The copy lies near the origin and refers to its material libraries below ``root``. Raises InputError for
    non-finite vertices and for faces with invalid vertex indices.
    """
    match path.suffix.lower():
        case ".obj":
            return _check_obj(path, root, scratch)
        case ".stl":
            return _check_stl(path, scratch)
        case ".ply":
            return _check_ply(path, scratch)
    return CheckedMesh(path)


def _check_obj(path: Path, root: Path, scratch: Path) -> CheckedMesh:
    data = re.sub(rb"\\\r?\n", b" ", path.read_bytes())
    points = _numbers(path, [match.group(1).split(None, 3)[:3] for match in OBJ_VERTEX.finditer(data)])
    _check_obj_faces(path, data, len(points))
    named = {match.group(1): _library(path, match.group(1), root) for match in OBJ_LIBRARY.finditer(data)}
    own = path.with_suffix(".mtl")
    missing = [line.decode(errors="replace") for line, found in named.items() if found is None and not own.is_file()]
    warnings = tuple(f"its materials, {name}, are missing: put the file beside the mesh file" for name in missing)
    move = _move(points)
    as_written = all(found is None or found == path.parent / _text(line) for line, found in named.items())
    if move is None and as_written:
        return CheckedMesh(path, warnings)
    if move is not None:
        data = _moved(OBJ_VERTEX, b"v ", data, points - move)
    if own.is_file():  # Blender also reads the library named like the mesh file
        data = b"mtllib \n" + data
        named[b""] = own
    data = OBJ_LIBRARY.sub(lambda match: b"mtllib " + _seen_from(scratch, named[match.group(1)]), data)
    return CheckedMesh(_copy(path, scratch, data), warnings)


def _library(path: Path, line: bytes, root: Path) -> Path | None:
    """Find the material library that an OBJ file names; case-insensitive, accepts Windows paths."""
    meant = path.parent / _text(line)
    return meant if meant.is_file() else find_below(root.resolve(), path.parent.resolve(), meant)


def _text(line: bytes) -> str:
    return line.decode(errors="surrogateescape")


def _seen_from(scratch: Path, library: Path | None) -> bytes:
    """The path of a library relative to ``scratch``: Blender looks for the library's images beside it."""
    return b"" if library is None else os.fsencode(os.path.relpath(library.resolve(), scratch.resolve()))


def _check_obj_faces(path: Path, data: bytes, count: int) -> None:
    """Raise InputError for the first face with an invalid vertex index; negative indices count back from the face."""
    fields = b" ".join(match.group(1) for match in OBJ_FACE.finditer(data)).split()
    indices = _indices(path, fields)
    if not len(indices):
        return
    bad = (indices == 0) | (indices > count)
    if (indices < 0).any():
        before, so_far = [], 0
        for match in OBJ_VERTEX_OR_FACE.finditer(data):
            if match.group(1) == b"v":
                so_far += 1
            else:
                before += [so_far] * len(match.group(2).split())
        bad |= -indices > np.array(before)
    if bad.any():
        raise _points_nowhere(path, int(indices[bad][0]), count)


def _indices(path: Path, fields: list[bytes]) -> NDArray[np.int64]:
    try:
        return np.array([field.partition(b"/")[0] for field in fields], "S").astype(np.int64)
    except (ValueError, OverflowError):
        raise InputError(f"the mesh {path} has faces that are not numbers: export it again") from None


def _check_ply(path: Path, scratch: Path) -> CheckedMesh:
    data = path.read_bytes()
    try:
        ply = read_ply(data)
    except (ValueError, IndexError):
        raise InputError(f"the mesh {path} is truncated or does not match its header: export it again") from None
    if ply is None:  # the importer reports the error
        return CheckedMesh(path)
    _check_finite(path, ply.points)
    bad = (ply.indices < 0) | (ply.indices >= len(ply.points))
    if bad.any():
        raise _points_nowhere(path, int(ply.indices[bad][0]), len(ply.points))
    move = _move(ply.points)
    return CheckedMesh(path if move is None else _copy(path, scratch, ply.at(ply.points - move)))


def _check_stl(path: Path, scratch: Path) -> CheckedMesh:
    data = path.read_bytes()
    if len(data) >= STL_HEADER and len(data) == STL_HEADER + 50 * struct.unpack_from("<I", data, 80)[0]:
        corners = np.frombuffer(data, STL_TRIANGLE, offset=STL_HEADER)["corners"]
        _check_finite(path, corners.reshape(-1, 3))
        return CheckedMesh(path)
    points = _numbers(path, [match.group(1).split() for match in STL_VERTEX.finditer(data)])
    move = _move(points)
    return CheckedMesh(
        path if move is None else _copy(path, scratch, _moved(STL_VERTEX, b"vertex ", data, points - move))
    )


def _moved(vertex: re.Pattern[bytes], keyword: bytes, data: bytes, points: NDArray[np.float64]) -> bytes:
    """Replace the text's vertices, in order, with ``points [V, 3]``; the rest of each line is unchanged."""
    rows = iter(points.tolist())

    def line(match: re.Match[bytes]) -> bytes:
        numbers = [repr(number).encode() for number in next(rows)]
        return keyword + b" ".join([*numbers, *match.group(1).split()[3:]])

    return vertex.sub(line, data)


def _numbers(path: Path, fields: list[list[bytes]]) -> NDArray[np.float64]:
    """Parse positions ``[V, 3]``. Raises InputError for values that are not numbers."""
    if not fields:
        return np.empty((0, 3))
    try:
        points = np.array(fields, "S").astype(np.float64)
    except ValueError:
        raise _no_numbers(path) from None
    if points.shape[1:] != (3,):
        raise _no_numbers(path)
    _check_finite(path, points)
    return points


def _check_finite(path: Path, points: NDArray) -> None:
    if not np.isfinite(points).all():
        raise _no_numbers(path)


def _no_numbers(path: Path) -> InputError:
    return InputError(f"the mesh {path} has vertices that are NaN or infinite: export it again")


def _points_nowhere(path: Path, index: int, count: int) -> InputError:
    return InputError(f"the mesh {path} has a face with vertex {index}, but {count} vertices: export it again")


def _move(points: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The centre of ``points [V, 3]`` if they are far from the origin relative to their extent, else None."""
    if not len(points):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    return middle if np.abs(middle).max() > MOVED_FROM * np.linalg.norm(high - low) else None


def _copy(path: Path, scratch: Path, data: bytes) -> Path:
    copy = scratch / path.name
    copy.write_bytes(data)
    return copy
