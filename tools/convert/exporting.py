"""Exports chosen videos of a data set to another layout, atomically."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.convert.coco import category_numbers, write_coco
from tools.convert.davis import write_bl30k, write_davis
from tools.convert.webdataset import write_webdataset
from tools.convert.youtube import write_youtube
from tools.inspect.view import write_mp4
from vosforge.errors import InputError
from vosforge.files import sealed_folder
from vosforge.progress import ProgressBar, progress
from vosforge.trouble import attempting
from vosforge.videos import Place, ShardSet, ShardVideo
from vosforge.videos.names import safe_name

FORMATS = ("davis", "bl30k", "youtube-vos", "coco", "webdataset", "mp4")
MASKS_ALONE = ("davis", "bl30k", "mp4")
"""Formats that support videos without colours."""
SHARD_SIZE = 1000
"""Megabytes of a webdataset tar."""


def export_dataset(
    path: Place,
    out: Path,
    layout: str,
    split: str | None = None,
    video_ids: Sequence[str] = (),
    shard_size: int = SHARD_SIZE,
) -> int:
    """Write videos of the data set (or shard file) at ``path`` to the folder ``out``; returns how many.

    ``layout`` is one of FORMATS; ``split`` and ``video_ids`` choose videos. Stored JPEGs are copied unchanged;
    masks are exact. InputError when no video matches, the format needs colours that a video lacks, or
    ``out`` is not empty.
    """
    if layout not in FORMATS:
        raise InputError(f"unknown format '{layout}'; known: {', '.join(FORMATS)}")
    head, _, video_id = str(path).rpartition(":")
    if isinstance(path, Path) and head and Path(head).exists() and not path.exists():
        raise InputError(f"{path} does not exist: name a data set, and one video of it as --video {video_id}")
    shards = ShardSet(path)
    chosen = choose_videos(shards, path, split, video_ids)
    bare = next((video.id for video in chosen if not video.has_colors), None)
    if bare is not None and layout not in MASKS_ALONE:
        raise InputError(
            f"video {bare} of {path} has no colours, which {layout} needs: export it as {', '.join(MASKS_ALONE)}, or "
            "render it with render.colors=true"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not empty: name a new folder")
    with attempting(f"write to {out}"), sealed_folder(out) as folder, progress("exporting", len(chosen)) as bar:
        videos = _counted(chosen, bar)
        match layout:
            case "davis":
                write_davis(videos, folder)
            case "bl30k":
                write_bl30k(videos, folder)
            case "youtube-vos":
                write_youtube(videos, folder)
            case "coco":
                write_coco(videos, folder, category_numbers(shards))
            case "webdataset":
                write_webdataset(videos, folder, shard_size)
            case "mp4":
                for video in videos:
                    write_mp4(video, folder / f"{video.id}.mp4")
    return len(chosen)


def choose_videos(shards: ShardSet, path: Place, split: str | None, video_ids: Sequence[str]) -> list[ShardVideo]:
    """The videos named in ``video_ids`` (or all), of ``split`` (or both), in the data set's order.

    InputError when an id is unknown, cannot be a folder's name, or no video is left.
    """
    if split not in (None, "train", "val"):
        raise InputError(f"unknown split '{split}'; known: train, val")
    for video_id in video_ids:
        shards.video(video_id)
    named = set(video_ids)
    chosen = [
        video for video in shards if (split is None or video.row.split == split) and (not named or video.id in named)
    ]
    if not chosen:
        raise InputError(f"{path} holds no such video{f' in split {split}' if split else ''}: nothing to export")
    for video in chosen:
        safe_name(video.id, f"a video of {video.path}")
    return chosen


def _counted(videos: Sequence[ShardVideo], bar: ProgressBar) -> Iterator[ShardVideo]:
    for video in videos:
        yield video
        bar.advance(video.id)
