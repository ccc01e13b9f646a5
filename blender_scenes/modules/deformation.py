"""Objects that bend, twist and wave."""

from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import each_changed, marked
from blender_scenes.object_spec import Deformation, MorphMotion, ObjectSpec, Swing
from blender_scenes.spec import SceneSpec
from vosforge.config import Amount, Range, Record, Share

KINDS = ("bend", "twist", "wave")
MAX_MOVING_MORPHS = 3


class Deforming(Record):
    """Labelled objects swing between shapes, along their longest axis: they bend, twist, or a wave runs along them."""

    share: Annotated[Share, Field(description="share of labelled objects that deform")] = 0.2
    both: Annotated[Share, Field(description="share of these that do two of bend, twist and wave")] = 0.35
    bend: Annotated[Range[Amount], Field(description="furthest bend, in radians over the diagonal")] = (
        1.0,
        2.4,
    )
    twist: Annotated[Range[Amount], Field(description="furthest twist, in radians over the diagonal")] = (1.5, 4.0)
    wave: Annotated[Range[Amount], Field(description="height of the waves, in diagonals")] = (0.05, 0.12)
    wavelength: Annotated[
        Range[Annotated[float, Field(gt=0)]], Field(description="length of the waves, in diagonals")
    ] = (0.4, 1.0)
    morphs: Annotated[Share, Field(description="share of the other objects with shape keys that use some")] = 0.5
    period: Annotated[
        Range[Annotated[float, Field(gt=0)]], Field(description="frames from one furthest shape to it again")
    ] = (12.0, 60.0)

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """``scene`` with some of its objects deforming."""
        frames = scene.render.frames
        return each_changed(scene, rng, lambda item, own: self._object(item, own, frames, assets), distractors=False)

    def _object(self, item: ObjectSpec, rng: np.random.Generator, frames: int, assets: Catalog) -> ObjectSpec:
        if rng.random() >= self.share:
            count = 0 if item.made else assets.by_hash(item.mesh).morphs
            return item if not count or rng.random() >= self.morphs else self._morphing(item, count, rng, frames)
        kinds = [KINDS[place] for place in rng.permutation(len(KINDS))[: 1 + int(rng.random() < self.both)]]
        periods = {kind: float(np.exp(rng.uniform(*np.log(self.period)))) for kind in KINDS}
        sizes = {"bend": self.bend, "twist": self.twist, "wave": self.wave}
        amounts = {kind: float(rng.uniform(*sizes[kind])) for kind in KINDS}
        wavelength, start, ahead = float(rng.uniform(*self.wavelength)), float(rng.random()), rng.choice([-1.0, 1.0])
        swings = {
            kind: Swing(
                mean=float(rng.uniform(-0.3, 0.3)) * amounts[kind],
                size=0.7 * amounts[kind],
                turns=(frames - 1) / periods[kind],
                phase=float(rng.random()),
            )
            for kind in ("bend", "twist")
        }
        running = (start, float(ahead) * (frames - 1) / periods["wave"])
        wave = {"wave": (amounts["wave"],), "wavelength": wavelength, "phase": running} if "wave" in kinds else {}
        chosen = {kind: swing for kind, swing in swings.items() if kind in kinds}
        deformation = Deformation.model_validate({**chosen, **wave, "axis": "longest"})
        drawn: dict[str, bool | int | float | str] = {kind: round(amounts[kind], 4) for kind in sorted(kinds)}
        drawn |= {f"{kind}_period": round(periods[kind], 2) for kind in sorted(kinds)}
        return marked(item.model_copy(update={"deformation": deformation}), "deformation", (), **drawn)

    def _morphing(self, item: ObjectSpec, count: int, rng: np.random.Generator, frames: int) -> ObjectSpec:
        """The object with one to three of its ``count`` shape keys coming and going."""
        chosen = rng.permutation(count)[: int(rng.integers(1, MAX_MOVING_MORPHS + 1))]
        morphs = tuple(
            MorphMotion(
                morph=int(morph),
                weight=Swing(
                    mean=0.5,
                    size=0.5,
                    turns=(frames - 1) / float(np.exp(rng.uniform(*np.log(self.period)))),
                    phase=float(rng.random()),
                ),
            )
            for morph in chosen
        )
        return marked(item.model_copy(update={"morphs": morphs}), "deformation", (), morphs=len(morphs))
