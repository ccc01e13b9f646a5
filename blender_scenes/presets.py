"""Presets by name, and a user's own: a YAML file of settings that differ from those of the preset it ``extends``."""

from pathlib import Path

from blender_scenes.sample import PRESETS, SceneConfig
from vosforge.config import named, read_config, read_yaml
from vosforge.errors import InputError

SUFFIXES = (".yaml", ".yml")
DEFAULT_PRESET = "diverse"
"""Of new data sets that name none."""


def preset_of(name: str) -> SceneConfig:
    """The preset ``name``, or of a YAML file at the path ``name``, which is called as the file is.

    Raises InputError in one sentence for an unknown preset or key, a bad value or an unreadable file.
    """
    path = Path(name).expanduser()
    if path.suffix not in SUFFIXES:
        return named("preset", name, PRESETS)
    extended = read_yaml(path).get("extends", "basic")
    if not isinstance(extended, str):
        raise InputError(f"{path}: 'extends' must name a preset: {', '.join(PRESETS)}")
    base = named("preset", extended, PRESETS)
    return read_config(SceneConfig, path, base=base.model_copy(update={"extends": extended, "preset": path.stem}))


def check_preset(config: SceneConfig) -> None:
    """Raise InputError unless the preset of ``config`` is known, or extends a known one."""
    named("preset", config.extends or config.preset, PRESETS)
