"""Probes the head of a Ray cluster without Ray, which would retry for 15 minutes."""

import os
import socket
from urllib.parse import urlsplit

from vosforge.errors import InputError, first_line

PATIENCE = 15.0
"""Timeout of the head's answer in seconds."""


def check_head(address: str) -> None:
    """Raise InputError unless ``address`` is valid and something listens there.

    Skipped if Ray finds the cluster itself ("auto" without RAY_ADDRESS).
    """
    if address == "auto" and not (address := os.environ.get("RAY_ADDRESS", "")):
        return
    try:
        head = urlsplit(f"//{address}")
        host, port = head.hostname, head.port
    except ValueError:
        host = port = None
    if host is None or port is None:
        raise InputError(
            f"'{address}' is not the address of a Ray cluster's head: write host:port (no ray://), or auto"
        )
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError as error:
        raise InputError(
            f"nothing answers at {address}, where a Ray cluster should be ({first_line(error)}): start its head with "
            "'ray start --head', or check the address"
        ) from None
