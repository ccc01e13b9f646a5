"""An S3 server that fails: a proxy before another, which answers some requests as a bad day at a cloud would.

``python -m tests.flaky_s3 PORT``: runs it by itself, before the server at AWS_ENDPOINT_URL.
"""

import http.client
import os
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
NO_BUCKET = b"<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>"


class FlakyS3(ThreadingHTTPServer):
    """Passes requests on to ``target``, but for a share of ``rate`` of them.

    These are refused (503), reset, cut off in the middle of the answer, or left without an answer for ``stall``
    seconds. While ``gone`` is set, the bucket is not there. ``faults`` counts what happened.
    """

    daemon_threads = True

    def __init__(self, target: str, rate: float = 0.0, seed: int = 0, stall: float = 3.0, port: int = 0) -> None:
        self.target, self.rate, self.stall = urlsplit(target), rate, stall
        self.random, self.faults, self.gone = random.Random(seed), Counter[str](), threading.Event()
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fault(self) -> str:
        """What is to happen to a request."""
        if self.gone.is_set():
            return "gone"
        if self.random.random() >= self.rate:
            return ""
        return self.random.choices(["refused", "reset", "cut", "stalled"], [4, 2, 2, 1])[0]

    def handle_error(self, request, client_address) -> None:
        """Say nothing of clients that give up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FlakyS3

    def _pass_on(self) -> None:
        body = self._body()
        fault = self.server.fault()
        self.server.faults[fault] += 1
        if fault == "refused":
            return self._answer(503, {}, SLOW_DOWN)
        if fault == "gone":
            return self._answer(404, {}, NO_BUCKET)
        if fault == "reset":
            return self._reset()
        if fault == "stalled":
            time.sleep(self.server.stall)
            return self._reset()
        behind = http.client.HTTPConnection(self.server.target.hostname, self.server.target.port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        behind.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
        answer = behind.getresponse()
        data = answer.read()
        headers = {name: value for name, value in answer.getheaders() if name.lower() != "transfer-encoding"}
        behind.close()
        if fault == "cut":  # what was asked has happened, but whoever asked does not learn of it
            self._answer(answer.status, headers, data, len(data) // 2)
            return self._reset()
        return self._answer(answer.status, headers, data)

    def __getattr__(self, name: str):
        """``do_GET`` and the others."""
        if name.startswith("do_"):
            return self._pass_on
        raise AttributeError(name)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _answer(self, status: int, headers: dict[str, str], data: bytes, sent: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection"):
                self.send_header(name, value)
        length = headers.get("Content-Length", headers.get("content-length")) if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:sent])

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_message(self, *words) -> None:
        pass


@contextmanager
def flaky_s3(rate: float = 0.0, seed: int = 0, stall: float = 3.0, port: int = 0) -> Iterator[FlakyS3]:
    """Serve it in a thread, before the server that the environment names, in place of which it is named meanwhile."""
    behind = os.environ["AWS_ENDPOINT_URL"]
    with FlakyS3(behind, rate, seed, stall, port) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.environ["AWS_ENDPOINT_URL"] = server.url
        try:
            yield server
        finally:
            os.environ["AWS_ENDPOINT_URL"] = behind
            server.shutdown()


if __name__ == "__main__":
    with FlakyS3(os.environ["AWS_ENDPOINT_URL"], 0.05, port=int(sys.argv[1])) as server:
        server.serve_forever()
