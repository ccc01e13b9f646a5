"""Set-up of a local Ray: a folder with short paths, a token if the home is not writable, a port for metrics."""

import importlib.util
import os
import secrets
import socket
from pathlib import Path

from vosforge.errors import InputError
from vosforge.processes import short_folder

SERVES_METRICS = ("aiohttp_cors", "opencensus", "opentelemetry", "prometheus_client")
"""What of ``ray[default]`` a node needs to serve metrics; without it, Ray counts them and serves none."""


def ray_folder() -> Path:
    """Folder of a local Ray's sockets: below RAY_TMPDIR or TMPDIR if short enough, else a shorter one."""
    return short_folder(os.environ.get("RAY_TMPDIR", "")) / "ray"


def lend_token() -> None:
    """Give Ray a token for this process if it cannot write one into ``~/.ray``."""
    folder = Path.home() / ".ray"
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not (folder / "auth_token").exists() and not os.access(there, os.W_OK):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def check_metrics(port: int) -> None:
    """Raise InputError unless a local Ray can serve metrics on ``port``."""
    if missing := [name for name in SERVES_METRICS if importlib.util.find_spec(name) is None]:
        raise InputError(f"Ray serves metrics only with {' and '.join(missing)}: pip install 'ray[default]'")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(f"metrics cannot be served on port {port} ({error.strerror}): choose another") from None
