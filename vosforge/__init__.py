"""Shared infrastructure without domain knowledge: errors, seeding, configuration, logging."""

from vosforge.errors import InputError, VOSForgeError

__version__ = "0.1.0"

__all__ = ["InputError", "VOSForgeError", "__version__"]
