"""The runner's rules, watched through networks that only write down what they are asked."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

from mivos_models import S2M, STCN, Fusion, InteractiveRunner, Memory, Propagation, SmallPropagation, propagate
from mivos_models.networks.images import MEAN, STD
from vosforge import InputError


class Seen(NamedTuple):
    frame: torch.Tensor


def frame_number(image: torch.Tensor) -> int:
    """Frames of these tests are filled with their own number."""
    return round((float(image[0, 0, 8, 8]) * STD[0] + MEAN[0]) * 255)


class Recorder:
    """Stands in for the propagation network; every frame it segments gets the probability 1/(frame + 2)."""

    published_top_k = 50
    keeps_previous = True
    training = False

    def __init__(self) -> None:
        self.reads: list[tuple[int, list[int]]] = []
        self.memorised: list[tuple[int, torch.Tensor]] = []
        self.attended: list[tuple[int, int, torch.Tensor]] = []
        self.queried: list[int] = []

    def parameters(self):
        yield torch.zeros(1)

    def memorize(self, frame: torch.Tensor, masks: torch.Tensor, query: Seen | None = None) -> Memory:
        number = frame_number(frame)
        assert query is None or int(query.frame) == number
        self.memorised.append((number, masks))
        rows = torch.full((1, masks.shape[1], 1, 1, 1, 1), float(number))
        return Memory(rows, rows)

    def query(self, frame: torch.Tensor) -> Seen:
        self.queried.append(frame_number(frame))
        return Seen(torch.tensor(frame_number(frame)))

    def segment(self, query: Seen, memory: Memory, top_k: int | None) -> torch.Tensor:
        number, K = int(query.frame), memory.key.shape[1]
        self.reads.append((number, memory.key[0, 0].flatten().int().tolist()))
        return torch.full((1, K, 16, 16), 1 / (number + 2))

    def attention(self, query: Seen, memory: Memory, differences: torch.Tensor) -> torch.Tensor:
        self.attended.append((int(query.frame), int(memory.key[0, 0, 0, 0, 0, 0]), differences))
        return differences


class SparseRecorder(Recorder):
    """Stands in for STCN."""

    keeps_previous = False


class FusionRecorder:
    training = False

    def __init__(self) -> None:
        self.calls: list[tuple[float, float, tuple[float, float]]] = []

    def __call__(self, image, old, new, attention, time) -> torch.Tensor:
        n_old, n_new = time[0].tolist()
        self.calls.append((float(old[0, 0, 8, 8]), float(new[0, 0, 8, 8]), (n_old, n_new)))
        return torch.full_like(old, 3.0)


def numbered_frames(T: int) -> np.ndarray:
    return np.broadcast_to(np.arange(T, dtype=np.uint8)[:, None, None, None], (T, 16, 16, 3)).copy()


def index_mask(*labels: int) -> np.ndarray:
    mask = np.zeros((16, 16), np.uint8)
    for row, label in enumerate(labels):
        mask[row] = label
    return mask


def test_memory_schedule_of_the_worked_example() -> None:
    network, fusion = Recorder(), FusionRecorder()
    runner = InteractiveRunner(network, numbered_frames(12), 1, fusion=fusion)
    runner.interact(3, index_mask(1))
    forward = [(4, [3]), *((t, [3, t - 1]) for t in (5, 6, 7, 8)), (9, [3, 8]), (10, [3, 8, 9]), (11, [3, 8, 10])]
    backward = [(2, [3]), (1, [3, 2]), (0, [3, 1])]
    assert network.reads == forward + backward
    assert [t for t, _ in network.memorised] == [3, 4, 5, 6, 7, 8, 9, 10, 2, 1]
    assert fusion.calls == []

    network.reads.clear()
    network.memorised.clear()
    runner.interact(9, index_mask(0, 1))
    forward = [(10, [3, 9]), (11, [3, 9, 10])]
    backward = [(8, [3, 9]), *((t, [3, 9, t + 1]) for t in (7, 6, 5, 4))]
    assert network.reads == forward + backward
    assert [t for t, _ in network.memorised] == [9, 10, 8, 7, 6, 5]
    assert [time for _, _, time in fusion.calls] == [pytest.approx(((t - 3) / 6, (9 - t) / 6)) for t in (8, 7, 6, 5, 4)]
    assert [(t, seed) for t, seed, _ in network.attended] == [(t, 9) for t in (8, 7, 6, 5, 4)]
    assert len(network.queried) == 11  # every frame but the first user frame, each once


def test_memory_schedule_without_the_previous_frame() -> None:
    network, fusion = SparseRecorder(), FusionRecorder()
    runner = InteractiveRunner(network, numbered_frames(12), 1, fusion=fusion, mem_every=3)
    runner.interact(2, index_mask(1))
    forward = [
        *((t, [2]) for t in (3, 4, 5)),
        *((t, [2, 5]) for t in (6, 7, 8)),
        *((t, [2, 5, 8]) for t in (9, 10, 11)),
    ]
    assert network.reads == [*forward, (1, [2]), (0, [2])]
    assert [t for t, _ in network.memorised] == [2, 5, 8]  # 11 is the last

    network.reads.clear()
    network.memorised.clear()
    runner.interact(9, index_mask(0, 1))
    backward = [*((t, [2, 9]) for t in (8, 7, 6)), *((t, [2, 9, 6]) for t in (5, 4, 3))]
    assert network.reads == [(10, [2, 9]), (11, [2, 9]), *backward]
    assert [t for t, _ in network.memorised] == [9, 6]  # 3 is the last before the older user frame
    assert [(t, seed) for t, seed, _ in network.attended] == [(t, 9) for t in (8, 7, 6, 5, 4, 3)]


@pytest.mark.parametrize("recorder", [Recorder, SparseRecorder])
def test_a_slow_bookkeeper_agrees_for_random_interactions(recorder: type[Recorder]) -> None:
    """The memory rules once more, written as sets per frame instead of a running state."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        T, every = int(rng.integers(1, 25)), int(rng.integers(1, 8))
        network = recorder()
        runner = InteractiveRunner(network, numbered_frames(T), 2, mem_every=every)
        user: list[int] = []
        for _ in range(3):
            idx = int(rng.integers(T))
            user.append(idx)
            network.reads.clear()
            runner.interact(idx, index_mask(1, 2))
            expected = []
            for sign in (1, -1):
                t = idx + sign
                while 0 <= t < T and t not in user:
                    distance = abs(t - idx)
                    kept = [idx + sign * n for n in range(every, distance, every)]
                    temporary = recorder.keeps_previous and distance > 1 and t - sign not in kept
                    previous = [t - sign] if temporary else []
                    expected.append((t, user + kept + previous))
                    t += sign
            assert network.reads == expected


def test_fusion_sees_the_soft_old_result_and_the_difference_at_the_new_frame() -> None:
    network, fusion = Recorder(), FusionRecorder()
    runner = InteractiveRunner(network, numbered_frames(5), 1, fusion=fusion)
    runner.interact(0, index_mask(1))
    before = {t: float(runner.probabilities(t)[1, 8, 8]) for t in range(5)}
    runner.set_mask(4, index_mask(1, 1, 1))  # display only: neither the difference nor the old result may see it
    runner.interact(4, index_mask(1, 1))
    _, _, differences = network.attended[0]
    expected = torch.zeros(1, 1, 2, 16, 16)
    expected[0, 0, 0, :2] = 1 - before[4]
    expected[0, 0, 1, 2:] = before[4]
    torch.testing.assert_close(differences, expected)
    assert [old for old, _, _ in fusion.calls] == pytest.approx([before[t] for t in (3, 2, 1)])
    # what is remembered of a fused frame is the unfused propagation result
    assert float(network.memorised[-1][1].max()) == pytest.approx(before[2], abs=1e-6)
    assert runner.probabilities(2)[1] == pytest.approx(1 / (1 + np.exp(-6)), abs=1e-4)  # both odds squared by wbg


def test_first_difference_is_taken_against_an_unseen_video() -> None:
    network = Recorder()
    runner = InteractiveRunner(network, numbered_frames(3), 2)
    assert runner.probabilities(1)[0].max() == np.float32(1e-7)
    assert runner.probabilities(1)[1:].max() == 0
    assert not runner.masks.any()


def test_given_probabilities_are_kept_as_they_are() -> None:
    given = np.random.default_rng(0).random((3, 16, 16)).astype(np.float32)
    runner = InteractiveRunner(Recorder(), numbered_frames(3), 2)
    masks = runner.interact(1, given)
    np.testing.assert_array_equal(runner.probabilities(1), given)
    np.testing.assert_array_equal(masks[1], given.argmax(0))


def test_without_fusion_a_new_round_replaces_the_old_result() -> None:
    network = Recorder()
    runner = InteractiveRunner(network, numbered_frames(5), 1)
    runner.interact(0, index_mask(1))
    old = runner.probabilities(2)
    runner.interact(4, index_mask(1))
    np.testing.assert_allclose(runner.probabilities(2), old)
    assert network.attended == []


def test_set_mask_changes_one_frame_until_the_next_round() -> None:
    runner = InteractiveRunner(Recorder(), numbered_frames(4), 2)
    masks = runner.interact(0, index_mask(1, 2))
    probabilities = runner.probabilities(2)
    runner.set_mask(2, index_mask(0, 0, 2))
    changed = runner.masks
    np.testing.assert_array_equal(changed[2], index_mask(0, 0, 2))
    np.testing.assert_array_equal(np.delete(changed, 2, 0), np.delete(masks, 2, 0))
    np.testing.assert_array_equal(runner.probabilities(2), probabilities)
    np.testing.assert_array_equal(runner.interact(0, index_mask(1, 2))[2], masks[2])


def test_masks_replaced_elsewhere_are_taken_back_by_the_next_round() -> None:
    runner = InteractiveRunner(Recorder(), numbered_frames(10), 1)
    for t in (2, 7):
        masks = runner.interact(t, index_mask(1))
    for t in (0, 7, 9):
        runner.set_mask(t, index_mask(0, 1))
    np.testing.assert_array_equal(np.delete(runner.interact(5, index_mask(1)), 5, 0), np.delete(masks, 5, 0))
    runner.undo()
    assert all(np.array_equal(runner.masks[t], index_mask(0, 1)) for t in (0, 7, 9))


def test_frames_outside_the_new_limits_keep_their_result() -> None:
    network = Recorder()
    runner = InteractiveRunner(network, numbered_frames(10), 1)
    for t in (2, 7):
        runner.interact(t, index_mask(1))
    network.reads.clear()
    runner.interact(5, index_mask(1))
    assert sorted(t for t, _ in network.reads) == [3, 4, 6]
    network.reads.clear()
    runner.interact(5, index_mask(1))  # again: its earlier memory stays, the limits are the other user frames
    assert network.reads[0] == (6, [2, 7, 5, 5])
    assert sorted(t for t, _ in network.reads) == [3, 4, 6]


class S2MRecorder:
    training = False
    short_side, looks_again, keeps_the_rest = S2M.short_side, S2M.looks_again, S2M.keeps_the_rest

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return x[:, 4:5] * 8 - 4  # the positive strokes become the object


def test_scribbles_reach_s2m_dilated_per_object_and_padded() -> None:
    s2m = S2MRecorder()
    runner = InteractiveRunner(Recorder(), np.zeros((2, 16, 20, 3), np.uint8), 2, s2m=s2m)
    current = np.zeros((16, 20), np.uint8)
    current[:, :3] = 2
    runner.set_mask(1, current)
    strokes = np.full((16, 20), -1)
    strokes[8, 4], strokes[8, 10], strokes[2, 2] = 1, 2, 0
    mask = runner.scribble(1, strokes)
    assert s2m.seen.shape == (2, 6, 16, 32)
    inside = s2m.seen[..., 6:-6]
    np.testing.assert_array_equal(inside[0, 3], current == 1)
    np.testing.assert_array_equal(inside[1, 3], current == 2)
    around = np.zeros((3, 16, 20), bool)
    around[0, 1:4, 1:4] = around[1, 7:10, 3:6] = around[2, 7:10, 9:12] = True
    np.testing.assert_array_equal(inside[:, 4], around[[1, 2]])
    np.testing.assert_array_equal(inside[:, 5], [around[0] | around[2], around[0] | around[1]])
    np.testing.assert_array_equal(mask, around[1] + 2 * around[2])
    np.testing.assert_array_equal(runner.masks[1], mask)
    assert not runner.probabilities(1)[1:].any()


def test_a_davis_dictionary_is_the_same_as_its_stroke_map() -> None:
    runner = InteractiveRunner(Recorder(), numbered_frames(2), 1, s2m=S2MRecorder())
    line = {"path": [[0.1, 0.5], [0.9, 0.5]], "object_id": 1}
    strokes = np.full((16, 16), -1)
    strokes[7, 1:14] = 1
    from_dictionary = runner.scribble(1, {"scribbles": [[], [line]]})
    assert from_dictionary.any()
    np.testing.assert_array_equal(from_dictionary, runner.scribble(1, strokes))


def small(network: type, *arguments: object) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return network(*arguments).eval()


@pytest.mark.parametrize("network", [(Propagation, 18, 0.125), (STCN, 18, 0.125), (SmallPropagation,)])
@pytest.mark.parametrize(("T", "H", "W", "K"), [(1, 16, 16, 1), (1, 33, 50, 2), (4, 17, 95, 3), (3, 64, 31, 1)])
def test_real_networks_take_any_shape(network: tuple, T: int, H: int, W: int, K: int) -> None:
    """Small grids hold fewer cells than the published top-k; sides need not be multiples of 16."""
    rng = np.random.default_rng(T)
    frames = rng.integers(0, 256, (T, H, W, 3), dtype=np.uint8)
    frames.flags.writeable = False
    runner = InteractiveRunner(small(*network), frames, K, s2m=small(S2M, 18, 0.125), fusion=small(Fusion, 0.25))
    strokes = rng.integers(-1, K + 1, (H, W))
    for t in {0, T - 1}:
        masks = runner.interact(t, runner.scribble(t, strokes))
    assert masks.shape == (T, H, W)
    assert masks.dtype == np.uint8
    assert masks.max() <= K
    for t in range(T):
        assert runner.probabilities(t).shape == (K + 1, H, W)
    np.testing.assert_allclose(runner.probabilities(0).sum(0), 1, atol=1e-5)


def test_networks_may_see_less_than_the_frames_show() -> None:
    rng = np.random.default_rng(4)
    frames = rng.integers(0, 256, (4, 100, 140, 3), np.uint8)
    networks = {"s2m": small(S2M, 18, 0.125), "fusion": small(Fusion, 0.25)}
    propagation = small(Propagation, 18, 0.125)
    runner = InteractiveRunner(propagation, frames, 2, short_side=48, **networks)
    given = np.zeros((100, 140), np.uint8)
    given[11:50, 7:61], given[53:97, 70:131] = 1, 2
    masks = runner.interact(1, given)
    assert masks.shape == (4, 100, 140)
    assert np.array_equal(masks[1], given), "the user's own mask keeps all its pixels"
    assert runner.probabilities(2).shape == (3, 100, 140)
    again = runner.interact(3, runner.scribble(3, np.pad([[1, 2]], ((20, 79), (60, 78)), constant_values=-1)))
    assert np.array_equal(again[1], given)


def test_seeing_frames_in_full_is_seeing_them_as_they_are() -> None:
    frames = np.random.default_rng(5).integers(0, 256, (3, 48, 64, 3), np.uint8)
    mask = np.zeros((48, 64), np.uint8)
    mask[5:30, 9:40] = 1
    propagation = small(Propagation, 18, 0.125)
    found = [InteractiveRunner(propagation, frames, 1, short_side=side).interact(0, mask) for side in (None, 48, 480)]
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


def test_precision_may_be_reduced(filled, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("MIN_WEIGHTS", "MIN_CELLS"):  # small networks and frames would not do otherwise
        monkeypatch.setattr(f"mivos_models.runner.fast.{limit}", 1)
    frames = np.random.default_rng(7).integers(0, 256, (3, 64, 80, 3), np.uint8)
    mask = np.zeros((64, 80), np.uint8)
    mask[10:40, 20:60] = 1
    propagation, fusion = filled(Propagation(18, 0.25)), filled(Fusion(0.25))
    runners = [
        InteractiveRunner(propagation, frames, 1, fusion=fusion, precision=precision)
        for precision in ("full", "reduced")
    ]
    for runner in runners:
        runner.interact(0, mask)
    full, reduced = (runner.probabilities(1) for runner in runners)
    assert 0 < np.abs(full - reduced).max() < 1e-3
    assert np.array_equal(propagate(frames, mask, propagation, precision="reduced"), runners[1].masks), (
        "carried in the same way"
    )


def test_thin_strokes_survive_where_networks_see_less() -> None:
    class Watching(S2M):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen = x
            return x[:, :1]

    s2m = Watching(18, 0.125).eval()
    frames = np.zeros((1, 128, 192, 3), np.uint8)
    runner = InteractiveRunner(small(Propagation, 18, 0.125), frames, 1, s2m=s2m, short_side=32)
    strokes = np.full((128, 192), -1)
    strokes[66, 99] = 1
    runner.scribble(0, strokes)
    assert s2m.seen.shape == (1, 6, 32, 48)
    assert np.argwhere(s2m.seen[0, 4].numpy()).mean(axis=0).tolist() == [66 // 4, 99 // 4]


def test_dense_and_huge_top_k_agree() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    results = []
    for top_k in (None, 10_000):
        runner = InteractiveRunner(small(Propagation, 18, 0.125), frames, 1, top_k=top_k)
        runner.interact(1, (frames[1, :, :, 0] > 128).astype(np.uint8))
        results.append(runner.probabilities(0))
    np.testing.assert_allclose(*results, atol=2e-5)


def test_bad_input_is_named() -> None:
    frames = numbered_frames(3)
    for arguments, message in (
        ((frames[0], 1), "frames must be uint8"),
        ((frames.astype(float), 1), "frames must be uint8"),
        ((frames[:0], 1), "T ≥ 1"),
        ((frames, 0), "num_objects must be 1..254"),
        ((frames, 255), "num_objects must be 1..254"),
    ):
        with pytest.raises(InputError, match=message):
            InteractiveRunner(Recorder(), *arguments)
    for settings, message in (
        ({"top_k": 0}, "top_k"),
        ({"mem_every": 0}, "mem_every"),
        ({"precision": "half"}, "precision must be 'full' or 'reduced'"),
    ):
        with pytest.raises(InputError, match=message):
            InteractiveRunner(Recorder(), frames, 1, **settings)
    with pytest.raises(ValueError, match="propagation network is in training mode"):
        InteractiveRunner(Propagation(18, 0.125), frames, 1)
    runner = InteractiveRunner(Recorder(), frames, 1)
    with pytest.raises(InputError, match=r"no frame 3: the video has frames 0\.\.2"):
        runner.interact(3, index_mask(1))
    with pytest.raises(InputError, match=r"labels 0\.\.2"):
        runner.interact(0, index_mask(2))
    with pytest.raises(InputError, match="a mask must be"):
        runner.interact(0, np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match=r"lie in 0\.\.1"):
        runner.interact(0, np.full((2, 16, 16), np.nan))
    with pytest.raises(InputError, match="need an S2M network"):
        runner.scribble(0, index_mask(1))
    assert not runner.masks.any()


def test_without_attention_fusion_is_not_told_what_changed() -> None:
    told = []

    class Told(FusionRecorder):
        def __call__(self, image, old, new, attention, time) -> torch.Tensor:
            told.append(attention)
            return super().__call__(image, old, new, attention, time)

    for attention in (True, False):
        network = Recorder()
        runner = InteractiveRunner(network, numbered_frames(6), 1, fusion=Told(), attention=attention)
        runner.interact(0, index_mask(1))
        runner.interact(4, index_mask(0, 1))
        assert bool(network.attended) == attention
    assert len(told) == 6 and {each.shape for each in told} == {(1, 2, 16, 16)}
    assert all(each.any() for each in told[:3]) and not any(each.any() for each in told[3:])
