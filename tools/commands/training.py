"""Trains all three networks on a rendered data set in order, reusing trained ones."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from train.fusion import train_fusion
from train.loop import OnStep
from train.propagation import train_propagation
from train.s2m import train_s2m
from train.settings import Recipe
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

    A network already trained in ``out`` with the same recipe and videos is kept. Raises InputError without training
    videos, and for fusion without a propagation network in ``out``.
    """
    shards = ShardSet(data)
    videos: Sequence[Video] = shards.split("train")
    if not videos:
        raise InputError(f"{data} has no videos in its split 'train': render some first")
    if "fusion" in networks and "propagation" not in networks and not (out / "propagation.pth").exists():
        raise InputError(f"{out} holds no propagation network, which fusion needs: train propagation too")
    content = hashlib.sha256("".join(row.model_dump_json() for row in shards.videos).encode()).hexdigest()
    reused = {}
    for kind in NETWORKS:
        settings = getattr(recipe, kind)
        # Fusion is trained on what the propagation network in ``out`` gives, whoever trained that.
        teacher = out / "propagation.pth"
        taught_by = _file_hash(teacher) if kind == "fusion" and teacher.exists() else ""
        basis = f"{settings.model_dump_json()}\n{content}\n{taught_by}\n"
        note = out / f"{kind}.basis"
        if kind in networks:
            reused[kind] = (out / f"{kind}.pth").exists() and note.exists() and note.read_text() == basis
            if reused[kind]:
                console.print(f"{kind}: already trained on these videos, reusing {shown(out / f'{kind}.pth')}")
            else:
                note.unlink(missing_ok=True)
                with attempting(f"train {kind} into {out}"), progress(kind, note="preparing") as bar:
                    on_step = _losses_on(bar)
                    if kind == "s2m":
                        train_s2m(videos, recipe.s2m, out, on_step)
                    elif kind == "propagation":
                        train_propagation(videos, recipe.propagation, out, on_step)
                    else:
                        train_fusion(videos, recipe.fusion, out, on_step)
                write_sealed(note, basis)
    return reused


def _losses_on(bar: ProgressBar) -> OnStep:
    return lambda step, total, loss: bar.show(step, total, f"loss {loss:.3f}")


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
