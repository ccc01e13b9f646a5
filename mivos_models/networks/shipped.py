"""Where the trained networks of the distribution are: one small family, in files beside the code."""

from pathlib import Path

from vosforge import InputError

_FOLDER = Path(__file__).parents[1] / "weights"
_KINDS = ("s2m", "propagation", "fusion")


def shipped_networks() -> Path:
    """The folder with the shipped ``s2m.pth``, ``propagation.pth`` and ``fusion.pth``.

    They are bare state dicts for ``load_network``. Raises InputError if a file is missing, as in a checkout without
    weights.
    """
    for kind in _KINDS:
        if not (path := _FOLDER / f"{kind}.pth").is_file():
            raise InputError(
                f"the shipped networks are missing here (there is no {path}): train them with 'make small', and name "
                "their folder (--networks runs/small/networks)"
            )
    return _FOLDER
