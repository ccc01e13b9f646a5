"""Reading shards: random access to any frame of any video, in any process.

Metadata is checked against the file before use: damaged and foreign files give one sentence, never a crash, and never
take more memory than one frame.
"""

import json
import math
import os
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection
from functools import cached_property
from typing import Any, NamedTuple

import h5py
import hdf5plugin  # noqa: F401  (registers the mask codec with HDF5)
import numpy as np

from vosforge.errors import InputError, VOSForgeError, first_line
from vosforge.remote import Place
from vosforge.trouble import unread
from vosforge.videos.cache import local_copy
from vosforge.videos.codec import MAX_PIXELS, Region, decode, decode_region
from vosforge.videos.format import (
    FORMAT,
    FORMAT_VERSION,
    VideoRow,
    attributes_checksum,
    checksum,
    checksum_of_parts,
    cuts_of,
)
from vosforge.videos.passes import PASSES, Tracks, held_against, unpacked
from vosforge.videos.texts import read_text

MAX_OPEN = 256
"""Maximum number of open videos per process; the oldest is closed for the next."""
MAX_FRAME_BYTES = 2**31
"""Of one frame of any data set."""
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError)
"""Errors of h5py for damaged files."""


class Colors(NamedTuple):
    """A video's encoded frames, opened, with their offsets."""

    data: h5py.Dataset
    handle: int
    begin: int
    offsets: np.ndarray


class Opened(NamedTuple):
    """A video's data sets, opened in one process; ``colors`` is None where there are none."""

    process: int
    group: h5py.Group
    colors: Colors | None
    mask: h5py.Dataset


_recent: "OrderedDict[int, weakref.ref[ShardVideo]]" = OrderedDict()


def open_shard(path: Place) -> h5py.File:
    """An open shard. Raises InputError if it is not a shard, truncated, or of another version."""
    copy = local_copy(path)
    try:
        # A chunk is a frame: nothing is read twice. A sealed shard is only ever replaced whole: it needs no lock.
        file = h5py.File(copy, "r", rdcc_nbytes=0, locking=False)
        kind = read_text(file.attrs, "format", "")
        version = file.attrs["version"] if kind == FORMAT and file.attrs.get_id("version").dtype.kind in "iu" else None
    except FileNotFoundError:
        raise InputError(f"there is no shard {path}") from None
    except DAMAGE as error:
        damaged = InputError(f"{path} is not a whole HDF5 file ({first_line(error)}): render it again")
        if not path.name.endswith(".h5"):
            damaged = InputError(f"{path} is not a shard: name a data set's folder, or a shard (.h5) in it")
        raise unread(path, error, damaged) from None
    if kind != FORMAT:
        file.close()
        raise InputError(f"{path} is an HDF5 file, but not a VOSForge shard")
    if version is None or not np.array_equal(version, FORMAT_VERSION):
        file.close()
        raise InputError(f"{path} has shard format {version}; this VOSForge reads {FORMAT_VERSION}: use a matching one")
    return file


def shard_rows(path: Place) -> list[VideoRow]:
    """The rows of one shard's videos, quarantined ones included, in order of their ids.

    Raises InputError when the shard is damaged.
    """
    with open_shard(path) as file:
        try:
            rows = [
                VideoRow(shard=path.name, **json.loads(read_text(group.attrs, "row")))
                for group in file.get("videos", {}).values()
            ]
            missing = json.loads(read_text(file.attrs, "quarantined", "{}"))
            rows += [
                VideoRow(id=video_id, state="quarantined", reason=reason, shard=path.name)
                for video_id, reason in missing.items()
            ]
        except DAMAGE as error:
            damaged = InputError(f"{path} is damaged ({first_line(error)}): render it again")
            raise unread(path, error, damaged) from None
    return sorted(rows, key=lambda row: row.id)


def _baked(opened: "Opened") -> dict[str, np.ndarray]:
    names = list(opened.group["baked"]) if "baked" in opened.group else []
    return {name: own_dataset(opened.group, f"baked/{name}")[()] for name in names}


class ShardVideo:
    """One video of a shard. Opened lazily in each process, so it may be pickled and forked."""

    has_masks = True

    def __init__(self, path: Place, row: VideoRow) -> None:
        """The video of ``row`` in the shard at ``path``; opens nothing yet."""
        self.path, self.row = path, row
        self.id, self.num_frames = row.id, row.num_frames
        self.height, self.width, self.num_objects = row.height, row.width, row.num_objects
        self.has_colors = row.colors
        self._opened: Opened | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    @property
    def group(self) -> h5py.Group:
        """The video's HDF5 group, opened in this process."""
        return self._open().group

    @property
    def spec_json(self) -> str | None:
        """The SceneSpec the video was rendered from; None for an imported video."""
        return None if (text := self._text("spec", "")) == "" else text

    @cached_property
    def cuts(self) -> tuple[int, ...]:
        """The first frames of all shots but the first, where the video cuts to another camera; none if imported."""
        try:
            return cuts_of(json.loads(self.spec_json or "{}"), self.num_frames)
        except DAMAGE as error:
            raise self._damaged("'spec'", error) from None

    @property
    def baked(self) -> dict[str, np.ndarray]:
        """The arrays that the spec names by content hash: what was simulated. To render the spec again, put them into
        an asset store (`AssetStore.put_array`).
        """
        found: dict[str, np.ndarray] = self._told("'baked'", _baked)
        return found

    @property
    def attributes(self) -> dict[str, Any]:
        """Seed, attempt, renderer, versions and credits, or what an imported video came from."""
        try:
            attributes: dict[str, Any] = json.loads(self._text("attributes", "{}"))
        except ValueError as error:
            raise self._damaged("metadata", error) from None
        return attributes

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects' labels, ascending; for imported videos, whose labels may have gaps, the visible ones."""
        if self.spec_json is not None:
            return tuple(range(1, self.num_objects + 1))
        seen: tuple[int, ...] = self._told("'objects/visible_area'", self._seen)
        return seen

    def _seen(self, opened: Opened) -> tuple[int, ...]:
        """The labels of objects visible in any frame."""
        area = own_dataset(opened.group, "objects/visible_area")
        if area.shape != (self.num_frames, self.num_objects):
            raise ValueError(f"its shape is {area.shape}")
        return tuple((np.flatnonzero(area[()].any(axis=0)) + 1).tolist())

    @property
    def encoding(self) -> str:
        """How the frames are encoded: jpeg, png or webp. Raises InputError without colours."""
        colors = self._colors()
        return self._told("encoding", lambda opened: read_text(colors.data.attrs, "encoding"))

    @property
    def void(self) -> int | None:
        """The void mask value, if any."""
        value = self._told("void value", lambda opened: opened.mask.attrs.get("void"))
        if value is not None and (np.shape(value) != () or not isinstance(value, np.integer)):
            raise self._damaged("void value", ValueError(f"it is {value}"))
        return None if value is None else int(value)

    def encoded(self, t: int) -> bytes:
        """Frame ``t`` as it is stored. Raises VOSForgeError when it cannot be read, or there are no colours."""
        colors = self._colors()
        start, end = colors.offsets[t : t + 2].tolist()
        try:
            data = os.pread(colors.handle, end - start, colors.begin + start)  # HDF5 takes ten times as long
        except OSError as error:
            raise self._damaged(f"frame {t}", error) from None
        if len(data) != end - start:
            raise self._damaged(f"frame {t}", OSError("the file is truncated"))
        return data

    def frame(self, t: int, region: Region | None = None) -> np.ndarray:
        """Frame ``t``, or a region of it: uint8 ``[H, W, 3]`` RGB.

        Raises VOSForgeError when it cannot be read, or there are no colours.
        """
        data, size = self.encoded(t), (self.height, self.width)
        try:
            return decode(data, size) if region is None else decode_region(data, size, region)
        except ValueError as error:
            raise self._damaged(f"frame {t}", error) from None

    def mask(self, t: int) -> np.ndarray:
        """The mask of frame ``t``: uint8 ``[H, W]``, instance id, 0 background."""
        try:
            mask: np.ndarray = self._open().mask[t]
        except DAMAGE as error:
            raise self._damaged(f"the mask of frame {t}", error) from None
        return mask

    @property
    def passes(self) -> tuple[str, ...]:
        """The video's passes: depth, flow, normal, amodal, tracks."""
        return self.row.passes

    def depth(self, t: int) -> np.ndarray:
        """Depth along the camera's axis: float16 ``[H, W]`` metres, inf where nothing is."""
        return self._pass_frame("depth", t)

    def flow(self, t: int, backward: bool = False) -> np.ndarray:
        """Optical flow to the next frame, or ``backward`` to the previous one.

        float16 ``[H, W, 2]`` pixels; NaN where there is no such frame in the shot, or nothing before the camera in it.
        """
        return self._pass_frame("flow_bwd" if backward else "flow_fwd", t)

    def normal(self, t: int) -> np.ndarray:
        """Surface normals in camera axes: int8 ``[H, W, 3]``, length 127, 0 where nothing is."""
        return self._pass_frame("normal", t)

    def amodal(self, t: int) -> np.ndarray:
        """Amodal masks, each object as if alone: bool ``[K, H, W]``."""
        return unpacked(self._pass_frame("amodal", t), self.width)

    def visibility(self) -> np.ndarray:
        """The visible share of each object's amodal mask: float32 ``[T, K]``, NaN outside the frame."""
        return self._pass_table("objects/visibility")

    def tracks(self) -> Tracks:
        """Points on the objects' surfaces, followed through the video."""
        points, occluded, on = (self._pass_table(name) for name in PASSES["tracks"])
        if not points.shape[1] == occluded.shape[1] == len(on):
            raise self._damaged("'tracks'", ValueError("its parts have different numbers of points"))
        return Tracks(points, occluded, on)

    def frames(self) -> np.ndarray:
        """All frames: uint8 ``[T, H, W, 3]`` RGB."""
        return np.stack([self.frame(t) for t in range(self.num_frames)])

    def masks(self) -> np.ndarray:
        """All masks: uint8 ``[T, H, W]``."""
        return np.stack([self.mask(t) for t in range(self.num_frames)])

    def verify(self, names: Collection[str] | None = None) -> None:
        """Compare everything (or the data sets ``names``) with its checksum.

        Raises VOSForgeError that names the first that differs.
        """
        group = self.group
        sums: dict[str, str] = {}

        def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset) and (names is None or name in names):
                sums[name] = _checksum(own_dataset(group, name))

        try:
            if attributes_checksum(group.attrs) != read_text(group.attrs, "checksum"):
                raise VOSForgeError(f"the record of video {self.id} in {self.path} is damaged: render it again")
            group.visititems(add)
            stated = {name: read_text(group[name].attrs, "checksum") for name in sums}
        except DAMAGE as error:
            raise self._damaged("something", error) from None
        for name, found in sums.items():
            if found != stated[name]:
                raise VOSForgeError(f"'{name}' of video {self.id} in {self.path} is damaged: render it again")

    def _pass_frame(self, name: str, t: int) -> np.ndarray:
        """Frame ``t`` of a pass's data set."""
        frame: np.ndarray = self._told(f"'{name}' of frame {t}", lambda opened: self._of_pass(opened, name)[t])
        return frame

    def _pass_table(self, name: str) -> np.ndarray:
        table: np.ndarray = self._told(f"'{name}'", lambda opened: self._of_pass(opened, name)[()])
        return table

    def _of_pass(self, opened: Opened, name: str) -> h5py.Dataset:
        owner = next(each for each, datasets in PASSES.items() if name in datasets)
        if name not in opened.group:
            raise InputError(f"video {self.id} in {self.path} has no {owner}: render it with render.passes=[{owner}]")
        return held_against(name, own_dataset(opened.group, name), self.row)

    def _colors(self) -> Colors:
        colors = self._open().colors
        if colors is None:
            raise InputError(
                f"video {self.id} in {self.path} has masks but no colours: render it with render.colors=true"
            )
        return colors

    def _open(self) -> Opened:
        # HDF5 handles do not survive a fork.
        if self._opened is None or self._opened.process != os.getpid():
            self._opened = _open_video(self.path, self.row)
            _recent[id(self)] = weakref.ref(self)
            _recent.move_to_end(id(self))
            while len(_recent) > MAX_OPEN:
                _, oldest = _recent.popitem(last=False)
                if (video := oldest()) is not None:
                    video._opened = None
        return self._opened

    def _text(self, name: str, default: str) -> str:
        return self._told("metadata", lambda opened: read_text(opened.group.attrs, name, default))

    def _told(self, what: str, read: Callable[[Opened], Any]) -> Any:
        """The result of ``read``; raises a VOSForgeError naming ``what`` if it fails."""
        opened = self._open()
        try:
            return read(opened)
        except DAMAGE as error:
            raise self._damaged(what, error) from None

    def _damaged(self, what: str, error: Exception) -> VOSForgeError:
        thing = f"{what} of video {self.id} in {self.path}"
        return unread(thing, error, VOSForgeError(f"{thing} cannot be read ({first_line(error)}): render it again"))


def _open_video(path: Place, row: VideoRow) -> Opened:
    """Open a video and check its data sets against its row and the file."""
    file = open_shard(path)
    T, H, W = row.num_frames, row.height, row.width
    try:
        if f"videos/{row.id}" not in file:
            raise VOSForgeError(f"{path} has no video {row.id}: rebuild the manifest")
        group = file[f"videos/{row.id}"]
        mask = own_dataset(group, "mask")
        if mask.dtype != np.uint8 or mask.shape != (T, H, W):
            raise ValueError(f"'{mask.name}' does not match its row")
        if mask.chunks != (1, H, W) or H * W > MAX_PIXELS:
            raise ValueError(f"the masks are stored in chunks of {mask.chunks}")
        if not row.colors and "rgb" in group:
            raise ValueError("it has colours, but its row says it has none")
        colors = _open_colors(file, group, T) if row.colors else None
    except DAMAGE as error:
        damaged = VOSForgeError(f"video {row.id} in {path} is damaged ({first_line(error)}): render it again")
        raise unread(path, error, damaged) from None
    return Opened(os.getpid(), group, colors, mask)


def _open_colors(file: h5py.File, group: h5py.Group, T: int) -> Colors:
    data, offsets = (own_dataset(group, f"rgb/{name}") for name in ("data", "offsets"))
    for dataset, kind, shape in ((data, np.uint8, data.shape), (offsets, np.int64, (T + 1,))):
        if dataset.dtype != kind or dataset.shape != shape:
            raise ValueError(f"'{dataset.name}' does not match its row")
    handle, begin = file.id.get_vfd_handle(), data.id.get_offset() or 0
    size = os.fstat(handle).st_size
    for dataset in (data, offsets):  # as large in the file as in memory: nothing small becomes huge
        if dataset.chunks is not None or dataset.nbytes > min(dataset.id.get_storage_size(), size):
            raise ValueError(f"'{dataset.name}' is larger than its file")
    ends = offsets[()]
    if ends[0] != 0 or (np.diff(ends) < 0).any() or ends[-1] != len(data):
        raise ValueError("the frame offsets are inconsistent")
    return Colors(data, handle, begin, ends)


def own_dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """A data set stored in this file: HDF5 may link to any other file on the machine."""
    parent, _, last = name.rpartition("/")
    folder = group[parent] if parent else group
    if not isinstance(folder.get(last, getlink=True), h5py.HardLink):
        raise ValueError(f"'{name}' is a link")
    dataset = folder[last]
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise ValueError(f"'{name}' is not a plain data set")
    return dataset


def _checksum(dataset: h5py.Dataset) -> str:
    """The checksum of a data set, read frame by frame if stored so."""
    if dataset.dtype.hasobject:
        raise ValueError(f"'{dataset.name}' holds values of variable length")
    if dataset.chunks is None:
        if dataset.nbytes > dataset.id.get_storage_size():
            raise ValueError(f"'{dataset.name}' is larger than its file")
        return checksum(dataset[()])
    whole = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    if dataset.id.get_num_chunks() != whole:
        raise ValueError(f"'{dataset.name}' has {dataset.id.get_num_chunks()} of its {whole} chunks")
    if dataset.nbytes > MAX_FRAME_BYTES * len(dataset):
        raise ValueError(f"a frame of '{dataset.name}' has {dataset.nbytes // len(dataset)} bytes")
    return checksum_of_parts(dataset[t] for t in range(len(dataset)))
