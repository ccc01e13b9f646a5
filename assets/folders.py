"""Models, images and surroundings in a user's own folders, ShapeNetCore.v2 among them.

Licence and creator come from a ``credits.yaml`` at the top of the folder (keys ``licence`` and ``creator``).
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from assets.catalog import Asset, AssetKind
from assets.memory import Memory, Remembered
from assets.models import MESH_SUFFIXES, Model
from assets.store import HDRI_SUFFIXES, READ_IMAGES, AssetStore
from vosforge.config import Record, read_config
from vosforge.errors import InputError, MachineError, VOSForgeError
from vosforge.trouble import unread

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


def image_assets(
    root: Path, store: AssetStore, memory: Memory | None = None
) -> Iterator[tuple[Path, Asset | VOSForgeError]]:
    """The images below ``root`` as textures in ``store``; for an unreadable one, the error.

    ``memory``: the store's; without it every image is read.
    """

    def put(path: Path) -> str:
        return store.put_image(path.read_bytes(), path.suffix)

    return _prepared(root, READ_IMAGES, "texture", put, memory)


def hdri_assets(
    root: Path, store: AssetStore, memory: Memory | None = None
) -> Iterator[tuple[Path, Asset | VOSForgeError]]:
    """The HDRIs below ``root``, put into ``store``, as `image_assets` does."""
    return _prepared(root, HDRI_SUFFIXES, "hdri", store.put_hdri, memory)


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
    root: Path, suffixes: Iterable[str], kind: AssetKind, put: Callable[[Path], str], memory: Memory | None
) -> Iterator[tuple[Path, Asset | VOSForgeError]]:
    credits = _credits(root)
    for path in _files(root, suffixes):
        what = json.dumps([kind, str(path), str(root), credits.model_dump()])
        known = memory.recall(what, path) if memory is not None else None
        if known is not None:
            yield path, known.asset or InputError(known.warnings[0])
            continue
        sources = memory.trees.own(path) if memory is not None else None
        found: Asset | VOSForgeError
        try:
            name, category, source = path.stem, path.parent.name, _source(root, path)
            found = Asset(
                hash=put(path), kind=kind, name=name, category=category, source=source, **credits.model_dump()
            )
        except MachineError as error:
            found = error
        except (InputError, OSError, MemoryError) as error:
            found = unread(path, error, InputError(f"{path}: {error}"))
        if memory is not None and sources is not None and not isinstance(found, MachineError):
            asset = found if isinstance(found, Asset) else None
            memory.keep(what, Remembered(sources=sources, asset=asset, warnings=() if asset else (str(found),)))
        yield path, found
