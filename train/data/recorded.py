"""Fusion's data on disk: masks propagated from some frames of each video, one sealed file a video.

``FOLDER/<digest of network and settings>/<digest of video>.h5`` holds ``truth [T,H,W]`` uint8 (labels 1..K) and, for
each reference frame r, ``results/<r> [K,T,H,W]`` uint8 (aggregated probabilities times 255, truncated). Frames stay
where they are. A killed recording resumes: what is sealed is not propagated again.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import cv2
import h5py
import hdf5plugin
import numpy as np

from mivos_models import InteractiveRunner, SpaceTimeNetwork
from train.data.sources import Mix
from train.distributed import rank, world
from train.settings import FusionSettings
from vosforge import InputError, VOSForgeError
from vosforge.errors import first_line
from vosforge.files import UNFINISHED, sealed_file
from vosforge.locks import lock
from vosforge.log import logger
from vosforge.seeding import rng_for
from vosforge.terms import VOID
from vosforge.trouble import unread
from vosforge.videos.reader import DAMAGE
from vosforge.videos.texts import read_text, write_text
from vosforge.videos.video import Video, usable_for_training

FORMAT = "vosforge-propagated"
CODEC = hdf5plugin.Blosc(cname="zstd", clevel=5, shuffle=hdf5plugin.Blosc.NOSHUFFLE)
MAX_OPEN = 64
"""Files of results that a process keeps open."""
SECONDS_BETWEEN_NOTES = 60.0


@dataclass(frozen=True)
class RecordedVideo:
    """A video with the masks propagated from some of its frames; reads one frame at a time, and may be pickled.

    Its frames are those of ``videos[index]``, which is opened when they are read. ``areas``: reference -> pixels of
    each label, 0 to K, in its true mask.
    """

    path: Path
    videos: Sequence[Video] = field(repr=False)
    index: int
    num_frames: int
    size: tuple[int, int]
    areas: Mapping[int, tuple[int, ...]]

    def objects_at(self, reference: int, min_pixels: int) -> set[int]:
        """Labels with more than ``min_pixels`` ground-truth pixels in a reference frame."""
        return {label for label, area in enumerate(self.areas[reference]) if label and area > min_pixels}

    def frame(self, t: int) -> np.ndarray:
        """Frame ``t`` at the recorded size: ``[H, W, 3]`` uint8 RGB."""
        return _resized(self.videos[self.index].frame(t), self.size)

    def truth(self, t: int) -> np.ndarray:
        """The true labels 1..K of frame ``t``: ``[H, W]`` uint8."""
        with self._reading() as file:
            labels: np.ndarray = file["truth"][t]
        return labels

    def results(self, references: Sequence[int], labels: np.ndarray, t: int) -> list[np.ndarray]:
        """The results of frame ``t`` from each of ``references``: ``[len(labels), H, W]`` uint8."""
        with self._reading() as file:
            planes = [file[f"results/{reference}"] for reference in references]
            return [np.stack([plane[label - 1, t] for label in labels.tolist()]) for plane in planes]

    @contextmanager
    def _reading(self) -> Iterator[h5py.File]:
        try:
            yield _opened(self.path, os.getpid())
        except DAMAGE as error:
            raise _damaged(self.path, error) from None


@lru_cache(maxsize=MAX_OPEN)
def _opened(path: Path, _process: int) -> h5py.File:
    """A file of results, open in this process: HDF5 handles do not survive a fork.

    It closes when it is forgotten: h5py's own ``close`` searches all that the process has open.
    """
    return h5py.File(path, "r", rdcc_nbytes=0, locking=False)


def record_references(
    videos: Sequence[Video], propagation: SpaceTimeNetwork, settings: FusionSettings, folder: Path
) -> list[RecordedVideo]:
    """Propagate true masks from evenly spaced reference frames through ``videos`` (at most ``settings.num_videos``).

    Each video's results are sealed below ``folder`` as they are made; those already there are read. Processes that
    record at the same time share the work. Raises InputError if no video has two references that share an object.
    """
    usable = _movable(videos, settings.references + 1)
    chosen = list(range(len(usable)))
    if settings.num_videos is not None:
        order = rng_for(settings.seed, "fusion videos").permutation(len(usable))
        chosen = sorted(order[: settings.num_videos].tolist())
    place = folder / fingerprint(propagation, settings)
    place.mkdir(parents=True, exist_ok=True)
    found: dict[int, RecordedVideo | None] = {}
    noted = time.monotonic()
    with _writing(place):
        for index in (*chosen[rank() :: world()], *chosen):  # its own part first, then what others have left
            if index not in found:
                found[index] = _recorded(usable, index, propagation, settings, place)
            if time.monotonic() - noted > SECONDS_BETWEEN_NOTES:
                noted = time.monotonic()
                logger.info("fusion: propagated %d of %d videos into %s", len(found), len(chosen), place)
    videos_found = [video for index in chosen if (video := found[index]) is not None]
    kept = [video for video in videos_found if reference_pairs(video, settings.min_pixels)]
    if len(kept) < len(chosen):
        logger.info(
            "fusion: %d of %d videos are too short or show no object in two references",
            len(chosen) - len(kept),
            len(chosen),
        )
    if not kept:
        raise InputError(
            "no training video shows one object in two reference frames: render longer videos or larger ones"
        )
    return kept


def reference_pairs(video: RecordedVideo, min_pixels: int) -> list[tuple[int, int]]:
    """Pairs of references that share an object and have a frame between them."""
    shown = {r: video.objects_at(r, min_pixels) for r in sorted(video.areas)}
    return [(a, b) for a, b in combinations(shown, 2) if b - a > 1 and shown[a] & shown[b]]


def fingerprint(propagation: SpaceTimeNetwork, settings: FusionSettings) -> str:
    """A digest of all that results depend on besides the video: the network's weights and some settings."""
    digest = hashlib.sha256(type(propagation).__name__.encode())
    digest.update(settings.model_dump_json(include={"short_side", "references", "mem_every"}).encode())
    for name, tensor in sorted(propagation.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    """While anybody records into ``place``; what killed writers left there is removed when nobody else does."""
    with (place / ".lock").open("w") as file:
        with suppress(BlockingIOError):
            if lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                for leftover in (*place.glob(f"{UNFINISHED}*"), *place.glob("*.lock")):
                    if leftover.name != ".lock":
                        leftover.unlink(missing_ok=True)
        lock(file, fcntl.LOCK_SH)
        yield


def _video_digest(video: Video) -> str:
    """A digest of a video's name, size and first frame, for the name of its file."""
    digest = hashlib.sha256(f"{video.id}\n{video.num_frames} {video.height} {video.width}\n".encode())
    for array in (video.frame(0), video.mask(0)):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:24]


def _movable(videos: Sequence[Video], min_frames: int) -> Sequence[Video]:
    """The videos that can be propagated through; those of a mix are looked at one by one, when their turn comes."""
    if not isinstance(videos, Mix):
        return usable_for_training(videos, min_frames)
    moving = [source for source in videos.sources if not source.stills and source.share]
    if not moving:
        raise InputError("fusion learns from videos, and there are only stills: name a source of videos")
    return Mix(moving)


def _recorded(
    videos: Sequence[Video], index: int, propagation: SpaceTimeNetwork, settings: FusionSettings, place: Path
) -> RecordedVideo | None:
    """The results of ``videos[index]``, made unless they are there; None if the video is too short."""
    video = videos[index]
    if video.num_frames <= settings.references:
        return None
    path = place / f"{_video_digest(video)}.h5"
    if not path.exists():
        beside = path.with_suffix(".lock")
        with beside.open("w") as file:
            lock(file, fcntl.LOCK_EX)  # whoever waits here finds what the first one recorded
            if not path.exists():
                with sealed_file(path) as temporary:
                    _record(video, propagation, settings, temporary)
            beside.unlink(missing_ok=True)
    try:
        with h5py.File(path, "r", locking=False) as file:
            if read_text(file.attrs, "format") != FORMAT:
                raise ValueError("it is another kind of file")
            entry = json.loads(read_text(file.attrs, "entry"))
            T, H, W = file["truth"].shape
    except DAMAGE as error:
        raise _damaged(path, error) from None
    areas = {int(r): tuple(areas) for r, areas in entry["areas"].items()}
    return RecordedVideo(path, videos, index, T, (H, W), areas)


def _record(video: Video, propagation: SpaceTimeNetwork, settings: FusionSettings, path: Path) -> None:
    frames, masks = video.frames(), video.masks()
    ids = [label for label in np.flatnonzero(np.bincount(masks.ravel(), minlength=VOID + 1)) if label not in (0, VOID)]
    renumber = np.zeros(VOID + 1, np.uint8)
    renumber[ids] = np.arange(1, len(ids) + 1)
    truth = renumber[masks]
    if settings.short_side is not None:
        scale = settings.short_side / min(truth.shape[1:])
        size = (round(truth.shape[1] * scale), round(truth.shape[2] * scale))
        frames = np.stack([_resized(frame, size) for frame in frames])
        truth = np.stack([cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST) for mask in truth])
    references = [int(r) for r in np.linspace(0, len(frames) - 1, settings.references).round()]
    areas = {r: np.bincount(truth[r].ravel(), minlength=len(ids) + 1).tolist() for r in references}
    K, (H, W) = max(len(ids), 1), truth.shape[1:]
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        write_text(file.attrs, "format", FORMAT)
        write_text(file.attrs, "entry", json.dumps({"id": video.id, "areas": areas}))
        file.create_dataset("truth", data=truth, chunks=(1, H, W), fletcher32=True, **CODEC)
        for r in references:
            runner = InteractiveRunner(propagation, frames, K, mem_every=settings.mem_every)
            runner.interact(r, truth[r])
            result = file.create_dataset(
                f"results/{r}", (K, len(frames), H, W), np.uint8, chunks=(1, 1, H, W), fletcher32=True, **CODEC
            )
            for t in range(len(frames)):
                result[:, t] = (runner.probabilities(t)[1:] * 255).astype(np.uint8)


def _resized(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``frame`` at ``size`` (H, W)."""
    if frame.shape[:2] == size:
        return frame
    return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)


def _damaged(path: Path, error: Exception) -> VOSForgeError:
    return unread(path, error, VOSForgeError(f"{path} is damaged ({first_line(error)}): delete it and train again"))
