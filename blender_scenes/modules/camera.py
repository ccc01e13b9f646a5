"""Camera: pans, pushes and zooms, before objects are placed in what it sees, so that they are followed."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import marked
from blender_scenes.modules.view import View
from blender_scenes.spec import LookAtMotion, SceneSpec
from blender_scenes.trajectories import evaluate, fit_spline
from vosforge.config import Amount, Range, Record, Share

SHORTEST = 2.0
"""No pan or push is over in fewer frames."""


class Camera(Record):
    """Swings the camera of some scenes to one side, fast or slow, and moves that of others forward or back.

    Of the rest, some zoom in or out over the whole video.
    """

    pan: Annotated[Share, Field(description="share of scenes whose camera pans")] = 0.15
    push: Annotated[Share, Field(description="share of the other scenes whose camera moves forward or back")] = 0.25
    angle: Annotated[Range[Amount], Field(description="radians that a pan turns it by")] = (0.15, 0.7)
    forward: Annotated[Range[float], Field(description="metres that a push moves it by; negative: back")] = (-4.0, 1.5)
    duration: Annotated[Range[Share], Field(description="how long that takes, as a share of the video")] = (0.1, 0.8)
    zoom: Annotated[
        Share,
        Field(exclude_if=lambda zoom: zoom == 0, description="share of the scenes without pan or push that zoom"),
    ] = 0.0
    doublings: Annotated[
        Range[float],
        Field(
            exclude_if=lambda ends: ends == (-1.0, 1.0),
            description="by how many doublings of the focal length; negative: out",
        ),
    ] = (-1.0, 1.0)

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene with a camera that pans or pushes, or as it was."""
        motion = scene.camera.motion
        kind: Literal["pan", "push"] = "pan" if rng.random() < self.pan else "push"
        moves = kind == "pan" or rng.random() < self.push
        side, angle, forward = float(rng.choice([-1.0, 1.0])), rng.uniform(*self.angle), rng.uniform(*self.forward)
        duration, start = rng.uniform(*self.duration), rng.random()
        if not moves and rng.random() < self.zoom:
            amount = float(rng.uniform(*self.doublings))
            zoom = (-amount / 2, 0.0, 3 * amount, -2 * amount)  # eased; half way, it is as wide as it was
            changed = scene.model_copy(update={"camera": scene.camera.model_copy(update={"zoom": zoom})})
            return marked(changed, "camera", kind="zoom", amount=amount, duration=1.0)
        if not moves or not isinstance(motion, LookAtMotion):
            return scene
        moments = View(scene).moments
        length = max(float(duration), min(SHORTEST / (scene.render.frames - 1), 1.0))
        done = np.clip((np.linspace(0, 1, moments) - start * (1 - length)) / length, 0, 1)
        done = done**2 * (3 - 2 * done) - 0.5  # eased; half way, it looks where it did
        location, target = evaluate(motion.location, moments), evaluate(motion.look_at, moments)
        ahead = target - location
        amount = float(side * angle if kind == "pan" else forward)
        if kind == "pan":
            cos, sin = np.cos(amount * done), np.sin(amount * done)
            x, y, z = ahead.T
            target = location + np.stack([x * cos - y * sin, x * sin + y * cos, z], axis=1)
        else:
            location = location + (done[:, None] + 0.5) * amount * ahead / np.linalg.norm(ahead, axis=1, keepdims=True)
        moved = LookAtMotion(location=fit_spline(location), look_at=fit_spline(target))
        changed = scene.model_copy(update={"camera": scene.camera.model_copy(update={"motion": moved})})
        return marked(changed, "camera", kind=kind, amount=amount, duration=length)
