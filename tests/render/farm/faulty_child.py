"""``python -m tests.render.farm.faulty_child FD THREADS DEVICE``: a null child with videos that always fail.

FAULTS in the environment has them as JSON: {"index": "segfault" | "memory" | "missing" | "broken"}.
"""

import json
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import null_child
from render.farm.events import Failed, Frames


def answer(connection: Connection, job: dict[str, Any]) -> None:
    """As the null child does, unless the video is to fail."""
    fault = json.loads(os.environ["FAULTS"]).get(str(job["index"]))
    if fault is not None:
        connection.send(Frames())
    if fault == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "memory":
        raise MemoryError
    elif fault == "missing":
        connection.send(Failed("missing asset", "the store lacks a mesh"))
    elif fault == "broken":
        connection.send(Failed("content", "a mesh is broken"))
    else:
        plain(connection, job)


plain = null_child.answer
null_child.answer = answer

if __name__ == "__main__":
    sys.exit(null_child.main())
