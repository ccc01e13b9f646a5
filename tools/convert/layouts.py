"""Finds the videos in a tree of files: DAVIS's, BL30K's or YouTube-VOS's layout, or any two matching folders."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from tools.convert.sources import Entry, Tree, named_file
from vosforge.errors import InputError
from vosforge.terms import Split
from vosforge.videos.film import is_film
from vosforge.videos.folders import FRAMES, MASKS, OTHER_FRAMES, OTHER_MASKS, USUAL_RESOLUTION, in_time, is_frame
from vosforge.videos.masks import match_masks
from vosforge.videos.names import safe_name

LAYOUTS = ("davis", "bl30k", "youtube-vos", "folders")


@dataclass(frozen=True)
class SourceVideo:
    """One video of a source: T frames in order, and a mask for each or None."""

    id: str
    split: Split
    folder: str
    """Its frames' folder in the source."""
    masks_folder: str
    frames: tuple[tuple[str, Entry], ...]
    """File names and their locations."""
    masks: tuple[Entry | None, ...]
    categories: Mapping[int, str]
    """Category of each object that has one."""

    @property
    def frame_names(self) -> list[str]:
        """The frames' names without suffix."""
        return [PurePosixPath(name).stem for name, _ in self.frames]


@dataclass(frozen=True)
class VideoPlace:
    """Where a video may be: its frames' folder, its masks' folder, and the folder both are below."""

    id: str
    frames: str
    masks: str
    root: str


def recognise(source: Path, tree: Tree) -> str:
    """Detect a source's layout, one of LAYOUTS."""
    places = _places(source, tree)
    roots = {place.root for place in places}
    if any("meta.json" in tree.get(root, {}) for root in roots):
        return "youtube-vos"
    if _has_lists(tree, roots):
        return "davis"
    named = "BL30K" in source.name or "BL30K" in source.resolve().parts
    if named or any("BL30K" in PurePosixPath(place.frames).parts for place in places):
        return "bl30k"
    return "folders"


def find_videos(source: Path, tree: Tree, masks: Tree | None, layout: str) -> list[SourceVideo]:
    """The videos of a source in the order of their ids; ``masks``: a tree of the same shape that holds the masks.

    InputError when there are none, when two have one name, and when a mask has no frame.
    """
    places = [VideoPlace(_own_name(source, f), f, f, "") for f in tree] if masks is not None else _places(source, tree)
    places = [place for place in places if _images(tree.get(place.frames, {}))]
    if layout == "youtube-vos":
        places = _official_parts(places, tree)
    chosen: dict[str, VideoPlace] = {}
    for place in places:
        other = chosen.setdefault(place.id, place)
        if other is not place:
            usual = [one for one in (other, place) if PurePosixPath(one.frames).parent.name == USUAL_RESOLUTION]
            if len(usual) != 1:
                raise InputError(
                    f"there are two videos '{place.id}', {named_file(source, other.frames)} and "
                    f"{named_file(source, place.frames)}: rename one, or import their folders one by one"
                )
            chosen[place.id] = usual[0]
    if not chosen and _images(tree.get("", {})):
        raise InputError(f"{source} has frames but no masks: name the masks' folder with --masks")
    if not chosen:
        raise InputError(
            f"{source} holds no video: expected {FRAMES}/[480p/]<video>/00000.jpg with {MASKS} beside, "
            "folders 'frames' and 'masks', or a folder of frames or a film and --masks"
        )
    roots = {place.root for place in chosen.values()}
    splits = _listed(source, tree, roots) if layout == "davis" else {}
    metas = {root: _meta(source, tree, root) for root in roots} if layout == "youtube-vos" else {}
    videos = []
    for video_id in sorted(chosen):
        place = chosen[video_id]
        split: Split = splits.get(video_id, "train")
        if layout == "youtube-vos" and _own_name(source, place.root).startswith("valid"):
            split = "val"
        mask_tree = tree if masks is None else masks
        videos.append(_video(source, place, split, tree, mask_tree, _categories(metas.get(place.root, {}), video_id)))
    return videos


def _places(source: Path, tree: Tree) -> list[VideoPlace]:
    """Every folder of images that lies where a video's frames do."""
    found = []
    tops = {folder.partition("/")[0] for folder in tree}
    beside = next((name for name in OTHER_MASKS if name in tops), OTHER_MASKS[0])
    for folder in sorted(tree):
        parts = PurePosixPath(folder).parts
        if FRAMES in parts:
            at = len(parts) - 1 - parts[::-1].index(FRAMES)
            masks = "/".join((*parts[:at], MASKS, *parts[at + 1 :]))
        elif parts and parts[0] in OTHER_FRAMES:
            at = 0
            masks = "/".join((beside, *parts[1:]))
        else:
            continue
        if not _images(tree[folder]):
            continue
        root = "/".join(parts[:at])
        own = parts[-1] if at + 1 < len(parts) else _own_name(source, root)
        found.append(VideoPlace(own, folder, masks, root))
    return found


def _own_name(source: Path, folder: str) -> str:
    own = source.resolve()
    return PurePosixPath(folder).name or (own.stem if is_film(own.name) else own.name.removesuffix(".tar"))


def _has_lists(tree: Tree, roots: set[str]) -> bool:
    """Whether one of ``roots`` has DAVIS's folder of lists."""
    folders = {str(place) for folder in map(PurePosixPath, tree) for place in (folder, *folder.parents)}
    return any(str(PurePosixPath(root, "ImageSets")) in folders for root in roots)


def _images(files: Mapping[str, Entry]) -> list[str]:
    return [name for name in files if is_frame(name)]


def _video(
    source: Path, place: VideoPlace, split: Split, tree: Tree, mask_tree: Tree, categories: Mapping[int, str]
) -> SourceVideo:
    names = sorted(_images(tree[place.frames]), key=lambda name: (in_time(name), name))
    safe_name(place.id, f"the video {named_file(source, place.frames)!r}")
    stems = [PurePosixPath(safe_name(name, f"a frame of {place.frames!r}")).stem for name in names]
    for first, second in pairwise(names):
        if PurePosixPath(first).stem == PurePosixPath(second).stem:
            raise InputError(f"{named_file(source, place.frames)} has a frame twice, {first} and {second}: remove one")
    files = mask_tree.get(place.masks, {})
    matched = match_masks(stems, files, place.masks or "the masks' folder")
    return SourceVideo(
        id=place.id,
        split=split,
        folder=place.frames,
        masks_folder=place.masks,
        frames=tuple((name, tree[place.frames][name]) for name in names),
        masks=tuple(files[matched[stem]] if stem in matched else None for stem in stems),
        categories=categories,
    )


def _official_parts(places: list[VideoPlace], tree: Tree) -> list[VideoPlace]:
    """Of a whole YouTube-VOS, the parts whose frames are all annotated: train, and valid_all_frames where it has masks.

    A source that is one of its parts is taken as it is.
    """
    if not any(PurePosixPath(place.root).name.startswith("train") for place in places):
        full = [place for place in places if place.root.endswith("valid_all_frames") and place.masks in tree]
        return full or places
    return [
        place
        for place in places
        if (PurePosixPath(place.root).name.startswith("train") and "all_frames" not in place.root)
        or (place.root.endswith("valid_all_frames") and place.masks in tree)
    ]


def _listed(source: Path, tree: Tree, roots: set[str]) -> dict[str, Split]:
    """The splits of those videos that DAVIS's lists name: 2017's, else 2016's, whose lines are two paths."""
    for root in sorted(roots):
        for year in ("2017", "2016", USUAL_RESOLUTION):
            files = tree.get("/".join(part for part in (root, "ImageSets", year) if part), {})
            splits: dict[str, Split] = {}
            for split in _SPLITS:
                for line in _lines(files, f"{split}.txt"):
                    first = line.split()[0]
                    splits[PurePosixPath(first).parent.name if "/" in first else line] = split
            if splits:
                return splits
    if not _has_lists(tree, roots):
        raise InputError(f"{source} is not DAVIS's layout (no ImageSets in it): import it with --format folders")
    return {}


_SPLITS: tuple[Split, ...] = ("train", "val")


def _lines(files: Mapping[str, Entry], name: str) -> Iterator[str]:
    if name in files:
        lines = files[name].read().decode("utf-8", "replace").splitlines()
        yield from (line.strip() for line in lines if line.strip())


def _meta(source: Path, tree: Tree, root: str) -> dict[str, Any]:
    """What ``meta.json`` says of the videos below ``root``; InputError when it is missing from train, or broken."""
    home = root.replace("all_frames/valid_all_frames", "valid")
    entry = tree.get(home, {}).get("meta.json")
    if entry is None:
        raise InputError(
            f"{named_file(source, home, 'meta.json')} is missing: add --format folders to import without it"
        )
    try:
        videos = json.loads(entry.read())["videos"]
        return dict(videos)
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{named_file(source, home, 'meta.json')} is not YouTube-VOS's: fix it, or add --format folders"
        ) from None


def _categories(meta: Mapping[str, Any], video_id: str) -> dict[int, str]:
    """The category of each object of a video, by number; other entries are skipped."""
    described = meta.get(video_id)
    objects = described.get("objects") if isinstance(described, dict) else None
    if not isinstance(objects, dict):
        return {}
    named = {key: item.get("category") for key, item in objects.items() if isinstance(item, dict) and key.isdecimal()}
    return {int(key): kind for key, kind in named.items() if isinstance(kind, str)}
