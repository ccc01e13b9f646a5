import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mivos_models import Memory, affinity, aggregate, aggregate_logits, join, proximity, read
from mivos_models.networks.memory import Affinity, Bank, transfer


def random_memory(generator: torch.Generator, B: int = 2, K: int = 3, T: int = 2, h: int = 3, w: int = 4) -> Memory:
    return Memory(
        torch.randn(B, K, T, h, w, 8, generator=generator, dtype=torch.float64),
        torch.randn(B, K, T, h, w, 5, generator=generator, dtype=torch.float64),
    )


def read_slowly(memory: Memory, query_key: torch.Tensor, top_k: int | None) -> torch.Tensor:
    B, K, T, h, w, _ = memory.key.shape
    result = torch.zeros(B, K, memory.value.shape[-1], h, w, dtype=memory.value.dtype)
    for b in range(B):
        for k in range(K):
            for y in range(h):
                for x in range(w):
                    cells = [
                        (memory.key[b, k, t, i, j] @ query_key[b, :, y, x] / math.sqrt(8), memory.value[b, k, t, i, j])
                        for t in range(T)
                        for i in range(h)
                        for j in range(w)
                    ]
                    cells = sorted(cells, key=lambda cell: -cell[0].item())[:top_k]
                    total = sum(torch.exp(score) for score, _ in cells)
                    result[b, k, :, y, x] = sum(torch.exp(score) / total * value for score, value in cells)
    return result


def test_proximity_is_the_negative_squared_distance_up_to_a_constant_per_query_cell() -> None:
    generator = torch.Generator().manual_seed(6)
    key = random_memory(generator).key
    query_key = torch.randn(2, 8, 3, 4, generator=generator, dtype=torch.float64)
    distance = torch.cdist(query_key.flatten(2).transpose(1, 2).unsqueeze(1), key.flatten(2, 4))
    constant = proximity(key, query_key) + distance.square() / math.sqrt(8)
    torch.testing.assert_close(constant, constant[:, :1, :, :1].expand_as(constant))


@pytest.mark.parametrize("similar", [affinity, proximity])
@pytest.mark.parametrize("top_k", [None, 5])
def test_a_key_that_objects_share_is_read_as_if_each_had_it(similar: Affinity, top_k: int | None) -> None:
    generator = torch.Generator().manual_seed(7)
    memory = random_memory(generator)
    shared, repeated = (memory._replace(key=memory.key[:, :1].expand(-1, K, -1, -1, -1, -1)) for K in (1, 3))
    query_key = torch.randn(2, 8, 3, 4, generator=generator, dtype=torch.float64)
    maps = torch.rand(2, 3, 2, 48, 64, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(read(shared, query_key, top_k, similar), read(repeated, query_key, top_k, similar))
    keys = (m.key[:, :, :1] for m in (shared, repeated))
    torch.testing.assert_close(*(transfer(key, query_key, maps, similar) for key in keys))


@pytest.mark.parametrize("top_k", [None, 1, 5, 1000])
def test_read_equals_its_slow_twin(top_k: int | None) -> None:
    generator = torch.Generator().manual_seed(1)
    memory = random_memory(generator)
    query_key = torch.randn(2, 8, 3, 4, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(read(memory, query_key, top_k), read_slowly(memory, query_key, top_k))


def test_top_k_of_everything_is_the_dense_read_with_its_gradient() -> None:
    generator = torch.Generator().manual_seed(2)
    gradients = []
    for top_k in (None, 24):
        memory = Memory(*(part.requires_grad_() for part in random_memory(generator.manual_seed(2))))
        query_key = torch.randn(2, 8, 3, 4, generator=generator, dtype=torch.float64).requires_grad_()
        read(memory, query_key, top_k).square().sum().backward()
        gradients.append([memory.key.grad, memory.value.grad, query_key.grad])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_join_keeps_the_order_of_frames() -> None:
    first, second = (random_memory(torch.Generator().manual_seed(seed), T=seed) for seed in (1, 2))
    both = join([first, second])
    assert both.key.shape[2] == 3
    torch.testing.assert_close(both.value[:, :, 1:], second.value)


@pytest.mark.parametrize("top_k", [None, 5])
def test_a_bank_is_what_was_joined(top_k: int | None) -> None:
    generator = torch.Generator().manual_seed(8)
    frames = [random_memory(generator, T=1) for _ in range(5)]
    query_key = torch.randn(2, 8, 3, 4, generator=generator, dtype=torch.float64)
    bank, kept = Bank(frames[0], 4), []
    for t, (frame, for_good) in enumerate(zip(frames, (True, False, True, False, False), strict=True)):
        bank.add(frame, t, for_good=for_good)
        expected = join([*kept, frame])
        assert all(torch.equal(*parts) for parts in zip(bank.memory, expected, strict=True))
        assert torch.equal(read(bank.memory, query_key, top_k), read(expected, query_key, top_k))
        kept += [frame] * for_good


def numbered(t: int) -> Memory:
    """A memory of one cell that says which frame it is of."""
    return Memory(torch.full((1, 1, 1, 1, 1, 1), float(t)), torch.full((1, 1, 1, 1, 1, 1), float(t)))


@settings(deadline=None, max_examples=60)
@given(
    limit=st.integers(1, 40),
    every=st.integers(1, 7),
    T=st.integers(2, 900),
    more=st.sets(st.integers(1, 899), max_size=6),
    previous=st.booleans(),
    backwards=st.booleans(),
)
def test_a_bank_holds_few_frames_spread_over_the_video(
    limit: int, every: int, T: int, more: set[int], previous: bool, backwards: bool
) -> None:
    annotated = {0} | {t for t in more if t < T}
    bank = Bank(numbered(0), Bank.space(limit, len(annotated), T // every + 1))
    last, added, widest = 0, [], 0
    for t in range(T):
        stays = t in annotated or t - last >= every
        if not (stays or previous):
            continue
        bank.add(numbered(t), -t if backwards else t, given=t in annotated, for_good=stays)
        if stays:
            widest, last = max(widest, t - last), t
            added.append(t)
        held = bank.memory.key.flatten().int().tolist()
        assert held[-1] == t and torch.equal(*bank.memory), "the newest is the last"
        kept = sorted(abs(time) for time in bank.times)
        assert sorted(held) == sorted({*kept, t}), "the content is what stays, and the frame just added"
        assert len(held) <= max(limit, 1 + len(annotated))
        assert annotated.intersection(range(t + 1)) <= set(kept), "given frames stay"
        recent = min(limit // 4, limit - len(annotated) - 1)
        assert set(added[len(added) - recent :] if recent > 0 else []) <= set(kept), "the latest stay"
        between = bank.frames - len(annotated) - max(1, bank.frames // 4)
        if between > 0:
            gaps = [after - before for before, after in pairwise(kept)]
            assert max(gaps, default=0) <= max(widest, 2 * t / between), "the others are spread evenly"
        if len(added) + previous <= limit:
            assert kept == added, "nothing is dropped before the bank is full"


def test_a_long_pass_ends_with_an_even_memory() -> None:
    """Between the first frame and the latest, the longest gap is at most three times the shortest."""
    bank = Bank(numbered(0), 32)
    for t in range(0, 10_000, 5):
        bank.add(numbered(t), t, given=t == 0)
    gaps = [after - before for before, after in pairwise(bank.times)]
    assert len(bank.times) == 32 and gaps[-8:] == [5] * 8
    assert max(gaps[:-9]) <= 3 * min(gaps[:-9])


def test_transfer_equals_its_slow_twin() -> None:
    generator = torch.Generator().manual_seed(3)
    key = random_memory(generator, B=1, K=2, T=1).key
    query_key = torch.randn(1, 8, 3, 4, generator=generator, dtype=torch.float64)
    maps = torch.rand(1, 2, 2, 48, 64, generator=generator, dtype=torch.float64)
    cells = maps.unflatten(4, (4, 16)).unflatten(3, (3, 16)).mean(dim=(4, 6))  # [1,2,2,3,4]
    expected = read_slowly(Memory(key, cells.movedim(2, -1).unsqueeze(2)), query_key, None)[0]
    expected = torch.nn.functional.interpolate(expected, size=(48, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(transfer(key, query_key, maps)[0], expected)


@pytest.mark.parametrize("hard", [False, True])
def test_aggregate_equals_its_slow_twin(hard: bool) -> None:
    p = torch.rand(3, 50, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    p[:, 0], p[:, 1] = 0, 1
    for pixel in range(p.shape[1]):
        entries = [math.prod(1 - float(q) for q in p[:, pixel]), *map(float, p[:, pixel])]
        entries = [min(max(q, 1e-7), 1 - 1e-7) for q in entries]
        odds = [1000 * math.log(q / (1 - q)) if hard else math.log(q / (1 - q)) for q in entries]
        weights = [math.exp(value - max(odds)) for value in odds]
        expected = [weight / sum(weights) for weight in weights]
        assert aggregate(p, hard=hard)[:, pixel].tolist() == pytest.approx(expected, abs=1e-9)
    torch.testing.assert_close(aggregate(p, keep_bg=False, hard=hard), aggregate(p, hard=hard)[1:])


def test_aggregate_along_another_dimension() -> None:
    p = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(aggregate_logits(p, dim=1)[1], aggregate_logits(p[1]))
    torch.testing.assert_close(aggregate(p, dim=1, keep_bg=False)[1], aggregate(p[1])[1:])
