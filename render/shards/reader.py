"""Reading shards: any frame of any video, in any process, without touching its neighbours."""

import json
import os
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (registers the mask codec with HDF5)
import numpy as np

from render.shards.codec import decode
from render.shards.format import FORMAT, FORMAT_VERSION, VideoRow, checksum
from vosforge.errors import InputError, VOSForgeError


def open_shard(path: Path) -> h5py.File:
    """An opened shard. Raises InputError for what is not one, is cut short, or is of another version."""
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise InputError(f"there is no shard {path}") from None
    except OSError as error:
        raise InputError(f"{path} is not a whole HDF5 file ({_first_sentence(error)}): render it again") from None
    if file.attrs.get("format") != FORMAT:
        file.close()
        raise InputError(f"{path} is an HDF5 file, but no VOSForge shard")
    version = file.attrs.get("version")
    if version != FORMAT_VERSION:
        file.close()
        raise InputError(f"{path} has shard format {version}; this VOSForge reads {FORMAT_VERSION}: use a matching one")
    return file


def shard_rows(path: Path) -> list[VideoRow]:
    """The rows of one shard's videos, quarantined ones included, in order of their ids."""
    with open_shard(path) as file:
        rows = [
            VideoRow(shard=path.name, **json.loads(group.attrs["row"])) for group in file.get("videos", {}).values()
        ]
        missing = json.loads(file.attrs.get("quarantined", "{}"))
    rows += [
        VideoRow(id=video_id, state="quarantined", reason=reason, shard=path.name)
        for video_id, reason in missing.items()
    ]
    return sorted(rows, key=lambda row: row.id)


class ShardVideo:
    """One video of a shard. Opened lazily in each process, so it may be pickled and forked."""

    has_masks = True

    def __init__(self, path: Path, row: VideoRow) -> None:
        """The video of ``row`` in the shard at ``path``; nothing is opened yet."""
        self.path, self.row = path, row
        self.id, self.num_frames = row.id, row.num_frames
        self.height, self.width, self.num_objects = row.height, row.width, row.num_objects
        self.object_ids = tuple(range(1, row.num_objects + 1))
        self._opened: tuple[int, h5py.Group] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    @property
    def group(self) -> h5py.Group:
        """The video's HDF5 group, opened in this process."""
        # HDF5 handles do not survive a fork.
        if self._opened is None or self._opened[0] != os.getpid():
            file = open_shard(self.path)
            if f"videos/{self.id}" not in file:
                raise VOSForgeError(f"{self.path} has no video {self.id}: rebuild the manifest")
            self._opened = os.getpid(), file[f"videos/{self.id}"]
        return self._opened[1]

    @property
    def spec_json(self) -> str:
        """The SceneSpec the video was rendered from."""
        return str(self.group.attrs["spec"])

    @property
    def attributes(self) -> dict[str, Any]:
        """Seed, attempt, renderer, versions and credits."""
        attributes: dict[str, Any] = json.loads(self.group.attrs["attributes"])
        return attributes

    def frame(self, t: int) -> np.ndarray:
        """Frame ``t``: uint8 ``[H, W, 3]`` RGB. Raises VOSForgeError when it cannot be read."""
        try:
            start, end = self.group["rgb/offsets"][t : t + 2]
            data = self.group["rgb/data"][start:end]
        except (OSError, KeyError, ValueError) as error:
            raise self._damaged(f"frame {t}", error) from None
        return decode(data, f"frame {t} of video {self.id} in {self.path}")

    def mask(self, t: int) -> np.ndarray:
        """The mask of frame ``t``: uint8 ``[H, W]``, instance id, 0 background."""
        try:
            mask: np.ndarray = self.group["mask"][t]
        except (OSError, KeyError, ValueError) as error:
            raise self._damaged(f"the mask of frame {t}", error) from None
        return mask

    def frames(self) -> np.ndarray:
        """All frames: uint8 ``[T, H, W, 3]`` RGB."""
        return np.stack([self.frame(t) for t in range(self.num_frames)])

    def masks(self) -> np.ndarray:
        """All masks: uint8 ``[T, H, W]``."""
        return np.stack([self.mask(t) for t in range(self.num_frames)])

    def verify(self) -> None:
        """Compare every data set with its checksum. Raises VOSForgeError that names the first that differs."""

        def check(name: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset) and "checksum" in item.attrs:
                try:
                    same = checksum(item[()]) == item.attrs["checksum"]
                except OSError as error:
                    raise self._damaged(name, error) from None
                if not same:
                    raise VOSForgeError(f"'{name}' of video {self.id} in {self.path} is damaged: render it again")

        self.group.visititems(check)

    def _damaged(self, what: str, error: Exception) -> VOSForgeError:
        return VOSForgeError(
            f"{what} of video {self.id} in {self.path} cannot be read ({_first_sentence(error)}): render it again"
        )


def _first_sentence(error: Exception) -> str:
    return str(error).split("\n")[0].strip(" '\"")
