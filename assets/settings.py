"""Settings of a run's catalog, stored in the data set's ``dataset.yaml``."""

from typing import Annotated

from pydantic import AfterValidator, Field

from vosforge.config import PathOfUser, Record
from vosforge.files import at_home


def _at_home(models: str) -> str:
    return str(at_home(models)) if models.startswith("~") else models


class AssetSettings(Record):
    """Sources of a run's assets, and how many are prepared."""

    models: Annotated[str, AfterValidator(_at_home)] = "procedural"
    """``procedural``, the name of an installed pack, or a folder of mesh files."""
    num_meshes: Annotated[int, Field(ge=2)] = 100
    textures: PathOfUser | None = None
    """A folder of images; None: procedural ones."""
    num_textures: Annotated[int, Field(ge=2)] = 60
    hdris: PathOfUser | None = None
    """A folder of HDRIs; None: those of bpy's wheel."""
