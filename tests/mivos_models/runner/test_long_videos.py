"""Long videos: few frames in memory, masks in files, nothing that grows with a frame but a few bytes."""

import errno
import tracemalloc
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from mivos_models import STCN, Fusion, InteractiveRunner, Memory, Propagation, SmallPropagation, propagate
from mivos_models.runner.spill import Masks
from tests.mivos_models.networks.test_own_goldens import moving_squares
from tests.mivos_models.runner.test_runner import Recorder, SparseRecorder, index_mask, numbered_frames
from vosforge import InputError, VOSForgeError

SIZE = 64


class DrawnFrames:
    """Frames that are made when they are read, and counted."""

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, T: int) -> None:
        self.shape, self.read = (T, SIZE, SIZE, 3), 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, t: int) -> np.ndarray:
        self.read += 1
        return np.full(self.shape[1:], t % 250, np.uint8)


class Standstill:
    """Stands in for a propagation network: every frame is segmented alike."""

    published_top_k = 50
    training = False

    def __init__(self, keeps_previous: bool) -> None:
        self.keeps_previous = keeps_previous
        self.most_read = 0

    def parameters(self):
        yield torch.zeros(1)

    def memorize(self, frame, masks, query=None) -> Memory:
        cells = torch.zeros(1, masks.shape[1], 1, 1, 1, 8)
        return Memory(cells, cells)

    def query(self, frame) -> tuple[torch.Tensor]:
        return (torch.zeros(1, 8, 1, 1),)

    def segment(self, query, memory: Memory, top_k) -> torch.Tensor:
        self.most_read = max(self.most_read, memory.key.shape[2])
        return torch.full((1, memory.key.shape[1], SIZE, SIZE), 0.7)

    def attention(self, query, memory, differences) -> torch.Tensor:
        return differences


@pytest.fixture
def in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small, masks are in files."""
    monkeypatch.setattr("mivos_models.runner.spill.IN_MEMORY_BYTES", 0)


def propagating(network: Standstill, frames: DrawnFrames) -> None:
    assert all(mask.all() for mask in propagate(frames, np.ones((SIZE, SIZE), np.uint8), network))


def interacting(network: Standstill, frames: DrawnFrames) -> None:
    runner = InteractiveRunner(network, frames, 1)
    assert all(mask.all() for mask in runner.interact(len(frames) // 2, np.ones((SIZE, SIZE), np.uint8)))
    assert runner.undo() and not any(mask.any() for mask in runner.masks)
    assert runner.redo() and all(mask.all() for mask in runner.masks)


@pytest.mark.parametrize("keeps_previous", [True, False])
@pytest.mark.parametrize(("run", "T"), [(propagating, 180), (interacting, 360)])
def test_a_pass_reads_few_frames_of_memory_and_each_frame_once(
    run: Callable[..., None], T: int, keeps_previous: bool, in_files: None
) -> None:
    network, frames = Standstill(keeps_previous), DrawnFrames(T)
    run(network, frames)
    assert network.most_read == 32
    assert frames.read == len(frames)


@pytest.mark.parametrize(("run", "bytes_a_frame"), [(propagating, 512), (interacting, 1536)])
def test_what_python_holds_hardly_grows(run: Callable[..., None], bytes_a_frame: int, in_files: None) -> None:
    """A mask has 4,096 bytes here; a runner notes for each frame where its probabilities, mask and query are."""

    def peak(T: int) -> int:
        network, frames = Standstill(True), DrawnFrames(T)
        tracemalloc.start()
        try:
            run(network, frames)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(20)  # what is imported or computed once is no growth
    assert peak(300) - peak(100) < 200 * bytes_a_frame


FAMILIES = [partial(Propagation, 18, 0.125), partial(STCN, 18, 0.125), SmallPropagation]


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_in_files_are_those_in_memory(family, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    frames, masks = moving_squares(6, 40, 56, 2)
    torch.manual_seed(3)
    propagation, fusion = family().eval(), Fusion(0.25).eval()
    found = []
    for size in (2**27, 0):
        monkeypatch.setattr("mivos_models.runner.spill.IN_MEMORY_BYTES", size)
        results = [propagate(frames, masks[0], propagation)]
        runner = InteractiveRunner(propagation, frames, 2, fusion=fusion)
        results += [runner.interact(0, masks[0]), runner.interact(5, masks[5])]
        results[-1][:] = 7  # the caller's own
        runner.set_mask(3, masks[0])
        results.append(runner.masks)
        assert np.array_equal(runner.mask(3), masks[0])
        runner.save(tmp_path / "session.pt")
        loaded = InteractiveRunner.load(tmp_path / "session.pt", propagation, frames, fusion=fusion)
        results += [loaded.masks, loaded.interact(2, masks[2])]
        assert runner.undo() and runner.undo()
        results.append(runner.masks)
        found.append(results)
    for in_memory, in_file in zip(*found, strict=True):
        assert type(in_file) is np.ndarray and in_file.flags.writeable
        np.testing.assert_array_equal(in_memory, in_file)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_short_video_has_the_same_masks_whatever_the_maximum(family) -> None:
    frames, masks = moving_squares(12, 64, 80, 2)
    torch.manual_seed(3)
    network = family().eval()
    fewer, all_of_them = (propagate(frames, masks[0], network, mem_every=2, memory_frames=n) for n in (7, 10**6))
    np.testing.assert_array_equal(fewer, all_of_them)
    fewer, all_of_them = (InteractiveRunner(network, frames, 2, mem_every=2, memory_frames=n) for n in (9, 10**6))
    for t in (0, 7, 3):
        np.testing.assert_array_equal(fewer.interact(t, masks[t]), all_of_them.interact(t, masks[t]))


@pytest.mark.parametrize("recorder", [Recorder, SparseRecorder])
def test_given_and_latest_frames_are_always_read(recorder: type[Recorder]) -> None:
    network = recorder()
    runner = InteractiveRunner(network, numbered_frames(200), 1, memory_frames=6)
    for t in (0, 100, 199):
        network.reads.clear()
        runner.interact(t, index_mask(1))
    assert [t for t, _ in network.reads] == list(range(198, 100, -1))
    for t, held in network.reads:
        assert {0, 100, 199} <= set(held) and len(held) <= 6
        assert min(abs(t - other) for other in held) <= (1 if recorder.keeps_previous else 5)
    assert len(network.reads[-1][1]) == 6

    network.reads.clear()
    masks = {t: np.where(np.arange(16) == label, label, 0) * np.ones((16, 1), int) for label, t in enumerate((3, 9), 2)}
    propagate(numbered_frames(200), index_mask(1), network, later=masks, memory_frames=2)
    for t, held in network.reads:
        if t > 9:
            assert set(held) >= ({0, 3, 9} if 0 in held else {3, 9} if 3 in held else {9})
            assert len(held) <= 4, "the given and one more"


def test_sessions_keep_the_maximum_and_earlier_ones_open(tmp_path) -> None:
    frames, masks = moving_squares(8, 40, 56, 2)
    torch.manual_seed(3)
    network, path = STCN(18, 0.125).eval(), tmp_path / "session.pt"
    runner = InteractiveRunner(network, frames, 2, mem_every=1, memory_frames=3)
    runner.interact(0, masks[0])
    runner.save(path)
    loaded = InteractiveRunner.load(path, network, frames)
    np.testing.assert_array_equal(runner.interact(7, masks[7]), loaded.interact(7, masks[7]))
    held = torch.load(path, weights_only=True)
    assert held.pop("memory_frames") == 3
    torch.save(held, path)
    InteractiveRunner.load(path, network, frames).save(path)
    assert torch.load(path, weights_only=True)["memory_frames"] == 32


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(InputError, match="memory_frames must be at least 1, not 0"):
        propagate(numbered_frames(2), index_mask(1), Recorder(), memory_frames=0)
    with pytest.raises(InputError, match="memory_frames must be at least 1, not 0"):
        InteractiveRunner(Recorder(), numbered_frames(2), 1, memory_frames=0)


def test_a_disk_without_space_for_the_masks_is_an_error(in_files: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(VOSForgeError, match="free some space, or set TMPDIR"):
        Masks(3, 4, 5)
