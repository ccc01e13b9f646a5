"""The one logger and the one console."""

import logging
from typing import IO, Any

from rich.console import Console
from rich.logging import RichHandler

console = Console()
logger = logging.getLogger("vosforge")


def console_look() -> dict[str, Any]:
    """How the console shows things, for `show_in`."""
    return {
        "force_terminal": console.is_terminal,
        "width": console.width,
        "height": console.height,
        "color_system": console.color_system,
    }


def show_in(file: IO[str], look: dict[str, Any]) -> None:
    """Send what the console shows to ``file``, in the ``look`` of another process's console."""
    Console.__init__(console, file=file, **look)  # in place: modules hold the console itself


def set_up_logging(verbose: bool = False) -> None:
    """Send the package's log lines to the console; ``verbose`` adds the debug lines."""
    console.stderr = False  # whatever an earlier command of this process chose
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.handlers = [RichHandler(console=console, show_path=False, show_time=False, markup=False)]
    logger.propagate = False
