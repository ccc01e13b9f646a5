"""Training of the propagation network: given the first mask of a clip, segment its other frames one by one."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from mivos_models import Memory, Propagation, Query, join, read
from train.clips import ClipDataset, ClipSample
from train.loop import OnStep, Step, choose_device, fit, initialised
from train.losses import bootstrapped_cross_entropy, object_logits, one_hot
from train.settings import PropagationSettings
from train.video import Video, in_memory

KEY_CONTRAST = 2.0
"""Mean square of a key's channels after calibration: about the deviation of the affinity of unrelated cells."""
SKIP_SHARE = 0.3
"""Deviation of the decoder's skip branches after calibration, that of what they are added to being 1."""
PRIOR_LOGIT = -1.0
"""Where the mask logits start: most pixels are not of the object."""
MASK_GAIN = 3.0
"""Masks cover little of a frame, so their first-layer weights start larger than the image's."""

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def train_propagation(
    videos: Sequence[Video], settings: PropagationSettings, out: Path, on_step: OnStep | None = None
) -> Path:
    """Train a propagation network from random weights on ``videos`` (those with masks and three frames or more).

    Returns ``out/propagation.pth``; see ``train.loop.fit`` for the other files and the errors. InputError when no
    video can be used.
    """
    device = choose_device(settings.device)
    samples = ClipDataset(in_memory(videos) if settings.keep_in_memory else videos, settings)
    network = initialised(lambda: Propagation(settings.depth, settings.width), settings.seed, "propagation")
    calibrate(network, samples, settings.calibrate * settings.batch)
    network = network.to(device)

    def loss_of(batch: ClipSample, step: Step) -> Tensor:
        return propagation_loss(network, batch, step.share)

    return fit("propagation", network, samples, loss_of, settings, out, on_step)


@torch.no_grad()
def calibrate(network: Propagation, samples: ClipDataset, count: int) -> None:
    """Bring a random ``network`` (on the CPU) to where a pretrained one starts, with the run's first ``count`` clips.

    The published network begins with the same ImageNet weights in both encoders, so that memory and query see one
    frame alike. Here the memory's convolutions become copies of the query's; batch norms, which training never
    updates, get the clips' statistics; keys are centred and scaled. Without, every read starts as the mean of the
    whole memory, and training must first discover that it can point at anything at all.
    """
    if not count:
        return
    frames, labels, present = default_collate([samples[index] for index in range(count)])
    images, masks = frames[:, 0], one_hot(labels[:, 0], present.shape[1])
    memory_part, query_part = network.mask_rgb_encoder, network.rgb_encoder
    for copy, origin in zip(_of(nn.Conv2d, memory_part), _of(nn.Conv2d, query_part), strict=True):
        copy.weight[:, : origin.in_channels] = origin.weight
        if copy.bias is not None:
            copy.bias.zero_()
    memory_part.conv1.weight[:, 3:] *= MASK_GAIN
    network.kv_m_f16.key_proj.load_state_dict(network.kv_q_f16.key_proj.state_dict())
    norms = [*_of(nn.BatchNorm2d, memory_part), *_of(nn.BatchNorm2d, query_part)]
    momentum = norms[0].momentum
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
        norm.train()
    network.memorize(images, masks)
    network.query(images)
    for norm in norms:
        norm.momentum = momentum
        norm.eval()
    for projection, keys in (
        (network.kv_m_f16.key_proj, network.memorize(images, masks).key.flatten(0, 4)),
        (network.kv_q_f16.key_proj, network.query(images).key.movedim(1, -1).flatten(0, 2)),
    ):
        assert projection.bias is not None
        scale = math.sqrt(KEY_CONTRAST) / float(keys.std(dim=0).square().mean().sqrt())
        projection.weight.mul_(scale)
        projection.bias.sub_(keys.mean(dim=0)).mul_(scale)
    _balance_decoder(network, network.query(images), network.memorize(images, masks))


def _balance_decoder(network: Propagation, query: Query, memory: Memory) -> None:
    """Scale the decoder's blocks so that what was read of an object is not drowned by what is there for all objects."""
    decoder = network.decoder
    readout = read(memory, query.key)
    value = query.value.unsqueeze(1).expand(-1, readout.shape[1], -1, -1, -1)
    x = torch.cat([readout, value], dim=2).flatten(0, 1)
    x = _to_unit_deviation(decoder.compress, decoder.compress(x))
    for block, skip in ((decoder.up_16_8, query.skip_8), (decoder.up_8_4, query.skip_4)):
        scale = SKIP_SHARE / float(skip.std())
        for conv in (block.skip_conv1, block.skip_conv2.conv2):
            conv.weight.mul_(scale)
            conv.bias.mul_(scale)
        x = _to_unit_deviation(block.out_conv, block(x, skip * scale))
    decoder.pred.weight.mul_(1 / float(decoder.pred(torch.relu(x)).std()))
    decoder.pred.bias.fill_(PRIOR_LOGIT)


def _to_unit_deviation(block: nn.Module, output: Tensor) -> Tensor:
    """Scale the last convolutions of a residual block so that its ``output`` has deviation 1; return that output."""
    scale = 1 / float(output.std())
    for conv in (block.downsample, block.conv2):
        if conv is not None:
            conv.weight.mul_(scale)
            conv.bias.mul_(scale)
    return output * scale


def _of(kind: type[ModuleT], network: nn.Module) -> list[ModuleT]:
    return [module for module in network.modules() if isinstance(module, kind)]


def propagation_loss(network: Propagation, batch: ClipSample, share: float) -> Tensor:
    """Sum over the later frames of a clip of the bootstrapped cross entropy (Mask-Propagation).

    Frame 0 is memorised with its true masks, every later one (but the last) with the masks just predicted, through
    which gradients flow. ``batch``: frames [B,T,3,H,W], labels [B,T,H,W], present [B,K].
    """
    frames, labels, present = batch
    B, T = labels.shape[:2]
    memory = network.memorize(frames[:, 0], one_hot(labels[:, 0], present.shape[1]))
    later = network.query(frames[:, 1:].flatten(0, 1))
    total = frames.new_zeros(())
    for t in range(1, T):
        query = type(later)(*(part.unflatten(0, (B, T - 1))[:, t - 1] for part in later))
        logits = object_logits(network.segment(query, memory), present)
        total = total + bootstrapped_cross_entropy(logits, labels[:, t], share)
        if t < T - 1:
            memory = join([memory, network.memorize(frames[:, t], torch.softmax(logits, dim=1)[:, 1:])])
    return total
