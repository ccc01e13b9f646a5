"""Which files a model is made from, and whether they are as they were, told by their sizes and times.

Only Blender's importers know what they read. What is told here is never less: a file that cannot refer to others stands
alone; any other counts with all files below its folder but models, or below a higher folder if its paths lead there.
"""

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from assets.coordinates import OBJ_LIBRARY
from assets.models import MESH_SUFFIXES, Model
from assets.references import references_of
from vosforge.config import Record
from vosforge.errors import InputError

ALONE = (".ply", ".stl", ".usdz")
"""Files that refer to no others."""
LAYERS = (".usd", ".usda", ".usdc")
"""Files that may be made of others of their kind, anywhere."""
PATHS = re.compile(rb'[\r\n\0"]')
"""What no path in a model's file contains: it lies between two paths."""
UP = re.compile(rb"(?:\.|%2[eE]){2}[/\\]")
ABSOLUTE = re.compile(rb'(?:\A|[\s"\0])/[\w.~ -]+/[\w.~ -]')


class Sources(Record):
    """The files something was made from."""

    folder: Path | None
    """Below it all files but models count; None if its own file alone does."""
    state: str
    """A hash over the sizes and times of all that count."""


class Trees:
    """What folders hold, each looked at once: what changes afterwards counts as changed. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[Path, str] = {}
        self._tops: dict[tuple[Path, Path], Path] = {}

    def own(self, path: Path) -> Sources | None:
        """The sources of what is made from the file ``path`` alone; None if it is not there."""
        with suppress(OSError):
            return Sources(folder=None, state=self.state(path, None))
        return None

    def state(self, path: Path, folder: Path | None) -> str:
        """As in `Sources`, of the file ``path`` and what is below ``folder``. Raises OSError if it is not there."""
        found = path.stat()
        parts = [str(path.resolve()), found.st_size, found.st_mtime_ns, folder and self._below(folder)]
        return _hash(parts)

    def top(self, folder: Path, root: Path) -> Path:
        """The highest folder that the material libraries below ``folder`` lead to."""
        with self._lock:
            if (folder, root) not in self._tops:
                libraries = [path for path in _files(folder) if path.suffix.lower() == ".mtl"]
                tops = [highest(path.parent, path.read_bytes(), root) for path in libraries]
                self._tops[folder, root] = min([folder, *tops], key=lambda top: len(top.parts))
            return self._tops[folder, root]

    def _below(self, folder: Path) -> str:
        with self._lock:
            if folder not in self._states:
                models = set(MESH_SUFFIXES) - set(LAYERS)
                files = sorted(path for path in _files(folder) if path.suffix.lower() not in models)
                stats = [(str(path.relative_to(folder)), path.stat()) for path in files if path.exists()]
                self._states[folder] = _hash([(name, found.st_size, found.st_mtime_ns) for name, found in stats])
            return self._states[folder]


def sources_of(model: Model, trees: Trees) -> Sources | None:
    """The files that ``model`` is made from; None where that cannot be told."""
    try:
        folder = None if model.member else _folder(model.path, (model.root or model.path.parent).resolve(), trees)
        return Sources(folder=folder, state=trees.state(model.path, folder))
    except (OSError, _OutsideError):
        return None


class _OutsideError(Exception):
    """A model uses a file outside its root."""


def _folder(path: Path, root: Path, trees: Trees) -> Path | None:
    suffix = path.suffix.lower()
    if suffix in ALONE:
        return None
    if suffix in LAYERS:
        return root
    try:
        if suffix in (".glb", ".gltf") and not list(references_of(path)):
            return None
    except InputError:  # no glTF file, whatever else is there
        return None
    data = path.read_bytes()
    folder = highest(path.parent.resolve(), data, root)
    if suffix != ".obj":
        return folder
    for library in OBJ_LIBRARY.findall(data):
        found = (path.parent / os.fsdecode(library)).resolve()
        if found.is_file() and not found.is_relative_to(root):
            raise _OutsideError
    while (top := trees.top(folder, root)) != folder:
        folder = top
    return folder


def highest(folder: Path, data: bytes, root: Path) -> Path:
    """The highest folder, not above ``root``, that a path in the file ``data`` may lead to from ``folder``."""
    if not folder.is_relative_to(root) or ABSOLUTE.search(data):
        return root
    steps = max(len(UP.findall(path)) for path in PATHS.split(data)) if UP.search(data) else 0
    above = [folder, *folder.parents][: len(folder.parts) - len(root.parts) + 1]
    return above[min(steps, len(above) - 1)]


def _files(folder: Path) -> Iterator[Path]:
    """All files below ``folder``, also through links."""
    seen = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(here)) in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(here, name) for name in names)


def _hash(values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode("utf-8", "surrogatepass")).hexdigest()[:32]
