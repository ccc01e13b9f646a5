"""Where the models, textures and surroundings of a scene come from: one catalog, one prepared format, one store."""

from typing import Literal

Source = Literal["procedural", "sweethome3d"]
"""Where models come from: made by this package, or an installed pack."""
