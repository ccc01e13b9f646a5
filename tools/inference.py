"""Segmenting one video with trained networks: from a mask, from scribbles, or with the robot that knows the truth."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mivos_models import InteractiveRunner
from tools.overlay import PALETTE
from tools.report import RoundScore
from tools.view import open_video, view_video
from train.folders import FolderVideo
from train.interactive import Networks, evaluate_interactive
from train.video import MemoryVideo, Video, objects_in
from vosforge.errors import InputError
from vosforge.files import sealed_file
from vosforge.seeding import rng_for


@dataclass(frozen=True)
class Inferred:
    """Where the masks were written, and J, F, J&F of each round where the truth is known."""

    masks: Path
    scores: tuple[RoundScore, ...] = ()


def infer_video(
    where: str,
    out: Path,
    networks: Path,
    mask: Path | None,
    scribbles: Path | None,
    frame: int,
    rounds: int,
    short_side: int | None,
) -> Inferred:
    """Segment the video at ``where`` and write its masks (DAVIS layout) and a preview below ``out``.

    Raises InputError for a video, mask, scribble file or network that cannot be used, before anything is written.
    """
    if mask is not None and scribbles is not None:
        raise InputError("give either --mask or --scribbles, not both")
    video = open_video(where)
    loaded = Networks.load(networks)
    scores: tuple[RoundScore, ...] = ()
    if mask is not None:
        masks = _from_mask(video, loaded, mask, frame, short_side)
    elif scribbles is not None:
        masks = _from_scribbles(video, loaded, scribbles, short_side)
    else:
        if not video.has_masks:
            raise InputError(f"the video '{video.id}' has no masks for the robot: give --mask or --scribbles")
        result = evaluate_interactive(video, loaded, rounds, rng_for(0, "robot", video.id), short_side=short_side)
        masks = result.rounds[-1].masks
        scores = tuple(RoundScore(each.j, each.f, each.j_and_f) for each in result.rounds)
    folder = out / "Annotations" / video.id
    numbered = [f"{t:05d}" for t in range(len(masks))]
    names = video.frame_names if isinstance(video, FolderVideo) else numbered
    for name, each in zip(names, masks, strict=True):
        image = Image.fromarray(each, mode="P")
        image.putpalette(PALETTE.tobytes())
        with sealed_file(folder / f"{name}.png") as temporary:
            image.save(temporary, format="PNG")
    view_video(MemoryVideo(video.id, video.frames(), masks), out)
    return Inferred(folder, scores)


def _from_mask(video: Video, networks: Networks, path: Path, frame: int, short_side: int | None) -> np.ndarray:
    try:
        with Image.open(path) as image:
            given = np.array(image)
    except OSError as error:
        raise InputError(f"cannot read the mask {path}: {error}") from None
    if given.shape != (video.height, video.width) or given.dtype != np.uint8:
        raise InputError(f"{path} must be an index PNG of {video.width} × {video.height} pixels, like the video")
    labels = objects_in(given)
    if not labels or frame >= video.num_frames:
        raise InputError(f"{path} shows no object" if not labels else f"there is no frame {frame}: see --frame")
    index = np.zeros(256, np.uint8)
    index[list(labels)] = np.arange(1, len(labels) + 1)
    runner = InteractiveRunner(networks.propagation, video.frames(), len(labels), short_side=short_side)
    return np.array([0, *labels], np.uint8)[runner.interact(frame, index[given])]


def _from_scribbles(video: Video, networks: Networks, path: Path, short_side: int | None) -> np.ndarray:
    try:
        strokes = json.loads(path.read_text())
        frame, lines = next((t, lines) for t, lines in enumerate(strokes["scribbles"]) if lines)
        num_objects = max(int(line["object_id"]) for line in lines)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the scribbles {path}: {error}") from None
    except (KeyError, TypeError, StopIteration):
        raise InputError(f"{path} holds no DAVIS scribbles: expected {{'scribbles': [[stroke, …], …]}}") from None
    runner = InteractiveRunner(
        networks.propagation, video.frames(), num_objects, s2m=networks.s2m, short_side=short_side
    )
    return runner.interact(frame, runner.scribble(frame, strokes))
