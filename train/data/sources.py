"""What a network is trained on: a weighted mix of data sets, opened lazily.

Which video item i of a run uses depends on the seed and i only. Within a source, videos follow seeded permutations:
each is used once before any repeats. Nothing of a video is read before it is needed.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from pydantic import ValidationError

from train.data.remote_trees import RemoteVideos, find_remote_videos
from train.data.trees import AnnotatedVideo, LazyVideos, Stills, TreeVideos, find_stills, find_videos, video_id
from train.evaluation.truth import listed_videos
from vosforge import InputError
from vosforge.config import Amount, Record, Share, explain
from vosforge.remote import RemotePath, place
from vosforge.seeding import rng_for
from vosforge.videos import Place, ShardSet, ShardVideo
from vosforge.videos.folders import FRAMES, MASKS, OTHER_FRAMES, open_folder
from vosforge.videos.manifest import has_manifest
from vosforge.videos.video import MemoryVideo, Video, objects_in, usable_for_training

Kind = Literal["auto", "shards", "videos", "stills"]
Thing = TypeVar("Thing")
BLOCK = 1000
"""Samples after which every source has given its part, to a thousandth."""
PROBED = 50
"""Videos of a tree that are looked at before it counts as one without objects."""


class Source(Record):
    """A data set to train on, and how much of it."""

    place: str
    """A folder, a shard, or the URL of a data set of shards or a tree of videos."""
    weight: Amount = 1.0
    """How often each of its videos is drawn, relative to those of other sources (published: 5 for DAVIS beside
    YouTube-VOS). 0: only for cut-outs."""
    share: Share | None = None
    """Instead of a weight: the share of all samples."""
    kind: Kind = "auto"
    """Rendered or imported shards; a tree of videos (DAVIS, YouTube-VOS, BL30K, frames and masks); images and masks."""
    split: str = "train"
    """Which videos of shards; of a tree, those in ``ImageSets/*/SPLIT.txt`` or in the folder SPLIT, if there is one."""
    listed: Path | None = None
    """A text file with the names of the videos to use, one a line; None: all."""
    stills: bool = False
    """Whether clips are made of single frames that are moved (`train.data.stills`), as they always are of images."""
    cutouts: bool = False
    """Whether cut-outs come from its videos; if they do from none, they come from all sources."""

    @classmethod
    def parse(cls, text: str) -> "Source":
        """The source in a text such as ``davis,weight=5`` or ``renders,stills=true,share=0.2``; InputError if wrong."""
        where, *settings = text.split(",")
        values = dict(setting.partition("=")[::2] for setting in settings)
        try:
            return cls.model_validate({"place": where, **values})
        except ValidationError as error:
            raise InputError(
                f"cannot read the source '{text}': {explain(error, cls)}; write PLACE[,weight=5][,split=train]"
            ) from None


@dataclass(frozen=True)
class OpenSource:
    """A source's videos, and the share of samples that come from it."""

    videos: Sequence[Video]
    share: float = 1.0
    stills: bool = False
    cutouts: bool = False


class Mix(LazyVideos):
    """The videos of all sources, one source after the other; `choose` and `draw` follow the sources' shares."""

    def __init__(self, sources: Sequence[OpenSource]) -> None:
        self.sources = tuple(sources)
        self._counts = _block_counts([source.share for source in sources])
        self._starts = np.cumsum([0, *(len(source.videos) for source in sources)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def open_video(self, index: int) -> Video:
        """Video ``index``, from 0."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.sources[number].videos[index - int(self._starts[number])]

    def choose(self, seed: int, index: int) -> tuple[OpenSource, Video]:
        """The source and the video of item ``index`` of a run."""
        block, inside = divmod(index, sum(self._counts))
        order, ranks = _block_order(seed, self._counts, block)
        number, rank = int(order[inside]), int(ranks[inside])
        source = self.sources[number]
        epoch, at = divmod(block * self._counts[number] + rank, len(source.videos))
        return source, source.videos[int(_permutation(seed, epoch, len(source.videos), number)[at])]

    def draw(self, rng: np.random.Generator) -> Video:
        """A random video, of a random source by the shares."""
        source = self.sources[0]
        if len(self.sources) > 1:
            shares = np.array([source.share for source in self.sources])
            source = self.sources[int(rng.choice(len(shares), p=shares / shares.sum()))]
        return source.videos[int(rng.integers(len(source.videos)))]

    def draw_for_cutout(self, rng: np.random.Generator) -> Video:
        """A random video to cut an object out of, from the sources for that, or from all."""
        sources = [source for source in self.sources if source.cutouts] or self.sources
        sizes = np.array([len(source.videos) for source in sources])
        source = sources[int(rng.choice(len(sources), p=sizes / sizes.sum()))]
        return source.videos[int(rng.integers(len(source.videos)))]

    def digest(self) -> str:
        """A digest of what the mix consists of: the sources' parts and their videos' names (of shards, their rows)."""
        digest = hashlib.sha256()
        for source in self.sources:
            digest.update(f"{source.share!r} {source.stills} {source.cutouts} {len(source.videos)}\n".encode())
            digest.update("\n".join(_names(source.videos)).encode())
        return digest.hexdigest()

    def in_memory(self) -> "Mix":
        """The same mix with every video decoded: for few short ones."""
        return Mix([replace(source, videos=list(map(_decoded, source.videos))) for source in self.sources])


def open_sources(sources: Sequence[Source], min_frames: int = 1) -> Mix:
    """The mix of ``sources``.

    Videos of fewer than ``min_frames`` (annotated) frames are not used, except as stills. InputError for a source
    that is not there, or that has no usable video.
    """
    if not any(source.weight or source.share for source in sources):
        raise InputError("no source to train on has a weight: name one, for example --data runs/data")
    opened = [_open(source, 1 if source.stills else min_frames) for source in sources]
    shares = _shares(sources, [len(one.videos) for one in opened])
    return Mix([replace(one, share=share) for one, share in zip(opened, shares, strict=True)])


def _shares(sources: Sequence[Source], sizes: Sequence[int]) -> list[float]:
    """Each source's share of the samples: as stated, the rest by weights and numbers of videos."""
    pairs = list(zip(sources, sizes, strict=True))
    stated = sum(source.share for source in sources if source.share is not None)
    by_weight = sum(source.weight * size for source, size in pairs if source.share is None)
    if stated > 1 + 1e-9 or (stated > 1 - 1e-9 and by_weight):
        raise InputError(f"the shares of the sources add up to {stated:g}: lower them, others need a part too")
    rest = (1 - stated) / by_weight if by_weight else 0.0
    shares = [source.weight * size * rest if source.share is None else source.share for source, size in pairs]
    return [share / sum(shares) for share in shares]


def as_mix(videos: Sequence[Video], min_frames: int) -> Mix:
    """``videos`` as a mix: itself if it is one, else one source of those usable; InputError when there are none."""
    return videos if isinstance(videos, Mix) else Mix([OpenSource(usable_for_training(videos, min_frames))])


def decoded(videos: Sequence[Video]) -> Sequence[Video]:
    """``videos`` decoded once, a mix as a mix."""
    return videos.in_memory() if isinstance(videos, Mix) else list(map(_decoded, videos))


def spacing(video: Video) -> int:
    """Frames from one of ``video``'s frames to the next: above 1 where only some are annotated."""
    return video.spacing if isinstance(video, AnnotatedVideo) else 1


def _names(videos: Sequence[Video]) -> Iterator[str]:
    if isinstance(videos, TreeVideos | RemoteVideos):
        yield from videos.names
    elif isinstance(videos, Stills):
        yield from chain.from_iterable(videos.pairs)
    else:
        yield from (video.row.model_dump_json() if isinstance(video, ShardVideo) else video.id for video in videos)


def _decoded(video: Video) -> MemoryVideo:
    return MemoryVideo(video.id, video.frames(), video.masks() if video.has_masks else None)


def kind_of(source: Source) -> Kind:
    """What a source is: shards, videos or stills; InputError if it is none of them."""
    return _detected(place(source.place)) if source.kind == "auto" else source.kind


def _open(source: Source, min_frames: int) -> OpenSource:
    where, kind = place(source.place), kind_of(source)
    if kind == "shards":
        shards = [video for video in ShardSet(where) if video.row.split == source.split]
        videos: Sequence[Video] = _listed(shards, [video.id for video in shards], source)
        if not videos:
            raise InputError(f"{where} has no videos in its split '{source.split}': render some, or name another split")
        try:
            videos = usable_for_training(videos, min_frames)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    else:
        if isinstance(where, Path) and not where.is_dir():
            raise InputError(f"there is no folder {where} to train on: check the spelling")
        videos = _tree(where, source) if kind == "videos" else _stills(where, source)
        _probe(videos, where, 1 if kind == "stills" else min_frames)
    return OpenSource(videos, stills=source.stills or kind == "stills", cutouts=source.cutouts)


def _detected(where: Place) -> Kind:
    if isinstance(where, RemotePath):
        return "shards" if where.is_file() or has_manifest(where) or _no_tree(where) else "videos"
    if where.is_file() or has_manifest(where) or (where / "shards").is_dir():
        return "shards"
    if find_videos(where) is not None or any(find_videos(folder) for folder in _subfolders(where)):
        return "videos"
    if not where.is_dir():
        raise InputError(f"there is no folder {where} to train on: check the spelling")
    if any((where / name).is_dir() for name in OTHER_FRAMES[:1] + OTHER_FRAMES[2:]):
        return "videos"
    if (where / OTHER_FRAMES[1]).is_dir():
        raise InputError(f"the images in {where} may be one video or stills: add kind=videos or kind=stills")
    return "stills"


def _no_tree(where: RemotePath) -> bool:
    """Whether a URL is no tree of videos for all one can see: some servers list no folders."""
    try:
        inside = where.folders()
    except InputError:
        return True
    return "shards" in inside or not inside


def _subfolders(where: Path) -> list[Path]:
    return [where / name for name in ("train", "valid", "val", "test") if (where / name).is_dir()]


def _tree(where: Place, source: Source) -> Sequence[Video]:
    if isinstance(where, RemotePath):
        remote = find_remote_videos(where, source.split)
        if remote is None:
            raise InputError(f"{where} holds neither shards nor {FRAMES}/ and {MASKS}/: check the address")
        return replace(remote, names=tuple(_listed(remote.names, remote.names, source)))
    root = where / source.split if (where / source.split).is_dir() and find_videos(where) is None else where
    found = find_videos(root)
    if found is None:
        alone = [AnnotatedVideo(video) for video in open_folder(root)]
        return [video for video in alone if video.has_masks]
    if any((root / "ImageSets").rglob(f"{source.split}.txt")):
        wanted = set(listed_videos(root, source.split, "2017"))
        found = replace(found, names=tuple(name for name in found.names if video_id(name) in wanted))
    return replace(found, names=tuple(_listed(found.names, list(map(video_id, found.names)), source)))


def _stills(where: Place, source: Source) -> Sequence[Video]:
    if isinstance(where, RemotePath):
        raise InputError(f"stills are read from this machine only: copy {where} here first")
    found = find_stills(where)
    if found is None:
        raise InputError(
            f"{where} holds neither shards nor videos nor images with masks: name a folder with shards/, "
            "JPEGImages/ and Annotations/, images/ and masks/, or X.jpg beside X.png"
        )
    names = [str(Path(image).with_suffix("")) for image, _ in found.pairs]
    return replace(found, pairs=tuple(_listed(found.pairs, names, source)))


def _listed(things: Sequence[Thing], names: Sequence[str], source: Source) -> list[Thing]:
    """Those of ``things`` whose names the source's list has; all without a list."""
    if source.listed is None:
        return list(things)
    try:
        wanted = set(source.listed.read_text().split())
    except (OSError, UnicodeDecodeError):
        raise InputError(f"cannot read the list {source.listed} of {source.place}: give a text file of names") from None
    if found := [thing for thing, name in zip(things, names, strict=True) if name in wanted]:
        return found
    raise InputError(f"{source.place} holds none of the videos in the list {source.listed}: correct the list")


def _block_counts(shares: Sequence[float]) -> tuple[int, ...]:
    """How many of a block's samples come from each source; one at least, of a source that has a share."""
    return tuple(max(round(share * BLOCK), 1) if share else 0 for share in shares)


@lru_cache(maxsize=4)
def _block_order(seed: int, counts: tuple[int, ...], block: int) -> tuple[np.ndarray, np.ndarray]:
    """For each sample of a block, its source, and how many samples of that source come before it in the block."""
    order = rng_for(seed, "sources", block).permutation(np.repeat(np.arange(len(counts)), counts))
    ranks = np.empty_like(order)
    for number, count in enumerate(counts):
        ranks[order == number] = np.arange(count)
    return order, ranks


@lru_cache(maxsize=16)
def _permutation(seed: int, epoch: int, videos: int, number: int) -> np.ndarray:
    """The order of a source's videos in an epoch; the first source's is that of a run on one data set."""
    return rng_for(seed, "videos", epoch, *([number] if number else [])).permutation(videos)


def _probe(videos: Sequence[Video], where: Place, min_frames: int) -> None:
    """InputError unless one of the first videos is long enough and shows an object."""
    for index in range(min(len(videos), PROBED)):
        video = videos[index]
        if video.num_frames >= min_frames and any(objects_in(video.mask(t)) for t in range(video.num_frames)):
            return
    looked = f"the first {PROBED} of its {len(videos)}" if len(videos) > PROBED else f"its {len(videos)}"
    raise InputError(
        f"{where} cannot be trained on: none of {looked} videos has masks with an object in at least {min_frames} "
        "frame(s); name another folder"
    )
