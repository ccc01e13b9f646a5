"""Tells a URL when a run quarantines its first video, and when it ends. The URL is a secret: nothing here shows it.

Requests are sent by threads, which neither stop nor slow a run. A failure is one warning.
"""

import json
import platform
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.client import HTTPException
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from render.farm.runlog import how_it_ended
from vosforge.errors import InputError, first_line
from vosforge.log import logger

TIMEOUT = 10.0
"""Seconds that an answer may take, and the end of a run may be later for it."""
COUNTS = ("videos", "videos_done", "frames_done", "frames_left", "redrawn")


class Webhook:
    """Sends what a run says to a URL; `note` is for `render.farm.run.render_missing`. A context manager: one run."""

    def __init__(self, url: str, out: str, part: str | None = None) -> None:
        """Raises InputError where ``url`` is none that can be asked."""
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
            self._host, _ = parts.hostname, parts.port
        except ValueError:
            good = False
        if not good or not url.isascii() or not url.isprintable() or " " in url:
            raise InputError("the webhook is no URL of the form https://host/path: check --webhook or VOSFORGE_WEBHOOK")
        self._url = url
        self._about = {"out": out, "part": part, "host": platform.node()}
        self._began = time.monotonic()
        self._quarantined: Counter[str] = Counter()
        self._ended: Mapping[str, Any] = {}
        self._threads: list[threading.Thread] = []
        self._failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        told = dict(self._ended) or {"outcome": how_it_ended(error) or "finished"}
        if isinstance(error, Exception):
            told["error"] = first_line(error)
        counts = {name: told.get(name, 0) for name in COUNTS}
        counts["videos_done"] -= self._quarantined.total()
        told |= counts | {"quarantined": self._quarantined, "failures": told.get("failures", {})}
        kinds = ", ".join(f"{kind} {count}" for kind, count in self._quarantined.items())
        sentence = f"{told['outcome']}: {counts['videos_done']} of {counts['videos']} missing videos rendered"
        if kinds:
            sentence += f", quarantined: {kinds}"
        if "error" in told:
            sentence += f" ({told['error']})"
        self._send("run ended", sentence, told)
        deadline = time.monotonic() + TIMEOUT
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            self._warn(f"no answer within {TIMEOUT:.0f} s")

    def note(self, event: str, facts: Mapping[str, object]) -> None:
        """An event of the run's log."""
        if event == "run ended":
            self._ended = facts
        elif event == "video quarantined":
            first = not self._quarantined
            self._quarantined[str(facts["trouble"])] += 1
            if first:
                self._send(
                    event, f"video {facts['index']} is quarantined: {facts['trouble']}: {facts['reason']}", facts
                )

    def _send(self, event: str, sentence: str, facts: Mapping[str, object]) -> None:
        """``text`` is what Slack and its like show."""
        about = self._about | {"seconds": round(time.monotonic() - self._began, 1)}
        part = f" part {about['part']}" if about["part"] else ""
        text = f"vosforge render {about['out']}{part} on {about['host']}: {' '.join(sentence.split())}"
        body = json.dumps({"text": text, "event": event, **about, **facts}).encode()
        thread = threading.Thread(target=self._post, args=(body,), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # there are too many
            self._warn("no thread could be started")
        else:
            self._threads.append(thread)

    def _post(self, body: bytes) -> None:
        request = Request(self._url, body, {"Content-Type": "application/json", "User-Agent": "vosforge"})
        try:
            with build_opener(_NoRedirect).open(request, timeout=TIMEOUT):
                pass
        except (OSError, HTTPException, ValueError) as error:
            self._warn(_why(error))

    def _warn(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            logger.warning("the webhook at %s failed (%s); the run does not need it", self._host, why)


class _NoRedirect(HTTPRedirectHandler):
    """A redirect is an error: what was posted would be lost, and may be for this host only."""

    def redirect_request(self, *_: object) -> None:
        """None: it is not followed."""


def _why(error: Exception) -> str:
    """The failure without its sentence, which may hold the URL."""
    if isinstance(error, HTTPError):
        return f"HTTP status {error.code}"
    cause = error.reason if isinstance(error, URLError) else error
    return str(getattr(cause, "strerror", None) or type(cause).__name__)
