"""Check a mesh file's references before an importer follows them: nothing remote, nothing outside its folder."""

import json
import os
import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from vosforge.errors import InputError

GLB_MAGIC = b"glTF"
JSON_CHUNK = 0x4E4F534A
USD_TEXT = b"#usda"
USD_REFERENCE = re.compile(rb"@([^@\n]+)@")


def check_references(path: Path, root: Path | None = None) -> None:
    """Raise InputError when the mesh file ``path`` refers to files outside ``root``, or is a broken glTF file.

    ``root`` is the folder the user named; by default the mesh file's own.

    Reads glTF (also binary) and USD in text form. Binary USD hides its references: its images are looked at when they
    are imported, as those of OBJ and FBX files are.
    """
    allowed = (root or path.parent).resolve()
    for reference, needed in references_of(path):
        target = (path.parent / unquote(reference)).resolve()
        if "://" in reference or not target.is_relative_to(allowed):
            raise InputError(
                f"{path} refers to '{reference}' outside its folder: this is unsafe; put all files in one folder"
            )
        if needed and not target.is_file():
            raise InputError(f"{path} refers to '{reference}', which is missing: put it beside the file")


def references_of(path: Path) -> Iterator[tuple[str, bool]]:
    """The files it refers to, and whether each is essential (a mesh can do without its images)."""
    suffix = path.suffix.lower()
    if suffix in (".gltf", ".glb"):
        document = _gltf_document(path)
        for key in ("buffers", "images"):
            for item in document.get(key) or ():
                uri = item.get("uri") if isinstance(item, dict) else None
                if uri is not None and not str(uri).startswith("data:"):
                    yield str(uri), key == "buffers"
    elif suffix in (".usd", ".usda"):
        data = path.read_bytes()
        if data.startswith(USD_TEXT):
            # Composition arcs and images alike stand between @ signs.
            yield from ((match.decode(errors="replace"), False) for match in USD_REFERENCE.findall(data))


def _gltf_document(path: Path) -> dict[str, Any]:
    """The JSON of a glTF file (glTF 2.0, section 4.4 for the binary container)."""
    data = path.read_bytes()
    try:
        if path.suffix.lower() == ".glb":
            magic, _version, _length, size, kind = struct.unpack_from("<4sIIII", data)
            if magic != GLB_MAGIC or kind != JSON_CHUNK:
                raise ValueError("it has no glTF header")
            data = data[20 : 20 + size]
        document = json.loads(data)
        if not isinstance(document, dict) or "asset" not in document:
            raise ValueError("it is not a glTF document")
    except (ValueError, struct.error, RecursionError) as error:
        raise InputError(f"{path} is not a glTF file ({error}): export it again") from None
    return document


def find_below(root: Path, folder: Path, meant: Path) -> Path | None:
    """The file below ``root`` that the path ``meant`` refers to, ignoring case and accepting Windows paths.

    If it is not there, it is looked up in ``folder`` by name. root, folder: resolved. None if not found.
    """
    plain = Path(os.path.normpath(str(meant).replace("\\", "/")))
    for place in (meant, plain, folder / plain.name):
        if not place.is_relative_to(root):
            continue
        here: Path | None = root
        for part in place.relative_to(root).parts:
            here = _entry(here, part) if here is not None else None
        if here is not None and here.is_file() and here.resolve().is_relative_to(root):
            return here
    return None


def _entry(folder: Path, name: str) -> Path | None:
    """The entry ``name`` of ``folder``, or the first that differs in case only."""
    if (folder / name).exists():
        return folder / name
    if not folder.is_dir():
        return None
    other = _by_lower_case(folder, folder.stat().st_mtime_ns).get(name.lower())
    return None if other is None else folder / other


@lru_cache(maxsize=64)
def _by_lower_case(folder: Path, _changed: int) -> dict[str, str]:
    """The first name in ``folder`` of each that differ in letter case only: a folder may hold thousands of models."""
    return {name.lower(): name for name in sorted((entry.name for entry in folder.iterdir()), reverse=True)}
