"""The published generator's motion, drawn plainly: one number after another, curves by ``np.polyfit``.

Nothing is shared with what samples scenes. There is one object a scene, which no other keeps from its place.
"""

import math
from collections import defaultdict
from collections.abc import Callable

import numpy as np

FRAMES = 160
STILL = 1e-4
LEAST = 0.8**0.25
"""Of a change of scale in one of four moves."""
Walk = list[list[float]]


def pauses(rng: np.random.Generator) -> list[bool]:
    """Which of the four moves between five points are skipped."""
    paused, found = False, []
    for _ in range(4):
        paused = rng.random() > 0.65 if paused else rng.random() < 0.10
        found.append(paused)
    return found


def walk(skipped: list[bool], first: list[float], move: Callable[[list[float]], list[float]]) -> np.ndarray:
    """The path [T,3] of the polynomial through five points."""
    points = [first]
    for skip in skipped:
        points.append(points[-1] if skip else move(points[-1]))
    u, frames = np.linspace(0, 1, 5), np.linspace(0, 1, FRAMES)
    return np.stack([np.polyval(axis, frames) for axis in np.polyfit(u, points, 4).T], axis=1)


def toward(rng: np.random.Generator, sigma: float, point: list[float], target: list[float]) -> list[float]:
    """A move toward a target, which upward is no longer than a normal number."""
    return [a + min(b - a, abs(rng.normal(0, sigma))) for a, b in zip(point, target, strict=True)]


def lengths(path: np.ndarray) -> np.ndarray:
    return np.sqrt((np.diff(path, axis=0) ** 2).sum(axis=1))


def quantities(scenes: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The values of the quantities of so many scenes."""
    found: dict[str, list[float]] = defaultdict(list)

    def uniform(*low_and_high: tuple[float, float]) -> list[float]:
        return [rng.uniform(low, high) for low, high in low_and_high]

    def place() -> list[float]:
        y = rng.uniform(-2, 5)
        reach = 1.05 * (y + 6) / 4
        return [rng.uniform(-reach, reach), y, rng.uniform(-reach, reach)]

    for _ in range(scenes):
        found["n_objects"].append(1)
        found["n_lights"].append(lights := rng.integers(1, 4))
        found["light_radius"].extend([11] * lights)
        found["fov"].append(rng.uniform(0.7, 0.8))
        found["sky_strength"].append(rng.uniform(0.1, 1))
        for _ in range(lights):
            found["light_energy"].append(rng.uniform(1000, 15000))
            color = uniform(*[(0.5, 1)] * 3)
            found["light_color_min"].append(min(color) / max(color))
        found["textured_frac"].append(rng.random() < (0.5 if rng.random() < 0.34 else 1))

        skipped = pauses(rng)
        for name, box, speed in (
            ("cam", [(-0.3, 0.3), (-6, -5), (-0.3, 0.3)], 0.1),
            ("cam_look", [(-0.5, 0.5), (3, 4), (-0.5, 0.5)], 0.1),
        ):
            step = speed * FRAMES / 4
            path = walk(skipped, uniform(*box), lambda at, box=box, step=step: toward(rng, step, at, uniform(*box)))
            found[f"{name}_path_len"].append(lengths(path).sum())
            if name == "cam":
                found["cam_static_frac"].append((lengths(path) < STILL).mean())
                for axis, values in zip("xyz", path[::16].T, strict=True):
                    found[f"cam_{axis}"].extend(values)

        skipped = pauses(rng)
        path = walk(skipped, place(), lambda at: toward(rng, 0.03 * FRAMES / 4, at, place()))
        found["obj_path_len"].append(lengths(path).sum())
        found["obj_max_step"].append(lengths(path).max())
        found["obj_depth_mean"].append(path[:, 1].mean())
        found["obj_lateral_absmax"].append(np.abs(path[:, [0, 2]]).max())
        found["obj_static_frac"].append((lengths(path) < STILL).mean())
        turns = walk(
            skipped,
            uniform(*[(0, math.tau)] * 3),
            lambda at: [angle + rng.normal(0, 0.02 * FRAMES / 4) for angle in at],
        )
        found["obj_rot_total"].append(np.abs(np.diff(turns, axis=0)).sum())
        scale = walk(
            skipped, uniform(*[(1.25, 3)] * 3), lambda at: [size * rng.uniform(LEAST, 1 / LEAST) for size in at]
        )
        found["obj_scale_mean"].append(scale.mean())
        found["obj_scale_ratio_end_start"].append(scale[-1].mean() / scale[0].mean())
        found["obj_scale_anisotropy"].append(scale[0].max() / scale[0].min())
    return {name: np.array(values, float) for name, values in found.items()}
