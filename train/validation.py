"""Scores of held-out videos while a network trains, with a picture of what it gives.

Propagation carries the true first masks through videos (protocol vos-benchmark). S2M and fusion are judged on fixed
samples made as in training, but from held-out videos: J&F averaged over their objects.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from mivos_models import S2M, Fusion, SpaceTimeNetwork, load_propagation, propagate
from mivos_models.networks.images import MEAN, STD
from train.data.fusion_data import FusionDataset, FusionSample
from train.data.recorded import record_references
from train.evaluation.metrics import boundary_counts, boundary_radius, region_counts
from train.evaluation.protocols import PROTOCOLS, Sample, score_sample
from train.evaluation.segmenting import first_masks
from train.fusion import merged
from train.loop import torch_device
from train.losses import object_logits
from train.s2m import FrameDataset
from train.settings import FusionSettings, PropagationSettings, S2MSettings
from vosforge.videos.video import Video, objects_in

SHOWN = 4
"""Pictures of a validation."""
SEED = 1
"""Added to a run's seed, for samples that it does not train on."""


class Validated(NamedTuple):
    """``scores``: j, f and jf in 0..1; ``frames [n, H, W, 3]``, ``truth`` and ``found [n, H, W]`` uint8: to look at."""

    scores: Mapping[str, float]
    frames: Sequence[np.ndarray]
    truth: Sequence[np.ndarray]
    found: Sequence[np.ndarray]


Validator = Callable[[Any], Validated]
"""Judges a network."""


def propagation_validator(videos: Sequence[Video], settings: PropagationSettings) -> Validator:
    """Validates on evenly spaced ones of ``videos``."""
    chosen = evenly_spaced(videos, settings.validate_videos)
    return lambda network: validate_propagation(network, chosen, settings.validate_frames)


def s2m_validator(videos: Sequence[Video], settings: S2MSettings) -> Validator:
    """Validates on scribbled frames of ``videos``."""
    samples = FrameDataset(videos, settings.model_copy(update={"seed": settings.seed + SEED}))
    return lambda network: validate_s2m(network, samples, settings.validate_samples, settings.batch)


def fusion_validator(videos: Sequence[Video], settings: FusionSettings, propagation: Path, folder: Path) -> Validator:
    """Validates on results of the network ``propagation`` for evenly spaced ones of ``videos``, kept in ``folder``.

    InputError if these show no object in two references.
    """
    frozen = load_propagation(propagation).to(torch_device(settings.device)).requires_grad_(False)
    chosen = evenly_spaced(videos, settings.validate_videos)
    recorded = record_references(chosen, frozen, settings.model_copy(update={"num_videos": None}), folder)
    samples = FusionDataset(recorded, settings.model_copy(update={"seed": settings.seed + SEED}))
    return lambda network: validate_fusion(network, frozen, samples, settings.validate_samples, settings.batch)


def evenly_spaced(videos: Sequence[Video], count: int) -> list[Video]:
    """At most ``count`` of ``videos``."""
    places = np.linspace(0, len(videos) - 1, min(count, len(videos))).round().astype(int)
    return [videos[place] for place in places]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put ``network`` into evaluation mode without gradients, and back into the mode it was in."""
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(training)


def validate_propagation(
    network: SpaceTimeNetwork, videos: Sequence[Video], num_frames: int, short_side: int | None = None
) -> Validated:
    """Carry objects through the first ``num_frames`` of each video, from their true masks where each first appears."""
    scores: list[tuple[float, float]] = []
    shown: list[tuple[np.ndarray, ...]] = []
    with evaluating(network):
        for video in videos:
            T = min(video.num_frames, num_frames)
            frames, truth = (np.stack([read(t) for t in range(T)]) for read in (video.frame, video.mask))
            given = first_masks(truth)
            if not given:
                continue
            start = min(given)
            later = {t - start: mask for t, mask in given.items() if t > start}
            found = np.zeros_like(truth)
            found[start:] = propagate(frames[start:], given[start], network, later=later, short_side=short_side)
            names = [str(t) for t in range(T)]
            objects, _ = score_sample(PROTOCOLS["vos-benchmark"], Sample(video.id, names, truth, found, {}))
            scores += [(score.j, score.f) for score in objects]
            shown.append((frames[-1], truth[-1], found[-1]))
    return _validated(scores, shown)


def validate_s2m(network: S2M, samples: Dataset[Any], count: int, batch: int) -> Validated:
    """Masks from the scribbles of the first ``count`` samples (`ScribbledFrame`)."""

    def predict(inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        return (network(inputs.inputs) > 0).squeeze(1).long(), inputs.label, inputs.inputs[:, :3]

    return _validate_samples(network, samples, count, batch, predict)


def validate_fusion(
    network: Fusion,
    propagation: SpaceTimeNetwork,
    samples: Dataset[FusionSample],
    count: int,
    batch: int,
) -> Validated:
    """Merged masks of the first ``count`` samples."""

    def predict(inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        return (
            object_logits(merged(network, propagation, inputs), inputs.present).argmax(dim=1),
            inputs.label,
            inputs.image,
        )

    return _validate_samples(network, samples, count, batch, predict)


def _validate_samples(
    network: nn.Module,
    samples: Dataset[Any],
    count: int,
    batch: int,
    predict: Callable[[Any], tuple[Tensor, Tensor, Tensor]],
) -> Validated:
    device = next(network.parameters()).device
    scores: list[tuple[float, float]] = []
    shown: list[tuple[np.ndarray, ...]] = []
    loader = DataLoader(Subset(samples, range(count)), batch)
    with evaluating(network):
        for inputs in loader:
            inputs = type(inputs)(*(tensor.to(device) for tensor in inputs))
            found, truth, images = (part.cpu().numpy() for part in predict(inputs))
            for masks in zip(truth.astype(np.uint8), found.astype(np.uint8), images, strict=True):
                scores += _object_scores(masks[0], masks[1])
                if len(shown) < SHOWN:
                    shown.append((_picture(masks[2]), masks[0], masks[1]))
    return _validated(scores, shown)


def _object_scores(truth: np.ndarray, found: np.ndarray) -> list[tuple[float, float]]:
    radius = boundary_radius(truth.shape[0], truth.shape[1])
    pairs = [(truth == label, found == label) for label in objects_in(truth)]
    return [(region_counts(*pair).j, boundary_counts(*pair, [radius])[0].f) for pair in pairs]


def _picture(image: np.ndarray) -> np.ndarray:
    """A normalised image ``[3, H, W]`` as uint8 ``[H, W, 3]`` RGB."""
    colours = image * np.reshape(STD, (3, 1, 1)) + np.reshape(MEAN, (3, 1, 1))
    return np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)


def _validated(scores: Sequence[tuple[float, float]], shown: Sequence[tuple[np.ndarray, ...]]) -> Validated:
    j, f = np.mean(scores, axis=0).tolist() if scores else (float("nan"), float("nan"))
    frames, truth, found = zip(*shown[:SHOWN], strict=True) if shown else ((), (), ())
    return Validated({"j": j, "f": f, "jf": (j + f) / 2}, frames, truth, found)
