"""Live progress of the long jobs, on the one console."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vosforge.log import progress_bar


@contextmanager
def training_progress(kind: str) -> Iterator[Callable[[int, int, float], None]]:
    """Show a training run; yields its ``on_step`` callback."""
    with progress_bar() as bar:
        task = bar.add_task(kind, total=None, rate="preparing")

        def show(step: int, total: int, loss: float) -> None:
            bar.update(task, total=total, completed=step, rate=f"loss {loss:.3f}")

        yield show


@contextmanager
def counting(name: str, total: int) -> Iterator[Callable[..., None]]:
    """Show a count; call the yielded function per item, with its description (and ``more=`` items to come)."""
    with progress_bar() as bar:
        task = bar.add_task(name, total=total, rate="")

        def advance(note: str, more: int = 0) -> None:
            nonlocal total
            total += more
            bar.update(task, advance=1, total=total, rate=note[:14])

        yield advance


def shown(path: object) -> str:
    """A path as the user would type it: relative to the current folder when that is shorter."""
    if not isinstance(path, Path):
        return str(path)
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
