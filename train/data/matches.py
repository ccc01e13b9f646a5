"""Which grid cells of a clip's frames show the same point as which cells of its first frame, exactly.

Rendered videos know it from their tracks, stills from the maps that moved them. It teaches keys to point at the same
place of the same object, and not only at the same label.
"""

import numpy as np

from train.data.augment import SampleView
from train.data.stills import Maps
from vosforge.videos import ShardVideo
from vosforge.videos.passes import Tracks
from vosforge.videos.video import Video

CELL = 16
"""Side of a cell of the networks' grid, in pixels."""
NONE = -1
"""The match of a cell whose point the first frame does not show, or nobody knows."""
NEAR = 0.75
"""How far from the centre of its match the centre of a moved still's cell may lie, in cells."""


def no_matches(frames: int, crop: int) -> np.ndarray:
    """Of nothing: int16 ``[T, (S / 16)²]``, all NONE."""
    return np.full((frames, (crop // CELL) ** 2), NONE, np.int16)


def tracks_of(video: Video) -> Tracks | None:
    """The tracks of a rendered video; None if it has none."""
    return video.tracks() if isinstance(video, ShardVideo) and "tracks" in video.passes else None


def track_matches(tracks: Tracks, times: list[int], views: list[SampleView], masks: np.ndarray) -> np.ndarray:
    """The matches of a clip of a rendered video, int16 ``[T, Q]``: for each cell, a cell of frame 0 or NONE.

    views: of the clip's frames; masks ``[T, S, S]`` uint8, in the crop. A point counts where it is seen: neither
    occluded, nor outside the crop, nor under something pasted.
    """
    crop = masks.shape[1]
    found = no_matches(len(times), crop)
    cells, seen = [], []
    for t, view, mask in zip(times, views, masks, strict=True):
        to_crop = np.linalg.inv(view.to_frame)
        with np.errstate(invalid="ignore"):
            points = tracks.points[t] @ to_crop[:2, :2].T + to_crop[:2, 2]
            inside = ((points >= 0) & (points < crop)).all(axis=1) & ~tracks.occluded[t]
        x, y = np.where(inside[:, None], points, 0).astype(int).T
        seen.append(inside & (mask[y, x] == tracks.object))
        cells.append(y // CELL * (crop // CELL) + x // CELL)
    for t in range(1, len(times)):
        both = seen[0] & seen[t]
        found[t, cells[t][both]] = cells[0][both]
    return found


def still_matches(maps: Maps, masks: np.ndarray) -> np.ndarray:
    """The same for a still that was moved by ``maps``: of all cells, background included, with the same label."""
    crop = masks.shape[1]
    middles = np.arange(CELL // 2, crop, CELL)
    found = no_matches(len(maps), crop)
    places = [np.stack([part[np.ix_(middles, middles)].ravel() for part in where], axis=1) for where in maps]
    labels = [mask[np.ix_(middles, middles)].ravel() for mask in masks]
    step = np.median(np.linalg.norm(np.diff(places[0], axis=0), axis=1))  # of neighbouring cells, in the still
    for t in range(1, len(maps)):
        distances = np.linalg.norm(places[t][:, None] - places[0], axis=2)
        nearest = distances.argmin(axis=1)
        matched = (distances.min(axis=1) < NEAR * step) & (labels[t] == labels[0][nearest])
        found[t, matched] = nearest[matched]
    return found
