"""Segments one video with trained networks, from a mask, scribbles, clicks, or the robot with ground truth."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mivos_models import InteractiveRunner
from mivos_models.runner.scribbles import NO_STROKE, read_scribbles
from tools.commands.clicks import read_clicks
from tools.commands.timing import Timing, read_timing, write_timing
from tools.convert.writing import palette_png
from tools.inspect.view import open_video, view_video
from train.evaluation.interactive import Networks, evaluate_interactive
from train.evaluation.metrics import Scores
from vosforge.errors import InputError
from vosforge.files import write_sealed
from vosforge.log import console
from vosforge.seeding import rng_for
from vosforge.trouble import attempting
from vosforge.videos import ShardVideo
from vosforge.videos.folders import FolderVideo
from vosforge.videos.lazy import LazyFrames, MaskedVideo
from vosforge.videos.masks import read_mask
from vosforge.videos.names import numbered, original_names
from vosforge.videos.video import Video, objects_in

MaskOf = Callable[[int], np.ndarray]
"""Reads the mask of a frame, [H,W] uint8: all those of a long video would fill the memory."""


@dataclass(frozen=True)
class Inferred:
    """The masks' folder, and the scores of each round if ground truth is available."""

    masks: Path
    scores: tuple[Scores, ...] = ()


def infer_video(
    where: str,
    out: Path,
    networks: Path | None = None,
    *,
    mask: Path | None = None,
    frame: int = 0,
    scribbles: Path | None = None,
    clicks: Sequence[str] = (),
    rounds: int = 3,
    short_side: int | None = None,
) -> Inferred:
    """Segment the video at ``where`` and write its masks (DAVIS layout) and a preview below ``out``.

    ``networks``: a folder, None for the shipped ones. ``mask`` is that of ``frame``; ``clicks`` are texts as of
    `tools.commands.clicks`. Without these and ``scribbles``, the robot scribbles ``rounds`` times. Raises InputError
    for an unusable video, mask, scribble file, click or network, before anything is written.
    """
    if sum((mask is not None, scribbles is not None, bool(clicks))) > 1:
        raise InputError("give only one of --mask, --scribbles and --click")
    video = open_video(where)
    folder = out / "Annotations" / video.id
    if isinstance(video, FolderVideo) and video.masks_folder and folder.resolve() == video.masks_folder.resolve():
        raise InputError(f"{folder} holds the video's own masks: name another output folder")
    loaded, began = Networks.load(networks), time.monotonic()
    scores: tuple[Scores, ...] = ()
    if mask is not None:
        mask_of = _from_mask(video, loaded, mask, frame, short_side)
    elif scribbles is not None:
        drawn = read_scribbles(scribbles, video.num_frames, video.height, video.width)
        if not any(strokes.max() > 0 for strokes in drawn.values()):
            raise InputError(f"{scribbles} marks only background: draw a stroke with an object_id of 1 or more")
        mask_of = _from_strokes(video, loaded, drawn, short_side)
    elif clicks:
        drawn = read_clicks(clicks, video.num_frames, video.height, video.width)
        mask_of = _from_strokes(video, loaded, drawn, short_side)
    else:
        if not video.has_masks:
            raise InputError(f"the video '{video.id}' has no masks for the robot: give --mask, --scribbles or --click")
        result = evaluate_interactive(video, loaded, rounds, rng_for(0, "robot", video.id), short_side=short_side)
        mask_of = result.rounds[-1].masks.__getitem__
        scores = tuple(each.scores for each in result.rounds)
    seconds = time.monotonic() - began
    with attempting(f"write to {out}"):
        for t, name in enumerate(_names(video)):
            write_sealed(folder / f"{name}.png", palette_png(mask_of(t)))
        write_timing(out, (read_timing(out) or Timing()).with_video(video.id, video.num_frames, seconds))
    view_video(MaskedVideo(video, mask_of), out)
    return Inferred(folder, scores)


def _names(video: Video) -> list[str]:
    """The names of a video's frames, without suffix."""
    if isinstance(video, FolderVideo):
        return video.frame_names
    return original_names(video) if isinstance(video, ShardVideo) else numbered(video.num_frames)


def _from_mask(video: Video, networks: Networks, path: Path, frame: int, short_side: int | None) -> MaskOf:
    given, numbering = read_mask(path, (video.height, video.width))
    labels = objects_in(given)
    if not labels or frame >= video.num_frames:
        raise InputError(f"{path} shows no object" if not labels else f"there is no frame {frame}: see --frame")
    console.print(f"{path}: {numbering.described()}")
    index = np.zeros(256, np.uint8)
    index[list(labels)] = np.arange(1, len(labels) + 1)
    runner = InteractiveRunner(networks.propagation, LazyFrames(video), len(labels), short_side=short_side)
    runner.interact(frame, index[given])
    return _labelled(runner, [0, *labels])


def _from_strokes(video: Video, networks: Networks, drawn: Mapping[int, np.ndarray], short_side: int | None) -> MaskOf:
    """The masks after one interaction per frame with strokes, in the order of the frames.

    ``drawn``: stroke maps ``[H,W]`` by frame, in order, with an object somewhere. An object joins at the first frame
    with a stroke of it. Frames before the first object's have only background strokes, which correct what that object's
    interaction carried there: they follow it.
    """
    first = next(t for t, strokes in drawn.items() if strokes.max() > 0)
    labels: list[int] = [0]
    runner: InteractiveRunner | None = None
    for t in [first, *(t for t in drawn if t != first)]:
        new = [label for label in np.unique(drawn[t]).tolist() if label > 0 and label not in labels]
        labels += new
        if runner is None:
            runner = InteractiveRunner(
                networks.propagation,
                LazyFrames(video),
                len(new),
                s2m=networks.s2m,
                fusion=networks.fusion,
                short_side=short_side,
            )
        else:
            for _ in new:
                runner.add_object()
        strokes = np.full_like(drawn[t], NO_STROKE)
        for number, label in enumerate(labels):
            strokes[drawn[t] == label] = number
        runner.interact(t, runner.scribble(t, strokes))
    assert runner is not None
    return _labelled(runner, labels)


def _labelled(runner: InteractiveRunner, labels: Sequence[int]) -> MaskOf:
    """Reads the runner's masks with the ``labels`` of the background and its objects, one frame at a time."""
    of = np.array(labels, np.uint8)
    return lambda t: of[runner.mask(t)]
