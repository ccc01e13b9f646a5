"""The space-time memory of key/value pairs and its reads, without parameters.

Space-time memory: Oh et al., ICCV 2019. Top-k read: Cheng et al., CVPR 2021, section 3.2. Shared keys and their
distance: Cheng et al., NeurIPS 2021.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vosforge import InputError

Affinity = Callable[[Tensor, Tensor], Tensor]
"""``affinity`` or ``proximity``: similarities [B,K,Q,M] of memory keys [B,K,T,h,w,Ck] and a query's [B,Ck,h,w]."""

MEMORY_FRAMES = 32
"""Default maximum of frames in a memory: all that the published procedure memorises in a video of 150 frames."""
_RECENT_SHARE = 4
_GROUPS_PAY = 4
_BLOCK = 2**22
"""Block size in similarities: fits caches, and memory does not grow with the video."""


class Memory(NamedTuple):
    """Keys and values of K objects in T memorised frames of B videos, one vector per grid cell.

    key: [B,K,T,h,w,Ck] float32, or [B,1,T,h,w,Ck] if shared by all objects; value: [B,K,T,h,w,Cv] float32.
    """

    key: Tensor
    value: Tensor


def join(memories: Sequence[Memory]) -> Memory:
    """Concatenate memories along time."""
    return Memory(torch.cat([m.key for m in memories], dim=2), torch.cat([m.value for m in memories], dim=2))


def check_memory_frames(memory_frames: int) -> None:
    """Raise InputError unless a memory may hold that many frames."""
    if memory_frames < 1:
        raise InputError(f"memory_frames must be at least 1, not {memory_frames}")


class _Kept(NamedTuple):
    """A frame that stays in a bank, for now or, if given, always."""

    time: int
    given: bool


class Bank:
    """A memory of a bounded number of frames, preallocated, to which frames are added in place.

    ``frames``: the maximum number held. When full, an old frame goes for a new one. Given frames always stay, and so do
    the last kept ones, a quarter of ``frames`` or fewer if given frames leave no space. Of those in between, the frame
    whose neighbours are closest in time goes, the earliest added of equals. This spreads them evenly: no gap is longer
    than the longest between two additions, or than twice the video seen so far over the number in between.

    Space is allocated at once, so a shortage shows early. ``like``: a memory of the same video and objects.
    """

    def __init__(self, like: Memory, frames: int):
        self.frames = frames
        self._room = Memory(*(part.new_zeros(*part.shape[:2], frames, *part.shape[3:]) for part in like))
        self._kept: dict[int, _Kept] = {}
        """By place, in the order of additions."""
        self._used = 0

    @staticmethod
    def space(limit: int, given: int, others: int) -> int:
        """The number of frames to allocate for ``given`` frames and up to ``others`` more, within ``limit``.

        Given frames and the latest are held even beyond the limit.
        """
        return min(given + others, max(limit, given + 1))

    def add(self, memory: Memory, time: int, *, given: bool = False, for_good: bool = True) -> None:
        """Add the frame at ``time``, replacing an earlier temporary one.

        ``given``: it always stays; ``for_good``: False for a temporary frame.
        """
        if len(self._kept) == self.frames:
            self._drop()
        place = len(self._kept)
        self._used = place + 1
        for room, part in zip(self._room, memory, strict=True):
            room[:, :, place : place + 1] = part
        if for_good:
            self._kept[place] = _Kept(time, given)

    def _drop(self) -> None:
        """Drop one frame that stays; the one in the last place moves to its place."""
        others = [place for place, kept in self._kept.items() if not kept.given]
        between = others[: -max(1, self.frames // _RECENT_SHARE)] or others[:1]
        times = sorted(kept.time for kept in self._kept.values())

        def gap(place: int) -> int:
            at = bisect_left(times, self._kept[place].time)
            return times[min(at + 1, len(times) - 1)] - times[max(at - 1, 0)]

        place, last = min(between, key=gap), len(self._kept) - 1
        del self._kept[place]
        if place != last:
            for room in self._room:
                room[:, :, place] = room[:, :, last]
            self._kept[place] = self._kept.pop(last)  # again the last of the additions

    @property
    def times(self) -> list[int]:
        """The times of the frames that stay, ascending."""
        return sorted(kept.time for kept in self._kept.values())

    @property
    def memory(self) -> Memory:
        """The content, as a view; the newest frame is the last, all are in the order of additions until one went."""
        return Memory(*(part[:, :, : self._used] for part in self._room))


def affinity(key: Tensor, query_key: Tensor) -> Tensor:
    """Similarity of every query cell to every memory cell, [B,K,Q,M] with Q = h·w and M = T·h·w (T slowest).

    key: [B,K,T,h,w,Ck]; query_key: [B,Ck,h,w]. The dot product over √Ck.
    """
    query = query_key.flatten(2).transpose(1, 2) / math.sqrt(query_key.shape[1])
    return query.unsqueeze(1) @ key.flatten(2, 4).transpose(2, 3)


def proximity(key: Tensor, query_key: Tensor) -> Tensor:
    """Like :func:`affinity`, by the negative squared distance over √Ck.

    The term that depends only on the query cell is omitted: it is the same for all memory cells.
    """
    lengths = key.flatten(2, 4).square().sum(dim=3) / math.sqrt(query_key.shape[1])
    return affinity(key, 2 * query_key).sub_(lengths.unsqueeze(2))


def read(memory: Memory, query_key: Tensor, top_k: int | None = None, similar: Affinity = affinity) -> Tensor:
    """Read the memory at each query cell, [B,K,Cv,h,w].

    query_key: [B,Ck,h,w]. ``top_k``: number of most similar memory cells in the softmax, capped at the memory's size;
    None: all.
    """
    cells = memory.key[0, :, :, :, :, 0].numel()
    rows = max(1, _BLOCK // (len(query_key) * cells * query_key.shape[3]))
    return torch.cat([_read(memory, part, top_k, similar) for part in query_key.split(rows, dim=2)], dim=3)


def _read(memory: Memory, query_key: Tensor, top_k: int | None, similar: Affinity) -> Tensor:
    value = memory.value.flatten(2, 4)
    B, K, M, _ = value.shape
    similarity = similar(memory.key, query_key)
    if top_k is None:
        result = torch.softmax(similarity, dim=3) @ value
    else:
        # Gathering and summing touches k of the M rows; a dense product with a mostly zero matrix touches all.
        best, cells = largest(similarity, min(top_k, M))
        # Per object: rows of different objects need not be contiguous (a bank's are not).
        weights = torch.softmax(best, dim=3).expand(-1, K, -1, -1).flatten(0, 1)
        cells = cells.expand(-1, K, -1, -1).flatten(0, 1)
        bags = zip(cells, value.flatten(0, 1), weights, strict=True)
        read_out = [functional.embedding_bag(c, v, per_sample_weights=w, mode="sum") for c, v, w in bags]
        result = torch.stack(read_out).unflatten(0, (B, K))
    return result.transpose(2, 3).unflatten(3, query_key.shape[2:])


def read_near(memory: Memory, query_key: Tensor, radius: int, similar: Affinity = affinity) -> Tensor:
    """Read a memory of one frame at each query cell from the cells at most ``radius`` away, [B,K,Cv,h,w].

    query_key: [B,Ck,h,w]. A softmax over all of them.
    """
    h, w = query_key.shape[2:]
    columns = torch.arange(w, device=query_key.device)
    beside = (columns - columns[:, None]).abs() <= radius
    bands = []
    for top in range(0, h, radius + 1):
        bottom = min(top + radius + 1, h)
        first, last = max(0, top - radius), min(h, bottom + radius)
        band = Memory(*(part[:, :, :, first:last] for part in memory))
        lines = torch.arange(top, bottom, device=columns.device)[:, None] - torch.arange(first, last).to(columns)
        near = (lines.abs() <= radius)[:, None, :, None] & beside[:, None, :]
        similarity = similar(band.key, query_key[:, :, top:bottom]).masked_fill(
            ~near.flatten(2).flatten(0, 1), -torch.inf
        )
        found = torch.softmax(similarity, dim=3) @ band.value.flatten(2, 4)
        bands.append(found.transpose(2, 3).unflatten(3, (bottom - top, w)))
    return torch.cat(bands, dim=3)


def largest(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` largest of each row [..., M] and their indices, [..., k] each, unordered.

    They lie in the k groups with the largest maxima. Searching only those groups is much faster than ``topk`` on long
    rows.
    """
    M = x.shape[-1]
    size = math.isqrt(M // k)  # a group is strided, so that maxima reduce over contiguous rows
    if size < _GROUPS_PAY:
        return x.topk(k, dim=-1, sorted=False)
    count = M // size
    groups = x[..., : size * count].unflatten(-1, (size, count))
    chosen = groups.amax(dim=-2).topk(k, dim=-1, sorted=False).indices.unsqueeze(-2).expand(*groups.shape[:-1], k)
    rest = torch.arange(size * count, M, device=x.device).expand(*x.shape[:-1], -1)
    cells = torch.cat([(chosen + count * torch.arange(size, device=x.device).unsqueeze(-1)).flatten(-2), rest], dim=-1)
    best, position = x.gather(-1, cells).topk(k, dim=-1, sorted=False)
    return best, cells.gather(-1, position)


def transfer(key: Tensor, query_key: Tensor, maps: Tensor, similar: Affinity = affinity) -> Tensor:
    """Align maps of the memorised frame to the query frame: the attention of difference-aware fusion, [B,K,C,H,W].

    key: [B,K or 1,1,h,w,Ck]; query_key: [B,Ck,h,w]; maps: [B,K,C,H,W]. Maps are averaged per grid cell, weighted by the
    full softmax of the affinities (never top-k), and upsampled bilinearly (Cheng et al., CVPR 2021, section 3.3).
    """
    B, K = maps.shape[:2]
    grid = query_key.shape[2:]
    weights = torch.softmax(similar(key, query_key), dim=3)
    cells = functional.interpolate(maps.flatten(0, 1), size=grid, mode="area").view(B, K, maps.shape[2], -1)
    seen = (cells @ weights.transpose(2, 3)).flatten(0, 1).unflatten(2, grid)
    seen = functional.interpolate(seen, size=maps.shape[3:], mode="bilinear", align_corners=False)
    return seen.unflatten(0, (B, K))
