"""As many objects as it says are shapes of their own, which no other scene has."""

import pytest

from assets.store import AssetStore
from blender_scenes.making import with_meshes
from blender_scenes.modules import Modules
from blender_scenes.modules.shapes import Shapes
from tests.blender_scenes.modules.test_modules import draw


def test_three_in_ten_objects_are_made_for_their_scene_and_no_two_are_alike(paper_catalog, tmp_path):
    store, drawn, contents, looks = AssetStore(tmp_path), 0, [], set()
    for index in range(20):
        on, off = (draw(paper_catalog, modules, index) for modules in (Modules(shapes=Shapes()), Modules()))
        drawn += len(on.objects)
        assert on.model_copy(update={"objects": off.objects}) == off
        for item, plain, complete in zip(on.objects, off.objects, with_meshes(on, store).objects, strict=True):
            assert (item.made is None) == (item.traits == ()) == (item == plain)
            assert item.motion == plain.motion
            if item.made:
                mesh = store.mesh(complete.mesh)
                contents.append(complete.mesh)
                looks.add((item.texture, mesh.materials))
    assert len(contents) / drawn == pytest.approx(0.3, abs=0.11)
    assert len(set(contents)) == len(looks) == len(contents)
    assert not (store.root / "meshes").exists(), "the store does not grow by meshes that are used once"


def test_kinds_come_in_the_shares_of_their_weights(paper_catalog):
    settings = Shapes(share=1.0, compound=1.0, landscape=1.0, named=0.0)
    items = [item for n in range(20) for item in draw(paper_catalog, Modules(shapes=settings), n).objects]
    assert {item.category for item in items} == {"compound", "landscape"}
    assert sum(item.category == "compound" for item in items) / len(items) == pytest.approx(0.5, abs=0.2)
