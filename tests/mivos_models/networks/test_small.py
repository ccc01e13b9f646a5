"""The small networks: what only they do."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mivos_models import Memory, SmallPropagation, SmallS2M, join, proximity
from mivos_models.networks.images import NetworkView
from mivos_models.networks.memory import read_near
from mivos_models.networks.s2m import corrected
from mivos_models.networks.small import RADIUS, likeness, nearness
from mivos_models.runner.fast import optimized


@pytest.mark.parametrize("radius", [0, 2, 3, 20])
@pytest.mark.parametrize("shared", [True, False])
def test_a_near_read_is_a_softmax_over_the_cells_nearby(radius: int, shared: bool) -> None:
    h, w, K = 7, 9, 3
    generator = torch.Generator().manual_seed(radius)
    key = torch.randn(2, 1 if shared else K, 1, h, w, 8, generator=generator)
    memory = Memory(key, torch.randn(2, K, 1, h, w, 5, generator=generator))
    query = torch.randn(2, 8, h, w, generator=generator)
    found = read_near(memory, query, radius, proximity)
    assert found.shape == (2, K, 5, h, w)
    similarity = proximity(memory.key, query).expand(-1, K, -1, -1)
    for y, x in ((0, 0), (3, 4), (6, 8), (6, 0)):
        cells = [v * w + u for v in range(h) for u in range(w) if abs(v - y) <= radius and abs(u - x) <= radius]
        weights = torch.softmax(similarity[:, :, y * w + x, cells], dim=2)
        expected = (weights.unsqueeze(3) * memory.value.flatten(2, 4)[:, :, cells]).sum(dim=2)
        torch.testing.assert_close(found[..., y, x], expected, rtol=1e-4, atol=1e-5)


def test_the_newest_frame_is_read_nearby_and_all_frames_everywhere() -> None:
    torch.manual_seed(0)
    network = SmallPropagation().eval()
    frames, masks = torch.randn(1, 3, 3, 48, 16 * (RADIUS + 4)), torch.rand(1, 1, 48, 16 * (RADIUS + 4))
    with torch.inference_mode():
        first, second = (network.memorize(frames[:, t], masks) for t in (0, 1))
        query = network.query(frames[:, 2])
        both = network.read(query, join([first, second]), None)
        swapped = network.read(query, join([second, first]), None)
        far = Memory(second.key.clone(), second.value.clone())
        far.value[..., -1, :] += 5  # the last column, which the first cannot see nearby
        changed = network.read(query, join([first, far]), None)
    half = both.shape[2] // 2
    torch.testing.assert_close(both[:, :, :half], swapped[:, :, :half], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(both[:, :, half:], swapped[:, :, half:], atol=1e-3)
    torch.testing.assert_close(changed[:, :, half:, :, 0], both[:, :, half:, :, 0], rtol=0, atol=0)
    assert (changed[:, :, half:, :, -1] - both[:, :, half:, :, -1]).abs().mean() > 0.01


def test_the_fast_copy_finds_the_same_and_batch_norm_stays_frozen() -> None:
    torch.manual_seed(0)
    network = SmallPropagation().eval()
    fast = optimized(network)
    image, masks = torch.randn(1, 3, 64, 96), torch.rand(1, 2, 64, 96) / 2
    with torch.inference_mode():
        found = [each.segment(each.query(image), each.memorize(image, masks), 5) for each in (network, fast)]
    torch.testing.assert_close(*found, rtol=0, atol=2e-3)
    network.train()
    assert network.training
    assert not any(isinstance(module, torch.nn.BatchNorm2d) and module.training for module in network.modules())


def test_s2m_keeps_stride_16_and_sees_all_six_planes() -> None:
    torch.manual_seed(0)
    network = SmallS2M().eval()
    with torch.inference_mode():
        x = torch.randn(1, 6, 64, 96)
        features = network.backbone(x[:, :3])
        assert [tuple(each.shape[2:]) for each in features] == [(16, 24), (8, 12), (4, 6), (4, 6)]
        assert network(x).shape == (1, 1, 64, 96)
        for plane in range(6):
            changed = x.clone()
            changed[:, plane] += 1
            assert not torch.allclose(network(changed), network(x), atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 5), columns=st.integers(1, 5))
def test_s2m_compares_each_cell_with_those_under_a_hint(seed: int, rows: int, columns: int) -> None:
    torch.manual_seed(seed)
    key, hints = torch.randn(1, 4, rows, columns), (torch.rand(1, 3, rows, columns) < 0.3).float()
    alike, near = likeness(key, hints)[0], nearness(hints)[0]
    cells = list(itertools.product(range(rows), range(columns)))
    for plane in range(3):
        marked = [cell for cell in cells if hints[0, plane][cell]]
        for y, x in cells:
            similarities = [float(torch.cosine_similarity(key[0, :, y, x], key[0, :, v, u], dim=0)) for v, u in marked]
            assert float(alike[plane, y, x]) == pytest.approx(max(similarities, default=0.0), abs=1e-5)
            distances = [math.hypot(y - v, x - u) for v, u in marked]
            assert float(near[plane, y, x]) == pytest.approx(math.exp(-min(distances, default=math.inf) / 8), abs=1e-4)


def test_s2m_sees_large_frames_as_large_as_those_it_was_trained_on() -> None:
    torch.manual_seed(0)
    network = SmallS2M().eval()
    seen: list[torch.Size] = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    for height, width, expected in ((96, 128, (96, 128)), (480, 640, (256, 352)), (640, 320, (512, 256))):
        frame, mask = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
        strokes = np.zeros((1, 2, height, width), bool)
        strokes[0, 0, 20:30, 20:30] = True
        found = corrected(network, frame, mask, strokes, NetworkView(height, width), torch.device("cpu"))
        assert found.shape == (2, height, width)
        assert {*seen} == {(1, 6, *expected)}
        seen.clear()


def test_s2m_looks_again_only_where_an_object_had_no_mask() -> None:
    torch.manual_seed(0)
    network = SmallS2M().eval()
    seen: list[torch.Tensor] = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    frame, mask = np.zeros((64, 96, 3), np.uint8), np.zeros((64, 96), np.uint8)
    mask[:20, :20] = 2
    strokes = np.zeros((3, 2, 64, 96), bool)
    strokes[:, 0, 30:40, 30:40] = True
    corrected(network, frame, mask, strokes, NetworkView(64, 96), torch.device("cpu"))
    assert [len(inputs) for inputs in seen] == [3, 2], "objects 1 and 3 are new"
    with torch.inference_mode():
        first = network(seen[0])
    assert torch.equal(seen[1][:, 3:4], (first[[0, 2]] > 0).float())
