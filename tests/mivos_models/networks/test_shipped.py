"""The shipped networks: found beside the code, or missed in one sentence; as small as promised; no random weights."""

from pathlib import Path

import numpy as np
import pytest

from mivos_models import (
    Fusion,
    InteractiveRunner,
    SmallPropagation,
    SmallS2M,
    load_network,
    load_propagation,
    propagate,
    shipped_networks,
)
from mivos_models.networks import shipped
from tests.blobs import blob_video
from vosforge import InputError


def test_they_are_in_the_folder_that_the_wheel_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(shipped.__file__).parents[1] / "weights" == shipped._FOLDER
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path)
    for kind in ("s2m", "propagation", "fusion"):
        with pytest.raises(InputError, match=f"the shipped networks are missing here .*{kind}.pth"):
            shipped_networks()
        (tmp_path / f"{kind}.pth").touch()
    assert shipped_networks() == tmp_path


def test_they_are_the_small_networks_with_a_card_and_within_24_megabytes() -> None:
    folder = shipped_networks()
    assert isinstance(load_network("s2m", folder / "s2m.pth"), SmallS2M)
    assert isinstance(load_propagation(folder / "propagation.pth"), SmallPropagation)
    assert isinstance(load_network("fusion", folder / "fusion.pth"), Fusion)
    assert sum(path.stat().st_size for path in folder.glob("*.pth")) <= 24_000_000
    card = (folder / "README.md").read_text()
    for wanted in ("make small", "Fails at", "MIT License", "J&F", "ImageNet"):
        assert wanted in card


def overlap(found: np.ndarray, truth: np.ndarray, label: int) -> float:
    both, either = (found == label) & (truth == label), (found == label) | (truth == label)
    return float(both.sum() / max(1, either.sum()))


def test_they_follow_shapes_that_nobody_taught_them() -> None:
    network = load_propagation(shipped_networks() / "propagation.pth").eval()
    scores = []
    for seed in range(3):
        video = blob_video(seed)
        found, truth = propagate(video.frames(), video.mask(0), network), video.masks()
        scores += [overlap(found[1:], truth[1:], label) for label in (1, 2)]
    assert np.mean(scores) > 0.65 and np.median(scores) > 0.8, scores


def test_a_click_finds_what_was_clicked() -> None:
    folder = shipped_networks()
    video = blob_video(0, height=192, width=256, num_objects=1)
    ys, xs = np.nonzero(video.mask(0))
    propagation = load_propagation(folder / "propagation.pth").eval()
    s2m = load_network("s2m", folder / "s2m.pth").eval()
    runner = InteractiveRunner(propagation, video.frames(), 1, s2m=s2m)
    found = runner.click(0, int(np.median(xs)), int(np.median(ys)), 1)
    assert overlap(found, video.mask(0), 1) > 0.5
