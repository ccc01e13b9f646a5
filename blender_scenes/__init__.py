"""Scenes: their specs, sampling, and (in `blender`) construction in Blender."""
