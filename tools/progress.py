"""Live progress of the long jobs, on the one console."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from assets.store import AssetStore
from render.jobs import Dataset
from render.layout import WHOLE_MACHINE, Resources
from render.shards import Place
from vosforge.log import console, progress_bar

if TYPE_CHECKING:
    from render.cluster import Progress


def render_with_progress(
    dataset: Dataset, store: AssetStore, resources: Resources = WHOLE_MACHINE, retry_quarantined: bool = False
) -> "Progress":
    """Render what ``dataset`` misses, showing frames done, frames a second and the time left."""
    from render.cluster import render_dataset  # Ray takes seconds to import, and only rendering needs it

    with progress_bar() as bar:
        task = bar.add_task("rendering", total=None, rate="starting")

        def show(progress: "Progress") -> None:
            rate = progress.frames_done / progress.seconds if progress.frames_done else 0.0
            text = f"{rate:.2f} frames/s" if rate else "starting"
            bar.update(task, total=progress.frames_total, completed=progress.frames_done, rate=text)

        done = render_dataset(dataset, store, resources, show, retry_quarantined)
    if done.redrawn or done.quarantined:
        console.print(f"drawn again after a failed check: {done.redrawn}; quarantined: {done.quarantined}")
    return done


@contextmanager
def training_progress(kind: str) -> Iterator[Callable[[int, int, float], None]]:
    """Show a training run: the value is its ``on_step`` callback."""
    with progress_bar() as bar:
        task = bar.add_task(kind, total=None, rate="preparing")

        def show(step: int, total: int, loss: float) -> None:
            bar.update(task, total=total, completed=step, rate=f"loss {loss:.3f}")

        yield show


@contextmanager
def counting(name: str, total: int) -> Iterator[Callable[..., None]]:
    """Show a plain count: call the value once an item, with what has just been done (and ``more=`` items to come)."""
    with progress_bar() as bar:
        task = bar.add_task(name, total=total, rate="")

        def advance(note: str, more: int = 0) -> None:
            nonlocal total
            total += more
            bar.update(task, advance=1, total=total, rate=note[:14])

        yield advance


def shown(path: Place) -> str:
    """A path as the user would write it: relative to where they stand when that is shorter."""
    if not isinstance(path, Path):
        return str(path)
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
