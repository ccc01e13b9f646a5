"""Prepares a run's catalog from procedural models, an installed pack, or the user's folders."""

import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from assets.catalog import Asset, Catalog
from assets.folders import MESH_SUFFIXES, QUARANTINE, folder_models, hdri_assets, image_assets, unread_files
from assets.models import Model, pick_models
from assets.packs import PACKS, pack_models
from assets.procedural import procedural_catalog
from assets.settings import AssetSettings
from assets.store import AssetStore
from assets.surroundings import hdri_catalog
from render.farm.events import Done
from render.farm.process import BlenderCrashError, BlenderProcess, BlenderUnusableError
from vosforge.errors import InputError, MachineError, VOSForgeError
from vosforge.log import console, logger
from vosforge.processes import cores
from vosforge.progress import progress
from vosforge.seeding import rng_for
from vosforge.trouble import attempting


class Prepared(NamedTuple):
    """The result for a model: its catalog entry and warnings, or why it is unusable."""

    model: Model
    asset: Asset | None
    warnings: tuple[str, ...]
    unknown: bool = False
    """Whether reading failed because of the machine, not the model."""


class CheckedFolder(NamedTuple):
    """What a check found: a line a problem, how many assets can be used, and how many files cannot.

    ``unread``: number of files that the machine could not read.
    """

    problems: tuple[str, ...]
    usable: int
    unusable: int
    unread: int = 0


def build_catalog(settings: AssetSettings, seed: int, store: AssetStore) -> Catalog:
    """Models, textures and surroundings, all prepared in ``store``; broken ones are named and left out.

    Raises InputError for a pack that is not installed or a folder that is not there, VOSForgeError when none of the
    models can be prepared.
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
    catalog = procedural_catalog(store, own_meshes, own_textures, seed)
    if known:
        chosen = pick_models(known, count, rng_for(seed, "models", models))
        catalog = _prepared_catalog(models, chosen, store) + catalog
    if settings.textures is not None:
        catalog += _images(settings.textures, image_assets(settings.textures, store))
    if settings.hdris is not None:
        return catalog + _images(settings.hdris, hdri_assets(settings.hdris, store))
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
        for model, asset, warnings, unknown in _prepare(folder_models(root), store):
            problems += warnings
            usable += asset is not None
            unread += unknown
            unusable += [model.path] if asset is None and not unknown else []
        for path, found in (*image_assets(root, store), *hdri_assets(root, store)):
            usable += isinstance(found, Asset)
            if isinstance(found, VOSForgeError):
                problems.append(str(found))
                unread += isinstance(found, MachineError)
                unusable += [path] if not isinstance(found, MachineError) else []
    if not usable and not problems:
        raise InputError(f"{root} holds no mesh files, images or HDRIs: name another folder")
    if quarantine:
        for path in unusable:
            target = root / QUARANTINE / path.relative_to(root)
            with attempting(f"move {path} to {target}"):
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
    return CheckedFolder(tuple(problems), usable, len(unusable), unread)


def _prepared_catalog(name: str, models: Sequence[Model], store: AssetStore) -> Catalog:
    assets = []
    for found in _prepare(models, store):
        if found.unknown:  # a catalog is pinned: what is missing in it now would be missing for good
            raise MachineError(found.warnings[0])
        for warning in found.warnings:
            logger.warning("%s%s", "" if found.asset else "left out: ", warning)
        if found.asset is not None:
            assets.append(found.asset)
    if not assets:
        raise VOSForgeError(f"none of the models of {name} could be prepared: see the lines above")
    return Catalog.of(assets)


def _prepare(models: Sequence[Model], store: AssetStore) -> Iterator[Prepared]:
    """Prepare ``models`` in one Blender process per core; results are in order."""
    workers = max(1, min(cores(), len(models)))
    local = threading.local()
    with (
        tempfile.TemporaryDirectory(prefix="vosforge-prepare-") as folder,
        ExitStack() as processes,
        ThreadPoolExecutor(workers) as pool,
        progress("preparing", len(models)) as bar,
    ):

        def prepare(model: Model) -> Prepared:
            if not hasattr(local, "blender"):
                log = Path(folder) / f"{threading.get_ident()}.log"
                local.blender = processes.enter_context(BlenderProcess(log))
            job = {"do": "prepare", "model": model, "store": str(store.root.resolve())}
            try:
                try:
                    *_, outcome = local.blender.run(job)
                except BlenderCrashError:  # perhaps not the model's fault: a fresh process may read it
                    *_, outcome = local.blender.run(job)
            except BlenderUnusableError:
                raise
            except VOSForgeError as error:
                unknown = isinstance(error, MachineError) or (isinstance(error, BlenderCrashError) and error.lost)
                return Prepared(model, None, (_about(model, str(error)),), unknown)
            assert isinstance(outcome, Done)
            return Prepared(model, outcome.result, tuple(_about(model, line) for line in outcome.warnings))

        for found in pool.map(prepare, models):
            bar.advance(found.model.name)
            yield found


def _about(model: Model, line: str) -> str:
    """``line`` prefixed with the model's name, unless it already names the file."""
    where = model.source if model.member else str(model.path)
    return line if where in line else f"{where}: {line}"


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
