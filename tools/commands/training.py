"""Trains all three networks on a rendered data set in order, reusing trained ones and resuming unfinished ones."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tools.commands.validating import PageWriter, validation
from train.checkpoint import differences, read_checkpoint
from train.data.sources import Source, kind_of, open_sources
from train.distributed import from_main, is_main, joined
from train.fusion import train_fusion
from train.loop import OnStep
from train.propagation import train_propagation
from train.s2m import train_s2m
from train.settings import (
    MAIN,
    NETWORKS,
    RANDOM,
    FusionSettings,
    PropagationSettings,
    Recipe,
    S2MSettings,
    TrainSettings,
)
from train.start import start_file
from vosforge.config import named
from vosforge.errors import InputError
from vosforge.files import write_sealed
from vosforge.log import console
from vosforge.progress import ProgressBar, progress, shown
from vosforge.trouble import attempting
from vosforge.videos import ShardSet
from vosforge.videos.video import Video


class _Part(NamedTuple):
    """A network in a stage: its settings, data, folder, and the network of the stage before."""

    kind: str
    stage: str
    settings: TrainSettings
    data: tuple[str, ...]
    out: Path
    before: Path | None


def train_in_processes(
    data: Sequence[str],
    recipe: Recipe,
    out: Path,
    networks: Sequence[str],
    stage: str | None,
    address: str | None,
    processes: int | None,
) -> bool:
    """Call `train_networks` in all processes: those of Ray with ``address`` or ``processes``, else those of torchrun.

    Returns whether this process reports. Without any of them, it is the only one.
    """
    job = partial(train_networks, data, recipe, out, networks, stage)
    if address is None and processes is None:
        with joined():
            job()
            return is_main()
    from train.cluster import train_on_ray  # needs Ray

    parts = [part for kind in networks for part in _parts(kind, data, recipe, out) if stage in (None, part.stage)]
    train_on_ray(job, address, processes, gpus=any(part.settings.device != "cpu" for part in parts))
    return True


def train_networks(
    data: Sequence[str], recipe: Recipe, out: Path, networks: Sequence[str] = NETWORKS, stage: str | None = None
) -> dict[str, bool]:
    """Train ``networks`` on the training splits of a mix of ``data``, texts as of `Source`; returns which were reused.

    ``stage``: the one stage of the recipe to train; None: all. The last stage's networks are in ``out``, those of the
    others in folders below, named for their stages. A network already trained there with the same recipe and videos is
    kept, and one whose training was ended resumes at its last checkpoint. Every process of a run calls this.
    Raises InputError without training videos, for fusion without a propagation network in ``out``, and where an
    unfinished run had another recipe or other videos.
    """
    named("stage", stage or MAIN, {**recipe.stages, MAIN: recipe})
    all_parts = (part for kind in NETWORKS if kind in networks for part in _parts(kind, data, recipe, out))
    parts = [part for part in all_parts if stage in (None, part.stage)]
    lacking = ("propagation", MAIN) not in {(part.kind, part.stage) for part in parts}
    if lacking and "fusion" in {part.kind for part in parts} and not (out / "propagation.pth").exists():
        raise InputError(f"{out} holds no propagation network, which fusion needs: train propagation too")
    opened = [_opened(part) for part in parts]  # what cannot be trained on is named before hours of work
    trained = [_train(part, data, out / "propagation.pth") for part, data in zip(parts, opened, strict=True)]
    reused = list(zip((part.kind for part in parts), trained, strict=True))
    return {kind: all(kept for one, kept in reused if one == kind) for kind, _ in reused}


def _parts(kind: str, data: Sequence[str], recipe: Recipe, out: Path) -> Iterator[_Part]:
    """The stages of a network."""
    before = None
    for name, stage in recipe.stages.items():
        if (settings := getattr(stage, kind)) is not None:
            where = stage.data or tuple(f"{text},stills=true" if stage.stills else text for text in data)
            yield _Part(kind, name, settings, where, out / name, before)
            before = out / name / f"{kind}.pth"
    yield _Part(kind, MAIN, getattr(recipe, kind), tuple(data), out, before)


class _Data(NamedTuple):
    """What a part is trained and validated on, and a digest of it."""

    videos: Sequence[Video]
    held_out: Sequence[Video]
    content: str


def _opened(part: _Part) -> _Data:
    """The data of a part; InputError without training videos."""
    sources = [Source.parse(text) for text in part.data]
    sets = [ShardSet(source.place) for source in sources if kind_of(source) == "shards"]
    held_out = [video for shards in sets for video in shards.split("val")]
    if sets and sources == [Source(place=sources[0].place)]:
        videos = sets[0].split("train")
        if not videos:
            raise InputError(f"{part.data[0]} has no videos in its split 'train': render some first")
        rows = "".join(row.model_dump_json() for row in sets[0].videos)
        return _Data(videos, held_out, hashlib.sha256(rows.encode()).hexdigest())
    frames = part.settings.longest_clip if isinstance(part.settings, PropagationSettings) else 1
    mix = open_sources(sources, frames)
    return _Data(mix, held_out, mix.digest())


def _train(part: _Part, data: _Data, propagation: Path) -> bool:
    """Train a network in a stage; returns whether it was trained before. ``propagation``: what fusion learns from."""
    kind, out, settings = part.kind, part.out, part.settings
    if part.before is not None and settings.init == RANDOM and getattr(settings, "imagenet", None) is None:
        if not part.before.exists():
            raise InputError(f"the stage '{part.stage}' starts from {part.before}, which is missing: train that first")
        settings = settings.model_copy(update={"init": str(part.before)})
    teacher = propagation if kind == "fusion" else None
    basis = from_main(_basis(part.settings, data.content, teacher, start_file(settings)))
    note = out / f"{kind}.basis"
    trained = (out / f"{kind}.pth").exists() and note.exists() and not differences(note.read_text(), basis)
    if from_main(trained):
        if is_main():
            console.print(f"{kind}: already trained on these videos, reusing {shown(out / f'{kind}.pth')}")
        return True
    read_checkpoint(out / f"{kind}.checkpoint.pth", basis, mapped=True)  # refuses before the videos are prepared
    if is_main():
        note.unlink(missing_ok=True)
    page = PageWriter(out)
    validate = validation(kind, data.held_out, settings, out, propagation)
    with attempting(f"train {kind} into {out}"), _bar(kind, page) as on_step:
        if isinstance(settings, S2MSettings):
            train_s2m(data.videos, settings, out, on_step, basis=basis, validate=validate)
        elif isinstance(settings, PropagationSettings):
            train_propagation(data.videos, settings, out, on_step, basis=basis, validate=validate)
        elif isinstance(settings, FusionSettings):
            train_fusion(data.videos, settings, out, on_step, propagation, basis=basis, validate=validate)
    if is_main():
        write_sealed(note, basis)
        page.write()
    from_main(None)  # the next network needs the files of this one
    return False


def _basis(settings: TrainSettings, content: str, teacher: Path | None, start: Path | None) -> str:
    """All that a network depends on, a line each, as ``train.checkpoint.BASES`` names them."""
    # Fusion is trained on what the propagation network in the output folder gives, whoever trained that.
    taught_by = _file_hash(teacher) if teacher is not None and teacher.exists() else ""
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
