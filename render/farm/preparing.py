"""Prepares models in Blender processes: in those of this machine, or a few for another one that asks."""

import shutil
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from assets.catalog import Asset
from assets.memory import versions
from assets.models import Model
from assets.sources import Sources, Trees, sources_of
from assets.store import AssetStore
from render.farm.events import Done
from render.farm.process import BLENDER, BlenderCrashError, BlenderProcess, BlenderUnusableError
from vosforge.errors import MachineError, VOSForgeError
from vosforge.processes import cores
from vosforge.trouble import attempting


class Prepared(NamedTuple):
    """The result for a model: its catalog entry and warnings, or why it is unusable."""

    model: Model
    asset: Asset | None
    warnings: tuple[str, ...]
    unknown: bool = False
    """Whether reading failed because of the machine, not the model."""
    sources: Sources | None = None
    """The files it was made from, as they were before; None where that cannot be told."""


Prepare = Callable[[Sequence[Model], AssetStore], Generator[Prepared, None, None]]
"""Prepares models in a store; results are in any order."""


class Packed(NamedTuple):
    """A model prepared for another machine."""

    found: Prepared
    files: dict[str, bytes]
    """As `AssetStore.packed` has them."""


class NotHere(NamedTuple):
    """A model that this machine cannot prepare, though another may."""

    why: str


def prepare_here(models: Sequence[Model], store: AssetStore, start: str = BLENDER) -> Generator[Prepared, None, None]:
    """Prepare ``models`` in one Blender process per core.

    ``start``: the module of a process, as in `BlenderProcess`. Raises BlenderUnusableError if Blender does not start.
    """
    local = threading.local()
    trees = Trees()
    with (
        tempfile.TemporaryDirectory(prefix="vosforge-prepare-") as folder,
        ExitStack() as processes,
        ThreadPoolExecutor(max(1, min(cores(), len(models)))) as pool,
    ):

        def prepare(model: Model) -> Prepared:
            if not hasattr(local, "blender"):
                log = Path(folder) / f"{threading.get_ident()}.log"
                local.blender = processes.enter_context(BlenderProcess(log, start=start))
            return _prepare(model, store, local.blender, trees)

        waited = [pool.submit(prepare, model) for model in models]
        try:
            for found in as_completed(waited):
                yield found.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def prepare_packed(
    models: Sequence[Model], wanted: tuple[str, ...], start: str = BLENDER
) -> Iterator[Packed | NotHere]:
    """Prepare ``models`` one after the other for another machine, which need not see this one's folders.

    ``wanted``: the `versions` of the other machine; with any others, nothing is prepared.
    """
    if versions() != wanted:
        others = sorted(set(versions()) - set(wanted))
        yield from [NotHere(f"a node has {', '.join(others)}")] * len(models)
        return
    trees, left = Trees(), len(models)
    try:
        with (
            attempting("prepare models on a node"),
            tempfile.TemporaryDirectory(prefix="vosforge-prepare-") as folder,
            BlenderProcess(Path(folder) / "blender.log", start=start) as blender,
        ):
            answer: Packed | NotHere
            for model in models:
                if model.path.exists():
                    store = AssetStore(Path(folder) / "store")
                    found = _prepare(model, store, blender, trees)
                    answer = Packed(found, {} if found.asset is None else store.packed(found.asset))
                    shutil.rmtree(store.root)
                else:
                    answer = NotHere(f"a node does not see {model.path}")
                left -= 1
                yield answer
    except VOSForgeError as error:
        yield from [NotHere(str(error))] * left


def _prepare(model: Model, store: AssetStore, blender: BlenderProcess, trees: Trees) -> Prepared:
    sources = sources_of(model, trees)
    job = {"do": "prepare", "model": model, "store": str(store.root.resolve())}
    try:
        try:
            *_, outcome = blender.run(job)
        except BlenderCrashError:  # perhaps not the model's fault: a fresh process may read it
            *_, outcome = blender.run(job)
    except BlenderUnusableError:
        raise
    except VOSForgeError as error:
        unknown = isinstance(error, MachineError) or (isinstance(error, BlenderCrashError) and error.lost)
        return Prepared(model, None, (_about(model, str(error)),), unknown, sources)
    assert isinstance(outcome, Done)
    return Prepared(model, outcome.result, tuple(_about(model, line) for line in outcome.warnings), False, sources)


def _about(model: Model, line: str) -> str:
    """``line`` prefixed with the model's name, unless it already names the file."""
    where = model.source if model.member else str(model.path)
    return line if where in line else f"{where}: {line}"
