"""What a run's catalog is made of: settings, written into the data set's ``dataset.yaml``."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from vosforge.config import Record


class AssetSettings(Record):
    """Where a run's assets come from, and how many of them are prepared."""

    models: str = "procedural"
    """``procedural``, the name of an installed pack, or a folder of mesh files."""
    num_meshes: Annotated[int, Field(ge=2)] = 100
    textures: Path | None = None
    """A folder of images; None: procedural ones."""
    num_textures: Annotated[int, Field(ge=2)] = 60
    hdris: Path | None = None
    """A folder of HDRIs; None: those of bpy's wheel."""
