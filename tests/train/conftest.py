from collections.abc import Iterator

import pytest
import torch

from tests.train import runs
from vosforge.videos.video import MemoryVideo


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only lose time to threads, most of all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def videos() -> list[MemoryVideo]:
    """Those of the runs in processes of their own."""
    return runs.videos()
