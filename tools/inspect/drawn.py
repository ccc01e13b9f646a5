"""What a scene asks of trackers as far as its recipe tells: no meshes are read and nothing is rendered."""

from collections.abc import Iterable, Iterator

import numpy as np

from blender_scenes.object_spec import ObjectSpec
from blender_scenes.spec import SceneSpec
from blender_scenes.trajectories import camera_poses, intrinsics, object_poses
from tools.inspect.amounts import COLUMNS, Tally, amount_rows
from vosforge import amounts
from vosforge.videos.amounts import ObjectAmounts, VideoAmounts, conditions, facts_of_recipe


def drawn_amounts(spec: SceneSpec) -> VideoAmounts:
    """The amounts that follow from a scene's poses and settings. An object is seen where its centre is in the image.

    Of each object: motion and blur of its centre, scale change by its poses, look-alikes with centres in frame 0,
    camouflage and whether it deforms. Occlusion, areas and absences need labels, and so does motion by physics.
    """
    K, T, height, width = len(spec.objects), spec.render.frames, spec.render.height, spec.render.width
    placed = [_poses(item, T) for item in (*spec.objects, *spec.distractors)]
    poses = camera_poses(spec.camera, T)[:, None] @ np.stack(placed, axis=1)
    z = np.maximum(poses[..., 2, 3:4], amounts.NEAREST)
    K_of = intrinsics(spec.camera, width, height, T)
    centres = (poses[..., :3, 3] / z @ K_of.swapaxes(1, 2))[..., :2]
    seen = ((centres >= 0) & (centres < [width, height])).all(axis=2) & (poses[..., 2, 3] > amounts.NEAREST)
    seen[0] |= np.isnan(centres[0, :, 0])
    cuts = [cut.frame for cut in spec.camera.cuts]
    motion = amounts.motion(np.where(seen[..., None], centres, np.nan)[:, :K], height, cuts)
    scale = amounts.scale_change(np.where(seen, amounts.apparent_area(poses, K_of[:, 0, 0]), np.nan)[:, :K])
    columns = {"motion": motion, "scale": scale, "blur": amounts.blur(motion, spec.camera.shutter)}
    recipe = spec.model_dump(mode="json")
    facts = facts_of_recipe(recipe, K, (np.flatnonzero(seen[0]) + 1).tolist(), {})
    objects = []
    for k in range(K):
        known = {name: float(column[k]) for name, column in columns.items() if np.isfinite(column[k])}
        first = int(seen[:, k].argmax()) if seen[:, k].any() else None
        objects.append(ObjectAmounts.model_validate({"seen": seen[:, k].mean(), "first": first, **known, **facts[k]}))
    return VideoAmounts(objects=tuple(objects), distractors=len(spec.distractors), conditions=conditions(recipe))


def _poses(item: ObjectSpec, frames: int) -> np.ndarray:
    """An object's poses ``[T, 4, 4]``; NaN for one that moves by physics, which is simulated when it is rendered."""
    simulated = item.motion.kind not in ("curve", "baked")
    return np.full((frames, 4, 4), np.nan) if simulated else object_poses(item, frames)


class Drawn:
    """What scenes ask of trackers by their recipes, summed up."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._presets: set[str] = set()
        self._values: dict[str, list[float]] = {"objects": [], "speed": []}

    def counting(self, scenes: Iterable[SceneSpec]) -> Iterator[SceneSpec]:
        """The ``scenes``, each counted as it passes."""
        for spec in scenes:
            found = drawn_amounts(spec)
            self.tally.add(found, np.zeros(0))
            self._values["objects"].append(float(len(spec.objects)))
            self._values["speed"] += [item.motion for item in found.objects if item.motion is not None]
            self._presets.add(spec.preset)
            yield spec

    @property
    def columns(self) -> tuple[str, ...]:
        """The titles of its table; with targets if all scenes are of ``diverse``."""
        return COLUMNS if self._presets == {"diverse"} else COLUMNS[:3]

    def rows(self) -> list[list[str]]:
        """The lines of its table."""
        self.tally.forget("absent", "returns", "back")  # what hides an object is not known
        medians = {name: float(np.median(each)) if each else np.nan for name, each in self._values.items()}
        return amount_rows(self.tally, medians.__getitem__, len(self.columns) > 3)
