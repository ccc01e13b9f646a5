"""Imports a source's videos into a data set of shards, one by one, so that an interrupted import resumes.

The folder is laid out like a rendered one (``staging/``, ``shards/``, ``manifest.jsonl``), with ``import.json`` in
place of ``dataset.yaml``: the source's fingerprint, compared when an import resumes. What is finished is known, staged
and sealed as in a rendered one (`render.farm.ledger`).
"""

import json
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from render.farm.ledger import Ledger
from render.farm.places import Places
from tools.convert.layouts import LAYOUTS, SourceVideo, find_videos, recognise
from tools.convert.reading import read_video
from tools.convert.sources import Tree, read_tree
from vosforge.errors import InputError, VOSForgeError
from vosforge.files import write_sealed
from vosforge.guarded import Lost, guarded
from vosforge.log import console, logger
from vosforge.processes import cores
from vosforge.progress import progress
from vosforge.trouble import attempting
from vosforge.videos import VideoRow, read_manifest, stage_video
from vosforge.videos.film import is_film
from vosforge.videos.folders import FRAMES, MASKS
from vosforge.videos.format import checksum, to_json

PIN = "import.json"
VIDEOS_PER_SHARD = 25


def import_dataset(
    source: Path,
    out: Path,
    layout: str | None = None,
    masks: Path | None = None,
    labelled_only: bool = False,
    videos_per_shard: int = VIDEOS_PER_SHARD,
    workers: int | None = None,
) -> tuple[VideoRow, ...]:
    """Import the videos of ``source`` into the data set ``out``, or resume; returns its rows.

    ``layout``: one of LAYOUTS (None: detected); ``masks``: a folder of the same shape that holds the masks;
    ``labelled_only``: leave out frames without a mask, which are refused otherwise; ``workers``: processes, one a core
    by default. InputError when a file is missing, damaged or of a wrong size: finished videos stay in ``out``, and
    the same call resumes.
    """
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"unknown format '{layout}' to import; known: {', '.join(LAYOUTS)}")
    layout, videos = find_source(source, layout, masks)
    videos = annotated(videos, labelled_only)
    origin = {"format": layout, "source": source.resolve().name}
    pin = {
        **origin,
        "videos": len(videos),
        "videos_per_shard": videos_per_shard,
        "labelled_only": labelled_only,
        "listing": _listing(videos),
    }
    console.print(f"{layout}: {len(videos)} videos, {sum(len(video.frames) for video in videos)} frames")
    with attempting(f"write to {out}"):
        _check_folder(out, pin)
        ledger = Ledger(out, Places(out, PIN), len(videos), videos_per_shard, doing="importing into")
        if not (out / PIN).is_file():
            write_sealed(out / PIN, json.dumps(pin, indent=2))
        with ledger.writing():
            _check_pin(out, pin)
            _stage_and_pack(ledger, videos, origin, workers or cores())
            ledger.manifest()
    return read_manifest(out)


def find_source(source: Path, layout: str | None, masks: Path | None) -> tuple[str, list[SourceVideo]]:
    """The layout of a source and its videos. A folder inside JPEGImages is used with its masks in Annotations."""
    part = ""
    parts = source.resolve().parts
    if masks is None and FRAMES in parts and (source.is_dir() or is_film(source.name)):
        parts = (*parts[:-1], source.stem) if is_film(source.name) else parts
        at = len(parts) - 1 - parts[::-1].index(FRAMES)
        source, part = Path(*parts[:at]), "/".join(parts[at:])
    tree = read_tree(source)
    if part:
        tree = {folder: files for folder, files in tree.items() if _belongs(folder, part)}
    mask_tree: Tree | None = None if masks is None else read_tree(masks)
    found = layout or ("folders" if masks else recognise(source, tree))
    return found, find_videos(source, tree, mask_tree, found)


def annotated(videos: Sequence[SourceVideo], labelled_only: bool) -> list[SourceVideo]:
    """The videos whose frames all have masks; with ``labelled_only`` each without its other frames.

    InputError for a frame without a mask, or when no frame has one.
    """
    if not labelled_only:
        for video in videos:
            if not any(video.masks):
                where = video.masks_folder or "the masks' folder"
                raise InputError(
                    f"video '{video.id}' has no masks in {where}: add PNGs named like its frames, "
                    f"{video.frame_names[0]}.png, or leave such videos out with --labelled-only"
                )
            if None in video.masks:
                name = video.frames[video.masks.index(None)][0]
                raise InputError(
                    f"{video.masks.count(None)} of the {len(video.masks)} frames of video '{video.id}' have no mask in "
                    f"{video.masks_folder} (the first is {name}): add --labelled-only to import the others only"
                )
        return list(videos)
    result = []
    for video in videos:
        times = [t for t, mask in enumerate(video.masks) if mask is not None]
        if times:
            frames, masks = tuple(video.frames[t] for t in times), tuple(video.masks[t] for t in times)
            result.append(replace(video, frames=frames, masks=masks))
    if not result:
        raise InputError("no frame has a mask, so there is nothing to import: add PNGs named like the frames")
    if left_out := len(videos) - len(result):
        logger.warning("%d videos without any mask are left out", left_out)
    return result


def _belongs(folder: str, part: str) -> bool:
    """Whether a folder is at or below ``part`` (which begins with JPEGImages), holds its masks, or says more of it."""
    inside = folder.replace(MASKS, FRAMES, 1) if folder.startswith(MASKS) else folder
    return inside == part or inside.startswith(f"{part}/") or folder == "" or folder.startswith("ImageSets")


def _listing(videos: Sequence[SourceVideo]) -> str:
    """A checksum of which videos and frames there are, and of their splits."""
    text = to_json([[video.id, video.split, video.frame_names] for video in videos])
    return checksum(np.frombuffer(text.encode(errors="surrogateescape"), np.uint8))


def _check_folder(out: Path, pin: dict[str, object]) -> None:
    """Raise InputError unless ``out`` holds an import of the same source, or nothing."""
    if (out / PIN).is_file():
        _check_pin(out, pin)
    elif out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir()):
        raise InputError(f"{out} is not empty and holds no unfinished import: name a new folder")


def _check_pin(out: Path, pin: dict[str, object]) -> None:
    try:
        begun = json.loads((out / PIN).read_text())
        differs = next((key for key in pin if begun[key] != pin[key]), None)
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{out / PIN} is damaged: delete {out} and import again") from None
    if differs == "listing":
        raise InputError(f"{out} was started with other videos or frames: import them into another folder")
    if differs:
        raise InputError(f"{out} was started with {differs} {begun[differs]}, not {pin[differs]}: use another folder")


class _Task(NamedTuple):
    """A video to read, its number, and the path to seal it at."""

    video: SourceVideo
    number: int
    path: Path
    attributes: dict[str, Any]


def _stage(task: _Task) -> VOSForgeError | None:
    """Read and seal one video; returns what the user must mend."""
    try:
        with attempting(f"write to {task.path.parent}"):
            stage_video(task.path, read_video(task.video, task.attributes))
    except VOSForgeError as error:
        return error
    return None


def _stage_and_pack(ledger: Ledger, videos: Sequence[SourceVideo], origin: dict[str, str], workers: int) -> None:
    """Stage missing videos and seal each shard as soon as it is complete."""
    ledger.pack()
    missing = ledger.missing()
    to_come = Counter(map(ledger.shard_of, missing))
    tasks = deque(_Task(videos[index], index, ledger.staged_path(index), {"source": origin}) for index in missing)
    with progress("importing", len(videos)) as bar:
        bar.show(len(videos) - len(missing), len(videos), "")
        # One process needs no helper: it works here.
        several = min(workers, len(missing)) > 1
        results = guarded(_stage, tasks, workers) if several else ((task, _stage(task)) for task in tasks)
        for task, error in results:
            if isinstance(error, Lost):
                raise VOSForgeError(
                    f"{task.video.id} {error.why}, perhaps out of memory: resume with the same command and fewer "
                    "--workers"
                )
            if error is not None:
                raise error
            bar.advance(task.video.id)
            shard = ledger.shard_of(task.number)
            to_come[shard] -= 1
            if not to_come[shard]:
                ledger.pack([shard])
    if ledger.places.staging.is_dir():
        ledger.places.staging.rmdir()
