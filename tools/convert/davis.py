"""DAVIS 2017's layout, and BL30K's, which is the same without lists and resolutions. Writing only.

``JPEGImages/480p/<video>/<frame>.jpg``, ``Annotations/480p/<video>/<frame>.png``, ``ImageSets/2017/{train,val}.txt``;
the folder is called 480p whatever the frames' size, because that is where the published loaders look.
"""

from collections.abc import Iterable
from pathlib import Path

from tools.convert.writing import objects_seen, write_frames, write_masks
from vosforge.log import logger
from vosforge.videos import ShardVideo
from vosforge.videos.names import frame_names, numbered


def write_davis(videos: Iterable[ShardVideo], folder: Path) -> None:
    """Write ``videos`` to ``folder``; each split that has videos gets its list."""
    lists: dict[str, list[str]] = {}
    late, named = [], []
    for video in videos:
        write_frames(video, folder / "JPEGImages" / "480p" / video.id)
        write_masks(video, folder / "Annotations" / "480p" / video.id)
        lists.setdefault(video.row.split or "train", []).append(video.id)
        if set(video.object_ids) - set(objects_seen(video, video.mask(0))):
            late.append(video.id)
        if frame_names(video) != numbered(video.num_frames):
            named.append(video.id)
    _tell(late, "have objects that enter after frame 0, where DAVIS test loaders look for all of them")
    _tell(named, "have frames that are not named 00000, 00001, …, as DAVIS test loaders need them")
    sets = folder / "ImageSets" / "2017"
    sets.mkdir(parents=True)
    for split, ids in lists.items():
        (sets / f"{split}.txt").write_text("".join(f"{video_id}\n" for video_id in ids))


def _tell(video_ids: list[str], what: str) -> None:
    if video_ids:
        shown = ", ".join(video_ids[:8]) + (", …" if len(video_ids) > 8 else "")
        logger.warning("%d of the videos %s: %s", len(video_ids), what, shown)


def write_bl30k(videos: Iterable[ShardVideo], folder: Path) -> None:
    """Write ``videos`` to ``folder``/BL30K as MiVOS reads them; splits are not told apart."""
    for video in videos:
        write_frames(video, folder / "BL30K" / "JPEGImages" / video.id)
        write_masks(video, folder / "BL30K" / "Annotations" / video.id)
