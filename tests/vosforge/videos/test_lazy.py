"""Frames decoded when they are read: the same as all of them, few held, films not decoded again and again."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from tests.vosforge.videos.films import flat_frames, write_film
from vosforge.videos import lazy
from vosforge.videos.film import Film
from vosforge.videos.folders import FolderVideo
from vosforge.videos.lazy import LazyFrames, MaskedVideo
from vosforge.videos.video import Video


def film(path: Path, T: int, key_every: int) -> FolderVideo:
    return FolderVideo(write_film(path, flat_frames(T), options={"g": str(key_every), "bf": "0"}))


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


def test_a_video_with_other_masks(make_video) -> None:
    video = make_video(0)
    masked = MaskedVideo(video, lambda t: np.full((video.height, video.width), [0, 9, 2, 255][t % 4], np.uint8))
    assert isinstance(masked, Video) and masked.has_masks and masked.has_colors
    assert masked.object_ids == (2, 9) and masked.num_objects == 2
    assert (masked.id, masked.num_frames) == (video.id, video.num_frames)
    assert np.array_equal(masked.frames(), video.frames()) and np.array_equal(masked.frame(3), video.frame(3))
    assert masked.masks()[:4, 0, 0].tolist() == [0, 9, 2, 255] and (masked.mask(1) == 9).all()


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
