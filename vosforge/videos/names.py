"""Names of a video's frames and objects, for files and folders."""

from vosforge.errors import InputError
from vosforge.videos.reader import DAMAGE, ShardVideo
from vosforge.videos.texts import read_texts


def numbered(T: int) -> list[str]:
    """Default frame names: 00000, 00001, …."""
    return [f"{t:05d}" for t in range(T)]


def safe_name(name: str, what: str) -> str:
    """``name`` if it is a valid file or folder name; else InputError naming ``what``."""
    if not name.strip(".") or not name.isprintable() or set(name) & set("/\\") or len(name.encode()) > 200:
        raise InputError(f"{what} is named {name!r}, which cannot be a file's name: rename it and try again")
    return name


def original_names(video: ShardVideo) -> list[str]:
    """The T frame names of a video without suffix: the imported ones, or 00000, 00001, ….

    InputError when those a shard holds cannot be file names.
    """
    kept = video.attributes.get("frame_names", numbered(video.num_frames))
    if not isinstance(kept, list) or len(set(map(str, kept))) != video.num_frames:
        raise InputError(f"video {video.id} in {video.path} does not name each of its frames: import it again")
    return [safe_name(str(name), f"a frame of video {video.id}") for name in kept]


def frame_names(video: ShardVideo) -> list[str]:
    """The T names that frames are exported with: their original ones, where these sort in the order of time.

    Readers sort by name, so others are renumbered.
    """
    names = original_names(video)
    return names if names == sorted(names) else numbered(video.num_frames)


def categories(video: ShardVideo) -> tuple[str, ...]:
    """The K objects' category names."""
    try:
        names = read_texts(video.group["objects/category"])
    except DAMAGE:
        names = ()
    if len(names) != video.num_objects:
        raise InputError(f"the categories of video {video.id} in {video.path} are damaged: render or import it again")
    return names
