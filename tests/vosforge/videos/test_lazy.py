"""Frames decoded when they are read: the same as all of them, few held, films not decoded again and again."""

from pathlib import Path
from unittest import mock

import av
import numpy as np
import pytest

from vosforge.videos import lazy
from vosforge.videos.film import Film
from vosforge.videos.folders import FolderVideo
from vosforge.videos.lazy import LazyFrames


def film(path: Path, T: int, key_every: int) -> FolderVideo:
    """A film of T grey frames, a little brighter each."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": str(key_every), "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for t in range(T):
            picture = np.full((16, 32, 3), 40 + t, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return FolderVideo(path)


def test_it_looks_like_the_array(tmp_path, make_video) -> None:
    for video in (film(tmp_path / "film.mp4", 9, 4), make_video(0)):
        frames, lazily = video.frames(), LazyFrames(video)
        assert (lazily.shape, lazily.dtype, lazily.ndim, len(lazily)) == (
            frames.shape,
            frames.dtype,
            frames.ndim,
            len(frames),
        )
        for order in (range(len(frames)), reversed(range(len(frames))), (3, 0, 5, 4, 3, -1)):
            assert all(np.array_equal(lazily[t], frames[t]) for t in order)
        assert np.array_equal(np.stack(list(lazily)), frames)
        with pytest.raises(IndexError):
            lazily[len(frames)]


def test_few_frames_are_held(make_video) -> None:
    video = make_video(0)
    size = video.frame(0).nbytes
    with mock.patch.object(lazy, "_BLOCK_BYTES", 3 * size):
        lazily = LazyFrames(video)
    for t in [*range(video.num_frames), *reversed(range(video.num_frames))]:
        lazily[t]
        assert len(lazily._block) <= 3


def test_a_film_read_backwards_is_decoded_few_times(tmp_path) -> None:
    """Decoded frames per frame stay below 3 for one key frame in 100; one by one it is 50."""
    video = film(tmp_path / "film.mp4", 200, 100)
    lazily = LazyFrames(video)
    decoded = 0
    begin = Film._begin

    def counted(self: Film, pts: int):
        reading = begin(self, pts)

        def each(frames):
            nonlocal decoded
            for frame in frames:
                decoded += 1
                yield frame

        reading.decoded = each(reading.decoded)
        return reading

    with mock.patch.object(Film, "_begin", counted):
        for t in reversed(range(200)):
            lazily[t]
    assert decoded < 3 * 200
