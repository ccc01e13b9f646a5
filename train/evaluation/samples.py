"""Samples of an interactive evaluation: videos with their objects and first scribbles, from DAVIS trees or shards."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mivos_models.runner.scribbles import read_scribbles
from train.evaluation.interactive import numbered_objects
from train.evaluation.robot import NO_SCRIBBLE, first_frame, robot_scribbles
from train.evaluation.truth import listed_videos
from vosforge import InputError
from vosforge.seeding import rng_for
from vosforge.videos import ShardSet, place
from vosforge.videos.folders import open_folder
from vosforge.videos.manifest import has_manifest
from vosforge.videos.video import Video, objects_in


class First(NamedTuple):
    """The first scribbles of a sample: number of the sample, frame, stroke map ``[H, W]`` (None: no stroke)."""

    number: int
    frame: int
    strokes: np.ndarray | None


@dataclass(frozen=True)
class Subject:
    """A video to evaluate. Nothing is kept of what is read.

    ``from_first_frame``: as in the benchmark, the objects are 1 to the highest label of frame 0, else all labels;
    ``scribbles``: people's scribble files, one sample each.
    """

    video: Video
    from_first_frame: bool = False
    scribbles: tuple[Path, ...] = ()

    @cached_property
    def object_ids(self) -> tuple[int, ...]:
        """The objects' labels in the video; InputError without any, or without masks or colours."""
        video = self.video
        if not video.has_masks:
            raise InputError(f"the video '{video.id}' has no masks to score against: add one for each frame")
        if not video.has_colors:
            raise InputError(f"the video '{video.id}' has no colours: render it with render.colors=true")
        labels = objects_in(video.mask(0)) if self.from_first_frame else video.object_ids
        if not labels:
            where = " in its first frame, where the benchmark's objects start" if self.from_first_frame else ""
            raise InputError(f"the masks of the video '{video.id}' show no object{where}: leave it out")
        return tuple(range(1, max(labels) + 1)) if self.from_first_frame else labels

    @property
    def num_samples(self) -> int:
        """One for each scribble file, or one that the robot begins."""
        return max(1, len(self.scribbles))

    def truth(self) -> np.ndarray:
        """The masks ``[T, H, W]`` with the objects as 1..K; void (255) stays, as do labels of no object, above K."""
        return self.video.masks() if self.from_first_frame else numbered_objects(self.video.masks(), self.object_ids)

    def human(self) -> Iterator[First]:
        """The samples that people's files begin; InputError for one that does not fit the video."""
        K, video = len(self.object_ids), self.video
        for number, path in enumerate(self.scribbles, start=1):
            drawn = read_scribbles(path, video.num_frames, video.height, video.width)
            if len(drawn) > 1:
                raise InputError(f"{path} has strokes on the frames {sorted(drawn)}: give one file for each frame")
            ((frame, strokes),) = drawn.items()
            if strokes.max() > K:
                raise InputError(f"{path} marks object {strokes.max()}, but '{video.id}' has the objects 1..{K}")
            yield First(number, frame, strokes)

    def begun_by_robot(self, truth: np.ndarray, seed: int) -> First:
        """Our robot's strokes on all objects of the frame that shows them best, for ``truth [T, H, W]``."""
        K = len(self.object_ids)
        seen = [label for label in objects_in(truth) if label <= K]
        frame = first_frame(truth, seen)
        rng = rng_for(seed, "first strokes", self.video.id)
        strokes = robot_scribbles(truth[frame], np.zeros_like(truth[frame]), K, rng)
        return First(1, frame, strokes if (strokes != NO_SCRIBBLE).any() else None)


def open_subjects(where: str, split: str | None = None) -> list[Subject]:
    """The videos at ``where``, checked: a DAVIS tree or folder of videos, or a data set of shards (path or URL).

    ``split``: of shards (default: val), or the name of a list in a tree's ``ImageSets`` (default: val if it has one,
    else all videos). A tree's ``Scribbles/<video>/001.json`` … begin its samples. InputError for videos without masks
    or objects, and scribbles that do not fit.
    """
    path = place(where)
    if isinstance(path, Path) and not path.exists():
        raise InputError(f"{where} does not exist: give a DAVIS tree, a data set or a shard")
    if not isinstance(path, Path) or path.is_file() or has_manifest(path):
        shards, chosen = ShardSet(path), split or "val"
        subjects = [Subject(video) for video in shards.split(chosen)]
        if not subjects:
            known = sorted({str(row.split) for row in shards.videos})
            raise InputError(f"{where} has no videos in the split '{chosen}'; it has {', '.join(known) or 'no videos'}")
        for subject in subjects:
            if not subject.video.has_colors or not subject.video.num_objects:
                _ = subject.object_ids  # raises
        return subjects
    videos = {video.id: video for video in open_folder(path)}
    named = split or ("val" if any((path / "ImageSets").rglob("val.txt")) else None)
    names = listed_videos(path, named) if named else list(videos)
    if missing := [name for name in names if name not in videos]:
        raise InputError(f"the split {named} lists '{missing[0]}', of which {path} has no frames: add them")
    scribbles = {name: tuple(sorted((path / "Scribbles" / name).glob("*.json"))) for name in names}
    subjects = [Subject(videos[name], True, scribbles[name]) for name in names]
    for subject in subjects:
        for _ in subject.human():
            pass
        _ = subject.object_ids
    return subjects
