"""Named recipes: the published training, that of the small networks, and two shorter ones."""

from train.data.augment import Augmentation, Geometry, Jitter
from train.data.cutouts import CutoutSettings
from train.data.scribbles import ScribbleSettings
from train.data.stills import StillMotion
from train.losses import Bootstrap
from train.settings import ClipStage, FusionSettings, PropagationSettings, Recipe, S2MSettings, Stage
from vosforge.config import named
from vosforge.errors import InputError


def recipe(name: str) -> Recipe:
    """The recipe ``name``; InputError for an unknown one."""
    if name == "paper":
        raise InputError("the recipe 'paper' is called 'mivos' now, and has the published stages: use --recipe mivos")
    return named("recipe", name, RECIPES)


def _mivos() -> Recipe:
    """MiVOS as published: stills, then BL30K, then DAVIS and YouTube-VOS for propagation; fusion on BL30K, then DAVIS.

    Cheng et al., CVPR 2021 (MiVOS) and its repositories Mask-Propagation and Scribble-to-Mask. The batches are those of
    two GPUs together. S2M starts from ImageNet's weights and learns from the run's data; published: from DeepLabV3+ for
    VOC (``init`` takes such a file), on the stills and LVIS.
    """
    stills = PropagationSettings(
        num_objects=1,
        iterations=300_000,
        batch=14,
        decay_at=(250 / 300,),
        init="imagenet",
        augmentation=Augmentation(
            geometry=Geometry(crop=384, short_side=384, zoom=(0.8, 1.5), rotation=20, shear=10),
            shared_colour=Jitter(brightness=0.1, contrast=0.05, saturation=0.05, hue=0.05, grey=0.05),
            frame_colour=Jitter(brightness=0.1, contrast=0.05, saturation=0.05),
        ),
    )
    real = PropagationSettings().augmentation
    return Recipe(
        stages={
            "stills": Stage(stills=True, propagation=stills),
            "renders": Stage(propagation=PropagationSettings(fresh_others=True), fusion=FusionSettings()),
        },
        s2m=S2MSettings(init="imagenet"),
        propagation=PropagationSettings(
            iterations=150_000,
            decay_at=(125 / 150,),
            jumps=((0.0, 5), (0.1, 10), (0.2, 15), (0.3, 20), (0.4, 25), (0.9, 5)),
            augmentation=real.model_copy(update={"geometry": real.geometry.model_copy(update={"area": (0.36, 1.0)})}),
        ),
        fusion=FusionSettings(iterations=10_000, decay_at=(0.75,)),
    )


def _debug() -> Recipe:
    """A few steps of tiny networks in two stages: tests and documentation run it."""
    small = Augmentation(geometry=Geometry(crop=64, cubic=False))
    clips = PropagationSettings(
        iterations=3,
        batch=2,
        depth=18,
        width=0.125,
        augmentation=small,
        small_areas=(1, 2, 3),
        workers=0,
        validate_videos=1,
        validate_frames=4,
    )
    return Recipe(
        stages={"stills": Stage(stills=True, propagation=clips.model_copy(update={"num_objects": 1}))},
        s2m=S2MSettings(
            iterations=3,
            batch=2,
            depth=18,
            width=0.125,
            augmentation=Augmentation(geometry=Geometry(crop=64, short_side=64, cubic=False)),
            min_side=1,
            workers=0,
            validate_samples=4,
        ),
        propagation=clips.model_copy(update={"fresh_others": True}),
        fusion=FusionSettings(
            iterations=3,
            batch=2,
            width=0.25,
            augmentation=small,
            short_side=64,
            num_videos=2,
            references=2,
            min_pixels=1,
            workers=0,
            validate_videos=1,
            validate_samples=4,
        ),
    )


def _clip_crop(crop: int, area: tuple[float, float]) -> Geometry:
    return Geometry(crop=crop, area=area, rotation=4, shear=2, cubic=False)


def _demo() -> Recipe:
    """About three minutes on two CPU cores, from random weights, on twelve videos of 24 frames at 384x256."""
    colour = Jitter(brightness=0.15, contrast=0.1, saturation=0.1, hue=0.02)
    return Recipe(
        s2m=S2MSettings(
            iterations=280,
            batch=8,
            lr=2e-3,
            warmup=10,
            schedule="cosine",
            loss=Bootstrap(start=0.3, end=0.8, top=0.4),
            augmentation=Augmentation(
                geometry=Geometry(crop=192, short_side=256, zoom=(0.6, 1.2), rotation=15, shear=5, cubic=False),
                shared_colour=colour,
            ),
            scribbles=ScribbleSettings(from_zero=0.5, robot_from_zero=0.5, other_from_zero=True),
            min_side=40,
            depth=18,
            width=0.25,
            keep_in_memory=True,
            workers=0,
        ),
        propagation=PropagationSettings(
            iterations=800,
            batch=4,
            lr=1.5e-3,
            warmup=20,
            decay_at=(0.9,),
            clip_gradient=5.0,
            # Hard pixels alone, this early, teach nothing: measured, the loss stays where it is.
            loss=Bootstrap(start=1.0, end=1.0),
            match_weight=1.0,
            augmentation=Augmentation(
                shared_colour=Jitter(brightness=0.3, contrast=0.3, saturation=0.5, hue=0.5, grey=0.05)
            ),
            stages=(
                ClipStage(start=0.0, geometry=_clip_crop(128, (0.1, 0.4)), frames=2),
                ClipStage(start=0.2, geometry=_clip_crop(208, (0.35, 1.0)), frames=2),
            ),
            num_objects=2,
            jumps=((0.0, 2), (0.25, 5), (0.5, 10)),
            batch_norm="batch",
            depth=18,
            width=0.125,
            keep_in_memory=True,
            workers=0,
        ),
        fusion=FusionSettings(
            iterations=150,
            batch=4,
            lr=3e-3,
            warmup=10,
            schedule="cosine",
            loss=Bootstrap(start=0.3, end=0.8, top=0.4),
            augmentation=Augmentation(geometry=Geometry(crop=128, cubic=False), shared_colour=colour),
            short_side=128,
            num_videos=8,
            between=True,
            width=0.5,
            keep_in_memory=True,
            workers=0,
        ),
    )


def _small() -> Recipe:
    """An hour on two CPU cores: the small networks, from ImageNet's weights, on short rendered clips.

    ``make small`` renders the clips. Beside them, clips are made of single frames, cut-outs are pasted, given masks are
    deformed and frames degraded, so that few scenes teach much.
    """
    colour = Jitter(brightness=0.25, contrast=0.2, saturation=0.25, hue=0.05, grey=0.05)
    frame_colour = Jitter(brightness=0.08, contrast=0.08, saturation=0.08)
    near = Geometry(crop=192, short_side=192, zoom=(1.0, 2.2), rotation=15, shear=5, cubic=False)
    clip = Geometry(crop=224, short_side=224, zoom=(1.0, 2.2), rotation=15, shear=5, cubic=False)
    return Recipe(
        s2m=S2MSettings(
            network="small",
            init="imagenet",
            trunk_lr=0.2,
            iterations=900,
            batch=8,
            lr=1e-3,
            warmup=50,
            schedule="cosine",
            loss=Bootstrap(start=0.3, end=0.6, top=0.5),
            dice_weight=0.5,
            augmentation=Augmentation(
                geometry=Geometry(crop=224, short_side=256, zoom=(0.8, 2.4), rotation=20, shear=10, cubic=False),
                shared_colour=colour,
            ),
            scribbles=ScribbleSettings(from_zero=0.5, robot_from_zero=0.5, clicks=0.4),
            min_side=30,
            channels_last=True,
            average=0.995,
            validate_every=900,
        ),
        propagation=PropagationSettings(
            network="small",
            init="imagenet",
            trunk_lr=1 / 6,
            iterations=3200,
            batch=4,
            lr=6e-4,
            warmup=100,
            schedule="cosine",
            clip_gradient=1.0,
            loss=Bootstrap(start=0.2, end=0.25, top=0.25),
            dice_weight=0.5,
            match_weight=0.3,
            point_weight=0.1,
            augmentation=Augmentation(geometry=clip, shared_colour=colour, frame_colour=frame_colour),
            stages=(ClipStage(start=0.0, geometry=near), ClipStage(start=0.75, geometry=clip, frames=5)),
            jumps=((0.0, 1), (0.1, 2), (0.3, 3)),
            num_objects=2,
            focus=1.0,
            still_share=0.4,
            motion=StillMotion(scale=(0.8, 1.25), shift=0.1, spline=0.5, sigma=0.03),
            deform=0.5,
            degrade=0.3,
            cutouts=CutoutSettings(probability=0.4),
            channels_last=True,
            average=0.998,
            validate_every=1600,
            validate_videos=30,
        ),
        fusion=FusionSettings(
            iterations=300,
            batch=6,
            lr=1e-3,
            warmup=20,
            schedule="cosine",
            loss=Bootstrap(start=0.3, end=0.8, top=0.4),
            augmentation=Augmentation(geometry=Geometry(crop=192, cubic=False), shared_colour=colour),
            num_videos=80,
            between=True,
            width=0.5,
            validate_every=300,
        ),
    )


RECIPES = {"demo": _demo(), "debug": _debug(), "mivos": _mivos(), "small": _small()}
"""``mivos``: the published stages. ``small``: an hour on a CPU. ``demo``: minutes. ``debug``: seconds, to see that all
runs."""
