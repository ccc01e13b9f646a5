"""Protocols: which objects, frames and pixels count, how boundaries are matched, and how scores are averaged.

They contradict one another, so each is named after the published code whose numbers it gives:

- davis17, davis2017-evaluation (semi-supervised); davis16, its predecessor for one object;
- vos-benchmark, hkchengrex/vos-benchmark;
- youtube-vos: the frames of andr345/frtm-vos, the averages of the official page (the server's code is not public);
- mose2, henghuiding/MOSE-api;
- volumetric: our own definition (sums over frames in place of means).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from pydantic import Field, computed_field

from train.evaluation.metrics import (
    BOUND_TH,
    BoundaryCounts,
    RegionCounts,
    boundary_counts,
    boundary_radius,
    region_counts,
    statistics,
)
from train.evaluation.truth import ListedObject
from vosforge.config import Record
from vosforge.errors import InputError
from vosforge.terms import VOID
from vosforge.videos.video import objects_in


class Sample(NamedTuple):
    """One video to score: ``truth`` and ``found`` are the masks ``[n, H, W]`` uint8 of its annotated frames."""

    video: str
    names: Sequence[str]
    truth: np.ndarray
    found: np.ndarray
    listed: Mapping[int, ListedObject]


class Series(NamedTuple):
    """One object's scores on its counted frames ``[m]``, in order of time."""

    label: int
    frames: np.ndarray
    regions: Sequence[RegionCounts]
    boundaries: Sequence[Sequence[BoundaryCounts]]
    """Per frame, one per tolerance radius."""
    present: np.ndarray
    """bool: whether truth shows the object."""


class ScoreValues(Record):
    """Scores in 0..1; None: not defined by the protocol, or (d, r) without such frames."""

    j: float
    f: float
    j_recall: float | None = None
    j_decay: float | None = None
    f_recall: float | None = None
    f_decay: float | None = None
    f_classic: float | None = None
    """mose2: F with the tolerance of DAVIS."""
    j_absent: float | None = None
    f_absent: float | None = None
    """mose2's d: while the object is absent, after it was seen."""
    j_returned: float | None = None
    f_returned: float | None = None
    """mose2's r: after it (re)appears."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def jf(self) -> float:
        """J&F: the mean of J and F."""
        return (self.j + self.f) / 2

    @computed_field  # type: ignore[prop-decorator]
    @property
    def jf_absent(self) -> float | None:
        """mose2's d."""
        return None if self.j_absent is None or self.f_absent is None else (self.j_absent + self.f_absent) / 2

    @computed_field  # type: ignore[prop-decorator]
    @property
    def jf_returned(self) -> float | None:
        """mose2's r."""
        return None if self.j_returned is None or self.f_returned is None else (self.j_returned + self.f_returned) / 2


class ObjectScore(ScoreValues):
    """Scores of one object; ``frames``: how many counted."""

    video: str
    object: int
    category: str | None = None
    frames: int
    attributes: dict[str, str] = Field(default_factory=dict)
    """What it asks of a tracker, in the classes of `train.evaluation.attributes`."""


@dataclass(frozen=True)
class Protocol:
    """Rules of an evaluation.

    ``counts(sample, labels)``: which frames count, bool ``[K, n]``; ``needed(truth, listed, names)``: the frames that
    may count, ``[n]``, known before results are read; ``score``: a series as scores.
    """

    name: str
    convention: str
    """For help, reports and documentation."""
    prepare: Callable[[Sample], Sample]
    objects: Callable[[Sample], Sequence[int]]
    counts: Callable[[Sample, int], np.ndarray]
    needed: Callable[[Sample], np.ndarray]
    score: Callable[[str, Series], ObjectScore]
    radii: Callable[[np.ndarray], Sequence[float]]
    averages: str = "objects"
    """What the headline is the mean of: objects, or the four groups of YouTube-VOS."""
    merges: bool = False
    """Whether all objects are scored as one, which has no attributes of its own."""


def score_sample(protocol: Protocol, sample: Sample) -> tuple[list[ObjectScore], np.ndarray]:
    """The scores of a video's objects, and each frame's J&F as the mean over counted objects ``[n]``, NaN if none."""
    sample = protocol.prepare(sample)
    scores, per_frame = [], np.full((0, len(sample.truth)), np.nan)
    for label in protocol.objects(sample):
        series = _series(protocol, sample, label)
        if not len(series.frames):
            continue
        item = sample.listed.get(label)
        score = protocol.score(sample.video, series)
        scores.append(score.model_copy(update={"category": item.category if item else None}))
        row = np.full(len(sample.truth), np.nan)
        pairs = zip(series.regions, series.boundaries, strict=True)
        row[series.frames] = [(region.j + edges[0].f) / 2 for region, edges in pairs]
        per_frame = np.vstack([per_frame, row])
    counted = ~np.isnan(per_frame).all(axis=0) if len(per_frame) else np.zeros(len(sample.truth), bool)
    means = np.full(len(sample.truth), np.nan)
    means[counted] = np.nanmean(per_frame[:, counted], axis=0)
    return scores, means


def _series(protocol: Protocol, sample: Sample, label: int) -> Series:
    frames = np.flatnonzero(protocol.counts(sample, label))
    regions, boundaries, present = [], [], np.zeros(len(frames), bool)
    for at, t in enumerate(frames.tolist()):
        truth, found = sample.truth[t] == label, sample.found[t] == label
        present[at] = truth.any()
        regions.append(region_counts(truth, found))
        boundaries.append(boundary_counts(truth, found, protocol.radii(truth)))
    return Series(label, frames, regions, boundaries, present)


def _void_as_background(sample: Sample) -> Sample:
    return sample._replace(truth=np.where(sample.truth == VOID, 0, sample.truth))


def _inner(sample: Sample, label: int = 0) -> np.ndarray:
    """All frames but the first and the last."""
    counted = np.zeros(len(sample.truth), bool)
    counted[1:-1] = True
    return counted


def _davis_radii(truth: np.ndarray) -> list[float]:
    return [boundary_radius(*truth.shape)]


def _means(video: str, series: Series) -> ObjectScore:
    j = statistics(np.array([region.j for region in series.regions]))
    f = statistics(np.array([edges[0].f for edges in series.boundaries]))
    return ObjectScore(
        video=video,
        object=series.label,
        frames=len(series.frames),
        j=j.mean,
        f=f.mean,
        j_recall=j.recall,
        j_decay=j.decay,
        f_recall=f.recall,
        f_decay=f.decay,
    )


def _means_only(video: str, series: Series) -> ObjectScore:
    score = _means(video, series)
    return ObjectScore(video=video, object=score.object, frames=score.frames, j=score.j, f=score.f)


# davis17: the objects of the first frame, gaps in their numbers included.


def _first_frame_objects(sample: Sample) -> Sequence[int]:
    most = max(objects_in(sample.truth[0]), default=0)
    surplus = int(sample.found[1:-1].max(initial=0))
    if surplus > most:
        late = surplus in objects_in(sample.truth)
        remedy = (
            "it enters later, which davis17 does not score: use --protocol vos-benchmark or youtube-vos"
            if late
            else "remove it from the results"
        )
        raise InputError(
            f"the results of {sample.video} show object {surplus}, but the first frame of the ground truth shows "
            f"objects 1..{most}: {remedy}"
        )
    return range(1, most + 1)


# davis16: everything that is not background is the one object.


def _one_object(sample: Sample) -> Sample:
    shown = (sample.truth > 0) & (sample.truth != VOID)
    return sample._replace(truth=shown.astype(np.uint8), found=(sample.found > 0).astype(np.uint8))


# vos-benchmark: an object counts from the frame where truth or results first show it; 255 is a label like any other.


def _shown_inside(sample: Sample) -> Sequence[int]:
    return [label for label in np.unique(sample.truth[1:-1]).tolist() if label]


def _from_first_sight(sample: Sample, label: int) -> np.ndarray:
    counted = _inner(sample)
    seen = ((sample.truth == label) | (sample.found == label)).any(axis=(1, 2)) & counted
    counted[: int(seen.argmax())] = False
    return counted


# youtube-vos: after an object's first annotated frame, before the last.


def _listed_or_shown(sample: Sample) -> Sequence[int]:
    return sorted(sample.listed) if sample.listed else objects_in(sample.truth)


def _after_first(sample: Sample, label: int) -> np.ndarray:
    item, counted = sample.listed.get(label), np.zeros(len(sample.truth), bool)
    if item is not None and item.first is not None:
        if item.first not in sample.names:
            raise InputError(
                f"the ground truth of {sample.video} has no mask of frame {item.first}, object {label}'s first"
            )
        first = sample.names.index(item.first)
    else:
        seen = (sample.truth == label).any(axis=(1, 2))
        first = int(seen.argmax()) if seen.any() else len(seen)
    counted[first + 1 : -1] = True
    return counted


def _after_any_first(sample: Sample) -> np.ndarray:
    rows = [_after_first(sample, label) for label in _listed_or_shown(sample)]
    return np.any(rows, axis=0) if rows else np.zeros(len(sample.truth), bool)


# mose2: an additive 1 in J, boundaries matched more strictly on small objects.


def _mose_radii(truth: np.ndarray) -> list[float]:
    tolerance = BOUND_TH * float(np.hypot(truth.shape[0], truth.shape[1]))
    area = int(np.count_nonzero(truth))
    of_size = float(np.ceil(0.1 * np.sqrt(area))) if area else float(np.ceil(tolerance))
    return [of_size, float(np.ceil(tolerance))] if of_size < tolerance else [tolerance, tolerance]


def _mose(video: str, series: Series) -> ObjectScore:
    j = np.array([(r.intersection + 1) / (r.union + 1) if r.union else 1.0 for r in series.regions])
    f = np.array([edges[0].f for edges in series.boundaries])
    absent, returned = _absences(series.present)
    return ObjectScore(
        video=video,
        object=series.label,
        frames=len(series.frames),
        j=float(j.mean()),
        f=float(f.mean()),
        f_classic=float(np.mean([edges[1].f for edges in series.boundaries])),
        j_absent=_mean_of_parts(j, absent),
        f_absent=_mean_of_parts(f, absent),
        j_returned=_mean_of_parts(j, returned),
        f_returned=_mean_of_parts(f, returned),
    )


def _absences(present: np.ndarray) -> tuple[list[slice], list[slice]]:
    """The runs of frames in which an object is absent after it was counted, and those after it appears."""
    bounds = [0, *(np.flatnonzero(np.diff(present.astype(np.int8))) + 1).tolist(), len(present)]
    runs = [slice(begin, end) for begin, end in pairwise(bounds) if begin > 0]
    return [run for run in runs if not present[run.start]], [run for run in runs if present[run.start]]


def _mean_of_parts(values: np.ndarray, parts: Sequence[slice]) -> float | None:
    return float(np.mean([values[part].mean() for part in parts])) if parts else None


# volumetric: a video is one volume; an empty prediction earns nothing where the object is absent.


def _volume(video: str, series: Series) -> ObjectScore:
    region = RegionCounts(*np.sum(series.regions, axis=0).tolist())
    edges = BoundaryCounts(*np.sum([each[0] for each in series.boundaries], axis=0).tolist())
    return ObjectScore(video=video, object=series.label, frames=len(series.frames), j=region.j, f=edges.f)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "davis17",
            "davis2017-evaluation, semi-supervised: the objects of the first frame; all frames but the first and the "
            "last; void is background; absent and found empty scores 1; the mean over objects.",
            _void_as_background,
            _first_frame_objects,
            _inner,
            _inner,
            _means,
            _davis_radii,
        ),
        Protocol(
            "davis16",
            "DAVIS 2016: everything but background is one object; all frames but the first and the last; the mean "
            "over videos. Temporal stability is not computed.",
            _one_object,
            lambda sample: (1,),
            _inner,
            _inner,
            _means,
            _davis_radii,
            merges=True,
        ),
        Protocol(
            "vos-benchmark",
            "hkchengrex/vos-benchmark: every label of the ground truth (255 too), from the frame where truth or result "
            "first shows it; the first and the last frame of a video left out; the mean over objects.",
            lambda sample: sample,
            _shown_inside,
            _from_first_sight,
            _inner,
            _means_only,
            _davis_radii,
        ),
        Protocol(
            "youtube-vos",
            "YouTube-VOS: annotated frames after an object's first one, the last left out (as frtm-vos; the server's "
            "code is not public); the mean of J and F over seen and unseen categories.",
            _void_as_background,
            _listed_or_shown,
            _after_first,
            _after_any_first,
            _means,
            _davis_radii,
            "categories",
        ),
        Protocol(
            "mose2",
            "MOSE-api (MOSEv2): J with 1 added to intersection and union; boundaries within min(0.008 × diagonal, "
            "0.1 × √area); all frames but the first and the last; d where the object is absent, r after its return.",
            _void_as_background,
            _listed_or_shown,
            _inner,
            _inner,
            _mose,
            _mose_radii,
        ),
        Protocol(
            "volumetric",
            "volumetric J&F, our definition: intersections, unions and matched boundaries summed over all frames but "
            "the first and the last; the mean over the objects that these frames show.",
            _void_as_background,
            lambda sample: objects_in(sample.truth[1:-1]),
            _inner,
            _inner,
            _volume,
            _davis_radii,
        ),
    )
}
"""By name."""
