"""Validation scores what a network gives, leaves the network in its mode, and pictures it."""

import numpy as np
import pytest
import torch
from torch import nn

import train.validation
from mivos_models import Propagation
from train.data.fusion_data import FusionSample
from train.s2m import ScribbledFrame
from train.validation import validate_fusion, validate_propagation, validate_s2m
from vosforge.videos.video import MemoryVideo

H, W = 32, 48


class Echo(nn.Module):
    """An S2M that gives back the previous mask, which the samples below make the truth."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.weight * (inputs[:, 3:4] - 0.5)


def squares(count: int) -> list[torch.Tensor]:
    labels = []
    for n in range(count):
        label = torch.zeros(H, W, dtype=torch.int64)
        label[4 + n : 16 + n, 6:20] = 1
        labels.append(label)
    return labels


def test_s2m_is_scored_over_samples_and_keeps_its_mode() -> None:
    samples = [ScribbledFrame(torch.cat([torch.zeros(3, H, W), s[None], torch.zeros(2, H, W)]), s) for s in squares(6)]
    network = Echo().train()
    found = validate_s2m(network, samples, 5, 2)
    assert found.scores == {"j": 1.0, "f": 1.0, "jf": 1.0}
    assert network.training
    assert len(found.frames) == 4 and found.frames[0].shape == (H, W, 3)
    halved = [ScribbledFrame(each.inputs, torch.where(torch.arange(W) < 13, each.label, 0)) for each in samples]
    assert validate_s2m(network, halved, 5, 2).scores["j"] == pytest.approx(0.5)


def test_fusion_is_scored_by_its_merged_masks(monkeypatch) -> None:
    monkeypatch.setattr(train.validation, "merged", lambda _, __, batch: 0.98 * batch.new + 0.01)
    samples = []
    for label in squares(3):
        plane = torch.stack([label.float(), torch.zeros(H, W)])
        image, time = torch.zeros(3, H, W), torch.zeros(2)
        present = torch.tensor([True, False])
        samples.append(FusionSample(image, image, plane, plane, plane, plane, time, label, present, torch.tensor(True)))
    assert validate_fusion(Echo(), Echo(), samples, 3, 2).scores["jf"] == 1.0


def test_propagation_carries_first_masks_and_counts_every_object(make_video) -> None:
    torch.manual_seed(0)
    network = Propagation(18, 0.125).train()
    video = make_video(3)
    still = MemoryVideo("still", np.stack([video.frame(0)] * 5), np.stack([video.mask(0)] * 5))
    found = validate_propagation(network, [video, still], 5)
    assert 0 <= found.scores["j"] <= 1
    assert network.training
    assert len(found.found) == 2 and found.found[0].shape == (video.height, video.width)


def test_videos_without_objects_have_no_score(make_video) -> None:
    empty = MemoryVideo("empty", make_video(1).frames(), np.zeros_like(make_video(1).masks()))
    assert np.isnan(validate_propagation(Propagation(18, 0.125).eval(), [empty], 4).scores["jf"])
