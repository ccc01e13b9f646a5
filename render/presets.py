"""How much work goes into a frame: named sets of render settings, from the published recipe to labels alone.

`make bench-render` measures what each costs and how good it is; the README has the figures.
"""

from typing import Any, Literal, get_args

Quality = Literal["reference", "standard", "fast", "labels"]

QUALITIES: dict[Quality, dict[str, Any]] = {
    # BL30K as it was published (Cheng et al., CVPR 2021, and the generator's own settings).
    "reference": {
        "samples": 64,
        "denoiser": "high",
        "max_bounces": 3,
        "lay_backdrop": False,
        "jpeg_quality": 98,
        "jpeg_subsampling": "4:2:0",
    },
    "standard": {"samples": 16, "denoiser": "high", "max_bounces": 3},
    "fast": {"samples": 4, "max_bounces": 2},
    "labels": {"samples": 1, "denoise": False, "max_bounces": 0},
}


def quality_settings(name: Quality) -> list[str]:
    """A quality as settings of a data set: ``render.samples=64`` and so on, for `vosforge.config.read_config`."""
    return [f"render.{key}={value}" for key, value in QUALITIES[name].items()]


assert set(QUALITIES) == set(get_args(Quality))
