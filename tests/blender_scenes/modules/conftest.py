from collections.abc import Iterator

import pytest

from blender_scenes.modules import Modules
from blender_scenes.sample import PRESETS, sample_scene
from blender_scenes.spec import RenderSettings, SceneSpec

RENDER = RenderSettings(width=384, height=256, frames=24)


@pytest.fixture(scope="session")
def drawn(paper_catalog):
    """Scenes of ``diverse`` with these modules only, whose settings may be changed: ``drawn("paths", count=20)``."""

    def draw(*names: str, count: int = 20, **changes: dict[str, object]) -> Iterator[SceneSpec]:
        every = PRESETS["diverse"].modules
        chosen = {name: getattr(every, name).model_copy(update=changes.get(name, {})) for name in names}
        config = PRESETS["diverse"].model_copy(update={"modules": Modules.model_validate(chosen)})
        for index in range(count):
            yield sample_scene(config, RENDER, paper_catalog, seed=8, index=index, split="train")

    return draw
