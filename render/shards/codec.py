"""How frames are encoded inside a shard: each on its own, so that any one can be read without its neighbours."""

import cv2
import numpy as np

from vosforge.errors import VOSForgeError


def encode_jpeg(frame: np.ndarray, quality: int) -> bytes:
    """A frame ``[H, W, 3]`` uint8 RGB as JPEG without colour subsampling (4:4:4)."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), options)
    return data.tobytes()


def decode(data: np.ndarray, what: str) -> np.ndarray:
    """Encoded bytes (uint8 ``[n]``) as a frame ``[H, W, 3]`` uint8 RGB; ``what`` names it when it does not decode."""
    frame = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if frame is None:
        raise VOSForgeError(f"{what} does not decode: render the video again")
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB, dst=frame)
