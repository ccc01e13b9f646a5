"""The one logger and the one console."""

import logging

from rich.console import Console
from rich.logging import RichHandler

console = Console()
logger = logging.getLogger("vosforge")


def set_up_logging(verbose: bool = False) -> None:
    """Send the package's log lines to the console; ``verbose`` adds the debug lines."""
    console.stderr = False  # whatever an earlier command of this process chose
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.handlers = [RichHandler(console=console, show_path=False, show_time=False, markup=False)]
    logger.propagate = False
