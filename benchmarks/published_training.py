"""A training step of propagation as it was published, the slow twin of ours: written from the description.

Frames and objects pass through the networks one by one: each object is memorised, read and decoded in a call of its
own, the decoder's skip branches included, and each sample of a batch has a loss of its own. Batch norm is frozen. It
uses the layers of our network, not its methods.
"""

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.published_core import decoded
from mivos_models import Propagation, aggregate_logits
from train.data.clips import ClipSample
from train.losses import one_hot
from train.settings import TrainSettings

Features = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of a frame: key [B,Ck,h,w], value [B,Cv,h,w], features at an eighth and a quarter of its size."""


class PublishedTraining:
    """Adam steps on clips of three frames, normalised float32 [B,3,3,H,W] as the published loader gives them."""

    def __init__(self, network: Propagation, settings: TrainSettings) -> None:
        self.network, self.settings = network.train(), settings
        self.optimiser = torch.optim.Adam(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)

    def loss(self, batch: ClipSample, share: float) -> Tensor:
        """The sum of the losses of the later two frames; ``share`` of the pixels count."""
        frames, labels, present = batch.frames, batch.labels.long(), batch.present
        keys, values = self.memorize(frames[:, 0], one_hot(labels[:, 0], present.shape[1]))
        logits = self.segment(self.query(frames[:, 1]), keys, values, present)
        total = sample_losses(logits, labels[:, 1], present, share)
        more_keys, more_values = self.memorize(frames[:, 1], torch.softmax(logits, dim=1)[:, 1:])
        keys, values = torch.cat([keys, more_keys], dim=3), torch.cat([values, more_values], dim=3)
        logits = self.segment(self.query(frames[:, 2]), keys, values, present)
        return total + sample_losses(logits, labels[:, 2], present, share)

    def memorize(self, frame: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Key [B,K,Ck,1,h,w] and value [B,K,Cv,1,h,w] of a frame [B,3,H,W] with masks [B,K,H,W]."""
        keys, values = [], []
        for k in range(masks.shape[1]):
            mask, others = masks[:, k : k + 1], masks.sum(dim=1, keepdim=True) - masks[:, k : k + 1]
            f16 = self.network.mask_rgb_encoder(torch.cat([frame, mask, others], dim=1))[-1]
            keys.append(self.network.kv_m_f16.key_proj(f16).unsqueeze(2))
            values.append(self.network.kv_m_f16.val_proj(f16).unsqueeze(2))
        return torch.stack(keys, dim=1), torch.stack(values, dim=1)

    def query(self, frame: Tensor) -> Features:
        """What is read and decoded of a frame [B,3,H,W]."""
        f4, f8, f16 = self.network.rgb_encoder(frame)
        return self.network.kv_q_f16.key_proj(f16), self.network.kv_q_f16.val_proj(f16), f8, f4

    def segment(self, query: Features, keys: Tensor, values: Tensor, present: Tensor) -> Tensor:
        """Logits [B,K+1,H,W] over background and objects."""
        key, value, f8, f4 = query
        logits = []
        for k in range(keys.shape[1]):
            affinity = keys[:, k].flatten(2).transpose(1, 2) @ (key.flatten(2) / key.shape[1] ** 0.5)
            read = torch.bmm(values[:, k].flatten(2), torch.softmax(affinity, dim=1)).view_as(value)
            logits.append(decoded(self.network.decoder, torch.cat([read, value], dim=1), f8, f4))
        return aggregate_logits(torch.sigmoid(torch.cat(logits, dim=1)) * present[:, :, None, None], dim=1)


def sample_losses(logits: Tensor, labels: Tensor, present: Tensor, share: float) -> Tensor:
    """The mean over a batch of each sample's bootstrapped cross entropy over the objects that it has."""
    losses = []
    for sample, truth, objects in zip(logits, labels, present, strict=True):
        channels = 1 + int(objects.sum())
        each = functional.cross_entropy(sample[None, :channels], truth[None], reduction="none").flatten()
        losses.append(each.topk(int(share * each.numel())).values.mean() if share < 1 else each.mean())
    return torch.stack(losses).mean()
