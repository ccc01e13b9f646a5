"""Corrupted frames, to measure robustness: noise, blur, brightness, JPEG and fog at three strengths.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019:
their severities 1, 3 and 5 are strengths 1, 2 and 3. As in DAVIS-C, the direction of motion and the fog stay
the same through a video. Frames and results are uint8 ``[H, W, 3]`` RGB.
"""

import io
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from vosforge.config import named
from vosforge.errors import InputError
from vosforge.seeding import rng_for

STRENGTHS = (1, 2, 3)
NOISE = (0.08, 0.18, 0.38)
"""Standard deviations, of 0..1."""
MOTION = ((10, 3), (15, 8), (20, 15))
"""Radius in pixels and standard deviation of a one-sided Gaussian."""
BRIGHTNESS = (0.1, 0.3, 0.5)
"""Added to the value of HSV."""
JPEG_QUALITY = (25, 15, 7)
FOG = ((1.5, 2.0), (2.5, 1.7), (3.0, 1.4))
"""Density, and how quickly detail fades from one scale to the next."""

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Changes a frame (float32, 0..1); the generator is the frame's own."""
Corruption = Callable[[int, tuple[int, int], np.random.Generator], Change]
"""(strength from 0, (H, W), the video's generator) -> what happens to its frames."""


def check_corruption(name: str, strength: int) -> None:
    """Raise InputError for an unknown corruption or strength."""
    named("corruption", name, CORRUPTIONS)
    if strength not in STRENGTHS:
        raise InputError(f"there is no strength {strength}: choose 1, 2 or 3")


def corrupted(frames: np.ndarray, name: str, strength: int, video_id: str, seed: int = 0) -> np.ndarray:
    """All frames ``[T, H, W, 3]`` of a video, corrupted; the same for the same arguments.

    InputError for an unknown corruption or strength.
    """
    check_corruption(name, strength)
    H, W = frames.shape[1:3]
    change = CORRUPTIONS[name](strength - 1, (H, W), rng_for(seed, "corrupt", name, video_id))
    result = np.empty_like(frames)
    for t, frame in enumerate(frames):
        changed = change(frame.astype(np.float32) / 255, rng_for(seed, "corrupt", name, video_id, t))
        result[t] = np.rint(np.clip(changed, 0, 1) * 255).astype(np.uint8)
    return result


def _noise(level: int, size: tuple[int, int], _: np.random.Generator) -> Change:
    return lambda frame, rng: frame + rng.normal(0, NOISE[level], (*size, 3)).astype(np.float32)


def _blur(level: int, _: tuple[int, int], rng: np.random.Generator) -> Change:
    """Motion blur along one direction; the border's pixels are repeated."""
    radius, deviation = MOTION[level]
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * deviation**2)).astype(np.float32)
    angle, size = rng.uniform(-np.pi / 4, np.pi / 4), 2 * len(weights) + 1
    kernel = np.zeros((size, size), np.float32)
    for step, weight in enumerate(weights / weights.sum()):
        kernel[round(size // 2 + step * np.sin(angle)), round(size // 2 + step * np.cos(angle))] += weight
    return lambda frame, _: cv2.filter2D(frame, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def _brightness(level: int, _: tuple[int, int], __: np.random.Generator) -> Change:
    def change(frame: np.ndarray, _: np.random.Generator) -> np.ndarray:
        hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
        hsv[..., 2] = np.clip(hsv[..., 2] + BRIGHTNESS[level], 0, 1)
        return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))

    return change


def _jpeg(level: int, _: tuple[int, int], __: np.random.Generator) -> Change:
    def change(frame: np.ndarray, _: np.random.Generator) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(np.rint(frame * 255).astype(np.uint8)).save(buffer, "JPEG", quality=JPEG_QUALITY[level])
        return np.asarray(Image.open(buffer), np.float32) / 255

    return change


def _fog(level: int, size: tuple[int, int], rng: np.random.Generator) -> Change:
    density, decay = FOG[level]
    haze = density * plasma(max(size), decay, rng)[: size[0], : size[1], None]

    def change(frame: np.ndarray, _: np.random.Generator) -> np.ndarray:
        brightest = float(frame.max())
        return (frame + haze) * (brightest / (brightest + density))

    return change


def plasma(size: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """A cloud field ``[n, n]`` float32 in 0..1 by the diamond-square algorithm; n: a power of two ≥ ``size``.

    Its noise starts at an amplitude of 100² and is divided by ``decay``² from one scale to the next (as ImageNet-C's).
    """
    n = 1 << max(size - 1, 1).bit_length()
    field = np.zeros((n, n), np.float64)
    step, wobble = n, 100.0

    def moved(mean: np.ndarray) -> np.ndarray:
        return mean / 4 + wobble * rng.uniform(-wobble, wobble, mean.shape)

    while step >= 2:
        half = step // 2
        corners = field[::step, ::step]
        rows = corners + np.roll(corners, -1, 0)
        field[half::step, half::step] = moved(rows + np.roll(rows, -1, 1))
        centres = field[half::step, half::step]
        sides = corners + np.roll(corners, -1, 0)
        field[half::step, ::step] = moved(centres + np.roll(centres, 1, 1) + sides)
        tops = corners + np.roll(corners, -1, 1)
        field[::step, half::step] = moved(centres + np.roll(centres, 1, 0) + tops)
        step, wobble = half, wobble / decay
    field -= field.min()
    result: np.ndarray = (field / max(field.max(), 1e-12)).astype(np.float32)
    return result


CORRUPTIONS: dict[str, Corruption] = {
    "noise": _noise,
    "blur": _blur,
    "brightness": _brightness,
    "jpeg": _jpeg,
    "fog": _fog,
}
"""By name."""
