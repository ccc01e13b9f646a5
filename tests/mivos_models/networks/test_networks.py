"""Small networks: what training relies on."""

import pytest
import torch
from torch import nn

from mivos_models import (
    S2M,
    STCN,
    Fusion,
    Memory,
    Padding,
    Propagation,
    SmallPropagation,
    SpaceTimeNetwork,
    aggregate,
    aggregate_logits,
    join,
)
from mivos_models.networks.resnet import scaled


@pytest.fixture(params=[(Propagation, 18), (Propagation, 50), (STCN, 18), (STCN, 50), (SmallPropagation, None)])
def propagation(request: pytest.FixtureRequest) -> SpaceTimeNetwork:
    network, depth = request.param
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return network() if depth is None else network(depth, 0.125)


def clip_of(B: int, K: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    frames = torch.randn(B, 3, 3, 32, 48, generator=generator)
    masks = torch.rand(B, K, 32, 48, generator=generator) / K
    return frames, masks


def test_widths_are_multiples_of_eight() -> None:
    assert [scaled(n, 0.125) for n in (64, 48, 32)] == [8, 8, 8]
    assert [scaled(n, 1.0) for n in (64, 48, 32, 2048)] == [64, 48, 32, 2048]
    for network in (Propagation, STCN):
        for depth, width in ((34, 1.0), (18, 0.3), (18, 0.0)):
            with pytest.raises(ValueError, match="must be"):
                network(depth, width)


def test_a_batch_is_the_same_as_one_video_and_one_query_at_a_time(propagation: SpaceTimeNetwork) -> None:
    propagation.eval()
    frames, masks = clip_of(2, 3)
    with torch.inference_mode():
        memory = propagation.memorize(frames[:, 0], masks)
        both = propagation.segment(propagation.query(frames[:, 1]), memory, 3)
        for b in range(2):
            alone = propagation.memorize(frames[b : b + 1, 0], masks[b : b + 1])
            torch.testing.assert_close(alone.value[0], memory.value[b], rtol=1e-4, atol=1e-5)
            one = propagation.segment(propagation.query(frames[b : b + 1, 1]), alone, 3)
            torch.testing.assert_close(one[0], both[b], rtol=0, atol=1e-3)


def test_many_objects_are_read_and_decoded_as_each_alone(propagation: SpaceTimeNetwork) -> None:
    propagation.eval()
    frames, masks = clip_of(1, 3)
    with torch.inference_mode():
        memory = join([propagation.memorize(frames[:, t], masks) for t in range(2)])
        query = propagation.query(frames[:, 2])
        together = propagation.segment(query, memory, 3)
        for k in range(3):
            shared = memory.key.shape[1] == 1
            alone = Memory(memory.key if shared else memory.key[:, k : k + 1], memory.value[:, k : k + 1])
            torch.testing.assert_close(propagation.segment(query, alone, 3)[:, 0], together[:, k], rtol=1e-4, atol=1e-5)


def test_the_frames_own_query_only_saves_work(propagation: SpaceTimeNetwork) -> None:
    propagation.eval()
    frames, masks = clip_of(2, 3)
    with torch.inference_mode():
        with_query = propagation.memorize(frames[:, 0], masks, propagation.query(frames[:, 0]))
        without = propagation.memorize(frames[:, 0], masks)
    assert all(torch.equal(a, b) for a, b in zip(with_query, without, strict=True))


def test_stcn_has_one_key_for_all_objects() -> None:
    frames, masks = clip_of(2, 3)
    with torch.inference_mode():
        memory = STCN(18, 0.125).memorize(frames[:, 0], masks)
    assert memory.key.shape == (2, 1, 1, 2, 3, 8)
    assert memory.value.shape == (2, 3, 1, 2, 3, 64)


def test_every_object_sees_the_sum_of_the_others(propagation: SpaceTimeNetwork) -> None:
    """An object's memory depends on the others through their sum alone."""
    frames, masks = clip_of(1, 3)
    with torch.inference_mode():
        three = propagation.memorize(frames[:, 0], masks)
        two = propagation.memorize(frames[:, 0], torch.stack([masks[:, 0], masks[:, 1] + masks[:, 2]], dim=1))
        alone = propagation.memorize(frames[:, 0], masks[:, :1])
    torch.testing.assert_close(three.value[:, 0], two.value[:, 0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(alone.value[:, 0], two.value[:, 0], atol=1e-3)


def test_a_clip_reaches_every_parameter(propagation: SpaceTimeNetwork) -> None:
    propagation.train()
    for module in propagation.modules():
        if isinstance(module, nn.BatchNorm2d):  # residual branches start silent, and what feeds them with them
            nn.init.ones_(module.weight)
    frames, masks = clip_of(2, 2)
    memory = propagation.memorize(frames[:, 0], masks)
    first = aggregate(propagation.segment(propagation.query(frames[:, 1]), memory), dim=1, keep_bg=False)
    memory = join([memory, propagation.memorize(frames[:, 1], first)])
    logits = aggregate_logits(propagation.segment(propagation.query(frames[:, 2]), memory), dim=1)
    nn.functional.cross_entropy(logits, torch.ones(2, 32, 48, dtype=torch.long)).backward()
    without = [name for name, parameter in propagation.named_parameters() if parameter.grad is None]
    dead = [
        name for name, parameter in propagation.named_parameters() if name not in without and not parameter.grad.any()
    ]
    assert without == []
    assert set(dead) <= {"key_proj.key_proj.bias"}  # memory and query share it: distances do not see it


def test_propagation_never_learns_batch_statistics(propagation: SpaceTimeNetwork) -> None:
    propagation.train()
    assert propagation.training
    assert not any(m.training for m in propagation.modules() if isinstance(m, nn.BatchNorm2d))
    before = {name: buffer.clone() for name, buffer in propagation.named_buffers()}
    frames, masks = clip_of(1, 1)
    propagation.query(frames[:, 0])
    propagation.memorize(frames[:, 0], masks)
    for name, buffer in propagation.named_buffers():
        assert torch.equal(buffer, before[name])


def test_a_fresh_network_is_undecided(propagation: SpaceTimeNetwork) -> None:
    """The first predictions must be far from where soft aggregation clamps: there nothing is learnt."""
    propagation.eval()
    frames, masks = clip_of(1, 1)
    with torch.inference_mode():
        memory, query = propagation.memorize(frames[:, 0], masks), propagation.query(frames[:, 0])
        found = propagation.segment(query, memory)
    assert found.min() > 0.05
    assert found.max() < 0.95


def test_frames_must_be_padded(propagation: SpaceTimeNetwork) -> None:
    with pytest.raises(ValueError, match="multiples of 16: it is 30×48"):
        propagation.query(torch.zeros(1, 3, 30, 48))


@pytest.mark.parametrize("depth", [18, 50])
def test_s2m_trains_with_its_batch_norm(depth: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = S2M(depth, 0.125).train()
        logits = network(torch.randn(2, 6, 30, 45))
    assert logits.shape == (2, 1, 30, 45)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.1]
    assert network.backbone.bn1.running_mean.any()


def test_fusion_takes_any_size() -> None:
    images, maps = torch.rand(2, 3, 21, 17), torch.rand(2, 2, 21, 17)
    network = Fusion(0.25)
    assert network(images, maps[:, :1], maps[:, 1:], maps, torch.rand(2, 2)).shape == (2, 1, 21, 17)


@pytest.mark.parametrize(
    ("size", "padding"), [((100, 150), (5, 5, 6, 6)), ((96, 160), (0, 0, 0, 0)), ((1, 17), (7, 8, 7, 8))]
)
def test_padding(size: tuple[int, int], padding: tuple[int, ...]) -> None:
    ours = Padding.for_size(*size)
    assert tuple(ours) == padding
    x = torch.rand(2, *size)
    assert ours.pad(x).shape[1] % 16 == ours.pad(x).shape[2] % 16 == 0
    assert ours.pad(x).sum() == pytest.approx(float(x.sum()))
    torch.testing.assert_close(ours.unpad(ours.pad(x)), x)
