"""Trains all three networks on a rendered data set in order, reusing trained ones and resuming unfinished ones."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.commands.validating import PageWriter, validation
from train.checkpoint import differences
from train.distributed import from_main, is_main, joined
from train.fusion import train_fusion
from train.loop import OnStep
from train.propagation import train_propagation
from train.s2m import train_s2m
from train.settings import Recipe, TrainSettings
from train.start import start_file
from vosforge.errors import InputError
from vosforge.files import write_sealed
from vosforge.log import console
from vosforge.progress import ProgressBar, progress, shown
from vosforge.trouble import attempting
from vosforge.videos import Place, ShardSet
from vosforge.videos.video import Video

NETWORKS = ("s2m", "propagation", "fusion")
"""In training order: fusion learns from propagation's results."""


def train_networks(data: Place, recipe: Recipe, out: Path, networks: Sequence[str] = NETWORKS) -> dict[str, bool]:
    """Train ``networks`` on the training split of the data set ``data``; returns which were reused.

    A network already trained in ``out`` with the same recipe and videos is kept, and one whose training was ended
    resumes at its last checkpoint. Under torchrun the processes train together. Raises InputError without training
    videos, for fusion without a propagation network in ``out``, and where an unfinished run had another recipe or other
    videos.
    """
    with joined():
        return _train(data, recipe, out, networks)


def _train(data: Place, recipe: Recipe, out: Path, networks: Sequence[str]) -> dict[str, bool]:
    shards = ShardSet(data)
    videos: Sequence[Video] = shards.split("train")
    if not videos:
        raise InputError(f"{data} has no videos in its split 'train': render some first")
    if "fusion" in networks and "propagation" not in networks and not (out / "propagation.pth").exists():
        raise InputError(f"{out} holds no propagation network, which fusion needs: train propagation too")
    content = hashlib.sha256("".join(row.model_dump_json() for row in shards.videos).encode()).hexdigest()
    held_out, page = shards.split("val"), PageWriter(out)
    reused = {}
    for kind in (kind for kind in NETWORKS if kind in networks):
        settings = getattr(recipe, kind)
        basis = from_main(_basis(settings, content, out / "propagation.pth" if kind == "fusion" else None))
        note = out / f"{kind}.basis"
        trained = (out / f"{kind}.pth").exists() and note.exists() and not differences(note.read_text(), basis)
        reused[kind] = from_main(trained)
        if reused[kind]:
            if is_main():
                console.print(f"{kind}: already trained on these videos, reusing {shown(out / f'{kind}.pth')}")
            continue
        if is_main():
            note.unlink(missing_ok=True)
        validate = validation(kind, held_out, settings, out)
        with attempting(f"train {kind} into {out}"), _bar(kind, page) as on_step:
            if kind == "s2m":
                train_s2m(videos, recipe.s2m, out, on_step, basis=basis, validate=validate)
            elif kind == "propagation":
                train_propagation(videos, recipe.propagation, out, on_step, basis=basis, validate=validate)
            else:
                train_fusion(videos, recipe.fusion, out, on_step, basis=basis, validate=validate)
        if is_main():
            write_sealed(note, basis)
            page.write()
        from_main(None)  # the next network needs the files of this one
    return reused


def _basis(settings: TrainSettings, content: str, teacher: Path | None) -> str:
    """All that a network depends on, a line each, as ``train.checkpoint.BASES`` names them."""
    # Fusion is trained on what the propagation network in the output folder gives, whoever trained that.
    taught_by = _file_hash(teacher) if teacher is not None and teacher.exists() else ""
    start = start_file(settings)
    started_from = f"{_file_hash(start)}\n" if start is not None and start.is_file() else ""
    return f"{settings.model_dump_json()}\n{content}\n{taught_by}\n{started_from}"


@contextmanager
def _bar(kind: str, page: PageWriter) -> Iterator[OnStep | None]:
    """Shows a network's steps and loss, in the process that reports."""
    if not is_main():
        yield None
        return
    with progress(kind, note="preparing") as bar:
        yield page.beside(_losses_on(bar))


def _losses_on(bar: ProgressBar) -> OnStep:
    return lambda step, total, loss: bar.show(step, total, f"loss {loss:.3f}")


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
