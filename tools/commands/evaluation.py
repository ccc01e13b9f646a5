"""Evaluates results against ground truth: reads both, scores, prints tables, writes files and a page."""

import json
from collections.abc import Sequence
from pathlib import Path

from tools.commands.timing import read_timing
from tools.inspect.evaluation import (
    PAGE,
    Entry,
    comparison_table,
    group_tables,
    remove_earlier,
    write_files,
    write_page,
)
from train.evaluation.protocols import PROTOCOLS
from train.evaluation.results import find_results
from train.evaluation.scoring import Evaluation, score_videos, summarise
from train.evaluation.truth import Truth, open_truth
from vosforge.config import named
from vosforge.errors import InputError
from vosforge.log import console, logger
from vosforge.processes import cores
from vosforge.progress import progress, shown
from vosforge.trouble import attempting
from vosforge.videos import Place
from vosforge.videos.folders import FRAMES


def evaluate_results(
    folders: Sequence[Path],
    where: Place,
    out: Path,
    protocol: str = "davis17",
    *,
    split: str | None = None,
    allow_missing: bool = False,
    seen: Path | None = None,
    workers: int | None = None,
    notes: Sequence[str] = (),
) -> list[Evaluation]:
    """Score each results folder against the ground truth at ``where``; writes JSON, CSV and HTML into ``out``.

    ``seen``: a YouTube-VOS meta.json that lists the training categories. Raises InputError, before anything is
    written, for results that do not fit the ground truth.
    """
    if seen is not None and protocol != "youtube-vos":
        raise InputError("--seen belongs to --protocol youtube-vos: leave it out")
    truths = open_truths(where, protocol, split)
    known = [truth.id for truth in (truths if split is None else open_truth(where))]
    categories = seen_categories(seen, where) if protocol == "youtube-vos" else None
    entries = []
    for folder, name in zip(folders, _names(folders), strict=True):
        if (folder / FRAMES).is_dir() and isinstance(where, Path) and not (where / FRAMES).is_dir():
            logger.warning("%s has frames and %s has none: is the ground truth named last?", folder, where)
        results = find_results(folder, truths, known, allow_missing)
        with progress("scoring", len(truths)) as bar:
            videos = score_videos(
                truths,
                results,
                protocol,
                allow_missing=allow_missing,
                workers=workers or cores(),
                on_video=bar.advance,
            )
        found = summarise(videos, protocol, shown(folder), shown(where), categories)
        scored = {video.video for video in videos}
        timing = read_timing(folder)
        speed = timing.frames_per_second(scored) if timing else None
        found = found.model_copy(update={"frames_per_second": speed})
        pairs = [pair for pair in zip(truths, results, strict=True) if pair[0].id in scored]
        entries.append(Entry(name, found, [pair[0] for pair in pairs], [pair[1] for pair in pairs]))
    _print(entries)
    with attempting(f"write to {out}"):
        remove_earlier(out)
        for entry in entries:
            write_files(entry, out / entry.name if len(entries) > 1 else out, split)
        write_page(entries, out / PAGE, notes)
    return [entry.evaluation for entry in entries]


def open_truths(where: Place, protocol: str, split: str | None) -> Sequence[Truth]:
    """The videos to score by ``protocol``; InputError for an unknown one, or without ground truth."""
    named("protocol", protocol, PROTOCOLS)
    return open_truth(where, split, "2016" if protocol == "davis16" else "2017")


def _names(folders: Sequence[Path]) -> list[str]:
    """Short, distinct names of results folders."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = ["-".join(folder.resolve().parts[-2:]) for folder in folders]
    if len(set(names)) < len(names):
        raise InputError("two results folders have the same name: rename one")
    return names


def _print(entries: Sequence[Entry]) -> None:
    first = entries[0].evaluation
    console.print(f"{first.protocol}: {first.convention}", style="dim")
    console.print(comparison_table(entries))
    for entry in entries:
        found = entry.evaluation
        if found.missing_frames:
            console.print(
                f"{entry.name}: {found.missing_frames} frames without a mask ({found.missing_videos} whole videos) "
                "are scored as empty",
                style="yellow",
            )
    if len(entries) == 1:
        for table in group_tables(first):
            console.print(table)


def seen_categories(path: Path | None, where: Place) -> frozenset[str] | None:
    """The categories of YouTube-VOS's training split: of ``path``, or of ``train/meta.json`` beside the truth."""
    places = [path] if path else [where / "train" / "meta.json", where.parent / "train" / "meta.json"]
    found = next((place for place in places if isinstance(place, Path) and place.is_file()), None)
    if found is None:
        if path is not None:
            raise InputError(f"there is no file {path}: name the meta.json of the training split")
        return None
    try:
        videos = json.loads(found.read_text())["videos"].values()
        return frozenset(item["category"] for video in videos for item in video["objects"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{found} is not a meta.json of YouTube-VOS: name another with --seen") from None
