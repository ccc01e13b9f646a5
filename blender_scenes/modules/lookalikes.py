"""Look-alikes: more of the same model in the same material, labelled apart or not labelled at all."""

from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import marked
from blender_scenes.modules.newcomers import wandering, with_distractor
from blender_scenes.spec import SceneSpec
from blender_scenes.trajectories import evaluate
from vosforge.config import Range, Record, Share

SIMILAR = (0.85, 1.2)
"""A look-alike's size, as a multiple of the original's."""

UNSEEN = 0.93
"""Some look-alikes are hidden in frame 0, so fewer scenes are drawn without any."""


class Lookalikes(Record):
    """One labelled object of a scene has look-alikes: other labelled objects become them, and distractors join."""

    none: Annotated[Share, Field(description="share of scenes without look-alikes")] = 0.4
    few: Annotated[Share, Field(description="share of scenes with few; the others have many")] = 0.4
    few_numbers: Annotated[Range[Annotated[int, Field(ge=1)]], Field(description="how many few are")] = (1, 3)
    many_numbers: Annotated[Range[Annotated[int, Field(ge=1)]], Field(description="how many many are")] = (4, 15)
    labelled: Annotated[Share, Field(description="share of look-alikes that are labelled, if objects suffice")] = 0.4

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene with look-alikes of one of its objects; most are in view in frame 0."""
        kind = rng.random()
        none = UNSEEN * self.none
        if kind < none:
            return scene
        least, most = self.few_numbers if kind < none + self.few else self.many_numbers
        number = int(np.floor(np.exp(rng.uniform(np.log(least), np.log(most + 1)))))  # each doubling as likely
        objects = list(scene.objects)
        k = int(rng.integers(len(objects)))
        original = objects[k]
        others = [place for place in rng.permutation(len(objects)).tolist() if place != k]
        same = {
            name: getattr(original, name)
            for name in ("mesh", "made", "category", "material", "texture", "wrap", "joints", "morphs")
        }
        labelled = 0
        for own in rng.spawn(number):
            if own.random() < self.labelled and labelled < len(others):
                place = others[labelled]
                objects[place] = marked(objects[place].model_copy(update=same), "lookalikes", original=k + 1)
                labelled += 1
            else:
                scale = evaluate(original.motion.scale, 2)[0] if original.motion.kind == "curve" else np.full(3, 2.0)
                motion = wandering(own, scene, scale * own.uniform(*SIMILAR))
                item = original.model_copy(update={"motion": motion, "deformation": None, "traits": ()})
                scene = with_distractor(scene, marked(item, "lookalikes", original=k + 1))
        scene = scene.model_copy(update={"objects": tuple(objects)})
        return marked(scene, "lookalikes", number=number, labelled=labelled, original=k + 1)
