"""What the runner makes of networks, beside the networks themselves."""

import copy

import pytest
import torch
from torch import nn

from mivos_models import STCN, Fusion, Propagation, SpaceTimeNetwork
from mivos_models.networks.memory import largest
from mivos_models.runner.fast import LARGE_TILES, SMALL_TILES, Pointwise, Winograd, compute_in_half, optimized


@pytest.mark.parametrize("shape", [(1, 128, 41, 107), (2, 128, 39, 40), (3, 160, 1, 1501), (1, 128, 5, 9)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("points", [SMALL_TILES, LARGE_TILES])
def test_winograd_is_a_convolution(shape: tuple[int, ...], bias: bool, points: tuple[float, ...]) -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(shape[1], 136, 3, padding=1, bias=bias), torch.randn(shape)
    with torch.inference_mode():
        found, expected = Winograd(conv, points)(x), conv(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_pointwise_is_a_convolution(stride: int) -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(16, 24, 1, stride), torch.randn(2, 16, 9, 7)
    torch.testing.assert_close(Pointwise(conv)(x), conv(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("height", [5, 95, 97, 192, 200])
def test_bands_of_rows_have_no_seams(height: int, filled) -> None:
    torch.manual_seed(0)
    fusion = filled(Fusion(0.25))
    inputs = *(torch.rand(2, C, height, 24) for C in (3, 1, 1, 2)), torch.rand(2, 2)
    with torch.inference_mode():
        torch.testing.assert_close(optimized(fusion)(*inputs), fusion(*inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("K", [1, 3])
def test_accelerated_networks_find_the_same_and_leave_the_given_alone(K: int, filled) -> None:
    torch.manual_seed(0)
    network, fusion = filled(Propagation(50, 0.25)), filled(Fusion(0.5))
    before = copy.deepcopy(network.state_dict())
    fast, fast_fusion = optimized(network), optimized(fusion)
    image, masks = torch.randn(1, 3, 48, 80), torch.rand(1, K, 48, 80) / K
    with torch.inference_mode():
        memory, fast_memory = network.memorize(image, masks), fast.memorize(image, masks)
        query, fast_query = network.query(image), fast.query(image)
        for ours, theirs in zip((*fast_memory, *fast_query), (*memory, *query), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
        found, expected = fast.segment(fast_query, fast_memory, 5), network.segment(query, memory, 5)
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
        planes = expected[0].unsqueeze(1)
        inputs = image.expand(K, -1, -1, -1), planes, planes.flip(0), torch.rand(K, 2, 48, 80), torch.rand(K, 2)
        torch.testing.assert_close(fast_fusion(*inputs), fusion(*inputs), rtol=0, atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())


@pytest.mark.parametrize("kind", [Propagation, STCN])
def test_on_a_cpu_keys_have_large_tiles_only_if_precision_may_be_reduced(kind: type[SpaceTimeNetwork], filled) -> None:
    for precision, encoding in (("full", 16), ("reduced", 36)):
        fast = optimized(filled(kind(18, 0.5)), precision)
        tiles = {name: module.weight.shape[0] for name, module in fast.named_modules() if isinstance(module, Winograd)}
        assert {count for name, count in tiles.items() if name.startswith("decoder.")} == {36}
        assert {count for name, count in tiles.items() if not name.startswith("decoder.")} == {encoding}


@pytest.mark.parametrize("kind", [Propagation, STCN])
def test_half_the_bits_find_nearly_the_same(kind: type[SpaceTimeNetwork], filled) -> None:
    """What a graphics card does where precision may be reduced, computed on a CPU."""
    torch.manual_seed(0)
    image, masks, maps = torch.randn(1, 3, 48, 80), torch.rand(1, 2, 48, 80) / 2, torch.rand(2, 2, 48, 80)
    images, times = image.expand(2, -1, -1, -1), torch.rand(2, 2)
    found = []
    for half in (False, True):
        network, fusion = filled(kind(18, 0.25)), filled(Fusion(0.5))
        if half:
            compute_in_half(network)
            compute_in_half(fusion)
        with torch.inference_mode():
            query = network.query(image)
            memory = network.memorize(image, masks, query)
            planes = network.segment(query, memory, 5)[0].unsqueeze(1)
            fused = torch.sigmoid(fusion(images, planes, planes.flip(0), maps, times))
        found.append({"key": query.key, "value": memory.value, "probability": planes, "fused": fused})
    for name, expected in found[0].items():
        value = found[1][name]
        assert value.dtype == torch.float32
        assert 0 < (value - expected).abs().max() < 0.02 * expected.abs().max(), name


@pytest.mark.parametrize(("M", "k"), [(10, 3), (400, 7), (403, 7), (8100, 50), (50, 50)])
def test_largest_is_topk(M: int, k: int) -> None:
    x = torch.randn(2, 3, 5, M, generator=torch.Generator().manual_seed(M))
    values, places = largest(x, k)
    assert torch.equal(values.sort(dim=-1, descending=True).values, x.topk(k).values)
    assert torch.equal(x.gather(-1, places), values)
    assert all(len(row.unique()) == k for row in places.flatten(0, 2))


def test_stand_ins_pass() -> None:
    stand_in = object()
    assert optimized(stand_in) is stand_in
