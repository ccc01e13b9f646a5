"""The one logger, the one console and the one progress display."""

import logging

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console()
logger = logging.getLogger("vosforge")


def set_up_logging(verbose: bool = False) -> None:
    """Send the package's log lines to the console; ``verbose`` adds the debug lines."""
    console.stderr = False  # whatever an earlier command of this process chose
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.handlers = [RichHandler(console=console, show_path=False, show_time=False, markup=False)]
    logger.propagate = False


def progress_bar() -> Progress:
    """A live progress display: description, bar, done/total, rate and time left (field ``rate``: text)."""
    return Progress(
        TextColumn("[bold]{task.description:<12}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:>14}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )
