"""Makes the meshes that a drawn scene names by family and seed, so that its spec names contents only."""

from assets.catalog import Asset
from assets.store import AssetStore
from blender_scenes.object_spec import UNMADE, ObjectSpec
from blender_scenes.spec import SceneSpec
from vosforge.errors import VOSForgeError


def unmade(spec: SceneSpec, store: AssetStore) -> bool:
    """Whether ``store`` lacks a mesh that was made for this scene, or is still to be."""
    return any(_lacks(item, store) for item in (*spec.objects, *spec.distractors))


def with_meshes(spec: SceneSpec, store: AssetStore) -> SceneSpec:
    """``spec`` with all meshes that are made for it held by ``store``, and named by content.

    They are not written: a large data set would fill the store with meshes that it uses once.

    Raises VOSForgeError if a mesh that it names by content already comes out differently now.
    """
    from assets.procedural import made_mesh  # needs trimesh

    made: dict[tuple[str, int], str] = {}

    def complete(item: ObjectSpec) -> ObjectSpec:
        if item.made is None or not _lacks(item, store):
            return item
        recipe = item.made
        key = (recipe.family, recipe.seed)
        if key not in made:
            made[key] = store.hold_mesh(made_mesh(*key, store))
        if item.mesh not in (UNMADE, made[key]):
            raise VOSForgeError(
                f"the {recipe.family} {recipe.seed} of video {spec.video_id} is made differently by this version: "
                "render it with the version that made it, or bring its asset store"
            )
        return item.model_copy(update={"mesh": made[key]})

    objects, distractors = (tuple(map(complete, items)) for items in (spec.objects, spec.distractors))
    return spec.model_copy(update={"objects": objects, "distractors": distractors})


def made_assets(spec: SceneSpec) -> dict[str, Asset]:
    """The meshes made for this scene as a catalog would have them, by content hash."""
    items = [item for item in (*spec.objects, *spec.distractors) if item.made is not None]
    if not items:
        return {}
    from assets.procedural import made_asset  # needs trimesh

    return {item.mesh: made_asset(item.made.family, item.made.seed, item.mesh) for item in items if item.made}


def _lacks(item: ObjectSpec, store: AssetStore) -> bool:
    return item.made is not None and (item.mesh == UNMADE or not store.has_mesh(item.mesh))
