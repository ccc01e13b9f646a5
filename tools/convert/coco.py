"""COCO's layout, with TAO's fields for videos and tracks. Writing only.

``<split>/<video>/<frame>.jpg`` and ``annotations/instances_<split>.json``. Void pixels (255) belong to
no annotation.
"""

import json
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from tools.convert.runs import encode_runs
from tools.convert.writing import objects_seen, write_frames
from vosforge.videos import ShardVideo
from vosforge.videos.names import categories, frame_names

LISTS = ("videos", "tracks", "images", "annotations")


def category_numbers(videos: Iterable[ShardVideo]) -> dict[str, int]:
    """The numbers of all categories in ``videos``, from 1, in the order of their names."""
    names = {name for video in videos for name in categories(video)}
    return {name: number for number, name in enumerate(sorted(names), start=1)}


def write_coco(videos: Iterable[ShardVideo], folder: Path, numbers: Mapping[str, int]) -> None:
    """Write ``videos`` to ``folder``; ``numbers`` are their categories', the same in every split."""
    with ExitStack() as stack:
        splits: dict[str, _Instances] = {}
        for video in videos:
            split: str = video.row.split or "train"
            if split not in splits:
                splits[split] = _Instances(folder, stack)
            write_frames(video, folder / split / video.id)
            _describe(video, splits[split], numbers)
        for name, instances in splits.items():
            instances.save(folder / "annotations" / f"instances_{name}.json", numbers)


class _Instances:
    """One split's lists, kept on disk: those of a large data set would not fit into memory."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._counts = dict.fromkeys(LISTS, 0)
        self._files = {name: stack.enter_context(_scratch_file(folder)) for name in LISTS}

    def add(self, into: str, **item: Any) -> int:
        """Append an item to a list and return the number it got, from 1."""
        self._counts[into] += 1
        line = json.dumps({"id": self._counts[into], **item}, separators=(",", ":"))
        self._files[into].write(f"{',' if self._counts[into] > 1 else ''}\n{line}")
        return self._counts[into]

    def save(self, path: Path, numbers: Mapping[str, int]) -> None:
        """Join the lists into one JSON file."""
        path.parent.mkdir(exist_ok=True)
        kinds = [{"id": number, "name": name, "supercategory": "object"} for name, number in numbers.items()]
        with path.open("w") as out:
            out.write('{"info":{"description":"exported by VOSForge"},"licenses":[],"categories":' + json.dumps(kinds))
            for name in LISTS:
                out.write(f',"{name}":[')
                self._files[name].seek(0)
                out.writelines(self._files[name])
                out.write("]")
            out.write("}\n")


def _scratch_file(folder: Path) -> IO[str]:
    return tempfile.TemporaryFile("w+", dir=folder)


def _describe(video: ShardVideo, instances: _Instances, numbers: Mapping[str, int]) -> None:
    """Add a video, its tracks, frames and masks to a split's lists."""
    size = {"width": video.width, "height": video.height}
    number = instances.add("videos", name=video.id, **size)
    kinds = [numbers[name] for name in categories(video)]
    tracks: dict[int, int] = {}
    for t, name in enumerate(frame_names(video)):
        image = instances.add(
            "images", file_name=f"{video.id}/{name}.jpg", video_id=number, video=video.id, frame_index=t, **size
        )
        mask = video.mask(t)
        for label in objects_seen(video, mask):
            kind = kinds[label - 1]
            if label not in tracks:
                tracks[label] = instances.add("tracks", video_id=number, object=label, category_id=kind)
            seen = mask == label
            rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
            left, top = int(columns[0]), int(rows[0])
            instances.add(
                "annotations",
                image_id=image,
                video_id=number,
                track_id=tracks[label],
                object=label,
                category_id=kind,
                segmentation={"size": [video.height, video.width], "counts": encode_runs(seen)},
                bbox=[left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
                area=int(np.count_nonzero(seen)),
                iscrowd=0,
            )
