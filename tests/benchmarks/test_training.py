"""The benchmark of training: both of its sides find the same."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import default_collate

from benchmarks.loading import PublishedReader, agree
from benchmarks.published_training import PublishedTraining
from benchmarks.training import (
    CHANNELS_LAST,
    OURS,
    PARTS,
    PUBLISHED,
    apart,
    compare,
    losses_of_equal_clips,
    ratios,
    result_table,
)
from benchmarks.weights import filled
from mivos_models import Propagation, normalise_planes
from tests.blobs import blob_video
from train.data.augment import Augmentation, Geometry, Jitter
from train.data.clips import ClipDataset
from train.propagation import propagation_loss
from train.settings import PropagationSettings
from vosforge.videos.folders import FolderVideo, open_folder

COLOUR = Jitter(brightness=0.1, contrast=0.03, saturation=0.03, grey=0.05)
SETTINGS = PropagationSettings(
    iterations=2,
    batch=2,
    depth=18,
    width=0.125,
    augmentation=Augmentation(
        geometry=Geometry(crop=64, area=(0.25, 1.0), rotation=15, shear=10), shared_colour=COLOUR, frame_colour=COLOUR
    ),
    device="cpu",
    workers=0,
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[FolderVideo]:
    root: Path = tmp_path_factory.mktemp("data")
    for seed in range(2):
        video = blob_video(seed, num_frames=4)
        for folder in ("JPEGImages", "Annotations"):
            (root / folder / video.id).mkdir(parents=True)
        for t in range(video.num_frames):
            Image.fromarray(video.frame(t)).save(root / "JPEGImages" / video.id / f"{t:05d}.jpg", quality=98)
            mask = Image.fromarray(video.mask(t))
            mask.putpalette([n // 3 for n in range(768)])
            mask.save(root / "Annotations" / video.id / f"{t:05d}.png")
    return open_folder(root)


def test_both_readers_see_the_same_clips(videos: list[FolderVideo]) -> None:
    colours, labels = agree(PublishedReader(videos, SETTINGS), ClipDataset(videos, SETTINGS), 4)
    # Beyond the crop, the published reader turns grey into sight, and ours what the frame shows there.
    assert colours < 12 and labels < 0.05


def test_both_steps_have_the_same_losses(videos: list[FolderVideo]) -> None:
    losses = losses_of_equal_clips(ClipDataset(videos, SETTINGS), SETTINGS)
    assert len(losses[OURS]) == 2 and losses[OURS][0] != losses[OURS][1]
    assert apart(losses[PUBLISHED], losses[OURS])[-1] < 1e-4


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_both_steps_have_the_same_gradients(videos: list[FolderVideo], share: float) -> None:
    samples = ClipDataset(videos, SETTINGS)
    batch = default_collate([samples[0], samples[1]._replace(present=torch.tensor([True, False]))])
    batch.labels[1][batch.labels[1] == 2] = 0
    assert batch.present.tolist() == [[True, True], [True, False]]
    network = filled(Propagation(18, 0.125))
    floats = batch._replace(frames=normalise_planes(batch.frames))
    found = []
    for loss in (PublishedTraining(network, SETTINGS).loss(floats, share), propagation_loss(network, batch, share)):
        network.zero_grad()
        loss.backward()
        found.append([loss.detach(), *(weight.grad for weight in network.parameters())])
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() <= 1e-3 * one.norm() + 1e-5  # that of the query key's bias is 0 but for rounding
    assert abs(found[0][0] - found[1][0]) < 1e-4


def test_each_part_of_a_step_is_timed(videos: list[FolderVideo]) -> None:
    trained = compare(PublishedReader(videos, SETTINGS), ClipDataset(videos, SETTINGS), SETTINGS, rounds=1)
    for found in trained.values():
        assert len(found[0].seconds) == 1 and len(found[0].losses) == 2
        assert all(found[0].seconds[0][part] > 0 for part in PARTS)
    assert ratios(trained, PUBLISHED) == [1.0] and ratios(trained, CHANNELS_LAST)[0] > 0
    assert apart(trained[OURS][0].losses, trained[CHANNELS_LAST][0].losses)[-1] < 1e-4
    assert result_table(trained, "steps").row_count == 3 + len(PARTS)
