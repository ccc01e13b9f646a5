"""Interactive evaluation of networks, before and after training or as shipped, cached on disk."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from train.evaluation.interactive import Evaluation, Networks, evaluate_interactive
from vosforge.files import sealed_file
from vosforge.progress import progress
from vosforge.seeding import rng_for
from vosforge.videos.video import Video

State = Literal["trained", "initial", "shipped"]
SUFFIX: dict[State, str] = {"trained": "", "initial": "_init", "shipped": ""}
CONVENTION = "void is background"
"""Part of the key of kept results: name another one whenever the same masks would score differently."""


@dataclass(frozen=True)
class Outcome:
    """One evaluated video: J, F, J&F ``[rounds, 3]``, scribbled frames, strokes and masks ``[rounds, T, H, W]``."""

    video_id: str
    scores: np.ndarray
    frames: np.ndarray
    scribbles: np.ndarray
    masks: np.ndarray


def evaluate_videos(
    videos: Sequence[Video],
    networks: Path,
    rounds: int,
    seed: int,
    short_side: int,
    results: Path,
    states: Sequence[State] = ("trained", "initial"),
) -> tuple[list[dict[State, Outcome]], bool]:
    """Evaluate every video with the networks of a folder in some ``states``, by the same robot.

    ``initial``: as before training. The networks see videos at ``short_side``, or as they are where they are smaller.
    Returns the outcomes by state, and whether all of them were read from ``results``, where each is kept under a name
    that changes with the weights, the video and the settings.
    """
    outcomes: list[dict[State, Outcome]] = [{} for _ in videos]
    computed = 0
    with progress("evaluating", len(videos) * len(states)) as bar:
        for state in states:
            loaded: Networks | None = None
            weights = _weights_hash(networks, SUFFIX[state])
            for place, video in enumerate(videos):
                told = f"{weights}{_video_hash(video)}{rounds} {seed} {short_side} {CONVENTION}"
                key = hashlib.sha256(told.encode()).hexdigest()[:16]
                path = results / f"{video.id.replace('/', '_')}-{state}-{key}.npz"
                if not path.exists():
                    loaded = loaded or Networks.load(networks, SUFFIX[state])
                    rng = rng_for(seed, "robot", video.id)
                    _save(evaluate_interactive(video, loaded, rounds, rng, short_side=short_side), path)
                    computed += 1
                outcomes[place][state] = _load(video.id, path)
                bar.advance(video.id)
    return outcomes, computed == 0


def _save(evaluation: Evaluation, path: Path) -> None:
    rounds = evaluation.rounds
    with sealed_file(path) as temporary:
        np.savez_compressed(
            temporary,
            scores=np.array([(each.j, each.f, each.j_and_f) for each in rounds]),
            frames=np.array([each.frame for each in rounds]),
            scribbles=np.stack([each.scribbles for each in rounds]),
            masks=np.stack([each.masks for each in rounds]),
        )


def _load(video_id: str, path: Path) -> Outcome:
    with np.load(path, allow_pickle=False) as held:
        return Outcome(video_id, **{name: held[name] for name in ("scores", "frames", "scribbles", "masks")})


def _weights_hash(folder: Path, suffix: str) -> str:
    digest = hashlib.sha256()
    for kind in ("s2m", "propagation", "fusion"):
        path = folder / f"{kind}{suffix}.pth"
        digest.update(path.read_bytes() if path.exists() else b"")  # a missing one is named when it is loaded
    return digest.hexdigest()


def _video_hash(video: Video) -> str:
    digest = hashlib.sha256(json.dumps([video.id, video.num_frames, video.height, video.width]).encode())
    for t in {0, video.num_frames // 2, video.num_frames - 1}:
        digest.update(video.frame(t).tobytes())
        digest.update(video.mask(t).tobytes())
    return digest.hexdigest()
