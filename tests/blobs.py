"""Moving textured blobs: videos with exact masks that cost nothing."""

import cv2
import numpy as np

from vosforge.seeding import rng_for
from vosforge.videos.video import MemoryVideo


def blob_video(
    seed: int, num_frames: int = 8, height: int = 96, width: int = 128, num_objects: int = 2, speed: float = 0.02
) -> MemoryVideo:
    """Lobed shapes with a texture of their own that drift, turn and occlude one another over a textured backdrop."""
    rng = rng_for("blobs", seed)
    size = max(height, width)
    backdrop = _texture(rng, 2 * size)
    textures = [_texture(rng, 2 * size) for _ in range(num_objects)]
    centres = rng.uniform(0.25, 0.75, (num_objects, 2))
    moves = rng.normal(0, speed, (num_objects + 1, 2))
    radii = rng.uniform(0.1, 0.22, num_objects) * min(height, width) * 1.5
    lobes = rng.integers(2, 7, num_objects)
    depths = rng.uniform(0.1, 0.5, num_objects)
    turns = rng.normal(0, 0.1, num_objects)
    frames, masks = [], []
    for t in range(num_frames):
        dx, dy = (moves[-1] * t * size).round().astype(int)
        frame = np.roll(backdrop, (dy, dx), (0, 1))[:height, :width].copy()
        mask = np.zeros((height, width), np.uint8)
        for k in range(num_objects):
            centre = centres[k] + moves[k] * t
            centre = 0.1 + 0.8 * np.abs((centre + 1) % 2 - 1)
            at = centre * (width, height)
            angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
            radius = radii[k] * (1 + depths[k] * np.cos(lobes[k] * angles + turns[k] * t))
            outline = at + np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
            shape = np.zeros((height, width), np.uint8)
            cv2.fillPoly(shape, [outline.round().astype(np.int32)], (1,))
            move = cv2.getRotationMatrix2D((size, size), float(np.rad2deg(-turns[k] * t / max(lobes[k], 1))), 1.0)
            move[:, 2] = move[:, 2] + at - size
            skin = cv2.warpAffine(textures[k], move, (width, height), borderMode=cv2.BORDER_REFLECT)
            frame[shape == 1] = skin[shape == 1]
            mask[shape == 1] = k + 1
        noise = rng.normal(0, 3, frame.shape)
        frames.append(np.clip(cv2.GaussianBlur(frame, (3, 3), 0.6) + noise, 0, 255).astype(np.uint8))
        masks.append(mask)
    return MemoryVideo(f"blobs-{seed}", np.stack(frames), np.stack(masks))


def _texture(rng: np.random.Generator, size: int) -> np.ndarray:
    coarse = int(rng.integers(4, 40))
    pattern = cv2.resize(rng.random((coarse, coarse, 1)), (size, size), interpolation=cv2.INTER_CUBIC)[..., None]
    if rng.random() < 0.5:
        pattern = (pattern > 0.5).astype(float)
    low, high = rng.uniform(0, 255, (2, 3))
    return np.clip(low + pattern * (high - low), 0, 255).astype(np.uint8)
