"""The interactive runner: segments a whole video from user input on some frames.

MiVOS's inference core (Cheng et al., CVPR 2021): annotated frames stay in memory permanently. Each interaction is
propagated forwards and backwards to the next annotated frame and fused with earlier results.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from mivos_models.networks.aggregate import aggregate
from mivos_models.networks.fusion import Fusion, difference_maps
from mivos_models.networks.images import NetworkView
from mivos_models.networks.memory import MEMORY_FRAMES, Bank, Memory, check_memory_frames
from mivos_models.networks.s2m import S2M, corrected, merged
from mivos_models.networks.spacetime import Query, SpaceTimeNetwork
from mivos_models.runner.fast import Precision, check_precision, optimized
from mivos_models.runner.frames import Frames, check_frames
from mivos_models.runner.queries import Queries
from mivos_models.runner.scribbles import disk, object_strokes
from mivos_models.runner.sessions import Session, fingerprint
from mivos_models.runner.spill import Masks, Probabilities, with_channels
from mivos_models.runner.state import History, Remembered, State
from vosforge import InputError
from vosforge.terms import MAX_OBJECTS

OnProgress = Callable[[int, int], None]
"""Called with frames done and total frames. Raising here cancels the interaction; the state is unchanged."""

_SEAM = 3
"""Width in pixels of a refined box's unchanged border, where the networks lack context."""


class InteractiveRunner:
    """Segments ``num_objects`` objects of one video, round by round.

    ``frames``: [T,H,W,3] uint8 RGB: an array, a memory map, or `Frames` decoded when read. ``propagation``, ``s2m``,
    ``fusion``: networks from ``load_network``, all on one device, which the runner uses. Scribbles need ``s2m``;
    without ``fusion`` a new round replaces the earlier result. ``top_k``: memory cells per read ("published": as in the
    published network; None: all). Every ``mem_every``-th frame of a pass stays in its memory. ``memory_frames``: the
    maximum of frames in memory; annotated frames and the latest stay, those in between are thinned evenly (`Bank`). If
    annotated frames alone exceed the maximum, they all stay. ``short_side``: maximum short side of the networks'
    input; larger frames are downscaled (None: no limit), while masks and scribbles keep the frames' size.
    ``precision``: "full", or "reduced" for faster, slightly different results (docs/networks.md). ``attention``: False
    hides from fusion what an interaction changed, for ablations; a saved session does not store it.

    Raises InputError for invalid frames or settings, ValueError for a network in training mode.
    """

    def __init__(
        self,
        propagation: SpaceTimeNetwork,
        frames: Frames,
        num_objects: int,
        *,
        s2m: S2M | None = None,
        fusion: Fusion | None = None,
        top_k: int | Literal["published"] | None = "published",
        mem_every: int = 5,
        memory_frames: int = MEMORY_FRAMES,
        short_side: int | None = None,
        precision: Precision = "full",
        attention: bool = True,
    ):
        _check_settings(frames, num_objects, top_k, mem_every, short_side)
        check_memory_frames(memory_frames)
        check_precision(precision)
        _check_modes({"propagation": propagation, "s2m": s2m, "fusion": fusion})
        self._given_network, self._propagation = propagation, optimized(propagation, precision)
        self._s2m = s2m
        self._fusion = None if fusion is None else optimized(fusion, precision)
        self._frames = frames
        self._top_k = propagation.published_top_k if top_k == "published" else top_k
        self._mem_every, self._memory_frames = mem_every, memory_frames
        self._short_side, self._precision = short_side, precision
        self._attention = attention
        self._device = next(propagation.parameters()).device

        T, H, W = frames.shape[:3]
        self._view = NetworkView(H, W, short_side)
        probabilities = Probabilities(num_objects + 1, self._view.padded_size)
        self._now = State(probabilities, Masks(T, H, W), {}, [], set())
        self._history = History(self._now)
        self._queries = Queries()

    @property
    def num_objects(self) -> int:
        """K, the number of objects."""
        return self._now.probabilities.channels - 1

    @property
    def masks(self) -> np.ndarray:
        """The masks of all frames, uint8 [T,H,W], 0 = background: a copy, above 128 MiB in a memory-mapped file."""
        return Masks.of(self._now.masks).array()

    def mask(self, frame_index: int) -> np.ndarray:
        """One frame's mask, uint8 [H,W] (a copy)."""
        self._check_frame(frame_index)
        return self._now.masks[frame_index]

    def probabilities(self, frame_index: int) -> np.ndarray:
        """Probabilities of background and objects in one frame, last propagated or given, float32 [K+1,H,W]."""
        self._check_frame(frame_index)
        return self._view.enlarged(self._now.probabilities[frame_index]).numpy().copy()

    def set_mask(self, frame_index: int, mask: np.ndarray) -> None:
        """Replace only one frame's mask (as in :meth:`interact`), until the next interaction."""
        self._check_frame(frame_index)
        self._replace_mask(frame_index, _labels(self._as_probabilities(mask)))

    @torch.inference_mode()
    def interact(self, frame_index: int, mask: np.ndarray, *, progress: OnProgress | None = None) -> np.ndarray:
        """Accept ``mask`` for one frame, propagate it through the video, and return all masks, uint8 [T,H,W].

        ``mask``: index mask [H,W] (whole numbers, 0 = background, j = object j), or probabilities [K+1,H,W].
        ``progress``: see `OnProgress`.
        """
        self._check_frame(frame_index)
        full_size, now = self._as_probabilities(mask), self._now
        given = self._view.reduced(full_size)
        differences = difference_maps(given[1:], now.probabilities[frame_index][1:]).to(self._device)
        frames = [range(frame_index + step, self._limit(frame_index, step), step) for step in (1, -1)]
        tell = _counting(progress, sum(map(len, frames)))
        with self._history.step():
            now.probabilities[frame_index] = given
            masks = given[1:].unsqueeze(0).to(self._device)
            seed = self._propagation.memorize(self._image(frame_index), masks, self._queries.get(frame_index))
            now.given[frame_index] = _labels(full_size)
            now.replaced.add(frame_index)
            now.certain.append(Remembered(frame_index, given[1:].clone(), seed))
            for step in (1, -1):
                self._carry(frame_index, step, seed, differences, tell)
            for t in now.replaced:
                self._follow(t)
            now.replaced.clear()
        return self.masks

    def scribble(self, frame_index: int, scribbles: np.ndarray | Mapping[str, Any]) -> np.ndarray:
        """Correct the frame's mask with S2M from strokes, and return it, uint8 [H,W].

        ``scribbles``: a stroke map of whole numbers [H,W] (-1, or 255 if unsigned, = no stroke, 0 = background,
        j = object j); positive and negative strokes of each object, [K,2,H,W]; or a DAVIS scribble dictionary with
        strokes on that frame. To propagate the mask, pass it to :meth:`interact`.
        """
        strokes = self._strokes(frame_index, scribbles)
        mask = self._corrected(np.asarray(self._frames[frame_index]), self._now.masks[frame_index], strokes, self._view)
        self._replace_mask(frame_index, mask)
        return mask

    def click(self, frame_index: int, x: int, y: int, object_id: int, *, radius: int = 5) -> np.ndarray:
        """Correct the frame's mask with S2M from one click, and return it, uint8 [H,W].

        The click marks object ``object_id`` (0: background) at column ``x`` and row ``y``. S2M is trained on strokes,
        so it becomes a filled circle of ``radius`` pixels.
        """
        return self.scribble(frame_index, disk(x, y, radius, object_id, *self._view.full))

    def refine(
        self, frame_index: int, box: tuple[int, int, int, int], scribbles: np.ndarray | Mapping[str, Any]
    ) -> np.ndarray:
        """Correct the frame's mask with S2M inside ``box`` only, and return it, uint8 [H,W].

        ``box``: left, top, right, bottom in pixels, the last two exclusive. S2M processes the box as an image of its
        own. ``scribbles`` as in :meth:`scribble`, for the whole frame. In boxes larger than 6 pixels, a border of 3
        pixels stays unchanged. Raises InputError for a box outside the frame or without a stroke.
        """
        H, W = self._view.full
        left, top, right, bottom = box
        if not (0 <= left < right <= W and 0 <= top < bottom <= H):
            raise InputError(f"the box {tuple(box)} is not left, top, right, bottom inside a frame of {W}×{H} pixels")
        inside = np.s_[top:bottom, left:right]
        strokes = self._strokes(frame_index, scribbles)[..., top:bottom, left:right]
        if not strokes.any():
            raise InputError(f"no stroke lies in the box {tuple(box)}: draw one in it, or choose another box")
        mask = self._now.masks[frame_index]
        found = self._corrected(
            np.asarray(self._frames[frame_index])[inside],
            mask[inside],
            strokes,
            NetworkView(bottom - top, right - left),
        )
        rows, columns = (_SEAM if side > 2 * _SEAM else 0 for side in found.shape)
        kept = np.s_[rows : found.shape[0] - rows, columns : found.shape[1] - columns]
        mask[inside][kept] = found[kept]
        self._replace_mask(frame_index, mask)
        return mask

    @torch.inference_mode()
    def add_object(self) -> int:
        """Add an object that no frame shows yet; returns its number.

        Earlier annotated frames count as frames without it.
        """
        if self.num_objects == MAX_OBJECTS:
            raise InputError(f"8-bit masks hold at most {MAX_OBJECTS} objects")
        now = self._now
        with self._history.step():
            now.probabilities.channels += 1
            for place, known in enumerate(now.certain):
                given = with_channels(known.given, self.num_objects)
                masks, query = given.unsqueeze(0).to(self._device), self._queries.get(known.frame)
                memory = self._propagation.memorize(self._image(known.frame), masks, query)
                now.certain[place] = Remembered(known.frame, given, memory)
        return self.num_objects

    def undo(self) -> bool:
        """Undo the last interaction, mask or added object exactly; False if there is none.

        At least the last step is kept, and up to 50 within 8 GiB of disk.
        """
        return self._history.undo()

    def redo(self) -> bool:
        """Redo the last undone step; False if there is none or a new step followed."""
        return self._history.redo()

    def save(self, path: Path | str) -> None:
        """Save the session to a file from which :meth:`load` resumes exactly.

        The file excludes networks, frames and undo history.
        """
        session = Session(
            self._now,
            fingerprint(self._given_network),
            self._top_k,
            self._mem_every,
            self._memory_frames,
            self._short_side,
            self._precision,
        )
        session.save(Path(path), self._frames)

    @classmethod
    def load(
        cls,
        path: Path | str,
        propagation: SpaceTimeNetwork,
        frames: Frames,
        *,
        s2m: S2M | None = None,
        fusion: Fusion | None = None,
    ) -> Self:
        """Resume a session that :meth:`save` wrote.

        Raises InputError for an invalid file, other frames or another propagation network.
        """
        session = Session.load(Path(path), frames, fingerprint(propagation))
        runner = cls(
            propagation,
            frames,
            session.state.probabilities.channels - 1,
            s2m=s2m,
            fusion=fusion,
            top_k=session.top_k,
            mem_every=session.mem_every,
            memory_frames=session.memory_frames,
            short_side=session.short_side,
            precision=session.precision,
        )
        device = runner._device
        for known in session.state.certain:
            known.memory = Memory(*(part.to(device) for part in known.memory))
        runner._now = session.state
        runner._history = History(runner._now)
        return runner

    def _replace_mask(self, frame_index: int, mask: np.ndarray) -> None:
        with self._history.step():
            self._history.replace_mask(frame_index, mask)
            self._now.replaced.add(frame_index)

    def _follow(self, frame_index: int) -> None:
        """Set the frame's mask to the user's, or to the labels of its probabilities."""
        given = self._now.given.get(frame_index)
        found = _labels(self._view.enlarged(self._now.probabilities[frame_index])) if given is None else given
        self._history.replace_mask(frame_index, found)

    def _strokes(self, frame_index: int, scribbles: np.ndarray | Mapping[str, Any]) -> np.ndarray:
        """Positive and negative strokes of each object on the frame, bool [K,2,H,W]."""
        if self._s2m is None:
            raise InputError("scribbles need an S2M network: pass one to the runner (s2m=...)")
        self._check_frame(frame_index)
        return object_strokes(scribbles, frame_index, self.num_objects, *self._view.full)

    def _corrected(self, frame: np.ndarray, mask: np.ndarray, strokes: np.ndarray, view: NetworkView) -> np.ndarray:
        assert self._s2m is not None
        found = _labels(corrected(self._s2m, frame, mask, strokes, view, self._device))
        return merged(mask, found, strokes) if self._s2m.keeps_the_rest else found

    def _carry(self, start: int, step: int, seed: Memory, differences: Tensor, tell: Callable[[], None]) -> None:
        """One pass from the interacted frame towards the next one (or the video's end) in one direction.

        seed: that frame's memory; differences: [K,2,h,w], its difference maps; tell: called after each frame.
        """
        now = self._now
        limit = self._limit(start, step)
        between = limit in now.given
        frames = range(start + step, limit, step)
        given = len(now.certain)
        bank = Bank(seed, Bank.space(self._memory_frames, given, len(frames) // self._mem_every + 1))
        for known in now.certain:
            bank.add(known.memory, known.frame, given=True)
        last_permanent = start
        for t in frames:
            image = self._image(t)
            query = self._query(t, image)
            found = aggregate(self._propagation.segment(query, bank.memory, self._top_k)[0])
            stays = abs(t - last_permanent) >= self._mem_every
            if t != frames[-1] and (stays or self._propagation.keeps_previous):
                bank.add(self._propagation.memorize(image, found[1:].unsqueeze(0), query), t, for_good=stays)
                last_permanent = t if stays else last_permanent
            if between and self._fusion is not None:
                old = now.probabilities[t][1:].to(self._device)
                attention = torch.zeros_like(differences)
                if self._attention:
                    attention = self._propagation.attention(query, seed, differences.unsqueeze(0))[0]
                time = torch.tensor([[abs(limit - t), abs(start - t)]], device=self._device) / abs(limit - start)
                found = self._fuse(image, old, found[1:], attention, time)
            now.probabilities[t] = found.cpu()
            self._follow(t)
            now.replaced.discard(t)
            tell()

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
        beyond = [t for t in self._now.given if (t - start) * step > 0]
        if not beyond:
            return len(self._frames) if step > 0 else -1
        return min(beyond, key=lambda t: abs(t - start))

    def _image(self, frame_index: int) -> Tensor:
        return self._view.image(np.asarray(self._frames[frame_index])).to(self._device)

    def _query(self, frame_index: int, image: Tensor) -> Query:
        query = self._queries.get(frame_index)
        if query is None:
            query = self._propagation.query(image)
            self._queries.keep(frame_index, query)
        return query

    def _check_frame(self, frame_index: int) -> None:
        if not 0 <= frame_index < len(self._frames):
            raise InputError(f"there is no frame {frame_index}: the video has frames 0..{len(self._frames) - 1}")

    def _as_probabilities(self, mask: np.ndarray) -> Tensor:
        """An index mask [H,W] or probabilities [K+1,H,W] as float32 probabilities [K+1,H,W]."""
        mask = np.asarray(mask)
        K, (H, W) = self.num_objects, self._view.full
        if mask.shape == (H, W) and mask.dtype.kind in "iub":
            if mask.min() < 0 or mask.max() > K:
                raise InputError(
                    f"the mask has the labels {mask.min()}..{mask.max()}, but the runner has objects 1..{K}"
                )
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


def _counting(progress: OnProgress | None, total: int) -> Callable[[], None]:
    """A function that reports one more frame to ``progress`` per call."""
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return tell


def _check_settings(
    frames: Frames, num_objects: int, top_k: int | str | None, mem_every: int, short_side: int | None
) -> None:
    check_frames(frames)
    if not 1 <= num_objects <= MAX_OBJECTS:
        raise InputError(f"num_objects must be 1..{MAX_OBJECTS}, not {num_objects}")
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
