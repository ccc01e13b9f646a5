"""The one progress display, and paths as a user would type them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vosforge.log import console

MAX_NOTE = 14
"""Characters of a note."""


class ProgressBar:
    """A long job on the console: items done, their total, a note, time left."""

    def __init__(self, display: Progress, name: str, total: int | None, note: str):
        self._display, self._total = display, total or 0
        self._task = display.add_task(name, total=total, note=note)

    def advance(self, note: str = "", more: int = 0) -> None:
        """Count one item; ``more``: further items that it adds to the total."""
        self._total += more
        self._display.update(self._task, advance=1, total=self._total, note=note[:MAX_NOTE])

    def show(self, done: int, total: int, note: str) -> None:
        """Show ``done`` items of ``total``."""
        self._display.update(self._task, completed=done, total=total, note=note[:MAX_NOTE])


@contextmanager
def progress(name: str, total: int | None = None, note: str = "") -> Iterator[ProgressBar]:
    """Show a long job; ``total``: its items, None while unknown."""
    with Progress(
        TextColumn("[bold]{task.description:<12}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]:>14}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    ) as display:
        yield ProgressBar(display, name, total, note)


def shown(path: object) -> str:
    """A path as the user would type it: relative to the current folder when that is shorter."""
    if not isinstance(path, Path):
        return str(path)
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
