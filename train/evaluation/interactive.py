"""Interactive evaluation of one video: a robot scribbles, the runner responds, round by round.

The demo's way: `train.evaluation.session` with our robot, propagation in every round, and a first frame that counts as
corrected. `train.evaluation.samples` and `train.evaluation.trials` follow the benchmark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np

from mivos_models import (
    S2M,
    Fusion,
    InteractiveRunner,
    SpaceTimeNetwork,
    load_network,
    load_propagation,
    shipped_networks,
)
from train.evaluation.metrics import Scores
from train.evaluation.robot import NO_SCRIBBLE, first_frame, robot_scribbles
from train.evaluation.schedules import EVERY, ScheduledRunner
from train.evaluation.session import run_session
from vosforge import InputError
from vosforge.terms import VOID
from vosforge.videos.video import Video, objects_in


class Networks(NamedTuple):
    """The three networks of a runner, in eval mode, all on one device."""

    s2m: S2M
    propagation: SpaceTimeNetwork
    fusion: Fusion

    @classmethod
    def load(cls, folder: Path | None = None, suffix: str = "") -> Self:
        """``s2m<suffix>.pth``, ``propagation<suffix>.pth`` and ``fusion<suffix>.pth`` of a training run's folder.

        ``folder`` None: the shipped networks. ``suffix`` "_init": the same networks before training. InputError for a
        missing folder, or a missing or wrong file.
        """
        folder = shipped_networks() if folder is None else folder
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}: name the one that 'vosforge train' wrote, with --networks")
        return cls(
            load_network("s2m", folder / f"s2m{suffix}.pth"),
            load_propagation(folder / f"propagation{suffix}.pth"),
            load_network("fusion", folder / f"fusion{suffix}.pth"),
        )

    def to(self, device: str) -> "Networks":
        """The same networks on ``device``."""
        return Networks(self.s2m.to(device), self.propagation.to(device), self.fusion.to(device))


@dataclass(frozen=True)
class Round:
    """One interaction and its result.

    frame: the scribbled frame; scribbles: [H,W] int16 (-1 none, 0 background, else the object's label); masks:
    [T,H,W] uint8; both with the video's own labels; scores: J and F of every frame and object.
    """

    frame: int
    scribbles: np.ndarray
    masks: np.ndarray
    scores: Scores

    @property
    def j(self) -> float:
        """Mean region similarity."""
        return self.scores.mean_j

    @property
    def f(self) -> float:
        """Mean boundary accuracy."""
        return self.scores.mean_f

    @property
    def j_and_f(self) -> float:
        """Mean of J and F."""
        return self.scores.j_and_f


@dataclass(frozen=True)
class Evaluation:
    """All rounds of one video; ``object_ids``: the labels the scores' columns belong to."""

    video_id: str
    object_ids: tuple[int, ...]
    rounds: tuple[Round, ...]

    @property
    def j_and_f(self) -> float:
        """J&F after the last round."""
        return self.rounds[-1].j_and_f


def evaluate_interactive(
    video: Video,
    networks: Networks,
    rounds: int,
    rng: np.random.Generator,
    *,
    mem_every: int = 5,
    top_k: int | Literal["published"] | None = "published",
    short_side: int | None = None,
) -> Evaluation:
    """Segment ``video`` in ``rounds`` interactions of the DAVIS robot and score every one of them.

    Round 1 scribbles all objects on the frame where the least visible one is seen best; each later round corrects the
    frame with the lowest J&F among those not corrected yet (all of them once every frame was). S2M turns the strokes
    into a mask, propagation carries it through the video, fusion merges it with earlier rounds. A round whose frame
    offers no stroke (it is right, or wrong by specks only) leaves the masks as they are.

    ``mem_every``, ``top_k`` and ``short_side`` are the runner's; scores are taken at the video's own size. InputError
    for a video without masks or objects, or less than one round.
    """
    if rounds < 1:
        raise InputError(f"an evaluation needs at least one round, not {rounds}")
    if not video.has_masks:
        raise InputError(f"the video '{video.id}' has no masks to score against; evaluate videos with ground truth")
    truth = video.masks()
    object_ids = objects_in(truth)
    if not object_ids:
        raise InputError(f"the masks of the video '{video.id}' show no object")
    to_label = np.array([0, *object_ids], np.uint8)
    truth = numbered_objects(truth, object_ids)
    K = len(object_ids)
    start = partial(
        InteractiveRunner,
        networks.propagation,
        video.frames(),
        K,
        s2m=networks.s2m,
        fusion=networks.fusion,
        mem_every=mem_every,
        top_k=top_k,
        short_side=short_side,
    )

    def scribbles_on(frame: int, mask: np.ndarray) -> np.ndarray | None:
        strokes = robot_scribbles(truth[frame], mask, K, rng)
        return strokes if (strokes != NO_SCRIBBLE).any() else None

    frame = first_frame(truth, range(1, K + 1))
    first = frame, scribbles_on(frame, np.zeros_like(truth[frame]))
    done = []
    for each in run_session(
        truth, K, first, ScheduledRunner(start, EVERY), scribbles_on, interactions=rounds, used=[frame]
    ):
        given = each.given if isinstance(each.given, np.ndarray) else np.full(truth.shape[1:], NO_SCRIBBLE, np.int16)
        strokes = np.where(given > 0, to_label[given], given)
        done.append(Round(each.frame, strokes, to_label[each.masks], each.scores))
    return Evaluation(video.id, object_ids, tuple(done))


def numbered_objects(masks: np.ndarray, object_ids: Sequence[int]) -> np.ndarray:
    """Index masks with the labels ``object_ids`` as masks of the labels 1..K in that order; void stays."""
    to_index = np.zeros(VOID + 1, np.uint8)
    to_index[list(object_ids)] = np.arange(1, len(object_ids) + 1)
    to_index[VOID] = VOID
    return to_index[masks]
