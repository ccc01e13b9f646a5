"""Small films for tests: flat colours that say which frame each is, in any container, size and pace."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

MILLISECOND = Fraction(1, 1000)


def flat_frames(T: int, H: int = 32, W: int = 48) -> np.ndarray:
    """``[T, H, W, 3]`` uint8: frame t has the brightness 20 + 8 t (mod 200), and a red corner at the top left."""
    frames = np.zeros((T, H, W, 3), np.uint8)
    frames[:] = (20 + 8 * np.arange(T) % 200)[:, None, None, None]
    frames[:, : H // 3, : W // 3] = (200, 0, 0)
    return frames


def write_film(
    path: Path,
    frames: Sequence[np.ndarray] | np.ndarray,
    milliseconds: Sequence[int] = (),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames as a film in which frame t is shown at ``milliseconds[t]``, by default 25 a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(25), options=options or {})
        stream.pix_fmt = pixels
        stream.height, stream.width = frames[0].shape[:2]
        stream.time_base = stream.codec_context.time_base = MILLISECOND
        for t, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = milliseconds[t] if milliseconds else 40 * t, MILLISECOND
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def turn(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Give an MP4 another display matrix: the pixel (x, y) is shown at (a x + c y, b x + d y)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = np.array([a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(data)
