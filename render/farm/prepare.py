"""Prepares a run's catalog from procedural models, an installed pack, or the user's folders."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from assets.catalog import Asset, Catalog
from assets.folders import QUARANTINE, folder_models, hdri_assets, image_assets, unread_files
from assets.memory import Memory, Remembered
from assets.models import MESH_SUFFIXES, Model, pick_models
from assets.packs import PACKS, pack_models
from assets.procedural import procedural_catalog
from assets.settings import AssetSettings
from assets.store import AssetStore
from assets.surroundings import hdri_catalog
from render.farm.preparing import Prepare, Prepared, prepare_here
from vosforge.errors import InputError, MachineError, VOSForgeError
from vosforge.log import console, logger
from vosforge.progress import progress
from vosforge.seeding import rng_for
from vosforge.trouble import attempting


class CheckedFolder(NamedTuple):
    """What a check found: a line a problem, how many assets can be used, and how many files cannot.

    ``unread``: number of files that the machine could not read.
    """

    problems: tuple[str, ...]
    usable: int
    unusable: int
    unread: int = 0


def build_catalog(settings: AssetSettings, seed: int, store: AssetStore, prepare: Prepare = prepare_here) -> Catalog:
    """Models, textures and surroundings, all prepared in ``store``; broken ones are named and left out.

    ``prepare``: prepares models that are not remembered. Raises InputError for a pack that is not installed or a folder
    that is not there, VOSForgeError when none of the models can be prepared.
    """
    models, count = settings.models, settings.num_meshes
    known: tuple[Model, ...] = ()
    if models != "procedural":
        known = pack_models(models) if models in PACKS else folder_models(Path(models))
        if not known:
            raise InputError(f"{models} holds no mesh files: VOSForge reads {', '.join(MESH_SUFFIXES)}")
    for folder in (settings.textures, settings.hdris):
        if folder is not None and not folder.is_dir():
            raise InputError(f"there is no folder {folder}: give a folder of images")
    console.print(f"preparing up to {count} models ({models}), textures and surroundings")
    own_meshes = count if models == "procedural" else 0
    own_textures = settings.num_textures if settings.textures is None else 0
    memory = Memory(store)
    catalog = procedural_catalog(store, own_meshes, own_textures, seed)
    if known:
        chosen = pick_models(known, count, rng_for(seed, "models", models))
        catalog = _prepared_catalog(models, chosen, store, memory, prepare) + catalog
    if settings.textures is not None:
        catalog += _images(settings.textures, image_assets(settings.textures, store, memory))
    if settings.hdris is not None:
        return catalog + _images(settings.hdris, hdri_assets(settings.hdris, store, memory))
    return catalog + hdri_catalog(store)


def check_assets(root: Path, quarantine: bool) -> CheckedFolder:
    """Try everything below ``root`` that could be an asset; with ``quarantine`` what cannot be used is moved aside.

    Meshes are imported in Blender processes, images and HDRIs are read, into a temporary store. Files that the
    machine could not read are reported and stay in place. Raises InputError when there is no such folder, or
    nothing of the kind in it, BlenderUnusableError when Blender does not start.
    """
    problems: list[str] = []
    unusable: list[Path] = []
    usable = unread = 0
    with tempfile.TemporaryDirectory(prefix="vosforge-check-") as folder:
        store = AssetStore(Path(folder))
        for path in unread_files(root):
            problems.append(f"{path} is not a supported format (and may hold scripts): export it as .glb or .obj")
            unusable.append(path)
        models = folder_models(root)
        results = {found.model: found for found in _shown(prepare_here, models, store)}
        for found in map(results.__getitem__, models):
            problems += found.warnings
            usable += found.asset is not None
            unread += found.unknown
            unusable += [found.model.path] if found.asset is None and not found.unknown else []
        for path, image in (*image_assets(root, store), *hdri_assets(root, store)):
            usable += isinstance(image, Asset)
            if isinstance(image, VOSForgeError):
                problems.append(str(image))
                unread += isinstance(image, MachineError)
                unusable += [path] if not isinstance(image, MachineError) else []
    if not usable and not problems:
        raise InputError(f"{root} holds no mesh files, images or HDRIs: name another folder")
    if quarantine:
        for path in unusable:
            target = root / QUARANTINE / path.relative_to(root)
            with attempting(f"move {path} to {target}"):
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
    return CheckedFolder(tuple(problems), usable, len(unusable), unread)


def _prepared_catalog(
    name: str, models: Sequence[Model], store: AssetStore, memory: Memory, prepare: Prepare
) -> Catalog:
    assets = []
    for found in _each(models, store, prepare, memory):
        for warning in found.warnings:
            logger.warning("%s%s", "" if found.asset else "left out: ", warning)
        if found.asset is not None:
            assets.append(found.asset)
    if not assets:
        raise VOSForgeError(f"none of the models of {name} could be prepared: see the lines above")
    return Catalog.of(assets)


def _each(models: Sequence[Model], store: AssetStore, prepare: Prepare, memory: Memory) -> list[Prepared]:
    """What each of ``models`` became, in order; what is remembered is not prepared again."""
    done: dict[Model, Prepared] = {}
    for model in models:
        if (known := memory.recall(model.model_dump_json(), model.path)) is not None:
            done[model] = Prepared(model, known.asset, known.warnings)
    if done:
        console.print(f"{len(done)} of {len(models)} models were prepared before")
    for found in _shown(prepare, [model for model in models if model not in done], store):
        if found.unknown:  # a catalog is pinned: what is missing in it now would be missing for good
            raise MachineError(found.warnings[0])
        if found.sources is not None:
            became = Remembered(sources=found.sources, asset=found.asset, warnings=found.warnings)
            memory.keep(found.model.model_dump_json(), became)
        done[found.model] = found
    return [done[model] for model in models]


def _shown(prepare: Prepare, models: Sequence[Model], store: AssetStore) -> Iterator[Prepared]:
    """Prepare ``models``, if any, with a progress display."""
    if not models:
        return
    with progress("preparing", len(models)) as bar, closing(prepare(models, store)) as results:
        for found in results:
            bar.advance(found.model.name)
            yield found


def _images(root: Path, found: Iterable[tuple[Path, Asset | VOSForgeError]]) -> Catalog:
    assets = []
    for _, item in found:
        if isinstance(item, MachineError):
            raise item
        if isinstance(item, VOSForgeError):
            logger.warning("left out: %s", item)
        else:
            assets.append(item)
    if not assets:
        raise InputError(f"{root} holds no usable image: give another folder")
    return Catalog.of(assets)
