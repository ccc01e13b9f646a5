"""Mirrors: upright ones in which objects are seen a second time. What is seen in a mirror has no label."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.geometry import mirror_pose
from blender_scenes.modules.marks import marked
from blender_scenes.modules.view import centres, solids
from blender_scenes.spec import MirrorSpec, SceneSpec
from blender_scenes.trajectories import camera_poses, focal_lengths, object_poses
from vosforge.config import Range, Record, Share

INSTANTS = 25
"""So many frames of a video are looked at, at most."""
REDRAWS = 60
"""A mirror is drawn until it is a good one; after so many draws the best of them is taken."""
MIN_SHOWN, MAX_HIDDEN = 0.25, 0.1
"""A good mirror shows an object in so large a share of the frames, and hides objects in no more than that share."""
SOLID = 0.3
"""Radius of a ball that surely hides what is behind an object, as a share of its largest scale."""
BESIDE = (0.5, 2.0)
"""Where a mirror stands about its object, in radians from the direction in which the camera looks at that."""
CLEAR = (0.1, 1.5)
"""Metres from its edge to all that its object can reach."""
BEFORE_WALL = 0.03
"""Metres from a wall to what hangs on it."""
FROM_CAMERA = 1.5
"""Metres from the camera within which there is no mirror."""
Metres = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Stage:
    """Where a scene's camera, K objects and M - K distractors are at N instants of a video."""

    scene: SceneSpec
    to_camera: np.ndarray
    """World to camera: float64 ``[N, 4, 4]``."""
    focal: np.ndarray
    """In image heights: float64 ``[N]``."""
    paths: np.ndarray
    """The middles of all objects, then of all distractors, in the world: float64 ``[M, N, 3]``."""
    reach: np.ndarray
    """How far they reach from there at most, in metres: float64 ``[M, N]``."""

    @classmethod
    def of(cls, scene: SceneSpec) -> "Stage":
        """That of a drawn scene; what moves by physics flies and slides on here, as if nothing held it back."""
        frames, items = scene.render.frames, solids(scene)
        at = np.unique(np.linspace(0, frames - 1, INSTANTS).round().astype(int))
        scales = [
            np.tile(max(item.motion.scale), frames)
            if item.motion.kind == "simulated"
            else np.linalg.norm(object_poses(item, frames)[:, :3, :3], axis=1).max(axis=1)
            for item in items
        ]
        return cls(
            scene,
            camera_poses(scene.camera, frames)[at],
            focal_lengths(scene.camera, scene.render.width / scene.render.height, frames)[at],
            np.stack([centres(item, scene)[at] for item in items]),
            np.stack(scales)[:, at] / 2,
        )

    @property
    def eyes(self) -> np.ndarray:
        """The camera's place: float64 ``[N, 3]``."""
        return np.linalg.inv(self.to_camera)[:, :3, 3]

    def shows(self, mirror: MirrorSpec) -> np.ndarray:
        """Whether the middle of each labelled object is seen in a mirror: bool ``[K, N]``."""
        pose, K = mirror_pose(mirror), len(self.scene.objects)
        eye, things = (places @ pose[:3, :3] - pose[:3, 3] @ pose[:3, :3] for places in (self.eyes, self.paths[:K]))
        before = (eye[:, 1] < 0) & (things[..., 1] < 0)
        # A ray from the eye to the object's image behind the mirror meets the mirror at this share of its way.
        share = eye[:, 1] / np.where(before, eye[:, 1] + things[..., 1], -1.0)
        met = eye + share[..., None] * (things * [1, -1, 1] - eye)
        inside = (np.abs(met[..., [0, 2]]) < np.array([mirror.width, mirror.height]) / 2 - mirror.frame).all(axis=-1)
        world = met @ pose[:3, :3].T + pose[:3, 3]
        x, y, z = np.moveaxis(np.einsum("nij,knj->kni", self.to_camera[:, :3, :3], world), -1, 0)
        x, y, z = (axis + self.to_camera[:, k, 3] for k, axis in enumerate((x, y, z)))
        half, far = self.scene.render.width / self.scene.render.height / 2, np.maximum(z, 0.1) / self.focal
        framed = (z > 0.1) & (np.abs(x) < half * far) & (np.abs(y) < 0.5 * far)
        way = world - self.eyes
        length = np.linalg.norm(way, axis=-1, keepdims=True)
        beyond = self.paths[:, None] - self.eyes
        along = np.clip((beyond * way / length).sum(axis=-1, keepdims=True), 0, length)
        hidden = np.linalg.norm(beyond - along * way / length, axis=-1) < 2 * SOLID * self.reach[:, None]
        return np.asarray(before & inside & framed & ~hidden.any(axis=0))

    def hides(self, mirror: MirrorSpec) -> float:
        """In how large a share of all frames a mirror is before the middle of a labelled object."""
        pose, K = mirror_pose(mirror), len(self.scene.objects)
        eye, things = (places @ pose[:3, :3] - pose[:3, 3] @ pose[:3, :3] for places in (self.eyes, self.paths[:K]))
        between = eye[:, 1] * things[..., 1] < 0
        share = eye[:, 1] / np.where(between, eye[:, 1] - things[..., 1], 1.0)
        met = eye + share[..., None] * (things - eye)
        inside = (np.abs(met[..., [0, 2]]) < np.array([mirror.width, mirror.height]) / 2).all(axis=-1)
        return float((between & inside).mean())

    def free(self, mirror: MirrorSpec) -> bool:
        """Whether nothing can touch a mirror: no object, wall or other mirror, nor the camera."""
        scene, pose = self.scene, mirror_pose(mirror)
        half = np.array([mirror.width / 2, 0.0, mirror.height / 2])
        ends = np.outer([-1.0, 1.0], pose[:3, 0] * half[0]) + pose[:3, 3]
        walled = scene.backdrop is None or ends[:, 1].max() < scene.backdrop.offset
        walled &= all((np.sign(wall.offset) * ends[:, 0]).max() < abs(wall.offset) for wall in scene.walls)
        things = np.concatenate([self.paths, self.eyes[None]]) @ pose[:3, :3] - pose[:3, 3] @ pose[:3, :3]
        reach = np.concatenate([self.reach, np.full((1, len(self.eyes)), FROM_CAMERA)])
        apart = np.linalg.norm(np.maximum(np.abs(things) - half, 0.0), axis=-1) > reach
        others = ((np.subtract(mirror.middle, other.middle), other.width) for other in scene.mirrors)
        return bool(walled and apart.all() and all(np.hypot(*d[:2]) > (mirror.width + w) / 2 for d, w in others))


class Mirrors(Record):
    """Puts mirrors behind and beside the paths of objects: on the ground if there is one, or on a wall.

    Scenes with haze have none, since in a mirror there would be no haze.
    """

    share: Annotated[Share, Field(description="share of scenes without haze that have mirrors")] = 0.3
    number: Annotated[Range[Annotated[int, Field(ge=1, le=8)]], Field(description="mirrors in a scene")] = (1, 3)
    hung: Annotated[Share, Field(description="share of mirrors that hang on a wall where there is one")] = 0.3
    width: Annotated[Range[Metres], Field(description="metres, with the frame")] = (1.2, 3.2)
    height: Annotated[Range[Metres], Field(description="metres, with the frame")] = (1.6, 4.0)
    frame: Annotated[Range[Metres], Field(description="metres that the frame is wide")] = (0.06, 0.25)

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene with as many mirrors as were drawn, or fewer where none would show an object."""
        if rng.random() >= self.share:
            return scene
        wanted = int(rng.integers(self.number[0], self.number[1] + 1))
        scene = marked(scene, "mirrors", wanted=wanted)
        if scene.atmosphere is not None:
            return scene
        for own in rng.spawn(wanted):
            mirror = self._placed(own, Stage.of(scene))
            if mirror is not None:
                scene = scene.model_copy(update={"mirrors": (*scene.mirrors, mirror)})
        return scene

    def _placed(self, rng: np.random.Generator, stage: Stage) -> MirrorSpec | None:
        """A mirror that shows an object, touches nothing and hides little; None if none is found."""
        tint = rng.uniform(0.75, 0.95) * rng.uniform(0.94, 1.0, 3)
        color = rng.uniform(0.02, 0.7) * rng.uniform(0.5, 1.0, 3)
        frame, hung = float(rng.uniform(*self.frame)), bool(rng.random() < self.hung)
        best, most = None, 0.0
        for _ in range(REDRAWS):
            middle, turn, width, height = self._drawn(rng, stage, hung)
            mirror = MirrorSpec.model_validate(
                {"middle": middle.tolist(), "turn": turn, "width": width, "height": height}
                | {"frame": min(frame, 0.2 * width, 0.2 * height), "tint": tint.tolist(), "color": color.tolist()}
            )
            if not stage.free(mirror):
                continue
            shown, hidden = float(stage.shows(mirror).any(axis=0).mean()), stage.hides(mirror)
            if shown >= MIN_SHOWN and hidden <= MAX_HIDDEN:
                return mirror
            if shown > 0 and shown - hidden > most:
                best, most = mirror, shown - hidden
        return best

    def _drawn(self, rng: np.random.Generator, stage: Stage, hung: bool) -> tuple[np.ndarray, float, float, float]:
        """Where a mirror might be, in which an object is seen at one instant: middle, turn, width and height."""
        scene = stage.scene
        k, n = int(rng.integers(len(scene.objects))), int(rng.integers(len(stage.eyes)))
        thing, eye = stage.paths[k, n], stage.eyes[n]
        width, height = float(rng.uniform(*self.width)), float(rng.uniform(*self.height))
        angle, clear = rng.choice([-1.0, 1.0]) * rng.uniform(*BESIDE), stage.reach[k, n] + rng.uniform(*CLEAR)
        higher, sideways, jitter = rng.uniform(-0.25, 0.25), rng.uniform(-0.25, 0.25), float(rng.normal(0, 0.05))
        walls = [(1, plane) for plane in (scene.backdrop,) if plane] + [(0, wall) for wall in scene.walls]
        if walls and hung:
            facing, wall = walls[int(rng.integers(len(walls)))]
            middle, side = np.zeros(3), np.sign(wall.offset) if facing == 0 else 1.0
            middle[facing] = wall.offset - side * BEFORE_WALL
            turn = 0.0 if facing == 1 else -side * np.pi / 2
            to_eye, to_thing = abs(middle - eye)[facing], abs(middle - thing)[facing]
        else:
            away = np.arctan2(*(thing - eye)[[1, 0]]) + angle
            middle = thing + (clear + width / 2 * abs(np.sin(angle))) * np.array([np.cos(away), np.sin(away), 0.0])
            to_eye, to_thing = (np.linalg.norm((place - middle)[:2]) for place in (eye, thing))
            normal = (eye - middle) / max(to_eye, 1e-6) + (thing - middle) / max(to_thing, 1e-6)
            turn = float(np.arctan2(normal[0], -normal[1])) + jitter
        met = eye + to_eye / max(to_eye + to_thing, 1e-6) * (thing - eye)  # seen in the mirror at this height
        middle[2] = met[2] + higher * height
        if walls and hung:
            middle[1 - facing] = met[1 - facing] + sideways * width
        elif scene.ground is not None:
            middle[2] = scene.ground.offset + height / 2
        if scene.ground is not None:
            middle[2] = max(middle[2], scene.ground.offset + height / 2)
        return middle, float(turn), width, height
