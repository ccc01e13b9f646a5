"""Finds a video and draws it: a contact sheet, a GIF and an MP4 with its masks overlaid."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tools.inspect.overlay import contact_sheet, evenly_spaced, frame_picture, labelled_picture, overlay, shrink
from tools.inspect.pass_pictures import PICTURES
from vosforge import InputError
from vosforge.files import sealed_file
from vosforge.trouble import attempting
from vosforge.videos import Place, ShardSet, ShardVideo, place
from vosforge.videos.film import is_film
from vosforge.videos.folders import open_folder
from vosforge.videos.manifest import has_manifest
from vosforge.videos.video import Video

FRAMES_PER_SECOND = 12
GIF_LONGEST_SIDE = 400
GIF_MAX_FRAMES = 60


@dataclass(frozen=True)
class ViewFiles:
    """What ``view_video`` wrote."""

    png: Path
    gif: Path
    mp4: Path


def open_video(where: str) -> Video:
    """The video at ``PATH[:VIDEO]``: in a rendered data set, in one shard file, in a folder of frames, or a film.

    A data set and a shard may also be behind a URL. Without ``:VIDEO`` it is the first one there. Raises InputError
    that names what is missing and what there is.
    """
    path, video_id = _place_and_video(where)
    if isinstance(path, Path) and not path.exists():
        raise InputError(f"{path} does not exist: give a data set, a shard, frames or a film, as PATH or PATH:VIDEO")
    if not isinstance(path, Path) or (path.is_file() and not is_film(path.name)) or has_manifest(path):
        shards = ShardSet(path)
        if not shards.videos:
            raise InputError(f"{path} holds no finished video: render some first")
        return shards.video(video_id or shards.videos[0].id)
    if has_manifest(path.parent):
        raise InputError(f"{path} is part of a data set: name {path.parent}")
    videos = {video.id: video for video in open_folder(path)}
    if not video_id:
        return next(iter(videos.values()))
    if video_id not in videos:
        known = ", ".join(list(videos)[:8]) + (", …" if len(videos) > 8 else "")
        raise InputError(f"there is no video '{video_id}' in {path}; there are {known}")
    return videos[video_id]


def _place_and_video(where: str) -> tuple[Place, str]:
    path = place(where)
    head, _, video_id = where.rpartition(":")
    # In a URL the colons before a slash are its own: of its scheme, and of a port.
    names_video = not path.exists() and head if isinstance(path, Path) else "/" not in video_id
    return (place(head), video_id) if names_video else (path, "")


def video_sheet(video: Video, count: int = 8, columns: int = 4, tile: int = 240) -> np.ndarray:
    """A contact sheet uint8 [h, w, 3]: ``count`` evenly spaced frames, colours above, masks and passes below them.

    ``columns`` frames stand side by side, each at most ``tile`` pixels on its longer side. A video without masks
    shows its colours only, one without colours its masks.
    """
    rows: list[list[np.ndarray]] = []
    labels: list[list[str]] = []
    chosen = evenly_spaced(video.num_frames, count)
    for start in range(0, len(chosen), columns):
        times = chosen[start : start + columns]
        rows.append([frame_picture(video, t, tile) for t in times])
        if video.has_masks and video.has_colors:
            rows.append([labelled_picture(video, t, tile) for t in times])
            labels.append([""] * len(times))
        labels.append([f"frame {t}" for t in times])
        if isinstance(video, ShardVideo):
            for name in video.passes:
                rows.append([shrink(PICTURES[name](video, t), tile) for t in times])
                labels.append([name] * len(times))
    return contact_sheet(rows, labels)


def view_video(video: Video, out: Path) -> ViewFiles:
    """Write ``<video>.png`` (contact sheet), ``.gif`` (overlays, small) and ``.mp4`` (colours beside overlays).

    ``out`` is created if missing; each file is written atomically. The GIF has at most
    60 frames. Raises VOSForgeError when the folder cannot be written or the video cannot be read.
    """
    stem = video.id.replace("/", "_")
    files = ViewFiles(*(Path(out) / f"{stem}.{suffix}" for suffix in ("png", "gif", "mp4")))
    with attempting(f"write to {out}"):
        with sealed_file(files.png) as temporary:
            Image.fromarray(video_sheet(video)).save(temporary, format="PNG", optimize=True)
        with sealed_file(files.gif) as temporary:
            _write_gif(video, temporary)
        with sealed_file(files.mp4) as temporary:
            write_mp4(video, temporary)
    return files


def _write_gif(video: Video, path: Path) -> None:
    times = evenly_spaced(video.num_frames, GIF_MAX_FRAMES)
    frames = [Image.fromarray(labelled_picture(video, t, GIF_LONGEST_SIDE)) for t in times]
    # One palette for the whole film, from frames all over it: a palette a frame flickers and is larger.
    samples = np.vstack([np.asarray(frames[i]) for i in evenly_spaced(len(frames), 8)])
    palette = Image.fromarray(samples).quantize(256, method=Image.Quantize.MEDIANCUT)
    drawn = [frame.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]
    # GIF counts time in hundredths of a second.
    duration = 10 * round(100 * video.num_frames / len(times) / FRAMES_PER_SECOND)
    drawn[0].save(path, format="GIF", save_all=True, append_images=drawn[1:], duration=duration, loop=0)


def write_mp4(video: Video, path: Path) -> None:
    """Write a video as H.264, 12 frames a second: the frames beside their overlays, or whichever is available."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        quality = {"crf": "20", "preset": "veryfast"}
        stream = container.add_stream("libx264", rate=Fraction(FRAMES_PER_SECOND), options=quality)
        stream.pix_fmt = "yuv420p"
        # 4:2:0 halves the colour planes, so that both sides must be even.
        both = video.has_colors and video.has_masks
        width = video.width * (2 if both else 1)
        stream.height, stream.width = video.height + video.height % 2, width + width % 2
        for t in range(video.num_frames):
            frame = frame_picture(video, t)
            if both:
                frame = np.hstack([frame, overlay(frame, video.mask(t))])
            frame = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
