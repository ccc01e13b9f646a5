"""Pictures of a video's optional passes, for people to look at: uint8 [H, W, 3] RGB each."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.inspect.overlay import LINE_PALETTE, frame_picture, labelled_picture, outline
from vosforge.videos import ShardVideo

Picture = NDArray[np.uint8]


def depth_picture(video: ShardVideo, t: int) -> Picture:
    """Near is red, far is blue, nothing is black; colours follow the inverse of the depth, from the frame's nearest."""
    near = 1 / video.depth(t).astype(np.float32)
    grey = np.rint(255 * near / max(float(near.max()), 1e-9)).astype(np.uint8)
    coloured = cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    return np.where(near[..., None] > 0, coloured, 0).astype(np.uint8)


def flow_picture(video: ShardVideo, t: int) -> Picture:
    """Middlebury's wheel: the hue is the direction to the next frame of the shot, paler is slower, undefined is grey.

    The fastest hundredth of the pixels counts as equally fast, so that a few do not make all others pale.
    """
    import torch  # three seconds and 0.8 GB with torchvision, which no other picture needs
    from torchvision.utils import flow_to_image

    last = t + 1 in (*video.cuts, video.num_frames)
    flow = video.flow(t, backward=last).astype(np.float32) * (-1 if last else 1)
    known = np.isfinite(flow).all(axis=2, keepdims=True)
    flow = np.where(known, flow, 0)
    length = np.linalg.norm(flow, axis=2, keepdims=True)
    fast = max(float(np.quantile(length, 0.99)), 1e-6)
    flow *= np.minimum(1, fast / np.maximum(length, 1e-6))
    wheel = flow_to_image(torch.from_numpy(flow).movedim(2, 0)).movedim(0, 2).numpy()
    return np.where(known, wheel, 128).astype(np.uint8)


def normal_picture(video: ShardVideo, t: int) -> Picture:
    """Red grows to the right, green upwards, blue towards the camera; nothing is black."""
    normal = video.normal(t).astype(np.int16)
    return np.where(normal.any(axis=2, keepdims=True), 128 + normal * [1, -1, -1], 0).astype(np.uint8)


def amodal_picture(video: ShardVideo, t: int) -> Picture:
    """The frame with its masks, and the outlines of what each object would cover alone."""
    shown = labelled_picture(video, t)
    for k, whole in enumerate(video.amodal(t), start=1):
        shown[outline(whole.astype(np.uint8))] = LINE_PALETTE[k]
    return shown


def tracks_picture(video: ShardVideo, t: int) -> Picture:
    """The frame with its points: discs where they are seen, rings where they are hidden."""
    shown = frame_picture(video, t).copy()
    points, occluded, on = video.tracks()
    radius = max(1, min(shown.shape[:2]) // 100)
    for point, hidden, number in zip(points[t], occluded[t], on, strict=True):
        if np.isfinite(point).all() and (abs(point) < 2**15).all():
            centre = (round(float(point[0]) - 0.5), round(float(point[1]) - 0.5))
            cv2.circle(shown, centre, radius, LINE_PALETTE[number].tolist(), 1 if hidden else -1)
    return shown


PICTURES: dict[str, Callable[[ShardVideo, int], Picture]] = {
    "depth": depth_picture,
    "flow": flow_picture,
    "normal": normal_picture,
    "amodal": amodal_picture,
    "tracks": tracks_picture,
}
"""How each pass is drawn."""
