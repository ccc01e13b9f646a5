"""Files that torch.save wrote: plain tensors, numbers, texts, and dicts and lists of them. No code in them is run."""

import pickle
from pathlib import Path
from typing import Any

import torch

from vosforge import InputError, VOSForgeError
from vosforge.errors import first_line
from vosforge.files import sealed_file


def read_tensors(path: Path, what: str, *, mapped: bool = False) -> Any:
    """What is in a file, on the CPU. Raises InputError where it cannot be read as a ``what``, "checkpoint" say.

    ``mapped``: tensors stay in the file until they are looked at, which must not change as long as they are used.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {error.strerror or error}") from None
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
        reason = str(error).split("\n")[0].split(". ")[0] or type(error).__name__
        raise InputError(f"{path} is damaged, or not a {what} of plain tensors saved by torch.save: {reason}") from None


def write_tensors(held: Any, path: Path) -> None:
    """Write ``held`` to ``path``, whole or not at all. Raises VOSForgeError where torch cannot, as on a full disk."""
    with sealed_file(path) as temporary:
        try:
            torch.save(held, temporary)
        except RuntimeError as error:
            raise VOSForgeError(
                f"cannot write {path} ({first_line(error)}): free some space, or choose another path"
            ) from None
