"""Sizes: tiny, thin and large objects, and objects that come nearer or go away."""

from statistics import NormalDist
from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.lookalikes import SIMILAR
from blender_scenes.modules.marks import amounts_of, each_changed, marked
from blender_scenes.modules.view import MEAN_AREA, View, mean_square, smooth
from blender_scenes.object_spec import CurveMotion, ObjectSpec
from blender_scenes.spec import SceneSpec
from blender_scenes.trajectories import evaluate, fit_spline
from vosforge.config import Range, Record, Share

SHRUNK = 0.6
"""What occlusion and the image's border leave of a mask, by geometric mean (measured with all modules on)."""
USUAL_NUMBER, CROWDED = 5, 0.5
"""Among more objects than usual each is smaller, by this power."""
COMMONER = 1.15
"""Objects that stand on a floor, or fall, come and go less than is drawn."""
NARROWED = 0.84
"""What masks of one object vary by themselves need not be drawn."""
LARGEST = 0.18
"""No object is meant to cover more of the image than this."""
NEAREST, FARTHEST = 3.0, 13.0
"""Range of an object's distance along the camera's axis, in metres, within which it comes and goes."""


class Sizes(Record):
    """Each object's mean share of the image is log-normal, so that the two shares below of all masks are small."""

    small: Annotated[Share, Field(gt=0, lt=1, description="share of masks under 1 % of the image")] = 0.4
    tiny: Annotated[Share, Field(gt=0, lt=1, description="share of masks under 0.1 %; less than of small ones")] = 0.08
    thin: Annotated[Share, Field(description="share of objects that are thin: rods and plates")] = 0.12
    thinness: Annotated[Range[Share], Field(description="their thickness, as a share of their length")] = (0.06, 0.2)
    change: Annotated[Share, Field(description="share of objects whose area changes by more than 2")] = 0.35
    changes: Annotated[Range[float], Field(description="by how many doublings theirs changes")] = (1.3, 3.0)
    steady: Annotated[float, Field(ge=0, description="by how many doublings the others' changes at most")] = 0.7

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene with all its objects and distractors at new sizes; look-alikes are as large as the original."""
        view, of_originals = View(scene), rng.spawn(1)[0]
        crowd = (USUAL_NUMBER / len(scene.objects)) ** CROWDED
        shares = [crowd * self._share(of_originals) for _ in scene.objects]

        def sized(item: ObjectSpec, own: np.random.Generator) -> ObjectSpec:
            copied = amounts_of(item, "lookalikes")
            share = crowd * self._share(own)
            if copied:
                share = shares[int(copied["original"]) - 1] * own.uniform(*SIMILAR)
            return self._sized(item, own, view, min(share, LARGEST))

        return each_changed(scene, rng, sized)

    def _share(self, rng: np.random.Generator) -> float:
        """A share of the image, before anything hides parts of it."""
        small, tiny = NormalDist().inv_cdf(self.small), NormalDist().inv_cdf(self.tiny)
        spread = 1 / (small - tiny)  # decades: from 0.1 % to 1 %
        return float(10 ** (-2 + spread * (rng.normal() * NARROWED - small)) / SHRUNK)

    def _sized(self, item: ObjectSpec, rng: np.random.Generator, view: View, share: float) -> ObjectSpec:
        """The object so that it covers ``share`` of the image by geometric mean over time, and comes or goes."""
        thin, changing, nearer = rng.random() < self.thin, rng.random() < COMMONER * self.change, rng.random() < 0.5
        thickness, flat = float(np.exp(rng.uniform(*np.log(self.thinness)))), rng.random() < 0.4
        doublings = float(rng.uniform(*(self.changes if changing else (0.0, self.steady))))
        doublings *= 1 if nearer and share * 2**doublings < LARGEST else -1
        start, end = rng.uniform(0, 0.3), rng.uniform(0.5, 0.8)
        if not isinstance(item.motion, CurveMotion):
            return item
        places, scales = view.places(item), evaluate(item.motion.scale, view.moments)
        if thin:
            scales[:, : 1 if flat else 2] = scales[:, 2:] * thickness
        growth = 2 ** (0.5 * doublings * smooth((np.linspace(0, 1, view.moments) - start) / (end - start)))
        z = np.clip(places[:, 2] / growth * growth.mean(), NEAREST, FARTHEST)
        scales *= (growth * z / places[:, 2])[:, None]
        areas = MEAN_AREA * mean_square(scales) * (view.focal / z) ** 2 / (4 * view.half.prod())
        scales *= np.sqrt(share / np.exp(np.log(areas).mean()))
        motion = item.motion.model_copy(update={"scale": fit_spline(scales)})
        sized = view.moved(item.model_copy(update={"motion": motion}), np.column_stack([places[:, :2], z]))
        return marked(sized, "sizes", share=share, doublings=doublings, thickness=thickness if thin else 1.0)
