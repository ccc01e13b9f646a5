from collections.abc import Callable, Iterator

import pytest
import torch

from vosforge.videos.video import MemoryVideo


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only lose time to threads, most of all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def videos(make_video: Callable[..., MemoryVideo]) -> list[MemoryVideo]:
    """Two videos of six frames."""
    return [make_video(seed, num_frames=6) for seed in range(2)]
