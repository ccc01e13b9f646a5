"""Reads and writes torch.save files of plain tensors, numbers, strings, dicts and lists. Never executes code."""

import pickle
from pathlib import Path
from typing import Any

import torch

from vosforge import InputError, VOSForgeError
from vosforge.errors import first_line
from vosforge.files import sealed_file


def read_tensors(path: Path, what: str, *, mapped: bool = False) -> Any:
    """Load a file to the CPU. Raises InputError if it is not a readable ``what`` (such as "checkpoint").

    ``mapped``: tensors are memory-mapped; the file must not change while they are in use.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {error.strerror or error}") from None
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
        reason = str(error).split("\n")[0].split(". ")[0] or type(error).__name__
        raise InputError(f"{path} is damaged, or not a {what} of plain tensors saved by torch.save: {reason}") from None


def write_tensors(held: Any, path: Path) -> None:
    """Write ``held`` to ``path`` atomically. Raises VOSForgeError on failure, such as a full disk."""
    with sealed_file(path) as temporary:
        try:
            torch.save(held, temporary)
        except RuntimeError as error:
            raise VOSForgeError(
                f"cannot write {path} ({first_line(error)}): free some space, or choose another path"
            ) from None
