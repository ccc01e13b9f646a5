"""``python -m tests.render.farm.preparing_child FD THREADS DEVICE``: prepares models without Blender.

A model's file has the corners of a triangle; beside it may lie <name>.png. Each job adds a line to the file $JOBS.
$SLOW: seconds a job takes. A file that says "kill" has the process's owner killed the first time,
"always kill" each time, but not where $HERE is set.
"""

import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from assets.models import Model, asset_of
from assets.prepared import Material, prepare_mesh
from assets.store import AssetStore
from render.farm.events import Done, Failed, Ready
from render.farm.process import Job
from vosforge.errors import InputError
from vosforge.processes import end_with_owner


def answer(connection: Connection, job: Job) -> None:
    """Prepare ``job["model"]`` in the store."""
    model: Model = job["model"]
    with Path(os.environ["JOBS"]).open("a") as jobs:
        jobs.write(f"{model.name}\n")
    time.sleep(float(os.environ.get("SLOW", "0")))
    said = model.path.read_text()
    once = Path(os.environ["JOBS"]).with_name(f"{model.name}.killed")
    if (said.startswith("always kill") and "HERE" not in os.environ) or (said.startswith("kill") and not once.exists()):
        once.touch()
        os.kill(os.getppid(), signal.SIGKILL)
    store, image = AssetStore(Path(job["store"])), model.path.with_suffix(".png")
    texture = store.put_image(image.read_bytes(), ".png") if image.exists() else None
    try:
        corners = np.array(said.split()[-9:], float).reshape(3, 3)
        mesh = prepare_mesh(model.name, corners, [[0, 1, 2]], materials=[Material(texture=texture)])
    except (ValueError, InputError):
        connection.send(Failed("content", f"{model.path} is no triangle"))
        return
    connection.send(Done(asset_of(model, mesh, store), warnings=() if texture else ("it has no image",)))


def main() -> None:
    """Answer jobs until the owner is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_owner()
    owner = Connection(int(sys.argv[1]))
    owner.send(Ready())
    while True:
        try:
            answer(owner, owner.recv())
        except EOFError:
            return


if __name__ == "__main__":
    main()
