import pytest

from tests.train import runs
from vosforge.videos.video import MemoryVideo


@pytest.fixture(scope="session")
def videos() -> list[MemoryVideo]:
    """Those of the runs in processes of their own."""
    return runs.videos()
