"""The interactive runner: a video, what a user says about its frames, and the masks of all frames that follow from it.

MiVOS's inference core (Cheng et al., CVPR 2021): the user's frames are remembered for good; each interaction is
carried forwards and backwards to the next frame the user touched, and merged there with what was known before.
"""

from collections.abc import Mapping
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mivos_models.aggregate import aggregate
from mivos_models.fast import accelerated
from mivos_models.fusion import Fusion, difference_maps
from mivos_models.images import Padding, normalise
from mivos_models.memory import Memory, join
from mivos_models.propagation import Propagation, Query
from mivos_models.s2m import S2M
from mivos_models.scribbles import NO_STROKE, as_stroke_map, rasterise
from vosforge import InputError

_UNSEEN_BACKGROUND = 1e-7
_QUERY_CACHE_BYTES = 2**30


class InteractiveRunner:
    """Segments ``num_objects`` objects of one video, round by round.

    ``frames``: [T,H,W,3] uint8 RGB, an array or a memory map. ``propagation``, ``s2m`` and ``fusion``: networks as
    ``load_network`` returns them, all on one device, where the runner works. Without ``s2m`` there are no scribbles;
    without ``fusion`` a new round's result replaces the earlier one. ``top_k``: how many memory cells a read
    considers ("published": as many as the published network; None: all). Every ``mem_every``-th frame of a pass
    stays in its memory. ``short_side``: the height or width, whichever is less, at which the networks see the frames,
    where they are larger (None: as they are); masks and scribbles keep the size of the frames.

    Raises InputError for frames or numbers that cannot be used, ValueError for a network in training mode.
    """

    def __init__(
        self,
        propagation: Propagation,
        frames: np.ndarray,
        num_objects: int,
        *,
        s2m: S2M | None = None,
        fusion: Fusion | None = None,
        top_k: int | Literal["published"] | None = "published",
        mem_every: int = 5,
        short_side: int | None = None,
    ):
        _check_settings(frames, num_objects, top_k, mem_every, short_side)
        _check_modes({"propagation": propagation, "s2m": s2m, "fusion": fusion})
        self._propagation = accelerated(propagation)
        self._s2m = s2m
        self._fusion = None if fusion is None else accelerated(fusion)
        self._frames = frames
        self._top_k = propagation.published_top_k if top_k == "published" else top_k
        self._mem_every = mem_every
        self._device = next(propagation.parameters()).device

        T, H, W = frames.shape[:3]
        scale = 1.0 if short_side is None else min(1.0, short_side / min(H, W))
        self._size = (round(H * scale), round(W * scale))  # what the networks see
        self._padding = Padding.for_size(*self._size)
        padded_size = self._padding.pad(torch.empty(self._size, device="meta")).shape
        self._probabilities = torch.zeros(num_objects + 1, T, *padded_size)  # padded, as last propagated or given
        self._probabilities[0] = _UNSEEN_BACKGROUND
        self._masks = np.zeros((T, H, W), np.uint8)
        self._given: dict[int, np.ndarray] = {}  # the user's masks, by frame
        self._certain: list[Memory] = []  # the user's frames, in the order of the interactions
        self._queries: dict[int, Query] = {}

    @property
    def num_objects(self) -> int:
        """K, the number of objects."""
        return self._probabilities.shape[0] - 1

    @property
    def masks(self) -> np.ndarray:
        """The masks of all frames, uint8 [T,H,W], 0 = background (a copy)."""
        return self._masks.copy()

    def probabilities(self, frame_index: int) -> np.ndarray:
        """Background's and objects' probabilities in one frame, float32 [K+1,H,W], as last propagated or given."""
        self._check_frame(frame_index)
        return self._enlarged(self._probabilities[:, frame_index]).numpy().copy()

    def set_mask(self, frame_index: int, mask: np.ndarray) -> None:
        """Replace one frame's mask (as in :meth:`interact`) and nothing else, until the next interaction."""
        self._check_frame(frame_index)
        self._masks[frame_index] = _labels(self._as_probabilities(mask))

    @torch.inference_mode()
    def interact(self, frame_index: int, mask: np.ndarray) -> np.ndarray:
        """Take ``mask`` for the truth about one frame, carry it through the video, return all masks uint8 [T,H,W].

        ``mask``: index mask [H,W] (whole numbers, 0 = background, j = object j), or probabilities [K+1,H,W].
        """
        self._check_frame(frame_index)
        full_size = self._as_probabilities(mask)
        given = self._reduced(full_size)
        differences = difference_maps(given[1:], self._probabilities[1:, frame_index]).to(self._device)
        self._probabilities[:, frame_index] = given
        seed = self._propagation.memorize(self._image(frame_index), given[1:].unsqueeze(0).to(self._device))
        self._given[frame_index] = _labels(full_size)
        self._certain.append(seed)
        for step in (1, -1):
            self._carry(frame_index, step, seed, differences)
        for t in range(len(self._frames)):
            mine = self._given.get(t)
            self._masks[t] = _labels(self._enlarged(self._probabilities[:, t])) if mine is None else mine
        return self.masks

    @torch.inference_mode()
    def scribble(self, frame_index: int, scribbles: np.ndarray | Mapping[str, Any]) -> np.ndarray:
        """The frame's mask, uint8 [H,W], as S2M corrects it by strokes; it also becomes the frame's mask.

        ``scribbles``: a stroke map of whole numbers [H,W] (-1, or 255 if unsigned, = no stroke, 0 = background,
        j = object j), or a DAVIS scribble dictionary with strokes on that frame. Nothing is propagated: hand the
        mask to :meth:`interact` for that.
        """
        if self._s2m is None:
            raise InputError("scribbles need an S2M network: hand one to the runner (s2m=...)")
        self._check_frame(frame_index)
        H, W = self._masks.shape[1:]
        if isinstance(scribbles, Mapping):
            scribbles = rasterise(scribbles, frame_index, H, W)
        strokes = torch.from_numpy(as_stroke_map(np.asarray(scribbles), self.num_objects, H, W))
        objects = torch.arange(1, self.num_objects + 1).view(-1, 1, 1)
        current = (torch.from_numpy(self._masks[frame_index]) == objects).float()
        positive = strokes == objects
        negative = (strokes != NO_STROKE) & ~positive
        # No stroke is too thin to survive where the networks see less: any of its pixels counts. Then 3×3 dilation.
        drawn = functional.adaptive_max_pool2d(torch.stack([positive, negative], dim=1).float(), self._size)
        drawn = self._padding.pad(functional.max_pool2d(drawn, 3, 1, 1))
        mask_seen = self._reduced(current).round().unsqueeze(1)
        inputs = torch.cat([mask_seen, drawn], dim=1).to(self._device)
        image = self._image(frame_index).expand(self.num_objects, -1, -1, -1)
        logits = self._s2m(torch.cat([image, inputs], dim=1))
        result = aggregate(torch.sigmoid(logits.squeeze(1)), hard=True)
        mask = _labels(self._enlarged(result))
        self._masks[frame_index] = mask
        return mask

    def _carry(self, start: int, step: int, seed: Memory, differences: Tensor) -> None:
        """One pass from the interacted frame towards the next one (or the video's end) in one direction.

        seed: that frame's own memory; differences: [K,2,H,W], what the interaction changed in it.
        """
        limit = self._limit(start, step)
        between = limit in self._given
        frames = range(start + step, limit, step)
        permanent: list[Memory] = []
        temporary: list[Memory] = []  # the previous frame, unless it is permanent
        last_permanent = start
        for t in frames:
            image = self._image(t)
            query = self._query(t, image)
            memory = join([*self._certain, *permanent, *temporary])
            found = aggregate(self._propagation.segment(query, memory, self._top_k)[0])
            if t != frames[-1]:
                memorised = self._propagation.memorize(image, found[1:].unsqueeze(0))
                if abs(t - last_permanent) >= self._mem_every:
                    permanent.append(memorised)
                    temporary = []
                    last_permanent = t
                else:
                    temporary = [memorised]
            if between and self._fusion is not None:
                old = self._probabilities[1:, t].to(self._device)
                attention = self._propagation.attention(query, seed, differences.unsqueeze(0))[0]
                time = torch.tensor([[abs(limit - t), abs(start - t)]], device=self._device) / abs(limit - start)
                found = self._fuse(image, old, found[1:], attention, time)
            self._probabilities[:, t] = found.cpu()

    def _fuse(self, image: Tensor, old: Tensor, new: Tensor, attention: Tensor, time: Tensor) -> Tensor:
        """image: [1,3,H,W]; old, new: [K,H,W]; attention: [K,2,H,W]; time: [1,2] -> [K+1,H,W]."""
        assert self._fusion is not None
        K = self.num_objects
        logits = self._fusion(
            image.expand(K, -1, -1, -1), old.unsqueeze(1), new.unsqueeze(1), attention, time.expand(K, -1)
        )
        return aggregate(torch.sigmoid(logits.squeeze(1)))

    def _limit(self, start: int, step: int) -> int:
        """The nearest interacted frame beyond ``start`` in that direction, or the index past the video's end."""
        beyond = [t for t in self._given if (t - start) * step > 0]
        if not beyond:
            return len(self._frames) if step > 0 else -1
        return min(beyond, key=lambda t: abs(t - start))

    def _image(self, frame_index: int) -> Tensor:
        frame = np.asarray(self._frames[frame_index])
        if frame.shape[:2] != self._size:
            frame = cv2.resize(frame, self._size[::-1], interpolation=cv2.INTER_AREA)
        return self._padding.pad(normalise(frame)).unsqueeze(0).to(self._device)

    def _reduced(self, planes: Tensor) -> Tensor:
        """[C,H,W] as the networks see it: reduced, if they do not see frames in full, and padded."""
        if planes.shape[-2:] != self._size:
            planes = functional.interpolate(planes.unsqueeze(0), self._size, mode="area")[0]
        return self._padding.pad(planes)

    def _enlarged(self, planes: Tensor) -> Tensor:
        """[C,...], as the networks see it, in the size of the frames."""
        planes = self._padding.unpad(planes)
        size = self._masks.shape[1:]
        if planes.shape[-2:] == size:
            return planes
        return functional.interpolate(planes.unsqueeze(0), size, mode="bilinear", align_corners=False)[0]

    def _query(self, frame_index: int, image: Tensor) -> Query:
        """The frame's query, kept while there is room: passes visit frames in order, so evicting would never pay."""
        query = self._queries.get(frame_index)
        if query is None:
            query = self._propagation.query(image)
            size = sum(part.nbytes for part in query)
            if size * (len(self._queries) + 1) <= _QUERY_CACHE_BYTES:
                self._queries[frame_index] = query
        return query

    def _check_frame(self, frame_index: int) -> None:
        if not 0 <= frame_index < len(self._frames):
            raise InputError(f"there is no frame {frame_index}: the video has frames 0..{len(self._frames) - 1}")

    def _as_probabilities(self, mask: np.ndarray) -> Tensor:
        """An index mask [H,W] or probabilities [K+1,H,W] as float32 probabilities [K+1,H,W]."""
        mask = np.asarray(mask)
        K, (H, W) = self.num_objects, self._masks.shape[1:]
        if mask.shape == (H, W) and mask.dtype.kind in "iub":
            if mask.min() < 0 or mask.max() > K:
                raise InputError(f"the mask has the labels {mask.min()}..{mask.max()}, the runner objects 1..{K}")
            index = torch.from_numpy(mask.astype(np.int64))
            return (index == torch.arange(K + 1).view(-1, 1, 1)).float()
        if mask.shape == (K + 1, H, W) and mask.dtype.kind == "f":
            if not (mask.min() >= 0 and mask.max() <= 1):
                raise InputError("the mask's probabilities must lie in 0..1")
            return torch.tensor(mask, dtype=torch.float32)
        raise InputError(
            f"a mask must be whole numbers [{H},{W}] or probabilities [{K + 1},{H},{W}], "
            f"not {mask.dtype} {list(mask.shape)}"
        )


def _labels(probabilities: Tensor) -> np.ndarray:
    """The most probable channel of each pixel, uint8 [H,W]; ``max``, because ``argmax`` is slow on a CPU."""
    return probabilities.max(dim=0).indices.to("cpu", torch.uint8).numpy()


def _check_settings(
    frames: np.ndarray, num_objects: int, top_k: int | str | None, mem_every: int, short_side: int | None
) -> None:
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise InputError(f"frames must be uint8 [T,H,W,3] with T ≥ 1, not {frames.dtype} {list(frames.shape)}")
    if not 1 <= num_objects <= 255:
        raise InputError(f"num_objects must be 1..255, not {num_objects}")
    if isinstance(top_k, int) and top_k < 1:
        raise InputError(f"top_k must be at least 1 (or None for a dense read), not {top_k}")
    if mem_every < 1:
        raise InputError(f"mem_every must be at least 1, not {mem_every}")
    if short_side is not None and short_side < 16:
        raise InputError(f"short_side must be at least 16, not {short_side}")


def _check_modes(networks: Mapping[str, nn.Module | None]) -> None:
    for name, network in networks.items():
        if network is not None and network.training:
            raise ValueError(f"the {name} network is in training mode; call its eval() first")
