"""Training of S2M: one object of one frame, a synthetic previous mask and scribbles, and the target mask."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mivos_models import S2M, SmallS2M, normalise
from train.data.augment import point_in, sample_views, see_frame, warp_mask
from train.data.clips import DRAWS
from train.data.scribbles import sample_scribbles
from train.data.sources import as_mix, decoded
from train.distributed import synchronise_batch_norm
from train.loop import OnStep, Step, Validate, fit, torch_device
from train.losses import bootstrapped_cross_entropy, dice_loss, object_logits
from train.settings import S2MSettings
from train.start import initialised
from vosforge import VOSForgeError
from vosforge.seeding import rng_for
from vosforge.terms import VOID
from vosforge.videos.video import Video, label_areas


class ScribbledFrame(NamedTuple):
    """S2M's input and target, or a batch with B in front.

    inputs: [6, H, W] float32 (normalised RGB, previous mask, positive, negative strokes); label: [H, W] int64, 0 or 1.
    """

    inputs: Tensor
    label: Tensor


class FrameDataset(Dataset[ScribbledFrame]):
    """The scribbled frames of a whole run, in order: item i depends on the seed and i only."""

    def __init__(self, videos: Sequence[Video], settings: S2MSettings) -> None:
        self.videos = as_mix(videos, 1)
        self.settings = settings

    def __len__(self) -> int:
        return self.settings.iterations * self.settings.batch

    def __getitem__(self, index: int) -> ScribbledFrame:
        """Sample ``index``. VOSForgeError when large enough objects are too rare."""
        rng = rng_for(self.settings.seed, "scribbled frame", index)
        geometry = self.settings.augmentation.geometry
        least = (self.settings.min_side * geometry.crop / 480) ** 2
        for _ in range(DRAWS):
            video = self.videos.draw(rng)
            if not video.num_frames:
                continue
            t = int(rng.integers(video.num_frames))
            mask, size = video.mask(t), (video.height, video.width)
            scale = 1.0 if geometry.short_side is None else geometry.short_side / min(mask.shape)
            label = _draw_label(mask, least / scale**2, rng)
            if label is None:
                continue
            # A crop beside the object would teach nothing, so it holds one of the object's pixels.
            anchor = point_in(mask == label, rng)
            (view,) = sample_views(size, 1, self.settings.augmentation, rng, anchor)
            seen = warp_mask(mask, view.to_frame, geometry.crop)
            if np.count_nonzero(seen == label) >= least / 4:
                frame = see_frame(partial(video.frame, t), size, view, geometry)
                return self._sample(frame, seen, label, rng)
        raise VOSForgeError(
            f"{DRAWS} random frames in a row showed no object large enough to teach S2M (last video: '{video.id}'); "
            "render larger objects or lower min_side"
        )

    def _sample(self, frame: np.ndarray, mask: np.ndarray, label: int, rng: np.random.Generator) -> ScribbledFrame:
        beside = _draw_label(np.where(mask == label, 0, mask).astype(np.uint8), 1, rng)
        other = None if beside is None else mask == beside
        truth = mask == label
        drawn = sample_scribbles(truth, self.settings.scribbles, rng, other)
        planes = torch.from_numpy(np.stack(drawn).astype(np.float32))
        return ScribbledFrame(torch.cat([normalise(frame), planes]), torch.from_numpy(truth.astype(np.int64)))


def train_s2m(
    videos: Sequence[Video],
    settings: S2MSettings,
    out: Path,
    on_step: OnStep | None = None,
    *,
    basis: str | None = None,
    validate: Validate | None = None,
) -> Path:
    """Train an S2M network on the frames of ``videos`` (those with masks).

    Returns ``out/s2m.pth``; see ``train.loop.fit`` for the other files, arguments and errors. InputError when no video
    can be used.
    """
    device = torch_device(settings.device)
    samples = FrameDataset(decoded(videos) if settings.keep_in_memory else videos, settings)
    build = SmallS2M if settings.network == "small" else partial(S2M, settings.depth, settings.width)
    network = initialised(build, settings, "s2m").to(device)
    synchronise_batch_norm(network)

    def loss_of(batch: ScribbledFrame, step: Step) -> Tensor:
        return s2m_loss(network, batch, step.share, settings.dice_weight)

    return fit("s2m", network, samples, loss_of, settings, out, on_step, basis=basis, validate=validate)


def s2m_loss(network: S2M, batch: ScribbledFrame, share: float, dice_weight: float = 0.0) -> Tensor:
    """Bootstrapped cross entropy of one object against the background, and ``dice_weight`` times its Dice loss.

    ``batch``: of ScribbledFrame.
    """
    probability = torch.sigmoid(network(batch.inputs).float())
    present = torch.ones(len(probability), 1, dtype=torch.bool, device=probability.device)
    logits = object_logits(probability, present)
    loss = bootstrapped_cross_entropy(logits, batch.label, share)
    return loss + dice_weight * dice_loss(logits, batch.label, present) if dice_weight else loss


def _draw_label(mask: np.ndarray, least: float, rng: np.random.Generator) -> int | None:
    """A random label of ``mask`` with at least ``least`` pixels, or None."""
    areas = label_areas(mask)
    areas[[0, VOID]] = 0
    candidates = np.flatnonzero(areas >= max(least, 1))
    return int(rng.choice(candidates)) if len(candidates) else None
