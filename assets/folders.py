"""Models, images and surroundings in a user's own folders, ShapeNetCore.v2 among them.

Licence and creator come from a ``credits.yaml`` at the top of the folder (keys ``licence`` and ``creator``).
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from assets.catalog import Asset, AssetKind
from assets.models import Model
from assets.store import HDRI_SUFFIXES, READ_IMAGES, AssetStore
from vosforge.config import Record, read_config
from vosforge.errors import InputError, MachineError, VOSForgeError
from vosforge.trouble import unread

MESH_SUFFIXES = (".obj", ".ply", ".stl", ".glb", ".gltf", ".usd", ".usda", ".usdc", ".usdz", ".fbx")
UNREAD_SUFFIXES = (".blend", ".dae", ".3ds", ".max", ".ma", ".mb", ".abc", ".x3d", ".c4d", ".zip")
SHAPENET_MODEL = "models/model_normalized.obj"
QUARANTINE = "quarantine"
"""The subfolder for unusable assets; its content is never listed."""


class Credits(Record):
    """Creator and licence of a folder's assets."""

    licence: str = "unknown"
    creator: str = "unknown"


def folder_models(root: Path) -> tuple[Model, ...]:
    """The mesh files below ``root``, sorted by path; their folder's name is their category.

    Of ShapeNetCore.v2's layout (``<synset>/<model>/models/model_normalized.obj``) only those files are models, and
    synsets take their names from ``taxonomy.json`` if present. Raises InputError for a missing folder.
    """
    credits = _credits(root)
    shapenet = sorted(root.glob(f"[0-9]*/*/{SHAPENET_MODEL}"))
    if shapenet:
        names = _taxonomy(root)
        return tuple(
            _model(root, path, credits, path.parents[1].name, names.get(path.parents[2].name, path.parents[2].name))
            for path in shapenet
        )
    return tuple(_model(root, path, credits, path.stem, path.parent.name) for path in _files(root, MESH_SUFFIXES))


def unread_files(root: Path) -> list[Path]:
    """Files below ``root`` that hold models in formats VOSForge does not read."""
    return _files(root, UNREAD_SUFFIXES)


def image_assets(root: Path, store: AssetStore) -> Iterator[tuple[Path, Asset | VOSForgeError]]:
    """The images below ``root`` as textures in ``store``; for an unreadable one, the error."""
    return _prepared(root, READ_IMAGES, "texture", lambda path: store.put_image(path.read_bytes(), path.suffix))


def hdri_assets(root: Path, store: AssetStore) -> Iterator[tuple[Path, Asset | VOSForgeError]]:
    """The HDRIs below ``root``, put into ``store``; for an unreadable one, the error."""
    return _prepared(root, HDRI_SUFFIXES, "hdri", store.put_hdri)


def _files(root: Path, suffixes: Iterable[str]) -> list[Path]:
    found = (path for path in root.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    return sorted(path for path in found if QUARANTINE not in path.relative_to(root).parts)


def _model(root: Path, path: Path, credits: Credits, name: str, category: str) -> Model:
    return Model(name=name, category=category, source=_source(root, path), path=path, root=root, **credits.model_dump())


def _source(root: Path, path: Path) -> str:
    """The source of an asset, without the user's folders above ``root``."""
    return f"{root.resolve().name}/{path.relative_to(root).as_posix()}"


def _credits(root: Path) -> Credits:
    if root.is_file():
        raise InputError(f"{root} is a file: name the folder it is in")
    if not root.is_dir():
        raise InputError(f"there is no folder {root}: give a folder of models or images, or the name of a pack")
    path = root / "credits.yaml"
    return read_config(Credits, path) if path.exists() else Credits()


def _taxonomy(root: Path) -> dict[str, str]:
    """ShapeNet's synsets: number to first name; {} without the list."""
    path = root / "taxonomy.json"
    if not path.exists():
        return {}
    try:
        return {item["synsetId"]: item["name"].split(",")[0] for item in json.loads(path.read_text())}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not ShapeNet's list of synsets ({error}): restore it or remove it") from None


def _prepared(
    root: Path, suffixes: Iterable[str], kind: AssetKind, put: Callable[[Path], str]
) -> Iterator[tuple[Path, Asset | VOSForgeError]]:
    credits = _credits(root)
    for path in _files(root, suffixes):
        try:
            content = put(path)
        except MachineError as error:
            yield path, error
        except (InputError, OSError, MemoryError) as error:
            yield path, unread(path, error, InputError(f"{path}: {error}"))
        else:
            name, category, source = path.stem, path.parent.name, _source(root, path)
            yield (
                path,
                Asset(hash=content, kind=kind, name=name, category=category, source=source, **credits.model_dump()),
            )
