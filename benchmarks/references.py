"""What rendered frames are judged by: references of very many samples, and how far a frame is from one."""

import hashlib
import json
import os
from pathlib import Path

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from assets.store import AssetStore
from benchmarks.recipe import RECIPE, run_worker
from blender_scenes.spec import SceneSpec

CHUNK = 256
"""Samples a reference is rendered by at a time: its chunks have different seeds, and their mean is the reference."""


class References:
    """Frames rendered with very many samples, kept in ``folder`` by what they show and rendered when missing.

    They have the recipe's bounces, no denoiser, and are linear.
    """

    def __init__(self, folder: Path, samples: int) -> None:
        """``samples`` is rounded up to whole chunks."""
        self._folder, self.chunks = folder, -(-samples // CHUNK)
        self.samples = CHUNK * self.chunks

    def missing(self, spec: SceneSpec, frame: int) -> list[int]:
        """Which chunks of a reference are not there yet."""
        return [n for n in range(self.chunks) if not self._path(spec, frame, n).exists()]

    def render(self, spec: SceneSpec, frame: int, chunk: int, store: AssetStore) -> float:
        """Render one chunk in a process of its own; its CPU seconds."""
        path = self._path(spec, frame, chunk)
        settings = {"samples": CHUNK, "max_bounces": RECIPE["max_bounces"], "frame": frame, "seed": 1000 + chunk}
        job = {"do": "reference", **settings, "out": str(path.resolve())}
        return float(run_worker(path.parent / path.stem, job, spec, store, idle=True)["cpu"])

    def open_chunks(self, spec: SceneSpec, frame: int) -> np.ndarray:
        """The chunks of a reference, independent of one another: float32 ``[chunks, H, W, 3]`` RGB, linear."""
        os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"
        paths = [self._path(spec, frame, n) for n in range(self.chunks)]
        return np.stack([cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:, :, ::-1] for path in paths])

    def _path(self, spec: SceneSpec, frame: int, chunk: int) -> Path:
        return self._folder / scene_key(spec) / f"frame{frame}-{CHUNK}samples-{chunk}.exr"


def scene_key(spec: SceneSpec) -> str:
    """What a frame of the scene shows at its size, as 16 hex digits: nothing of how it is rendered or was drawn."""
    render = spec.render
    shown = spec.model_dump(
        mode="json",
        exclude={"render", "preset", "seed", "index", "attempt", "split", "attributes"},
        exclude_defaults=True,
    )
    size = {"size": [render.width, render.height], "frames": render.frames, "max_bounces": RECIPE["max_bounces"]}
    return hashlib.sha256(json.dumps({**shown, **size}, sort_keys=True).encode()).hexdigest()[:16]


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light as sRGB uint8, to the nearest step (IEC 61966-2-1)."""
    x = np.clip(linear, 0.0, 1.0)
    return np.round(255 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)).astype(np.uint8)


def psnr(frame: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 frames ``[H, W, 3]``, in dB, the error's mean over pixels and colours."""
    error = np.square(frame.astype(np.float64) - reference).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def ssim(frame: np.ndarray, reference: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004: Gaussian window of 11x11, sigma 1.5), the mean of R, G and B."""
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return float(structural_similarity(frame, reference, channel_axis=2, **wang))


def own_noise(chunks: np.ndarray) -> float:
    """The PSNR a reference itself has against endless samples, from the difference of its halves; inf for one chunk.

    ``chunks``: ``[N, H, W, 3]`` linear. The mean of two independent halves has a quarter of their difference's power.
    """
    if len(chunks) < 2:
        return float("inf")
    one, other = to_srgb(chunks[0::2].mean(axis=0)), to_srgb(chunks[1::2].mean(axis=0))
    return psnr(one, other) + 10 * np.log10(4)
