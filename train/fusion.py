"""Training of the fusion network: merge two propagated results for a frame, told where the newer one was corrected."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from mivos_models import Fusion, SpaceTimeNetwork, difference_maps, load_propagation
from train.data.fusion_data import FusionDataset, FusionSample
from train.data.recorded import record_references
from train.data.sources import decoded
from train.loop import OnStep, Step, Validate, fit, torch_device
from train.losses import bootstrapped_cross_entropy, object_logits
from train.settings import FusionSettings
from train.start import initialised
from vosforge.log import logger
from vosforge.videos.video import Video

RECORDED = "fusion-data"
"""The folder of recorded results in that of a run."""


def train_fusion(
    videos: Sequence[Video],
    settings: FusionSettings,
    out: Path,
    on_step: OnStep | None = None,
    propagation: Path | None = None,
    *,
    basis: str | None = None,
    validate: Validate | None = None,
) -> Path:
    """Train a fusion network on results of a trained propagation network on ``videos``.

    The results are recorded in ``out/fusion-data`` first; those recorded before are used again.
    ``propagation``: its checkpoint; None: ``out/propagation.pth``. Returns ``out/fusion.pth``; see
    ``train.loop.fit`` for the other files, arguments and errors. InputError when no video can be used or the checkpoint
    cannot be read. The log says how many samples were not instructive (two results that hardly differ).
    """
    device = torch_device(settings.device)
    frozen = load_propagation(propagation or out / "propagation.pth").to(device).requires_grad_(False)
    sources = decoded(videos) if settings.keep_in_memory else videos
    samples = FusionDataset(record_references(sources, frozen, settings, out / RECORDED), settings)
    network = initialised(lambda: Fusion(settings.width), settings, "fusion").to(device)
    dull = seen = 0

    def loss_of(batch: FusionSample, step: Step) -> Tensor:
        nonlocal dull, seen
        seen += len(batch.instructive)
        dull += int((~batch.instructive).sum())
        return fusion_loss(network, frozen, batch, step.share)

    path = fit("fusion", network, samples, loss_of, settings, out, on_step, basis=basis, validate=validate)
    if dull:
        logger.info("fusion: in %d of %d samples the two results hardly differed", dull, seen)
    return path


def fusion_loss(network: Fusion, propagation: SpaceTimeNetwork, batch: FusionSample, share: float) -> Tensor:
    """Bootstrapped cross entropy of the merged, aggregated masks; a batch of FusionSample (MiVOS, section 3.3)."""
    probabilities = merged(network, propagation, batch)
    return bootstrapped_cross_entropy(object_logits(probabilities, batch.present), batch.label, share)


def merged(network: Fusion, propagation: SpaceTimeNetwork, batch: FusionSample) -> Tensor:
    """The merged probabilities ``[B, K, H, W]`` of a batch."""
    B, K = batch.present.shape
    with torch.no_grad():
        memory = propagation.memorize(batch.reference_image, batch.given)
        query = propagation.query(batch.image)
        attention = propagation.attention(query, memory, difference_maps(batch.given, batch.before))
    logits = network(
        batch.image.repeat_interleave(K, dim=0),
        batch.old.flatten(0, 1).unsqueeze(1),
        batch.new.flatten(0, 1).unsqueeze(1),
        attention.flatten(0, 1),
        batch.time.repeat_interleave(K, dim=0),
    )
    return torch.sigmoid(logits.float()).squeeze(1).unflatten(0, (B, K))
