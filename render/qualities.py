"""Qualities: named sets of render settings, from BL30K's published settings to labels only.

`make bench-render` measures what each costs and how good it is; docs/rendering.md has the figures.
"""

from typing import Any

from vosforge.config import named

QUALITIES: dict[str, dict[str, Any]] = {
    # BL30K as it was published (Cheng et al., CVPR 2021, and the generator's own settings).
    "reference": {
        "samples": 64,
        "tolerated_noise": 0.0,
        "denoiser": "high",
        "max_bounces": 3,
        "denoise_light": False,
        "lay_backdrop": False,
        "jpeg_quality": 98,
        "jpeg_subsampling": "4:2:0",
        "jpeg_tables": "annex-k",
    },
    "standard": {"samples": 8, "tolerated_noise": 16.0, "denoiser": "adaptive", "max_bounces": 2},
    "fast": {"samples": 2, "tolerated_noise": 0.0, "denoiser": "fast", "max_bounces": 2},
    # Masks, and passes if they are asked for, without any colours.
    "labels": {"colors": False, "samples": 1, "denoise": False, "max_bounces": 0},
}


def quality_settings(name: str) -> dict[str, object]:
    """A quality as overrides of a data set's settings. Raises InputError for an unknown one."""
    return {f"render.{key}": value for key, value in named("quality", name, QUALITIES).items()}
