"""Our own outputs from when they equalled the published networks', for checkouts without the reference outputs.

``python -m tests.mivos_models.networks.test_own_goldens`` writes them anew; do that only while test_equality.py passes.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mivos_models import (
    S2M,
    STCN,
    Fusion,
    InteractiveRunner,
    Propagation,
    aggregate,
    difference_maps,
    join,
    normalise,
)

GOLDENS = Path(__file__).with_name("own_goldens.npz")


def moving_squares(T: int, H: int, W: int, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Textured squares that drift over a gradient: frames [T,H,W,3] uint8, masks [T,H,W] uint8."""
    y, x = np.mgrid[:H, :W]
    backdrop = np.stack([x * 255 // W, y * 255 // H, (x + y) % 64 * 4], axis=-1)
    frames, masks = np.empty((T, H, W, 3), np.uint8), np.zeros((T, H, W), np.uint8)
    for t in range(T):
        frames[t] = backdrop
        for j in range(1, K + 1):
            top, left = 4 + 13 * (j - 1) + t, 3 + 17 * (j - 1) + 2 * t
            square = (slice(top, top + 14), slice(left, left + 16))
            frames[t][square] = ((x * 7 * j + y * 11 + 40 * j) % 256)[: square[0].stop - top, :16, None]
            masks[t][square] = j
    return frames, masks


def published_size(fill: Callable[[nn.Module], nn.Module]) -> dict[str, np.ndarray]:
    """Each network once, at the size of the published weights."""
    frames, masks = moving_squares(3, 48, 64, 2)
    images = normalise(frames).unsqueeze(1)
    objects = torch.from_numpy(np.stack([masks == j for j in (1, 2)], axis=1)).float().unsqueeze(1)
    network = fill(Propagation())
    first, second = (network.memorize(images[t], objects[t]) for t in (0, 1))
    query = network.query(images[2])
    segmented = {top_k: network.segment(query, join([first, second]), top_k) for top_k in (None, 5)}
    attention = network.attention(query, first, difference_maps(objects[0], segmented[5]))
    fused = fill(Fusion())(
        images[2].expand(2, -1, -1, -1),
        objects[2][0].unsqueeze(1),
        segmented[5][0].unsqueeze(1),
        attention[0],
        torch.tensor([[0.25, 0.75]]).expand(2, -1),
    )
    maps = torch.stack([objects[0, 0, 0], objects[1, 0, 0], objects[1, 0, 1]])
    strokes = fill(S2M())(torch.cat([images[0, 0], maps]).unsqueeze(0))
    results = {
        "key": first.key[..., ::16],
        "value": first.value[..., ::64],
        "query_key": query.key[:, ::16],
        "query_value": query.value[:, ::64],
        "dense": segmented[None][..., ::4, ::4],
        "top_5": segmented[5][..., ::4, ::4],
        "attention": attention[..., ::4, ::4],
        "fused": fused[..., ::4, ::4],
        "aggregated": aggregate(torch.sigmoid(fused[:, 0]))[..., ::4, ::4],
        "s2m": strokes[..., ::4, ::4],
    }
    return {name: value.numpy() for name, value in results.items()}


def two_rounds(fill: Callable[[nn.Module], nn.Module]) -> dict[str, np.ndarray]:
    """Small networks through the whole runner: scribbles, two rounds, fusion, odd sizes."""
    frames, masks = moving_squares(8, 43, 61, 2)
    runner = InteractiveRunner(
        fill(Propagation(18, 0.25)),
        frames,
        2,
        s2m=fill(S2M(18, 0.25)),
        fusion=fill(Fusion(0.5)),
        mem_every=2,
        top_k=7,
    )
    runner.interact(1, masks[1])
    strokes = np.where(masks[6] > 0, masks[6].astype(int), -1)
    strokes[:2] = 0
    scribbled = runner.scribble(6, strokes)
    final = runner.interact(6, masks[6])
    return {
        "scribbled": scribbled,
        "final": final,
        "probabilities": np.stack([runner.probabilities(t)[:, ::3, ::3] for t in (0, 3, 7)]),
    }


def stcn_published_size(fill: Callable[[nn.Module], nn.Module]) -> dict[str, np.ndarray]:
    """STCN once, at the size of the published weights."""
    frames, masks = moving_squares(3, 48, 64, 2)
    images = normalise(frames).unsqueeze(1)
    objects = torch.from_numpy(np.stack([masks == j for j in (1, 2)], axis=1)).float().unsqueeze(1)
    network = fill(STCN())
    first, second = (network.memorize(images[t], objects[t]) for t in (0, 1))
    query = network.query(images[2])
    segmented = {top_k: network.segment(query, join([first, second]), top_k) for top_k in (None, 5)}
    results = {
        "key": first.key[..., ::16],
        "value": first.value[..., ::64],
        "query_value": query.value[:, ::64],
        "dense": segmented[None][..., ::4, ::4],
        "top_5": segmented[5][..., ::4, ::4],
        "attention": network.attention(query, first, difference_maps(objects[0], segmented[5]))[..., ::4, ::4],
    }
    return {name: value.numpy() for name, value in results.items()}


def stcn_two_rounds(fill: Callable[[nn.Module], nn.Module]) -> dict[str, np.ndarray]:
    """A small STCN in the runner: two rounds, fusion, odd sizes."""
    frames, masks = moving_squares(8, 43, 61, 2)
    runner = InteractiveRunner(fill(STCN(18, 0.25)), frames, 2, fusion=fill(Fusion(0.5)), mem_every=2, top_k=7)
    runner.interact(1, masks[1])
    final = runner.interact(6, masks[6])
    return {
        "final": final,
        "probabilities": np.stack([runner.probabilities(t)[:, ::3, ::3] for t in (0, 3, 7)]),
    }


CASES = {
    "published_size": published_size,
    "two_rounds": two_rounds,
    "stcn_published_size": stcn_published_size,
    "stcn_two_rounds": stcn_two_rounds,
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_as_they_were(case: str, filled: Callable[[nn.Module], nn.Module]) -> None:
    stored = np.load(GOLDENS)
    with torch.inference_mode():
        results = CASES[case](filled)
    for name, value in results.items():
        expected = stored[f"{case}_{name}"]
        if value.dtype == np.uint8:
            assert (value != expected).sum() <= 20, name
            assert len(np.unique(expected)) > 1, name
        else:
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-4 if value.max() > 1 else 2e-5, err_msg=name)
            assert expected.std() > 1e-3, name


if __name__ == "__main__":
    from benchmarks.weights import filled

    with torch.inference_mode():
        arrays = {f"{case}_{name}": value for case, make in CASES.items() for name, value in make(filled).items()}
    np.savez_compressed(GOLDENS, **arrays)
