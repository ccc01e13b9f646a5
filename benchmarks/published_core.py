"""MiVOS's inference as it was published, the slow twin of our runner: written from the description of the procedure.

Objects are read from memory one by one, by a dense affinity and a dense product with a mostly zero matrix; the
decoder's skip branches are computed in each call; nothing is folded. It uses the layers of our networks, not their
methods.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mivos_models.networks.decoder import Decoder, ResBlock, UpsampleBlock
from mivos_models.networks.fusion import Fusion
from mivos_models.networks.images import Padding, normalise
from mivos_models.networks.propagation import Propagation

CACHED_FRAMES = 105


class Features(NamedTuple):
    """What is kept of a frame: key [1,Ck,h,w], value [1,Cv,h,w], features at an eighth and a quarter of the size."""

    key: Tensor
    value: Tensor
    f8: Tensor
    f4: Tensor


class PublishedCore:
    """The same video, networks and calls as InteractiveRunner, padded probabilities ``prob`` [K+1,T,H,W]."""

    def __init__(
        self,
        propagation: Propagation,
        frames: np.ndarray,
        num_objects: int,
        *,
        fusion: Fusion | None = None,
        top_k: int = 50,
        mem_every: int = 5,
    ):
        self.network, self.fusion = propagation, fusion
        self.frames, self.K, self.top_k, self.mem_every = frames, num_objects, top_k, mem_every
        self.padding = Padding.for_size(*frames.shape[1:3])
        size = self.padding.pad(torch.empty(frames.shape[1:3], device="meta")).shape
        self.prob = torch.zeros(num_objects + 1, len(frames), *size)
        self.prob[0] = 1e-7
        self.interacted: set[int] = set()
        self.cache: dict[int, Features] = {}
        self.certain_keys: Tensor | None = None
        self.certain_values: Tensor | None = None

    def probabilities(self, t: int) -> np.ndarray:
        """[K+1,H,W]."""
        return self.padding.unpad(self.prob[:, t]).numpy()

    @torch.inference_mode()
    def interact(self, t: int, mask: np.ndarray) -> np.ndarray:
        """Index mask [H,W] of frame ``t`` -> masks of all frames, uint8 [T,H,W]."""
        planes = torch.from_numpy(np.stack([mask == label for label in range(self.K + 1)])).float()
        planes = self.padding.pad(planes)
        difference = planes[1:] - self.prob[1:, t]
        added, removed = difference.clamp(0, 1), (-difference).clamp(0, 1)
        self.prob[:, t] = planes
        key, value = self.memorize(self.image(t), planes[1:])
        if self.certain_keys is None or self.certain_values is None:
            self.certain_keys, self.certain_values = key, value
        else:
            self.certain_keys = torch.cat([self.certain_keys, key], dim=2)
            self.certain_values = torch.cat([self.certain_values, value], dim=2)
        self.interacted.add(t)
        for step in (1, -1):
            self.do_pass(t, step, key, added, removed)
        masks = torch.argmax(self.prob, dim=0).to(torch.uint8)
        return self.padding.unpad(masks).numpy()

    def do_pass(self, start: int, step: int, key: Tensor, added: Tensor, removed: Tensor) -> None:
        """From ``start`` to the next interacted frame in that direction; ``key`` [K,Ck,1,h,w] of ``start``."""
        assert self.certain_keys is not None and self.certain_values is not None
        beyond = [t for t in self.interacted if (t - start) * step > 0]
        limit = min(beyond, key=lambda t: abs(t - start)) if beyond else (len(self.frames) if step > 0 else -1)
        frames = range(start + step, limit, step)
        certain = self.certain_keys.shape[2]
        slots = certain + len(frames) // self.mem_every + 1
        keys, values = (
            x.new_empty(*x.shape[:2], slots, *x.shape[3:]) for x in (self.certain_keys, self.certain_values)
        )
        keys[:, :, :certain], values[:, :, :certain] = self.certain_keys, self.certain_values
        permanent = used = certain
        last = start
        for t in frames:
            image = self.image(t)
            features = self.features(t, image)
            out = _aggregated(self.segment(features, keys[:, :, :used], values[:, :, :used]))
            if t != frames[-1]:
                keys[:, :, permanent : permanent + 1], values[:, :, permanent : permanent + 1] = self.memorize(
                    image, out[1:]
                )
                used = permanent + 1
                if abs(t - last) >= self.mem_every:
                    permanent, last = permanent + 1, t
            if beyond and self.fusion is not None:
                time = torch.tensor([[abs(limit - t), abs(start - t)]]) / abs(limit - start)
                out = self.fuse(image, self.prob[1:, t], out[1:], key, features.key, added, removed, time)
            self.prob[:, t] = out

    def image(self, t: int) -> Tensor:
        """[1,3,H,W], padded."""
        return self.padding.pad(normalise(self.frames[t])).unsqueeze(0)

    def features(self, t: int, image: Tensor) -> Features:
        """The frame's features, from the cache when they are there."""
        if t not in self.cache:
            if len(self.cache) > CACHED_FRAMES:
                self.cache.clear()
            f4, f8, f16 = self.network.rgb_encoder(image)
            project = self.network.kv_q_f16
            self.cache[t] = Features(project.key_proj(f16), project.val_proj(f16), f8, f4)
        return self.cache[t]

    def memorize(self, image: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Key [K,Ck,1,h,w] and value [K,Cv,1,h,w] of an image [1,3,H,W] with masks [K,H,W]."""
        others = torch.stack([masks.sum(dim=0) - mask for mask in masks])
        inputs = torch.cat([image.expand(self.K, -1, -1, -1), masks.unsqueeze(1), others.unsqueeze(1)], dim=1)
        f16 = self.network.mask_rgb_encoder(inputs)[-1]
        project = self.network.kv_m_f16
        return project.key_proj(f16).unsqueeze(2), project.val_proj(f16).unsqueeze(2)

    def segment(self, features: Features, keys: Tensor, values: Tensor) -> Tensor:
        """Probabilities [K,H,W] of each object by itself; keys [K,Ck,T,h,w], values [K,Cv,T,h,w]."""
        read = [self.read(keys[k : k + 1], values[k : k + 1], features.key) for k in range(self.K)]
        x = torch.cat([torch.cat([each, features.value], dim=1) for each in read])
        return torch.sigmoid(decoded(self.network.decoder, x, features.f8, features.f4))[:, 0]

    def read(self, key: Tensor, value: Tensor, query: Tensor) -> Tensor:
        """One object's readout [1,Cv,h,w]: a softmax over the ``top_k`` nearest, as a dense matrix [1,M,Q]."""
        similarity = key.flatten(2).transpose(1, 2) @ (query.flatten(2) / query.shape[1] ** 0.5)
        best, cells = torch.topk(similarity, self.top_k, dim=1)
        weights = torch.exp(best - best[:, :1])
        weights /= weights.sum(dim=1, keepdim=True)
        similarity.zero_().scatter_(1, cells, weights)
        return torch.bmm(value.flatten(2), similarity).unflatten(2, query.shape[2:])

    def fuse(
        self,
        image: Tensor,
        old: Tensor,
        new: Tensor,
        key: Tensor,
        query: Tensor,
        added: Tensor,
        removed: Tensor,
        time: Tensor,
    ) -> Tensor:
        """[K+1,H,W] from old and new [K,H,W], object by object."""
        assert self.fusion is not None
        merged = []
        for k in range(self.K):
            similarity = key[k].flatten(1).transpose(0, 1) @ (query[0].flatten(1) / query.shape[1] ** 0.5)
            weights = torch.softmax(similarity, dim=0)
            maps = torch.stack([added[k], removed[k]]).unsqueeze(0)
            small = functional.interpolate(maps, size=query.shape[2:], mode="area")
            seen = (small.flatten(2) @ weights).unflatten(2, query.shape[2:])
            attention = functional.interpolate(seen, size=maps.shape[2:], mode="bilinear", align_corners=False)
            merged.append(torch.sigmoid(self.fusion(image, old[None, None, k], new[None, None, k], attention, time)))
        return _aggregated(torch.cat(merged)[:, 0])


def _aggregated(probabilities: Tensor) -> Tensor:
    """[K,H,W] -> [K+1,H,W]."""
    p = torch.cat([torch.prod(1 - probabilities, dim=0, keepdim=True), probabilities]).clamp(1e-7, 1 - 1e-7)
    return torch.softmax(torch.log(p / (1 - p)), dim=0)


def decoded(decoder: Decoder, x: Tensor, f8: Tensor, f4: Tensor) -> Tensor:
    """x: [K,C,h,w] -> logits [K,1,16h,16w]."""
    x = _residual(decoder.compress, x)
    x = _upsampled(decoder.up_16_8, x, f8)
    x = _upsampled(decoder.up_8_4, x, f4)
    return functional.interpolate(
        decoder.pred(functional.relu(x)), scale_factor=4, mode="bilinear", align_corners=False
    )


def _upsampled(block: UpsampleBlock, x: Tensor, features: Tensor) -> Tensor:
    skip = _residual(block.skip_conv2, block.skip_conv1(features))
    x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return _residual(block.out_conv, skip + x)


def _residual(block: ResBlock, x: Tensor) -> Tensor:
    residual = block.conv2(functional.relu(block.conv1(functional.relu(x))))
    return residual + (x if block.downsample is None else block.downsample(x))
