"""Installable packs of real models: fetched once into the cache, listed with their licences, unpacked one at a time.

Archives are untrusted: names, sizes and links in them are
checked before anything is written. Turning a model's file into arrays is Blender's work, elsewhere.
"""

import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from assets.folders import folder_models
from assets.models import Model
from vosforge.errors import InputError, VOSForgeError
from vosforge.files import cache_dir

DEBIAN_PACKAGE = "sweethome3d-furniture"
PYBULLET = "pybullet==3.2.7"
PYBULLET_MODELS = re.compile(r"pybullet_data/random_urdfs/(\d+)/(\1\.(?:obj|mtl))")
CATALOG_FILE = "PluginFurnitureCatalog.properties"
LARGEST_MODEL = 256 * 2**20
LARGEST_CATALOG = 16 * 2**20


def pack_root(name: str, cache: Path | None = None) -> Path:
    """The folder of the pack ``name``, below ``cache`` (default: the user's)."""
    if name not in PACKS:
        raise InputError(f"unknown pack '{name}'; known packs: {', '.join(PACKS)}")
    return (Path(cache) if cache is not None else cache_dir()) / "packs" / name


def install_pack(name: str, cache: Path | None = None) -> Path:
    """Fetch and unpack a pack into the cache, without installing it system-wide; returns its folder.

    An installed pack is kept. Raises InputError for an unknown pack or a missing tool,
    VOSForgeError when the download fails.
    """
    root = pack_root(name, cache)
    if root.is_dir():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=root.parent) as temporary:
        ready = Path(temporary) / "ready"
        ready.mkdir()
        PACKS[name](Path(temporary), ready)
        if not any(ready.iterdir()):
            raise VOSForgeError(f"the download of the pack {name} holds no models: report this as a bug")
        try:
            ready.rename(root)
        except OSError:  # another process was faster
            if not root.is_dir():
                raise
    return root


def _fetch_sweethome3d(folder: Path, ready: Path) -> None:
    """Debian's furniture for Sweet Home 3D: archives, each with a list of models."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise InputError(
                f"the pack sweethome3d is a Debian package and needs {tool}: install it on Debian or Ubuntu"
            )
    _run(["apt-get", "download", DEBIAN_PACKAGE], folder, "run 'apt-get update' and check the network")
    [package] = folder.glob("*.deb")
    _run(["dpkg-deb", "-x", package.name, "unpacked"], folder, "free some disk space and try again")
    for pattern in ("usr/share/*/furniture/*.sh3f", "usr/share/doc/*/copyright"):
        for path in (folder / "unpacked").glob(pattern):
            path.rename(ready / path.name)


def _fetch_pybullet(folder: Path, ready: Path) -> None:
    """The 1,000 random shapes in pybullet's wheel: OBJ files without textures."""
    options = ["--no-deps", "--only-binary", ":all:", "--python-version", "3.11", "--dest", "."]
    _run([sys.executable, "-m", "pip", "download", *options, PYBULLET], folder, "check the network")
    [wheel] = folder.glob("*.whl")
    with _opened(wheel) as archive:
        for entry in archive.infolist():
            match = PYBULLET_MODELS.fullmatch(entry.filename)
            if match and entry.file_size <= LARGEST_MODEL:
                target = ready / "shape" / match[2]
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(archive.read(entry))
    (ready / "credits.yaml").write_text("licence: Zlib\ncreator: Erwin Coumans and the Bullet Physics authors\n")


PACKS: dict[str, Callable[[Path, Path], None]] = {"sweethome3d": _fetch_sweethome3d, "pybullet": _fetch_pybullet}
"""Fetchers of packs by name; each works in the first folder and leaves the pack in the second."""


def _run(command: list[str], folder: Path, remedy: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise VOSForgeError(f"'{' '.join(command)}' failed ({said}): {remedy}")


def pack_models(name: str, root: Path | None = None) -> tuple[Model, ...]:
    """All models of an installed pack in the folder ``root`` (by default where `install_pack` puts it).

    Raises InputError when the pack is not installed and names the archive that cannot be read.
    """
    root = Path(root) if root is not None else pack_root(name)
    archives = sorted(root.glob("*.sh3f"))
    models = tuple(model for archive in archives for model in _archive_models(name, archive))
    if not models and root.is_dir():
        models = folder_models(root)
    if not models:
        raise InputError(f"the pack {name} is not in {root}: run 'vosforge assets install {name}'")
    return models


def unpack_model(model: Model, folder: Path) -> Path:
    """Extract the model's file and its siblings in the archive to ``folder``; returns the model's file.

    Raises InputError, before anything is written, for names that leave the folder, links, and models of more than
    `LARGEST_MODEL` bytes unpacked.
    """
    inside = f"{PurePosixPath(model.member).parent}/"
    with _damage_told(model.path):
        found = model.path.stat()
        archive, names, sorted_entries = _contents(model.path, (found.st_ino, found.st_mtime_ns, found.st_size))
        _checked_name(model.path, model.member)
        here = slice(bisect_left(names, inside), bisect_right(names, inside, key=lambda name: name[: len(inside)]))
        entries = [entry for entry in sorted_entries[here] if not entry.is_dir()]
        for entry in entries:
            _checked_name(model.path, entry.filename)
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise InputError(f"{model.path} holds a link ({entry.filename}): this is unsafe; remove it")
        if sum(entry.file_size for entry in entries) > LARGEST_MODEL:
            raise InputError(f"{model.member} in {model.path} is over {LARGEST_MODEL >> 20} MiB: leave it out")
        if model.member not in (entry.filename for entry in entries):
            raise InputError(f"{model.path} lists {model.member} but does not hold it: leave it out")
        for entry in entries:
            target = folder / entry.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            # zipfile never yields more than the size that was checked above, whatever the stream holds.
            with archive.open(entry) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file)
    return folder / model.member


class _Contents(NamedTuple):
    """An archive, its entries' names in alphabetical order, and its entries in the same order."""

    archive: zipfile.ZipFile
    names: list[str]
    entries: list[zipfile.ZipInfo]


@lru_cache(maxsize=4)
def _contents(path: Path, _version: tuple[int, ...]) -> _Contents:
    """Kept, since to read an archive's list anew for each of its models takes longer than to read the models."""
    archive = zipfile.ZipFile(path)
    entries = sorted(archive.infolist(), key=lambda entry: entry.filename)
    return _Contents(archive, [entry.filename for entry in entries], entries)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive ``path``; damage found now or while reading raises an InputError naming it."""
    with _damage_told(path), zipfile.ZipFile(path) as archive:
        yield archive


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, FileNotFoundError) as error:
        raise InputError(f"cannot read the archive {path} ({error}): delete its folder and install it again") from None


def _checked_name(archive: Path, name: str) -> None:
    if name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name or ":" in name:
        raise InputError(f"{archive} holds the path '{name}', which leaves its folder: this is unsafe; remove it")


def _archive_models(pack: str, path: Path) -> Iterator[Model]:
    with _opened(path) as archive:
        if CATALOG_FILE not in archive.namelist():
            raise InputError(f"{path} has no {CATALOG_FILE}: it is not a SweetHome3D library")
        if archive.getinfo(CATALOG_FILE).file_size > LARGEST_CATALOG:
            raise InputError(f"the list of models in {path} is over {LARGEST_CATALOG >> 20} MiB: leave it out")
        values = _properties(archive.read(CATALOG_FILE).decode("latin-1"))
    licence = _licence(values.get("license", "unknown"))
    numbers = (int(key.partition("#")[2]) for key in values if re.fullmatch(r"model#\d+", key))
    for number in sorted(numbers):
        item = {key: values.get(f"{key}#{number}", "") for key in ("id", "name", "category", "creator", "model")}
        rotation = values.get(f"modelRotation#{number}", "").split()
        yield Model(
            name=item["name"] or "unnamed",
            category=item["category"] or "Miscellaneous",
            licence=licence,
            creator=item["creator"] or values.get("provider", "unknown"),
            source=f"{pack}/{item['id'] or f'{path.stem}#{number}'}",
            path=path,
            member=item["model"].lstrip("/"),
            rotation=tuple(float(number) for number in rotation) if len(rotation) == 9 else (),
        )


def _properties(text: str) -> dict[str, str]:
    """A Java properties file: ``key=value`` lines, continued by a backslash, with escapes and # or ! comments."""
    values = {}
    for line in re.sub(r"\\\r?\n[ \t]*", "", text).splitlines():
        key, separator, value = line.strip().partition("=")
        if separator and not key.startswith(("#", "!")):
            value = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), value)
            values[key.strip()] = re.sub(r"\\(.)", r"\1", value).strip()
    return values


def _licence(text: str) -> str:
    """The SPDX name of a licence used by the packs; other texts unchanged."""
    plain = " ".join(text.split())
    if "public domain" in plain.lower():
        return "CC0-1.0"
    if "Attribution 3.0" in plain:
        return "CC-BY-3.0-US" if "United States" in plain else "CC-BY-3.0"
    return plain
