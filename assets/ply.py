"""The vertices and faces of PLY files at the precision they are stored in."""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
HEADER = re.compile(rb"ply\s.*?^[ \t]*end_header[ \t]*\r?\n", re.DOTALL | re.MULTILINE)
INDICES = ("vertex_indices", "vertex_index")


class Property(NamedTuple):
    """One column of an element."""

    name: str
    kind: str
    """NumPy's name of its type, without the byte order."""
    size: str
    """The type of a list's length; "" for a single value."""


class Element(NamedTuple):
    """One element of a file: vertices or faces."""

    name: str
    rows: int
    properties: list[Property]


class Ply(NamedTuple):
    """A file's mesh data."""

    points: NDArray[np.float64]
    """[V, 3]"""
    indices: NDArray[np.int64]
    """The vertices of all faces, one after the other."""
    at: Callable[[NDArray[np.float64]], bytes]
    """The file with its vertices moved to ``[V, 3]``."""


def read_ply(data: bytes) -> Ply | None:
    """A PLY file; None for one without a header. Raises ValueError or IndexError for a truncated one."""
    match = HEADER.match(data)
    order, elements = (None, []) if match is None else _header(match.group())
    if match is None or order is None:
        return None
    return _read_text(data, match.end(), elements) if order == "" else _read_binary(data, match.end(), elements, order)


def _header(header: bytes) -> tuple[str | None, list[Element]]:
    """The byte order ("" for text, None if unknown) and the elements in order."""
    order, elements = None, list[Element]()
    for line in header.decode("ascii", "replace").splitlines():
        match line.split():
            case ["format", kind, _]:
                order = ORDERS.get(kind)
            case ["element", name, count] if count.isdecimal():
                elements.append(Element(name, int(count), []))
            case ["property", "list", size, kind, name] if elements and size in TYPES and kind in TYPES:
                elements[-1].properties.append(Property(name, TYPES[kind], TYPES[size]))
            case ["property", kind, name] if elements and kind in TYPES:
                elements[-1].properties.append(Property(name, TYPES[kind], ""))
            case ["property", *_]:
                return None, []
    return order, elements


def _read_text(data: bytes, start: int, elements: list[Element]) -> Ply:
    lines = data[start:].split(b"\n")
    points, indices, first, columns = np.empty((0, 3)), list[bytes](), 0, list[int]()
    at = 0
    for element in elements:
        rows = [line.split() for line in lines[at : at + element.rows]]
        if len(rows) < element.rows:
            raise ValueError("lines are missing")
        if element.name == "vertex":
            columns, first = [[each.name for each in element.properties].index(axis) for axis in "xyz"], at
            if rows:
                points = np.array([[row[column] for column in columns] for row in rows], "S").astype(np.float64)
        for row in rows if element.name == "face" else ():
            place = 0
            for each in element.properties:
                length = int(row[place]) if each.size else 1
                if each.name in INDICES:
                    indices += row[place + 1 : place + 1 + length]
                place += length + bool(each.size)
        at += element.rows

    def moved(places: NDArray[np.float64]) -> bytes:
        other = lines.copy()
        for number, place in enumerate(places.tolist()):
            fields = lines[first + number].split()
            for column, value in zip(columns, place, strict=True):
                fields[column] = repr(value).encode()
            other[first + number] = b" ".join(fields)
        return data[:start] + b"\n".join(other)

    return Ply(points, np.array(indices, "S").astype(np.int64) if indices else np.empty(0, np.int64), moved)


def _read_binary(data: bytes, start: int, elements: list[Element], order: str) -> Ply:
    points, indices, vertices = np.empty((0, 3)), list[NDArray[np.int64]](), (start, np.dtype([]), 0)
    at = start
    for element in elements:
        if any(each.size for each in element.properties):
            at, found = _lists(data, at, element, order)
            indices += found if element.name == "face" else []
            continue
        kind = np.dtype([(each.name, order + each.kind) for each in element.properties])
        rows = np.frombuffer(data, kind, element.rows, at)
        if element.name == "vertex":
            points, vertices = (
                np.stack([rows[axis].astype(np.float64) for axis in "xyz"], axis=1),
                (at, kind, len(rows)),
            )
        at += rows.nbytes

    def moved(places: NDArray[np.float64]) -> bytes:
        where, kind, count = vertices
        rows = np.frombuffer(data, kind, count, where).copy()
        for axis, values in zip("xyz", places.T, strict=True):
            rows[axis] = values
        return data[:where] + rows.tobytes() + data[where + rows.nbytes :]

    return Ply(points, np.concatenate(indices) if indices else np.empty(0, np.int64), moved)


def _lists(data: bytes, at: int, element: Element, order: str) -> tuple[int, list[NDArray[np.int64]]]:
    """The end of an element with lists, and its vertex lists."""
    if not element.rows:
        return at, []
    lengths = _lengths(data, at, element, order)
    kind = np.dtype(
        [
            column
            for place, (each, length) in enumerate(zip(element.properties, lengths, strict=True))
            for column in ((f"size {place}", order + (each.size or "u1"), int(bool(each.size))),
                           (each.name, order + each.kind, (length,)))
        ]
    )  # fmt: skip
    if at + element.rows * kind.itemsize <= len(data):
        rows = np.frombuffer(data, kind, element.rows, at)
        sizes = [(f"size {place}", length) for place, length in enumerate(lengths) if element.properties[place].size]
        if all((rows[name] == length).all() for name, length in sizes):  # all faces have as many corners
            held = [rows[each.name].ravel().astype(np.int64) for each in element.properties if each.name in INDICES]
            return at + rows.nbytes, held
    found = []
    for _ in range(element.rows):
        for each in element.properties:
            length = 1
            if each.size:
                length = int(np.frombuffer(data, order + each.size, 1, at)[0])
                at += np.dtype(each.size).itemsize
            values = np.frombuffer(data, order + each.kind, length, at)
            at += values.nbytes
            if each.name in INDICES:
                found.append(values.astype(np.int64))
    return at, found


def _lengths(data: bytes, at: int, element: Element, order: str) -> list[int]:
    """The number of values of each property in an element's first row."""
    lengths = []
    for each in element.properties:
        length = 1
        if each.size:
            length = int(np.frombuffer(data, order + each.size, 1, at)[0])
            at += np.dtype(each.size).itemsize
        at += length * np.dtype(each.kind).itemsize
        lengths.append(length)
    return lengths
