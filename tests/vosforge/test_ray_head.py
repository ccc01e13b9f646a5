import socket

import pytest

from vosforge import InputError, VOSForgeError
from vosforge.ray_head import PATIENCE, check_head


@pytest.fixture
def deserted():
    """An address at which something listened, and no longer does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        check_head(address)
    return address


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_a_head_that_is_not_there_is_named_after_one_try_of_limited_length(monkeypatch, deserted, by):
    connect, tries = socket.create_connection, []

    def note(address, timeout):
        tries.append(timeout)
        return connect(address, timeout)

    monkeypatch.setattr(socket, "create_connection", note)
    if by == "environment":
        monkeypatch.setenv("RAY_ADDRESS", deserted)
    with pytest.raises(VOSForgeError, match=rf"^nothing answers at {deserted}, .*Errno 111.*: start its head with"):
        check_head(deserted if by == "flag" else "auto")
    assert tries == [PATIENCE]


def test_ray_finds_a_cluster_by_itself(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    check_head("auto")


@pytest.mark.parametrize(
    "address", ["head", "head:", "head:port", "head:99999", ":6379", "[::1:6379", "ray://head:10001"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(InputError, match=r"is not the address of a Ray cluster's head: write host:port .*, or auto$"):
        check_head(address)
