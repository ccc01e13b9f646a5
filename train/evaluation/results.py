"""Results to evaluate: a folder of index masks per video, matched with the ground truth by name."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train.evaluation.truth import ShardTruth, Truth, mask_files, mask_folders
from vosforge.errors import InputError
from vosforge.videos.masks import LOSSY, MaskFiles, match_masks

NAMED = 3
"""Videos or frames that an error names; it counts the rest."""


@dataclass(frozen=True)
class Result:
    """The masks of one video in a results folder; ``folder``: None if there is none."""

    video: str
    folder: Path | None

    def read(
        self, truth: Truth, needed: np.ndarray, allow_missing: bool, labels: Collection[int] = ()
    ) -> tuple[np.ndarray, int]:
        """The masks of the frames of ``truth``: ``[n, H, W]`` uint8, and the number of missing ones left empty.

        ``needed`` ``[n]`` bool: frames that count; only these are read. ``labels``: the truth's objects; masks that
        name none, in black and white or one colour, mean object 1, where it is the only one. Raises InputError for
        masks of another size, broken or soft ones, surplus frames, and for missing ones unless ``allow_missing``.
        """
        H, W = truth.size
        found = np.zeros((len(truth.names), H, W), np.uint8)
        if self.folder is None:
            return found, int(needed.sum())
        matched = self._matched(truth, self.folder)
        wanted = np.flatnonzero(needed).tolist()
        missing = [truth.names[t] for t in wanted if truth.names[t] not in matched]
        if missing and not allow_missing:
            raise InputError(
                f"{self.folder} has no mask of {_some(missing, 'frame')}: add them, or --allow-missing scores them as "
                "empty"
            )
        files = MaskFiles(self.folder, matched, (H, W))
        for t in wanted:
            if truth.names[t] in matched:
                found[t] = files.mask(truth.names[t])
        one = files.numbering.labels.max(initial=0) <= 1 and set(labels) <= {1}
        if matched and files.numbering.counted and not one:
            raise InputError(
                f"the masks in {self.folder} do not say which object of the ground truth is which "
                f"({files.numbering.described()}): save index PNGs with its labels"
            )
        return found, len(missing)

    def _matched(self, truth: Truth, folder: Path) -> dict[str, str]:
        """The result's file names by the truth's frame names."""
        names = truth.names
        files = _padded(mask_files(folder), names)
        if isinstance(truth, ShardTruth) and not files.keys() & set(names) and files.keys() & set(truth.exported):
            matched = {name: files[other] for name, other in zip(names, truth.exported, strict=True) if other in files}
            surplus = files.keys() - set(truth.exported)
        else:
            known = truth.frames or frozenset(names)
            surplus = {name for name in files.keys() - known if not _between(name, known)}
            if not files.keys() & set(names):
                matched, surplus = match_masks(names, list(files.values()), str(folder)), set()
            else:
                matched = {name: files[name] for name in names if name in files}
        if surplus:
            raise InputError(
                f"{folder} has masks of {_some(sorted(surplus), 'frame')} that the ground truth does not have: remove "
                "them, or correct their names"
            )
        return matched


def find_results(root: Path, truths: Sequence[Truth], known: Sequence[str], allow_missing: bool) -> list[Result]:
    """The results in ``root`` of the videos ``truths``, in order.

    ``root`` holds a folder per video, as ``Annotations/VIDEO`` or ``VIDEO``, or the masks of the only video.
    ``known``: all videos that the ground truth has. Raises InputError for a video that it does not have, and for
    missing videos unless ``allow_missing``.
    """
    if not root.is_dir():
        what = f"{root} is a file, not a folder" if root.exists() else f"there is no folder {root}"
        raise InputError(f"{what}: name the folder that holds the results, VIDEO/00000.png")
    folders = mask_folders(root)
    if len(truths) == 1 and len(folders) == 1 and next(iter(folders.values())) == root:
        folders = {truths[0].id: root}
    if not folders:
        lossy = next((path for path in sorted(root.rglob("*")) if path.suffix.lower() in LOSSY), None)
        if lossy is not None:
            raise InputError(f"{root} holds {lossy.suffix} files ({lossy.name}), which cannot hold labels: save PNGs")
        raise InputError(f"{root} holds no masks: expected VIDEO/00000.png, or Annotations/VIDEO/00000.png")
    if surplus := sorted(folders.keys() - set(known)):
        raise InputError(
            f"{root} has masks of {_some(surplus, 'video')} that the ground truth does not have: remove them, or "
            "correct their names"
        )
    missing = [truth.id for truth in truths if truth.id not in folders]
    if missing and not allow_missing:
        raise InputError(
            f"{root} has no masks of {_some(missing, 'video')}: add them, name a --split, or --allow-missing scores "
            "them as empty"
        )
    return [Result(truth.id, folders.get(truth.id)) for truth in truths]


def _some(names: Sequence[str], kind: str) -> str:
    """``2 videos (a, b)``."""
    more = ", …" if len(names) > NAMED else ""
    return f"{len(names)} {kind}{'s' * (len(names) != 1)} ({', '.join(names[:NAMED])}{more})"


def _padded(files: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """``files`` with numbers as wide as those of ``names``, where none is named alike: 5.png as 00005."""
    if files.keys() & set(names) or not all(name.isdecimal() for name in (*files, *names)):
        return dict(files)
    return {name.lstrip("0").zfill(len(names[0])): file for name, file in files.items()}


def _between(name: str, known: Collection[str]) -> bool:
    """Whether a numbered frame lies between those that are ``known``, as where every fifth is annotated."""
    if not name.isdecimal() or not all(other.isdecimal() for other in known):
        return False
    numbers = [int(other) for other in known]
    sparse = max(numbers) - min(numbers) >= len(numbers)
    return sparse and min(numbers) <= int(name) <= max(numbers) + (max(numbers) - min(numbers)) // (len(numbers) - 1)
