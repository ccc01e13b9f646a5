"""Joins a Ray cluster, or starts Ray on this machine. Ray is optional: import this inside ``extra("cluster", …)``."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants

from vosforge.errors import VOSForgeError, first_line
from vosforge.ray_head import check_head
from vosforge.ray_local import lend_token, ray_folder

LOOPBACK = "127.0.0.1"
OPTIONS: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


def join_ray(address: str, packages: Sequence[str] = ()) -> None:
    """Join the cluster at ``address``: host:port, or "auto". Raises VOSForgeError where that fails.

    Its nodes get the code of ``packages`` as it is here, so that all run the same; what it needs must be installed.
    """
    check_head(address)
    _report_nothing()
    # One try of 40 s for what no longer answers as Ray, for example the last cluster that "auto" finds a note of.
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    try:
        code = [str(Path(str(import_module(name).__file__)).parent) for name in packages]
        ray.init(address=address, runtime_env={"py_modules": code, "excludes": ["__pycache__"]}, **OPTIONS)
    except ConnectionError as error:
        raise VOSForgeError(
            f"cannot join the Ray cluster at {address} ({first_line(error)}): check the address; if the cluster "
            "has a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        ) from None


def start_ray(num_cpus: int, num_gpus: int, metrics_port: int | None = None) -> None:
    """Start a Ray of this process's own, with so many cores and GPUs to give away; it ends with ``ray.shutdown()``.

    It listens on the loopback interface only. ``metrics_port``: where it serves metrics; see
    `vosforge.ray_local.check_metrics`.
    """
    _report_nothing()
    lend_token()
    with _on_loopback():
        ray.init(
            address="local",
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            include_dashboard=False,
            object_store_memory=80 * 2**20,
            _node_ip_address=LOOPBACK,
            _metrics_export_port=metrics_port,
            _temp_dir=str(ray_folder()),
            **OPTIONS,
        )


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a node have the address 127.0.0.1.

    Ray takes the machine's own address instead, and listens on it or on all, except where it supports no clusters (on
    macOS, says this constant of it); no option of ``ray.init`` changes that.
    """
    clusters = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters


def _report_nothing() -> None:
    """Ray reports usage to its makers unless told not to; our runs should not."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
