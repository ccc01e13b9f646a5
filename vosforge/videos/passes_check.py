"""Verifies the optional passes of a sealed video; part of `vosforge.videos.verify`."""

import numpy as np

from vosforge.errors import VOSForgeError
from vosforge.videos.passes import FRAMES, PASS_TABLES, PASSES, held_against
from vosforge.videos.reader import ShardVideo, own_dataset


def check_shapes(video: ShardVideo) -> list[str]:
    """Check the video's passes against its row and the format; returns the names of its tables.

    Raises VOSForgeError that names the first data set that is missing or not as it should be.
    """
    if not PASSES.keys() >= set(video.passes):
        raise VOSForgeError("its row names an unknown pass")
    for name in (name for each in video.passes for name in PASSES[each]):
        if name not in video.group:
            raise VOSForgeError(f"'{name}' is missing")
    held = [name for name in (*FRAMES, *PASS_TABLES) if name in video.group]
    for name in held:
        try:
            held_against(name, own_dataset(video.group, name), video.row)
        except ValueError as error:
            raise VOSForgeError(f"'{name}' {error}") from None
    return [name for name in held if name in PASS_TABLES]


def check_tracks(video: ShardVideo) -> None:
    """Check the tracks, if any, against the frame and the objects. Raises VOSForgeError."""
    if "tracks" not in video.passes:
        return
    points, occluded, on = video.tracks()
    if ((on < 1) | (on > video.num_objects)).any():
        raise VOSForgeError("'tracks/object' names an object that does not exist")
    with np.errstate(invalid="ignore"):
        inside = ((points >= 0) & (points <= [video.width, video.height])).all(axis=2)
    if not (inside | occluded).all():
        raise VOSForgeError("'tracks/occluded' marks a point outside the frame as visible")


def check_frame(video: ShardVideo, t: int, mask: np.ndarray) -> None:
    """Check the passes of frame ``t`` against its mask ``[H, W]`` and their value ranges.

    Raises VOSForgeError naming the first inconsistent one.
    """
    for name, wrong in _wrongs(video, t, mask):
        if wrong:
            raise VOSForgeError(f"'{name}' of frame {t} is inconsistent")


def _wrongs(video: ShardVideo, t: int, mask: np.ndarray) -> list[tuple[str, bool]]:
    K, found = video.num_objects, []
    on_object = (mask > 0) & (mask <= K)
    if "depth" in video.passes:
        depth = video.depth(t)
        found.append(("depth", not (depth > 0).all() or np.isinf(depth[on_object]).any()))
    if "flow" in video.passes:
        starts = (0, *video.cuts, video.num_frames)  # of shots; no flow leads from one to another
        for name, backward, at in (("flow_fwd", False, t + 1), ("flow_bwd", True, t)):
            undefined = np.isnan(video.flow(t, backward)).any(axis=2)
            found.append((name, not undefined.all() if at in starts else bool(undefined.all())))
    if "normal" in video.passes:
        length = np.linalg.norm(video.normal(t).astype(np.float32), axis=2)
        found.append(("normal", bool(((abs(length - 127) > 1.5) & (length > 0)).any())))
    if "amodal" in video.passes:
        amodal, share = video.amodal(t), video.visibility()[t]
        seen = mask == np.arange(1, K + 1)[:, None, None]
        whole = amodal.sum(axis=(1, 2))
        found.append(("amodal", bool((seen & ~amodal).any())))
        wanted = np.where(whole > 0, seen.sum(axis=(1, 2)) / np.maximum(whole, 1), np.nan)
        found.append(("objects/visibility", not np.allclose(share, wanted, atol=1e-5, equal_nan=True)))
    return found
