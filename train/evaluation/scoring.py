"""Scores results against ground truth: per object, video, category and scene attribute, and as a whole."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from train.evaluation.attributes import CLASSES, object_classes
from train.evaluation.protocols import PROTOCOLS, ObjectScore, Sample, ScoreValues, score_sample
from train.evaluation.results import Result
from train.evaluation.truth import Truth
from vosforge.config import Record
from vosforge.errors import InputError, VOSForgeError
from vosforge.guarded import Lost, guarded
from vosforge.log import logger
from vosforge.videos.video import objects_in

WORST_FRAMES = 3
"""Frames that a report shows of a video."""
MAX_GROUPS = 24
"""Values of an attribute; one with more is not reported."""
FEW_VIDEOS = 4
"""Scored in this process: starting others takes longer."""


class FrameScore(Record):
    """J&F of a frame, averaged over its counted objects."""

    frame: str
    jf: float


class VideoScore(Record):
    """One video's scores; ``missing``: frames without a mask in the results, scored as empty; ``absent``: all are."""

    video: str
    attributes: dict[str, str]
    objects: tuple[ObjectScore, ...]
    worst: tuple[FrameScore, ...]
    missing: int = 0
    absent: bool = False


class Average(ScoreValues):
    """Means over objects, each with equal weight."""

    objects: int


class Evaluation(Record):
    """The scores of a set of results, in 0..1."""

    protocol: str
    convention: str
    results: str
    truth: str
    videos: tuple[VideoScore, ...]
    overall: Average
    """The headline; of youtube-vos the mean of the seen and the unseen categories."""
    groups: dict[str, dict[str, Average]]
    """By attribute (categories, seen or unseen, attributes of the scene), then by value."""
    missing_videos: int = 0
    missing_frames: int = 0
    frames_per_second: float | None = None
    """Of the segmentation, where the results record it."""


class _Task(NamedTuple):
    protocol: str
    truth: Truth
    result: Result
    allow_missing: bool


def score_videos(
    truths: Sequence[Truth],
    results: Sequence[Result],
    protocol: str,
    *,
    allow_missing: bool = False,
    workers: int = 1,
    on_video: Callable[[str], None] = lambda _: None,
) -> list[VideoScore]:
    """Score each result against its truth, in order; ``workers``: processes, each of which holds one video.

    A video without a counted frame is left out with a warning. Raises InputError for results that do not fit.
    """
    pairs = list(zip(truths, results, strict=True))
    tasks = [_Task(protocol, truth, result, allow_missing) for truth, result in pairs]
    several = min(workers, len(tasks)) > 1 and len(tasks) > FEW_VIDEOS
    outcomes: Iterable[tuple[_Task, VideoScore | VOSForgeError | Lost]]
    outcomes = guarded(_score, deque(tasks), workers) if several else ((task, _score(task)) for task in tasks)
    scores: dict[str, VideoScore] = {}
    for task, outcome in outcomes:
        if isinstance(outcome, Lost):
            raise VOSForgeError(f"scoring {task.truth.id} {outcome.why}, perhaps out of memory: use fewer --workers")
        if isinstance(outcome, VOSForgeError):
            raise outcome
        scores[task.truth.id] = outcome
        on_video(task.truth.id)
    for truth in truths:
        if not scores[truth.id].objects:
            logger.warning("%s is left out: %s counts none of its frames or objects", truth.id, protocol)
    return [scores[truth.id] for truth in truths if scores[truth.id].objects]


def _score(task: _Task) -> VideoScore | VOSForgeError:
    try:
        return score_video(task.protocol, task.truth, task.result, task.allow_missing)
    except VOSForgeError as error:
        return error


def score_video(protocol: str, truth: Truth, result: Result, allow_missing: bool = False) -> VideoScore:
    """The scores of one video; InputError for a result that does not fit its truth."""
    rules, masks = PROTOCOLS[protocol], truth.masks()
    sample = Sample(truth.id, truth.names, masks, np.zeros((0, *masks.shape[1:]), np.uint8), truth.listed)
    needed = rules.needed(sample)
    labels = objects_in(rules.prepare(sample).truth)
    found, missing = result.read(truth, needed, allow_missing, labels)
    objects, per_frame = score_sample(rules, sample._replace(found=found))
    if not rules.merges:
        objects = _with_classes(objects, object_classes(truth.amounts(masks)))
    order = [t for t in np.argsort(per_frame, kind="stable").tolist() if not np.isnan(per_frame[t])]
    return VideoScore(
        video=truth.id,
        attributes={name: _label(value) for name, value in truth.attributes.items()},
        objects=tuple(objects),
        worst=tuple(FrameScore(frame=truth.names[t], jf=float(per_frame[t])) for t in order[:WORST_FRAMES]),
        missing=missing,
        absent=result.folder is None,
    )


def _with_classes(objects: Sequence[ObjectScore], classes: Sequence[dict[str, str]]) -> list[ObjectScore]:
    """The scores with the attributes of their objects; a label that the truth never shows has none."""
    known = dict(enumerate(classes, start=1))
    return [score.model_copy(update={"attributes": known.get(score.object, {})}) for score in objects]


def summarise(
    videos: Sequence[VideoScore], protocol: str, results: str, truth: str, seen: frozenset[str] | None = None
) -> Evaluation:
    """The evaluation of scored videos; ``seen``: YouTube-VOS's categories that training shows.

    Raises InputError if nothing is scored.
    """
    objects = [score for video in videos for score in video.objects]
    if not objects:
        raise InputError(
            f"{protocol} counts no frame of {truth}: it leaves out the first and the last, and needs masks of every "
            "frame, not only where objects enter"
        )
    groups = _groups(videos)
    overall = average(objects)
    if PROTOCOLS[protocol].averages == "categories":
        halves = _seen_and_unseen(objects, seen)
        groups = {"categories in training": halves, **groups}
        if len(halves) > 1:
            overall = _mean(list(halves.values()), len(objects))
    return Evaluation(
        protocol=protocol,
        convention=PROTOCOLS[protocol].convention,
        results=results,
        truth=truth,
        videos=tuple(videos),
        overall=overall,
        groups=groups,
        missing_videos=sum(video.absent for video in videos),
        missing_frames=sum(video.missing for video in videos),
    )


def average(scores: Sequence[ObjectScore]) -> Average:
    """The mean over objects, whatever their videos."""
    return _mean(scores, len(scores))


def _mean(scores: Sequence[ScoreValues], objects: int) -> Average:
    values: dict[str, float | None] = {}
    for name in ScoreValues.model_fields:
        known = [value for score in scores if (value := getattr(score, name)) is not None]
        values[name] = float(np.mean(known)) if known else None
    return Average(objects=objects, **values)  # type: ignore[arg-type]


def _groups(videos: Sequence[VideoScore]) -> dict[str, dict[str, Average]]:
    """Averages by category and by each attribute of scenes or objects with several values, but not too many."""
    members: Mapping[str, dict[str, list[ObjectScore]]] = defaultdict(lambda: defaultdict(list))
    for video in videos:
        for name, value in video.attributes.items():
            members[name][value] += video.objects
        for score in video.objects:
            if score.category is not None:
                members["category"][score.category].append(score)
            for name, value in score.attributes.items():
                members[name][value].append(score)
    return {
        name: {value: average(values[value]) for value in _in_order(name, values)}
        for name, values in sorted(members.items())
        if 1 < len(values) <= MAX_GROUPS
    }


def _in_order(name: str, values: Iterable[str]) -> list[str]:
    """The values of an attribute: of one of ours from easy to hard, else by the alphabet."""
    order = CLASSES.get(name, ())
    return sorted(values, key=lambda value: (order.index(value) if value in order else len(order), value))


def _seen_and_unseen(objects: Sequence[ObjectScore], seen: frozenset[str] | None) -> dict[str, Average]:
    if seen is None:
        logger.warning("no list of seen categories (train/meta.json, or --seen): all objects make one group")
        return {"all": average(objects)}
    if nameless := next((score for score in objects if score.category is None), None):
        raise InputError(f"object {nameless.object} of {nameless.video} has no category in meta.json: add it")
    halves = {
        name: [score for score in objects if (score.category in seen) == (name == "seen")]
        for name in ("seen", "unseen")
    }
    for name, scores in halves.items():
        if not scores:
            logger.warning("no object is of an %s category: the score is that of the others", name)
    return {name: average(scores) for name, scores in halves.items() if scores}


def _label(value: object) -> str:
    """An attribute's value as a group; numbers to one digit, so that they make groups at all."""
    return f"about {value:.1g}" if isinstance(value, float) else str(value)
