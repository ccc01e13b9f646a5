"""How fast training clips come: BL30K's folders as MiVOS reads them, the same folders with our reader, and shards.

    python -m benchmarks.loading [--data FOLDER] [--clips 64] [--rounds 3]

All three give the same clips (the same three frames, crops and flips of the same videos), interleaved in one run, with
0, 1 and 2 workers, warm and with the files dropped from the page cache. Without ``--data`` a small data set is rendered
at BL30K's size first. The folders are what BL30K was published as: JPEG at quality 98 with subsampled colours, and
palette PNGs.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from rich.table import Table
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional

from blender_scenes.sample import PRESETS
from mivos_models import normalise_planes
from render.qualities import quality_settings
from tools.commands.rendering import render_to
from train.data.augment import (
    FILL,
    Augmentation,
    Geometry,
    Jitter,
    region_seen,
    sample_affine,
    sample_views,
    sample_window,
)
from train.data.clips import ClipDataset, ClipSample, ShardDataset, sample_times, teachable
from train.data.order import RunOrder
from train.settings import PropagationSettings
from vosforge.log import console
from vosforge.videos import ShardSet
from vosforge.videos.folders import FolderVideo, open_folder
from vosforge.videos.video import Video

# MiVOS on BL30K: a crop of 36 to 100 % of the frame to 384 x 384, bicubic; three frames up to five apart.
CROP = Geometry(crop=384, area=(0.36, 1.0))
AUGMENTATION = Augmentation(geometry=CROP)
BATCH = 4
SETTINGS = PropagationSettings(
    iterations=10**6, batch=BATCH, augmentation=AUGMENTATION, jumps=((0.0, 5),), num_objects=2
)


class PublishedReader(ClipDataset):
    """The way of the published loader: whole files through PIL, one resampling a transform, floats in the worker.

    Crop and flip are shared by the frames of a clip; each is then turned and sheared within its crop, with the mean
    colour outside. The draws are those of our reader.
    """

    def _draw(
        self, video: Video, still: bool, step: int, rng: np.random.Generator, cutouts: np.random.Generator
    ) -> ClipSample | None:
        assert isinstance(video, FolderVideo) and video.masks_folder is not None
        settings, geometry = self.settings, self.settings.augmentation.geometry
        times = sample_times(video.num_frames, settings.max_jump(step), rng)
        rng.random()  # where ours asks whether to place the crop on an object
        window = sample_window(video.height, video.width, geometry, rng)
        recolour = _recolouring(settings.augmentation.shared_colour, rng)
        frames, masks = [], []
        for t in times:
            turn = sample_affine(geometry, rng)
            recolour_frame = _recolouring(settings.augmentation.frame_colour, rng)
            path = video.path / f"{video.frame_names[t]}.jpg"
            image = Image.open(path).convert("RGB")
            mask = Image.open(video.masks_folder / f"{path.stem}.png").convert("P")
            image = recolour(_resized_crop(image, window, geometry.crop, Image.Resampling.BICUBIC))
            mask = _resized_crop(mask, window, geometry.crop, Image.Resampling.NEAREST)
            if geometry.rotation or geometry.shear:
                image = _turned(image, turn, Image.Resampling.BICUBIC, FILL)
                mask = _turned(mask, turn, Image.Resampling.NEAREST, 0)
            frames.append(_normalised(recolour_frame(image)))
            masks.append(np.array(mask))
        seen = np.stack(masks)
        labels = teachable(seen, settings.small_areas)
        if not len(labels):
            return None
        chosen = rng.permutation(labels)[: settings.num_objects]
        objects = np.zeros_like(seen)
        for number, label in enumerate(chosen, start=1):
            objects[seen == label] = number
        present = torch.arange(settings.num_objects) < len(chosen)
        return ClipSample(torch.stack(frames), torch.from_numpy(objects), present, torch.empty(len(frames), 0))


def _resized_crop(image: Image.Image, window: np.ndarray, crop: int, how: Image.Resampling) -> Image.Image:
    left, right = sorted((window[0, 2], window[0, 2] + window[0, 0] * crop))
    top, bottom = window[1, 2], window[1, 2] + window[1, 1] * crop
    cut = image.crop(tuple(round(side) for side in (left, top, right, bottom))).resize((crop, crop), how)
    return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if window[0, 0] < 0 else cut


def _turned(image: Image.Image, turn: np.ndarray, how: Image.Resampling, fill: int | tuple[int, ...]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, turn[:2].ravel().tolist(), how, fillcolor=fill)


def _recolouring(jitter: Jitter, rng: np.random.Generator) -> Callable[[Image.Image], Image.Image]:
    """torchvision's changes of colour for the draws of `train.data.augment.colour_matrix`."""
    if jitter == Jitter():
        return lambda image: image
    brightness, contrast, saturation = (
        float(rng.uniform(1 - x, 1 + x)) for x in (jitter.brightness, jitter.contrast, jitter.saturation)
    )
    hue, grey = float(rng.uniform(-jitter.hue, jitter.hue)), rng.random() < jitter.grey

    def change(image: Image.Image) -> Image.Image:
        image = functional.adjust_contrast(functional.adjust_brightness(image, brightness), contrast)
        image = functional.adjust_saturation(image, saturation)
        image = functional.adjust_hue(image, hue) if jitter.hue else image
        return functional.to_grayscale(image, 3) if grey else image

    return change


def _normalised(image: Image.Image) -> torch.Tensor:
    planes = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (planes - mean) / std


def rendered(data: Path) -> Path:
    """A small data set at BL30K's size, rendered where it is missing."""
    small = {"videos": 6, "render.frames": 24, "held_out_every": 0, "videos_per_shard": 3, "scene": PRESETS["bl30k"]}
    render_to(data, None, small | quality_settings("fast"))
    return data


def publish(data: Path, root: Path) -> None:
    """The data set as BL30K's folders: q98 JPEG with subsampled colours, palette PNGs."""
    for video in ShardSet(data):
        for kind in ("JPEGImages", "Annotations"):
            (root / kind / video.id).mkdir(parents=True, exist_ok=True)
        for t in range(video.num_frames):
            image = Image.fromarray(video.frame(t))
            image.save(root / "JPEGImages" / video.id / f"{t:05d}.jpg", quality=98, subsampling="4:2:0")
            mask = Image.fromarray(video.mask(t))
            mask.putpalette([channel for n in range(256) for channel in (n * 37 % 256, n * 91 % 256, n * 151 % 256)])
            mask.save(root / "Annotations" / video.id / f"{t:05d}.png")


def drop_from_cache(folders: Iterable[Path]) -> None:
    """Ask the kernel to forget the files' pages; needs no rights."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def one_thread(_worker: int) -> None:
    """Workers do not compete with themselves."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def clips_per_second(dataset: Dataset[ClipSample], workers: int, steps: int) -> float:
    """Normalised clips a second that reach the consumer; starting workers and their first batches are left out."""
    loader = DataLoader(
        dataset,
        BATCH,
        sampler=RunOrder(steps * BATCH, BATCH),
        num_workers=workers,
        worker_init_fn=one_thread,
        multiprocessing_context="spawn" if workers else None,
    )
    batches, warm_up = iter(loader), 2 * workers
    for _ in range(warm_up):
        next(batches)
    started = time.perf_counter()
    for _ in range(steps - warm_up):
        batch = next(batches)
        if batch.frames.dtype == torch.uint8:
            normalise_planes(batch.frames)
    return (steps - warm_up) * BATCH / (time.perf_counter() - started)


def reading_alone(videos: Sequence[Video], clips: int) -> float:
    """Clips a second if frames and masks were only read and decoded, where crops see them, and nothing done to them."""
    jobs = []
    for index in range(clips):
        rng, video = np.random.default_rng(index), videos[index % len(videos)]
        size = video.height, video.width
        views = sample_views(size, 3, AUGMENTATION, rng)
        for t, view in zip(sample_times(video.num_frames, 5, rng), views, strict=True):
            jobs.append((video, t, region_seen(view.to_frame, size, CROP.crop)))
    started = time.perf_counter()
    for video, t, region in jobs:
        video.frame(t, region)
        video.mask(t)
    return clips / (time.perf_counter() - started)


def agree(one: ClipDataset, other: ClipDataset, clips: int) -> tuple[float, float]:
    """How far two readers' clips are apart: mean difference of colours (0..255), share of different labels."""
    colours, labels = [], []
    for index in range(clips):
        (a, a_labels, *_), (b, b_labels, *_) = one[index], other[index]
        a, b = (x if x.dtype == torch.float32 else normalise_planes(x) for x in (a, b))
        colours.append(float((a - b).abs().mean()) * 0.225 * 255)
        labels.append(float((a_labels != b_labels).float().mean()))
    return statistics.mean(colours), statistics.mean(labels)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a rendered data set (default: one is rendered)")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-loading"), help="where files are made")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    one_thread(0)
    data = arguments.data or rendered(arguments.folder / "data")
    folders = arguments.folder / "BL30K"
    if not folders.exists():
        publish(data, folders)
    videos = open_folder(folders)
    readers: dict[str, ClipDataset] = {
        "folders, as MiVOS reads them": PublishedReader(videos, SETTINGS),
        "the same folders, our reader": ClipDataset(videos, SETTINGS),
        "shards": ShardDataset(data, SETTINGS),
    }
    first, second, shards = readers.values()
    for name, other in (("MiVOS's and our reader of folders", second), ("MiVOS's reader and shards", shards)):
        colours, labels = agree(first, other, 16)
        console.print(f"{name}: colours differ by {colours:.2f} of 255 on average, {labels:.3%} of the labels")
    table = Table("workers", "files", *readers, "shards : MiVOS", "shards : folders", title="clips a second (median)")
    steps = arguments.clips // BATCH
    for workers in (0, 1, 2):
        for cold in (False, True):
            rates: dict[str, list[float]] = {name: [] for name in readers}
            for _ in range(arguments.rounds):
                for name, dataset in readers.items():
                    if cold:
                        drop_from_cache([data, folders])
                    rates[name].append(clips_per_second(dataset, workers, steps + 2 * workers))
            a, b, c = (statistics.median(rate) for rate in rates.values())
            row = (f"{a:.1f}", f"{b:.1f}", f"{c:.1f}", f"{c / a:.2f}", f"{c / b:.2f}")
            table.add_row(str(workers), "dropped" if cold else "cached", *row)
    console.print(table)
    limits: dict[str, list[float]] = {name: [] for name in ("folders", "shards")}
    for _ in range(arguments.rounds):
        for name, reader in zip(limits, (second, shards), strict=True):
            limits[name].append(reading_alone(reader.videos, arguments.clips))
    alone = {name: statistics.median(rates) for name, rates in limits.items()}
    console.print(
        f"only read and decoded, clips a second: folders {alone['folders']:.1f}, shards {alone['shards']:.1f}, so that "
        f"shards can be at most {alone['shards'] / alone['folders']:.2f} times as fast, if all else took no time"
    )
    sizes = [sum(file.stat().st_size for file in root.rglob("*.*") if file.is_file()) for root in (data, folders)]
    console.print(f"bytes: shards {sizes[0]:,}, folders {sizes[1]:,}")


if __name__ == "__main__":
    main()
