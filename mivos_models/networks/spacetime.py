"""The base class of both propagation networks: memorise frames with masks, and segment other frames from memory.

Space-time memory networks (Oh et al., ICCV 2019).
"""

from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from mivos_models.networks.decoder import Decoder
from mivos_models.networks.memory import Memory, read, transfer


class Query(NamedTuple):
    """A frame's encoding for segmentation, cached for when the frame is revisited.

    key: [B,Ck,h,w]; value: [B,Cv,h,w]; skip_8: [B,C,2h,2w] and skip_4: [B,C,4h,4w], the decoder's skip branches,
    shared by all objects; features: [B,Cf,h,w], reused to memorise the frame (Cf = 0: none).
    """

    key: Tensor
    value: Tensor
    skip_8: Tensor
    skip_4: Tensor
    features: Tensor


class SpaceTimeNetwork(nn.Module):
    """Memorises frames with masks, and segments other frames from that memory.

    All methods process B videos at once and are differentiable. Frames are normalised RGB, [B,3,H,W] float32, with H
    and W multiples of 16 (else ValueError); the grid is h = H/16, w = W/16.
    """

    published_top_k: ClassVar[int]
    """Top-k of a memory read in the published inference."""
    keeps_previous: ClassVar[bool]
    """Whether a pass always keeps the previous frame in memory, or memorises only permanent frames."""
    decoder: Decoder

    @staticmethod
    def affinity(key: Tensor, query_key: Tensor) -> Tensor:
        """Similarity of query and memory cells; a function of :mod:`mivos_models.networks.memory`."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode with batch norm frozen: its statistics are fixed; scale and shift are trained.

        Batches are too small for statistics, which also differ between the frames of a clip. The published networks
        were trained this way.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def memorize(self, frame: Tensor, masks: Tensor, query: Query | None = None) -> Memory:
        """Encode a frame [B,3,H,W] and the soft masks [B,K,H,W] (0..1) of its K objects as memory (T = 1).

        Each object is encoded with the sum of the other objects' masks. ``query``: the frame's query if available,
        which saves work.
        """
        raise NotImplementedError

    def query(self, frame: Tensor) -> Query:
        """Encode a frame [B,3,H,W] for segmentation, independently of objects and memory."""
        raise NotImplementedError

    def read(self, query: Query, memory: Memory, top_k: int | None) -> Tensor:
        """What the decoder sees of the memory at each cell of the query: [B,K,C,h,w]."""
        return read(memory, query.key, top_k, self.affinity)

    def segment(self, query: Query, memory: Memory, top_k: int | None = None) -> Tensor:
        """Independent (not aggregated) probabilities of the memory's K objects: [B,K,H,W].

        ``top_k`` as in :func:`mivos_models.networks.memory.read`; training uses None.
        """
        readout = self.read(query, memory, top_k)
        B, K = readout.shape[:2]
        value = query.value.unsqueeze(1).expand(-1, K, -1, -1, -1)
        features = torch.cat([readout, value], dim=2).flatten(0, 1)
        logits = self.decoder(features, query.skip_8, query.skip_4)
        return torch.sigmoid(logits).view(B, K, *logits.shape[2:])

    def attention(self, query: Query, memory: Memory, differences: Tensor) -> Tensor:
        """Attention: the memorised frame's difference maps [B,K,2,H,W] aligned to the query frame, [B,K,2,H,W].

        ``memory`` holds exactly one frame, the one the differences belong to.
        """
        return transfer(memory.key, query.key, differences, self.affinity)


def with_masks(frame: Tensor, masks: Tensor) -> Tensor:
    """A mask encoder's input [B·K,5,H,W]: the frame [B,3,H,W], an object's mask, the sum of the others.

    masks: [B,K,H,W].
    """
    K = masks.shape[1]
    other_objects = 1 - torch.eye(K, dtype=masks.dtype, device=masks.device)
    others = (other_objects @ masks.flatten(2)).view_as(masks)
    images = frame.unsqueeze(1).expand(-1, K, -1, -1, -1)
    return torch.cat([images, masks.unsqueeze(2), others.unsqueeze(2)], dim=2).flatten(0, 1)


def rows(features: Tensor, B: int) -> Tensor:
    """[B·K,C,h,w] -> [B,K,1,h,w,C], contiguous, the layout of :class:`Memory`."""
    return features.permute(0, 2, 3, 1).unflatten(0, (B, -1)).unsqueeze(2).contiguous()


def check_multiple_of_16(frame: Tensor) -> None:
    """Raise ValueError unless the frame's sides are multiples of 16."""
    if frame.shape[-2] % 16 or frame.shape[-1] % 16:
        raise ValueError(f"pad the frame to multiples of 16: it is {frame.shape[-2]}×{frame.shape[-1]}")
