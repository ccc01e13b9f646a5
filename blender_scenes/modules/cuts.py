"""Cuts: the video goes over to another camera of the same scene, as edited films do, while objects move on."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.geometry import plane_corners, planes_of
from blender_scenes.modules.marks import marked
from blender_scenes.modules.view import MEAN_AREA, View, centres, mean_square, solids
from blender_scenes.object_spec import BakedMotion, Curve, SimulatedMotion
from blender_scenes.spec import CameraSpec, Cut, LookAtMotion, SceneSpec
from blender_scenes.trajectories import focal_lengths, motion_poses, object_poses
from vosforge.config import Amount, Range, Record, Share

REDRAWS = 300
LOOKS = 6
"""At how many frames of the rest of the video a new camera is looked through."""
MARGIN = 0.95
"""The part of the image's width and height in which an object's centre counts as seen."""
CLEAR = 0.9
"""Cameras keep away from the centres of things by more than this many of their scales."""
INSIDE = 0.5
"""Metres that they keep away from backdrop, walls and ground."""
LATER = 0.6
"""Of the moments at which the shot before would have gone on to show objects, this share is shown at least."""
ELEVATIONS = (-0.2, 0.9)
"""Range of the angle at which cameras look down, in radians; those that looked down further still may."""
STEEP = 0.5
"""By how much a turn goes up or down at most, in radians from sideways."""
SIMILAR = 1.25
"""Factor of the distance up to which it stays similar where the angle changes."""
SLIGHT = 0.3
"""Radians that the angle changes by at most where the distance does."""
AIM = 0.05
"""Spread of where it looks beside the middle of the objects, in distances."""
NEAREST, FARTHEST = 1.5, 30.0
"""Range of a camera's distance from what it looks at, in metres."""


@dataclass(frozen=True)
class _Stage:
    """Where the N solid things of a scene are, at T frames; the first K are labelled."""

    scene: SceneSpec
    places: np.ndarray
    """Centres: ``[T, N, 3]``; of what is not simulated yet, as it falls and slides on."""
    scales: np.ndarray
    """``[T, N, 3]``."""

    @classmethod
    def of(cls, scene: SceneSpec) -> "_Stage":
        """That of a scene."""
        items, T = solids(scene), scene.render.frames
        scales = [
            np.tile(item.motion.scale, (T, 1))
            if isinstance(item.motion, SimulatedMotion)
            else np.linalg.norm(object_poses(item, T)[:, :3, :3], axis=1)
            for item in items
        ]
        return cls(scene, np.stack([centres(item, scene) for item in items], axis=1), np.stack(scales, axis=1))

    def shown(self, poses: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Of which labelled objects a camera sees the centre: bool ``[len(times), K]``.

        Things hide what is behind them as discs would. poses: world to camera ``[T, 4, 4]``.
        """
        scene, K = self.scene, len(self.scene.objects)
        render = scene.render
        focal = focal_lengths(scene.camera, render.width / render.height, render.frames)[times]
        places = np.einsum("tij,tnj->tni", poses[times, :3, :3], self.places[times]) + poses[times, None, :3, 3]
        z = np.maximum(places[..., 2], 0.1)
        pixels = places[..., :2] / z[..., None] * focal[:, None, None]
        inside = (np.abs(pixels) < MARGIN * View(scene).half).all(axis=2) & (places[..., 2] > 0.1)
        radius = np.sqrt(MEAN_AREA * mean_square(self.scales[times]) / np.pi) * focal[:, None] / z
        apart = np.linalg.norm(pixels[:, :K, None] - pixels[:, None], axis=3)
        hidden = (apart < radius[:, None]) & (z[:, None] < z[:, :K, None]) & (places[:, None, :, 2] > 0.1)
        return np.asarray(inside[:, :K] & ~hidden.any(axis=2))

    def fits(self, poses: np.ndarray, before: np.ndarray, times: np.ndarray) -> bool:
        """Whether a camera is clear of everything, and sees no more beside backdrop and walls than the one before."""
        scene = self.scene
        at = np.linalg.inv(poses[times])[:, :3, 3]
        if (np.linalg.norm(self.places[times] - at[:, None], axis=2) < CLEAR * self.scales[times].max(axis=2)).any():
            return False
        if scene.backdrop is not None and at[:, 1].max() > scene.backdrop.offset - INSIDE:
            return False
        if scene.ground is not None and at[:, 2].min() < scene.ground.offset + INSIDE:
            return False
        if any((np.sign(wall.offset) * at[:, 0]).max() > abs(wall.offset) - INSIDE for wall in scene.walls):
            return False
        enclosed = scene.backdrop is not None or bool(scene.walls)
        return not enclosed or bool((self._beside(poses, times) <= self._beside(before, times)).all())

    def _beside(self, poses: np.ndarray, times: np.ndarray) -> np.ndarray:
        """How many of nine rays of the image, its corners' among them, meet no plane: ``[len(times)]``."""
        scene, render = self.scene, self.scene.render
        focal = focal_lengths(scene.camera, render.width / render.height, render.frames)[times]
        ends = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), axis=2).reshape(9, 2) * View(scene).half
        rays = np.insert(ends / focal[:, None, None], 2, 1.0, axis=2)
        to_world = np.linalg.inv(poses[times])
        rays, origin = np.einsum("tij,tnj->tni", to_world[:, :3, :3], rays), to_world[:, None, :3, 3]
        met = np.zeros(rays.shape[:2], bool)
        for plane, facing in planes_of(scene):
            with np.errstate(divide="ignore", invalid="ignore"):
                far = (plane.offset - origin[..., facing]) / rays[..., facing]
                hits = origin + far[..., None] * rays
            low, _, high, _ = plane_corners(plane, facing)[0]
            within = [(hits[..., axis] >= low[axis]) & (hits[..., axis] <= high[axis]) for axis in {0, 1, 2} - {facing}]
            met |= (far > 0) & np.all(within, axis=0)
        return np.asarray((~met).sum(axis=1))


class Cuts(Record):
    """Cuts some videos to another camera that sees most of the same objects from elsewhere, or back to the one before.

    It turns after them and may go along.
    """

    share: Annotated[Share, Field(description="share of scenes with cuts, where another camera has room")] = 0.3
    number: Annotated[Range[Annotated[int, Field(ge=1)]], Field(description="number of cuts in these")] = (1, 3)
    shortest: Annotated[Share, Field(le=0.5, description="shortest shot, as a share of the video")] = 0.12
    turned: Annotated[
        Share, Field(description="share of cuts that are tried from another angle; others go nearer or farther")
    ] = 0.7
    angle: Annotated[Range[Amount], Field(description="radians between the cameras, seen from the objects")] = (
        0.35,
        1.5,
    )
    closer: Annotated[
        Range[Annotated[float, Field(ge=1)]], Field(description="factor by which the distance changes, either way")
    ] = (1.5, 2.5)
    stay: Annotated[Share, Field(description="minimum share of the objects shown before that are shown after")] = 0.75
    back: Annotated[Share, Field(description="share of later cuts that return to the camera before")] = 0.4
    drift: Annotated[Amount, Field(description="spread of how far cameras move on each axis, metres a video")] = 0.4

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene with cuts, or as it was."""
        if rng.random() >= self.share or scene.camera.lens is not None or scene.camera.cuts:
            return scene
        frames = self._frames(rng, scene.render.frames)
        stage = _Stage.of(scene)
        for frame, own in zip(frames, rng.spawn(len(frames)), strict=True):
            motion = self._motion(stage, scene.camera, frame, own)
            if motion is not None:
                cuts = (*scene.camera.cuts, Cut(frame=frame, motion=motion))
                scene = scene.model_copy(update={"camera": scene.camera.model_copy(update={"cuts": cuts})})
        return marked(scene, "cuts", wanted=len(frames))

    def _frames(self, rng: np.random.Generator, frames: int) -> list[int]:
        """The first frames of the shots."""
        number = int(rng.integers(self.number[0], self.number[1] + 1))
        number = max(1, min(number, int(1 / max(self.shortest, 1e-6)) - 1))
        free = 1 - (number + 1) * self.shortest
        u = np.sort(rng.random(number)) * free + self.shortest * np.arange(1, number + 1)
        return np.unique(np.clip(np.round(u * frames), 1, frames - 1).astype(int)).tolist()

    def _motion(
        self, stage: _Stage, camera: CameraSpec, frame: int, rng: np.random.Generator
    ) -> LookAtMotion | BakedMotion | None:
        """That of another camera from ``frame`` on; None if there is nothing to see or no room."""
        T = stage.scene.render.frames
        times = np.unique(np.linspace(frame, T - 1, LOOKS).round().astype(int))
        before = motion_poses(camera.motions[-1], T)
        shown = stage.shown(before, times)
        if not shown[0].any():
            return None

        def stays(poses: np.ndarray) -> bool:
            both = shown & stage.shown(poses, times)
            return bool(both[0].sum() >= self.stay * shown[0].sum() and both.sum() >= LATER * shown.sum())

        if camera.cuts and rng.random() < self.back and stays(motion_poses(camera.motions[-2], T)):
            return camera.motions[-2]
        u = np.arange(frame, T) / (T - 1)
        middles = stage.places[frame:, np.flatnonzero(shown[0])].mean(axis=1)
        trend, middle = np.polyfit(u - u[0], middles, 1) if len(u) > 1 else (np.zeros(3), middles[0])
        turned = bool(rng.random() < self.turned)
        there = np.linalg.inv(before[frame])[:3, 3]
        for _ in range(REDRAWS):
            aim = middle + rng.normal(0, AIM, 3) * np.linalg.norm(middle - there)
            angle, factor = self._change(rng, turned)
            seen_from = _turned(rng, there - aim, angle) * factor
            distance = float(np.linalg.norm(seen_from))
            along, drift = rng.random(), rng.normal(0, self.drift, 3)
            motion = LookAtMotion(
                location=_line(aim + seen_from, along * trend + drift, u[0]), look_at=_line(aim, trend, u[0])
            )
            low, high = ELEVATIONS[0], max(ELEVATIONS[1], np.arcsin((there - aim)[2] / np.linalg.norm(there - aim)))
            if not (NEAREST < distance < FARTHEST and low <= np.arcsin(seen_from[2] / distance) <= high):
                continue
            poses = motion_poses(motion, T)
            if stage.fits(poses, before, times) and stays(poses):
                return motion
        return None

    def _change(self, rng: np.random.Generator, turned: bool) -> tuple[float, float]:
        """By how much the direction to the camera turns, and the factor of its distance."""
        if turned:
            return float(rng.uniform(*self.angle)), float(SIMILAR ** rng.uniform(-1, 1))
        nearer = float(rng.choice([-1.0, 1.0]))
        return float(rng.uniform(0, SLIGHT)), float(np.exp(-nearer * rng.uniform(*np.log(self.closer))))


def _turned(rng: np.random.Generator, from_there: np.ndarray, angle: float) -> np.ndarray:
    """A vector turned by exactly ``angle``, rather sideways than up or down."""
    distance = np.linalg.norm(from_there)
    ahead = from_there / distance
    side = np.cross([0.0, 0.0, 1.0], ahead)
    side /= np.linalg.norm(side)
    steep = rng.uniform(-STEEP, STEEP)
    across = float(rng.choice([-1.0, 1.0])) * np.cos(steep) * side + np.sin(steep) * np.cross(ahead, side)
    return np.asarray(distance * (np.cos(angle) * ahead + np.sin(angle) * across))


def _line(place: np.ndarray, velocity: np.ndarray, start: float) -> Curve:
    """Straight on through ``place`` at u = ``start``, by ``velocity`` a video."""
    x, y, z = zip((place - start * velocity).tolist(), velocity.tolist(), strict=True)
    return Curve(axes=(x, y, z))
