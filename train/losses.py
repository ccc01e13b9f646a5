"""The training losses: cross entropy over soft-aggregated objects and its hardest pixels, and matching of cells."""

from typing import Self

import torch
from pydantic import model_validator
from torch import Tensor
from torch.nn import functional

from mivos_models import aggregate_logits
from vosforge.config import Record, Share

ABSENT = -1e4
"""The logit of an object that a sample does not have; its softmax is exactly 0 in float32."""

MIN_SHARE = 1e-4
"""Keeps the matching loss finite where a label is in no memory cell."""


class Bootstrap(Record):
    """Schedule of hard-pixel mining: all pixels up to ``start``, then linearly fewer, ``top`` from ``end`` on.

    ``start`` and ``end`` are shares of the run's iterations. Mask-Propagation (§ BL30K) uses 20k and 70k of 500k.
    """

    start: Share = 0.04
    end: Share = 0.14
    top: Share = 0.15

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> Self:
        if self.start > self.end:
            raise ValueError(f"start, {self.start}, comes after end, {self.end}")
        return self

    def share(self, step: int, iterations: int) -> float:
        """The share of pixels that count at ``step`` (from 0)."""
        start, end = self.start * iterations, self.end * iterations
        if step < start:
            return 1.0
        if step >= end:
            return self.top
        return self.top + (1.0 - self.top) * (end - step) / (end - start)


def object_logits(probabilities: Tensor, present: Tensor) -> Tensor:
    """Soft-aggregation logits ``[B, K+1, H, W]`` (float32, channel 0: background) of probabilities ``[B, K, H, W]``.

    ``present [B, K]`` bool drops padding objects: they neither lower the background nor can be chosen.
    """
    present = present[:, :, None, None]
    logits = aggregate_logits(probabilities.float() * present, dim=1)
    return torch.cat([logits[:, :1], logits[:, 1:].masked_fill(~present, ABSENT)], dim=1)


def bootstrapped_cross_entropy(logits: Tensor, labels: Tensor, share: float) -> Tensor:
    """Cross entropy of ``logits [B, C, H, W]`` against ``labels [B, H, W]`` int64, as a scalar.

    Per sample the mean over the ``int(share * H * W)`` pixels of highest loss (at least one); then over the batch.
    """
    losses = functional.cross_entropy(logits, labels, reduction="none").flatten(1)
    if share < 1.0:
        losses = losses.topk(max(int(share * losses.shape[1]), 1), dim=1, sorted=False).values
    return losses.mean()


def dice_loss(logits: Tensor, labels: Tensor, present: Tensor, objects: Tensor | None = None) -> Tensor:
    """One minus the Dice coefficient of each object's probabilities, averaged over objects, as a scalar.

    ``logits [B, K+1, H, W]`` as of `object_logits`; ``labels [B, H, W]`` int64; ``present [B, K]`` bool. Unlike cross
    entropy it weighs small objects like large ones. ``objects`` as in `matching_loss`.
    """
    found, wanted = torch.softmax(logits, dim=1)[:, 1:].flatten(2), one_hot(labels, present.shape[1]).flatten(2)
    overlap = (found * wanted).sum(dim=2)
    losses = 1 - (2 * overlap + 1) / (found.sum(dim=2) + wanted.sum(dim=2) + 1)
    return (losses * present).sum() / (present.sum() if objects is None else objects)


def matching_loss(
    similarity: Tensor, memorised: Tensor, wanted: Tensor, present: Tensor, objects: Tensor | None = None
) -> Tensor:
    """Cross entropy of the labels that each object's read of the memory carries from cell to cell, as a scalar.

    It teaches keys directly to point at the same object; not part of the published training, which starts from
    keys that know images. ``similarity [B, K, Q, M]`` of query and memory cells, before the softmax; ``memorised
    [B, K+1, M]`` and ``wanted [B, K+1, Q]``: each label's share of each cell; ``present [B, K]`` bool. ``objects``: the
    divisor of the sum over objects; None: how many are present.
    """
    carried = torch.softmax(similarity.float(), dim=3) @ memorised.transpose(1, 2).unsqueeze(1)
    losses = -(wanted.transpose(1, 2).unsqueeze(1) * torch.log(carried + MIN_SHARE)).sum(dim=3).mean(dim=2)
    return (losses * present).sum() / (present.sum() if objects is None else objects)


def point_loss(similarity: Tensor, matches: Tensor, present: Tensor) -> Tensor:
    """Cross entropy of each cell's match among all memory cells, look-alikes included, as a scalar.

    ``similarity [B, K, Q, M]`` as in `matching_loss`, or ``[B, 1, Q, M]`` of keys that all objects share; ``matches
    [B, Q]`` integers, -1 where there is none; ``present [B, K]`` bool. The mean over cells with a match and present
    objects; 0 without any.
    """
    K = similarity.shape[1]
    counted = (matches >= 0).unsqueeze(1) & (present[:, :1] if K == 1 else present).unsqueeze(2)
    wanted = matches.clamp(min=0).long().unsqueeze(1).expand(-1, K, -1)
    losses = functional.cross_entropy(similarity.float().movedim(3, 1), wanted, reduction="none")
    return (losses * counted).sum() / counted.sum().clamp(min=1)


def cell_shares(labels: Tensor, num_labels: int, side: int = 16) -> Tensor:
    """Each label's share ``[B, num_labels, h * w]`` of each ``side``-sized cell of ``labels [B, H, W]`` int64."""
    planes = functional.one_hot(labels, num_labels).movedim(-1, 1).float()
    return functional.avg_pool2d(planes, side).flatten(2)


def one_hot(labels: Tensor, num_objects: int) -> Tensor:
    """Binary masks ``[..., K, H, W]`` float32 of the labels 1..K in ``labels [..., H, W]``."""
    objects = torch.arange(1, num_objects + 1, device=labels.device)[:, None, None]
    return (labels.unsqueeze(-3) == objects).float()
