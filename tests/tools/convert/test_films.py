"""Films are imported like folders of frames: JPEGs of quality 95, with their time stamps."""

from pathlib import Path

import numpy as np
import pytest

from tests.tools.convert.conftest import label_mask, pack, png_mask, tree_files, write_files
from tests.vosforge.videos.films import flat_frames, write_film
from tools.convert.importing import import_dataset
from vosforge.errors import InputError
from vosforge.videos import ShardSet, ShardVideo
from vosforge.videos.names import original_names

SHOWN = [0, 40, 50, 1000]


def film_tree(root: Path, film: str, masks: str, names: tuple[str, ...] = ("00000", "00001", "00002", "00003")) -> Path:
    write_film(root / film, flat_frames(4, 24, 40), SHOWN)
    return write_files(root, {f"{masks}/{name}.png": png_mask(label_mask(t)) for t, name in enumerate(names)})


def check(video: ShardVideo) -> None:
    assert video.encoding == "jpeg" and video.num_frames == 4
    np.testing.assert_allclose(video.frames()[:, -4, -4, 0], 20 + 8 * np.arange(4), atol=6)
    np.testing.assert_array_equal(video.masks(), [label_mask(t) for t in range(4)])
    assert video.attributes["frame_times"] == pytest.approx([t / 1000 for t in SHOWN], abs=1e-4)
    assert original_names(video) == ["00000", "00001", "00002", "00003"]
    video.verify()


@pytest.mark.parametrize(
    ("film", "masks", "source"),
    [
        ("JPEGImages/480p/car.mp4", "Annotations/480p/car", ""),
        ("JPEGImages/480p/car.mp4", "Annotations/480p/car", "JPEGImages/480p/car.mp4"),
        ("frames/car.mp4", "masks/car", ""),
    ],
)
def test_a_film_is_a_video(tmp_path: Path, film: str, masks: str, source: str) -> None:
    root = film_tree(tmp_path / "in", film, masks)
    [row] = import_dataset(root / source, tmp_path / "out", workers=1)
    assert row.id == "car"
    check(ShardSet(tmp_path / "out").video("car"))


def test_a_film_alone_with_its_masks(tmp_path: Path) -> None:
    root = film_tree(tmp_path / "in", "car.mp4", "masks", ("0_mask", "1_mask", "2_mask", "3_mask"))
    import_dataset(root / "car.mp4", tmp_path / "out", masks=root / "masks", workers=2)
    check(ShardSet(tmp_path / "out").video("car"))
    with pytest.raises(InputError, match=r"car\.mp4 has frames but no masks: .*--masks"):
        import_dataset(root / "car.mp4", tmp_path / "none", workers=1)


def test_films_in_a_tar_are_read_in_place(tmp_path: Path) -> None:
    root = film_tree(tmp_path / "in", "JPEGImages/car.mp4", "Annotations/car")
    files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.*")}
    import_dataset(pack(tmp_path / "x.tar", files), tmp_path / "out", workers=1)
    check(ShardSet(tmp_path / "out").video("car"))


def test_annotated_frames_of_a_film_keep_their_time(tmp_path: Path) -> None:
    root = film_tree(tmp_path / "in", "JPEGImages/car.mp4", "Annotations/car", ("00001", "00003"))
    import_dataset(root, tmp_path / "out", labelled_only=True, workers=1)
    video = ShardSet(tmp_path / "out").video("car")
    assert video.attributes["frame_times"] == pytest.approx([0.04, 1.0], abs=1e-4)
    assert original_names(video) == ["00001", "00003"]


def test_a_broken_film_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    root = film_tree(tmp_path / "in", "JPEGImages/car.mp4", "Annotations/car")
    (root / "JPEGImages/other.mp4").write_bytes(b"no film")
    with pytest.raises(InputError, match=r"cannot read the film .*other\.mp4"):
        import_dataset(root, tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()


def test_a_film_beside_its_frames_is_passed_over(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", tree_files(("car",)))
    (root / "JPEGImages/car.mp4").write_bytes(b"no film")
    import_dataset(root, tmp_path / "out", workers=1)
    assert "frame_times" not in ShardSet(tmp_path / "out").video("car").attributes
