"""Films are read as folders of frames are: every frame, upright, at any place, in any process."""

import gc
import multiprocessing
import os
import pickle
from pathlib import Path

import av
import numpy as np
import pytest

from tests.vosforge.videos.films import flat_frames, turn, write_film
from vosforge import InputError
from vosforge.videos.codec import Region
from vosforge.videos.film import Film
from vosforge.videos.folders import open_folder

SHORT_GROUPS = {"g": "5", "bf": "2"}
"""Key frames often, and frames that are coded in another order than they are shown."""


def brightness(film: Film) -> list[float]:
    return [float(film.frame(t)[-8:, -8:].mean()) for t in range(len(film))]


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.MOV", "libx264", "yuv422p10le"),
        ("a.mkv", "libx264", "yuv420p10le"),  # not x265: its encoder aborts a process that has run much else
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.webm", "libvpx", "yuv420p"),
    ],
)
def test_every_container_gives_every_frame(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    frames = flat_frames(12)
    film = Film(write_film(tmp_path / name, frames, codec=codec, pixels=pixels))
    assert (len(film), film.height, film.width) == (12, 32, 48)
    np.testing.assert_allclose(brightness(film), frames[:, -1, -1, 0], atol=6)


def test_frames_come_in_any_order_as_one_after_another(tmp_path: Path) -> None:
    film = Film(write_film(tmp_path / "a.mp4", flat_frames(23), options=SHORT_GROUPS))
    frames = [film.frame(t) for t in range(23)]
    for t in np.random.default_rng(0).permutation(23).tolist():
        np.testing.assert_array_equal(film.frame(t), frames[t])
    np.testing.assert_array_equal(film.frame(3, Region(2, 4, 10, 20)), frames[3][2:10, 4:20])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(film)).frame(7), frames[7])


def test_time_stamps_are_the_films_own(tmp_path: Path) -> None:
    shown = [0, 40, 45, 300, 1000, 1001]
    for name in ("a.mp4", "a.mkv"):
        film = Film(write_film(tmp_path / name, flat_frames(6), shown))
        np.testing.assert_allclose(film.times, np.array(shown) / 1000, atol=1e-4)
        np.testing.assert_allclose(brightness(film), 20 + 8 * np.arange(6), atol=6)


@pytest.mark.parametrize("size", [(33, 47), (31, 48), (2, 2)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    film = Film(write_film(tmp_path / "a.mkv", flat_frames(2, *size), codec="ffv1", pixels="yuv420p"))
    assert (film.height, film.width) == size == film.frame(1).shape[:2]


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        ((1, 0, 0, 1), (0, 0)),
        ((0, 1, -1, 0), (0, -1)),  # a quarter clockwise, as phones write it
        ((-1, 0, 0, -1), (-1, -1)),
        ((0, -1, 1, 0), (-1, 0)),
        ((-1, 0, 0, 1), (0, -1)),  # mirrored
    ],
)
def test_rotation_is_applied(tmp_path: Path, matrix: tuple[int, int, int, int], corner: tuple[int, int]) -> None:
    path = write_film(tmp_path / "a.mp4", flat_frames(2))
    turn(path, *matrix)
    film = Film(path)
    assert (film.height, film.width) == ((48, 32) if matrix[0] == 0 else (32, 48))
    red = film.frame(1)[..., 0].astype(int) - film.frame(1)[..., 1] > 100
    assert red[corner] and red.sum() < red.size / 6


def test_what_is_no_whole_film_gets_one_sentence(tmp_path: Path) -> None:
    good = write_film(tmp_path / "good.mp4", flat_frames(20)).read_bytes()
    wrong = {"text.mp4": b"no film", "empty.mkv": b"", "cut.mp4": good[: len(good) // 2]}
    for name, data in wrong.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=name) as caught:
            Film(tmp_path / name)
        assert "\n" not in str(caught.value)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(InputError, match=r"sound.mp4 has no pictures \(it holds audio\)"):
        Film(tmp_path / "sound.mp4")


def test_a_film_cut_short_behind_its_index_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), np.uint8)
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.pix_fmt, stream.height, stream.width = "yuv420p", 48, 64
        for frame in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(InputError, match=r"a\.mp4"):
        film = Film(path)
        for t in range(len(film)):
            film.frame(t)


def test_a_film_stands_where_a_folder_of_frames_does(tmp_path: Path) -> None:
    write_film(tmp_path / "JPEGImages/480p/car.mp4", flat_frames(3))
    write_film(tmp_path / "JPEGImages/480p/.hidden.mp4", flat_frames(1))
    (video,) = open_folder(tmp_path)
    assert (video.id, video.num_frames, video.frame_names) == ("car", 3, ["00000", "00001", "00002"])
    assert not video.has_masks and video.frames().shape == (3, 32, 48, 3)
    (alone,) = open_folder(tmp_path / "JPEGImages/480p/car.mp4")
    assert alone.id == "car"
    (beside,) = open_folder(tmp_path / "JPEGImages/480p")
    assert beside.id == "car"


def _read_again(film: Film, expected: float) -> None:
    film_of_child = float(film.frame(5).mean())  # replaces the parent's decoder
    gc.collect()
    os._exit(0 if film_of_child == expected else 1)


def test_a_forked_process_reads_a_film_that_is_open_here(tmp_path: Path) -> None:
    # Long frames in several threads: FFmpeg waits for them when a decoder is freed, and a fork leaves them behind.
    film = Film(write_film(tmp_path / "a.mp4", flat_frames(30), options=SHORT_GROUPS))
    expected = float(film.frame(5).mean())
    cycle = [Film(tmp_path / "a.mp4")]
    cycle[0].frame(3)
    cycle.append(cycle)
    del cycle  # garbage with a decoder, for the child to collect
    child = multiprocessing.get_context("fork").Process(target=_read_again, args=(film, expected))
    child.start()
    child.join(60)
    assert child.exitcode == 0
