"""Training of the propagation network: given the first mask of a clip, segment its other frames one by one."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from mivos_models import STCN, Propagation, SmallPropagation, SpaceTimeNetwork, join, normalise_planes
from train.data.clips import ClipDataset, ClipSample
from train.data.sources import decoded
from train.distributed import synchronise_batch_norm
from train.loop import OnStep, Step, Validate, fit, torch_device
from train.losses import (
    bootstrapped_cross_entropy,
    cell_shares,
    dice_loss,
    matching_loss,
    object_logits,
    one_hot,
    point_loss,
)
from train.settings import PropagationSettings
from train.start import initialised
from vosforge.videos.video import Video


def train_propagation(
    videos: Sequence[Video],
    settings: PropagationSettings,
    out: Path,
    on_step: OnStep | None = None,
    *,
    basis: str | None = None,
    validate: Validate | None = None,
) -> Path:
    """Train a propagation network or STCN on ``videos`` (those with masks and three frames).

    Returns ``out/propagation.pth``; see ``train.loop.fit`` for the other files, arguments and errors. InputError when
    no video can be used.
    """
    device = torch_device(settings.device)
    samples = ClipDataset(decoded(videos) if settings.keep_in_memory else videos, settings)
    network = initialised(partial(build, settings), settings, "propagation").to(device)
    if settings.batch_norm == "batch":
        synchronise_batch_norm(network)

    def loss_of(batch: ClipSample, step: Step) -> Tensor:
        if settings.batch_norm == "batch":  # the network sets it aside whenever it enters training
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
                    module.train()
        return propagation_loss(
            network,
            batch,
            step.share,
            settings.match_weight,
            step.objects,
            point_weight=settings.point_weight,
            dice_weight=settings.dice_weight,
        )

    return fit("propagation", network, samples, loss_of, settings, out, on_step, basis=basis, validate=validate)


def build(settings: PropagationSettings) -> SpaceTimeNetwork:
    """The network that ``settings`` describe, with random weights."""
    if settings.network == "small":
        return SmallPropagation()
    kind = {"stm": Propagation, "stcn": STCN}[settings.network]
    return kind(settings.depth, settings.width)


def propagation_loss(
    network: SpaceTimeNetwork,
    batch: ClipSample,
    share: float,
    match_weight: float = 0.0,
    objects: Tensor | None = None,
    *,
    point_weight: float = 0.0,
    dice_weight: float = 0.0,
) -> Tensor:
    """Sum over the later frames of a clip of the bootstrapped cross entropy (Mask-Propagation).

    Frame 0 is memorised with its true masks, every later one (but the last) with the masks just predicted, through
    which gradients flow. Added are ``match_weight`` times the matching loss of each later frame with frame 0,
    ``point_weight`` times the loss of its exact matches there, and ``dice_weight`` times its Dice loss.
    ``batch``: frames [B,T,H,W,3] uint8, labels [B,T,H,W] uint8, present [B,K].
    ``objects``: see ``matching_loss``.
    """
    frames, labels, present = normalise_planes(batch.frames), batch.labels.long(), batch.present
    B, T = labels.shape[:2]
    K = present.shape[1]
    first = memory = network.memorize(frames[:, 0], one_hot(labels[:, 0], K))
    later = network.query(frames[:, 1:].flatten(0, 1))
    total = frames.new_zeros(())
    for t in range(1, T):
        query = type(later)(*(part.unflatten(0, (B, T - 1))[:, t - 1] for part in later))
        logits = object_logits(network.segment(query, memory), present)
        total = total + bootstrapped_cross_entropy(logits, labels[:, t], share)
        if dice_weight:
            total = total + dice_weight * dice_loss(logits, labels[:, t], present, objects)
        if match_weight or point_weight:
            similarity = network.affinity(first.key, query.key)
            memorised, wanted = cell_shares(labels[:, 0], K + 1), cell_shares(labels[:, t], K + 1)
            total = total + match_weight * matching_loss(similarity, memorised, wanted, present, objects)
            if point_weight:
                total = total + point_weight * point_loss(similarity, batch.matches[:, t], present)
        if t < T - 1:
            memory = join([memory, network.memorize(frames[:, t], torch.softmax(logits, dim=1)[:, 1:], query)])
    return total
