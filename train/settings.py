"""Settings of a training run: one record per network.

The defaults are the published ones (MiVOS, CVPR 2021) for rendered videos; `train.recipes` has named sets of settings.
"""

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from train.data.augment import Augmentation, Geometry, Jitter
from train.data.cutouts import CutoutSettings
from train.data.scribbles import ScribbleSettings
from train.data.stills import StillMotion
from train.losses import Bootstrap
from vosforge.config import ASCENDING, Record, Share
from vosforge.processes import cores

Count = Annotated[int, Field(ge=1)]
Shares = Annotated[tuple[Share, ...], ASCENDING]
PUBLISHED_FRAMES = 3
ClipFrames = Annotated[int, Field(ge=2, le=8)]
"""Frames of a clip."""
RANDOM, IMAGENET = "random", "imagenet"
MAX_WORKERS = 16


def _unwritten(default: Any, **limits: Any) -> Any:
    """A setting added later: its default is not written down, so that networks trained before count as trained."""
    return Field(default=default, exclude_if=lambda value: value == default, **limits)


def check_crop(geometry: Geometry) -> None:
    """ValueError for a crop that is not a multiple of the networks' grid."""
    if geometry.crop % 16:
        raise ValueError(f"the crop must be a multiple of 16, not {geometry.crop}")


class TrainSettings(Record):
    """Settings common to all three networks."""

    smallest_part: ClassVar[int] = 1
    """Samples of a batch that one process needs at least."""
    run_only: ClassVar[frozenset[str]] = frozenset(
        {
            "workers",
            "checkpoint_minutes",
            "keep_every",
            "validate_every",
            "validate_videos",
            "validate_frames",
            "validate_samples",
        }
    )
    """Settings that never change a network: a run resumes with others, and a trained network stays trained."""

    init: str = _unwritten(RANDOM)
    """What the network starts from: "random"; "imagenet" (trunks of width 1); or a file: a checkpoint of this kind,
    trained here or published, whose first convolutions may have fewer input channels."""
    iterations: int = Field(default=500_000, ge=1)
    batch: int = Field(default=8, ge=1)
    """Samples of a step, of all processes together. So the learning rate needs no rule for their number."""
    accumulation: int = _unwritten(1, ge=1)
    """Parts in which a process computes its share of a batch, one after the other: less memory."""
    lr: float = Field(default=1e-5, gt=0)
    weight_decay: float = Field(default=1e-7, ge=0)
    warmup: int = Field(default=0, ge=0)
    """Iterations over which the learning rate rises linearly from 0."""
    schedule: Literal["step", "cosine"] = "step"
    """Learning rate after the warm-up: a tenth of it from each share in ``decay_at`` on, or a cosine to 1 %."""
    decay_at: Shares = (0.9,)
    trunk_lr: float = _unwritten(1.0, gt=0)
    """The trunk's share of the learning rate: less than 1 where only the trunk starts from ImageNet's weights."""
    average: Share = _unwritten(0.0)
    """Decay a step of the averaged weights that become the network; 0: the last weights do."""
    clip_gradient: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient; None leaves it as it is (published)."""
    loss: Bootstrap = Bootstrap()
    augmentation: Augmentation = Augmentation()
    depth: Literal[18, 50] = 50
    width: float = Field(default=1.0, gt=0)
    seed: int = 14159265
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: bool | Literal["bfloat16", "float16"] = False
    """Mixed precision, on CUDA only: true or "bfloat16"; "float16" scales the loss so that gradients do not vanish."""
    channels_last: bool = _unwritten(False)
    """Keep weights and features channels-last, as tensor cores read them."""
    compile: bool = _unwritten(False)
    """Compile the parts of the network by torch.compile: minutes at the start, faster steps."""
    workers: int | None = Field(default=None, ge=0)
    """Processes that prepare samples, per training process; 0 prepares them in the training process. None: the cores
    but one, at most 16; none for videos kept in memory. Never changes the samples."""
    keep_in_memory: bool = False
    """Decode every video once, up front: for few short videos."""
    checkpoint_minutes: float = _unwritten(10.0, ge=0)
    """Minutes between checkpoints, from which the same run resumes; 0: one a step."""
    keep_every: int | None = _unwritten(None, ge=1)
    """Keep the network of every so many steps, beside the last and the best; None: of none."""
    validate_every: int = _unwritten(5000, ge=1)
    """Steps between validations, where there is something to validate on."""
    validate_videos: int = _unwritten(8, ge=1)
    """Held-out videos that propagation is validated on, evenly spaced among all."""
    validate_frames: int = _unwritten(24, ge=2)
    """Frames of each."""
    validate_samples: int = _unwritten(64, ge=1)
    """Samples of held-out videos that S2M and fusion are validated on."""

    @model_validator(mode="after")
    def _crop_fits_the_grid(self) -> Self:
        check_crop(self.augmentation.geometry)
        return self

    @model_validator(mode="after")
    def _imagenet_fits_the_width(self) -> Self:
        if self.init == IMAGENET and self.width != 1:
            raise ValueError(f"imagenet needs width 1, not {self.width:g}")
        return self

    def num_workers(self, processes: int = 1) -> int:
        """Sample-preparing processes of each of ``processes`` training processes on this machine."""
        if self.workers is not None:
            return self.workers
        return 0 if self.keep_in_memory else min((cores() - 1) // processes, MAX_WORKERS)

    def lr_factor(self, step: int) -> float:
        """The share of ``lr`` used at ``step`` (from 0)."""
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        done = step / self.iterations
        if self.schedule == "step":
            return 0.1 ** sum(done >= share for share in self.decay_at)
        return 0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2


class ClipStage(Record):
    """A part of a propagation run, from the share ``start`` of its steps on, and its clips.

    From random weights, small crops of two frames teach a network in hundreds of steps to read its memory, which
    large ones, and memories of its own first guesses, do not; large crops and longer clips then teach it to last.
    """

    start: float = Field(ge=0, le=1)
    geometry: Geometry
    frames: ClipFrames = PUBLISHED_FRAMES

    @model_validator(mode="after")
    def _crop_fits_the_grid(self) -> Self:
        check_crop(self.geometry)
        return self


class TrunkSettings(TrainSettings):
    """What the runs of the two networks that have trunks have in common."""

    dice_weight: float = _unwritten(0.0, ge=0)
    """Weight of the Dice loss of each object beside the published one."""
    imagenet: str | None = _unwritten(None)
    """Which weights ``init: imagenet`` means: "IMAGENET1K_V1" (the default) or another of torchvision's weights for
    ImageNet, downloaded once, or a file of such weights. Naming some chooses that ``init``."""

    @model_validator(mode="after")
    def _imagenet_fits(self) -> Self:
        if self.imagenet is not None and self.width != 1:
            raise ValueError(f"imagenet needs width 1, not {self.width:g}")
        if self.imagenet is not None and self.init not in (RANDOM, IMAGENET):
            raise ValueError(f"a network starts from {self.init} or from imagenet, not from both: leave one out")
        return self

    @property
    def imagenet_weights(self) -> str | None:
        """The ImageNet weights to start from, for ``load_imagenet``; None: none."""
        return self.imagenet or ("IMAGENET1K_V1" if self.init == IMAGENET else None)


class PropagationSettings(TrunkSettings):
    """A few frames of a video: the masks of the first are given, the others are segmented one after the other."""

    augmentation: Augmentation = Augmentation(
        geometry=Geometry(crop=384, area=(0.25, 1.0), rotation=15, shear=10),
        shared_colour=Jitter(brightness=0.1, contrast=0.03, saturation=0.03, grey=0.05),
        frame_colour=Jitter(brightness=0.01, contrast=0.01, saturation=0.01),
    )
    network: Literal["stm", "stcn", "small"] = "stm"
    """Which network carries masks: MiVOS's, STCN, or the small one, which has one depth and width."""
    frames: ClipFrames = _unwritten(PUBLISHED_FRAMES)
    """Frames of a clip before the first of ``stages``."""
    num_objects: int = Field(default=2, ge=1)
    """Objects a clip teaches at once; the others count as background."""
    jumps: tuple[tuple[Share, Count], ...] = ((0.0, 5), (0.1, 10), (0.2, 15), (0.3, 20), (0.4, 25), (0.8, 5))
    """(share of the run, largest jump between a clip's frames from then on)."""
    batch_norm: Literal["frozen", "batch"] = "frozen"
    """Whether batch norm keeps the statistics it has (published), or uses and tracks those of each batch."""
    fresh_others: bool = _unwritten(False)
    """Whether the input channel of the other objects starts anew where ``init`` is a checkpoint: published for stages
    of single objects, which teach it nothing, before stages of several."""
    match_weight: float = Field(default=0.0, ge=0)
    """Weight of the matching loss beside the published one: from random weights, keys learn by it what to point at
    long before the masks could teach them."""
    point_weight: float = _unwritten(0.0, ge=0)
    """Weight of the loss that has cells point at those that show the same point, in stills and videos with tracks."""
    stages: tuple[ClipStage, ...] = ()
    """How clips change along the run; before the first stage they are as published."""
    still_share: Share = _unwritten(0.0)
    """Share of the clips of videos that are one of their frames, moved as a still."""
    motion: StillMotion = _unwritten(StillMotion())
    """How stills move, in clips made of them."""
    deform: Share = _unwritten(0.0)
    """Share of the clips whose given mask is deformed, as the masks that a network has made itself are."""
    degrade: Share = _unwritten(0.0)
    """Share of the clips' frames that are blurred and get noise, as those of cameras."""
    cutouts: CutoutSettings = _unwritten(CutoutSettings())
    """Objects of other videos, pasted into clips."""
    focus: float = Field(default=0.0, ge=0, le=1)
    """Probability that the crop is placed on an object of the first frame; published: anywhere."""
    small_areas: Annotated[tuple[Count, Count, Count], ASCENDING] = (10, 20, 30)
    """Sides a < b < c at crop 384: objects of at least c² pixels in the first frame are taught, those of a² to c²
    only if they stay under b² in the others, smaller ones never."""

    @model_validator(mode="after")
    def _jumps_are_known_from_the_start_on(self) -> Self:
        shares = [share for share, _ in self.jumps]
        if not shares or shares[0] > 0 or shares != sorted(shares):
            raise ValueError("the shares of 'jumps' must ascend from 0")
        return self

    def stage_at(self, step: int) -> ClipStage:
        """The clip settings at ``step`` (from 0)."""
        reached = [stage for stage in self.stages if step >= stage.start * self.iterations]
        if reached:
            return reached[-1]
        return ClipStage(start=0.0, geometry=self.augmentation.geometry, frames=self.frames)

    @property
    def longest_clip(self) -> int:
        """The fewest frames that a usable video has: those of the longest clip, at least three."""
        used = [stage.frames for stage in self.stages]
        if not any(stage.start == 0 for stage in self.stages):
            used.append(self.frames)
        return max(PUBLISHED_FRAMES, *used)

    def max_jump(self, step: int) -> int:
        """The largest jump at ``step`` (from 0)."""
        return [jump for share, jump in self.jumps if step >= share * self.iterations][-1]


class S2MSettings(TrunkSettings):
    """One object of one frame: a made-up previous mask and made-up scribbles become its mask."""

    smallest_part: ClassVar[int] = 2
    network: Literal["resnet", "small"] = _unwritten("resnet")
    """The trunk: a ResNet, as published, or the small network's MobileNetV2."""
    iterations: int = Field(default=80_000, ge=1)
    batch: int = Field(default=32, ge=2)
    lr: float = Field(default=1e-4, gt=0)
    decay_at: Shares = ()
    loss: Bootstrap = Bootstrap(start=0.125, end=0.375)
    augmentation: Augmentation = Augmentation(
        geometry=Geometry(crop=480, short_side=480, zoom=(0.8, 1.25), rotation=20, shear=10),
        shared_colour=Jitter(brightness=0.1, contrast=0.03, saturation=0.03, grey=0.05),
    )
    scribbles: ScribbleSettings = ScribbleSettings()
    min_side: int = Field(default=50, ge=0)
    """Objects under min_side² pixels (at crop 480) are not drawn."""


class FusionSettings(TrainSettings):
    """Two results for one frame, propagated from two others, become one; the propagation network stays as it is."""

    @model_validator(mode="after")
    def _has_no_trunk(self) -> Self:
        if self.init == IMAGENET:
            raise ValueError("the fusion network has no trunk that could start from imagenet: name a checkpoint")
        return self

    iterations: int = Field(default=30_000, ge=1)
    batch: int = Field(default=24, ge=1)
    lr: float = Field(default=1e-4, gt=0)
    decay_at: Shares = (2 / 3,)
    loss: Bootstrap = Bootstrap(start=0.2, end=0.5)
    augmentation: Augmentation = Augmentation(
        geometry=Geometry(crop=384),
        shared_colour=Jitter(brightness=0.1, contrast=0.03, saturation=0.03, hue=0.01),
    )
    num_objects: int = Field(default=2, ge=1)
    short_side: int | None = Field(default=None, ge=1)
    """Height or width, whichever is less, of the frames that are propagated; None: as they are."""
    num_videos: int | None = Field(default=None, ge=1)
    """How many of the videos to propagate; None: all."""
    references: int = Field(default=3, ge=2)
    """Frames of each video to propagate from, evenly spaced."""
    reach: int | None = Field(default=None, ge=1)
    """How far from a reference a target frame may lie; None: anywhere."""
    between: bool = False
    """Whether a target must lie between its references, as it always does in use."""
    mem_every: int = Field(default=5, ge=1)
    min_pixels: int = Field(default=100, ge=0)
    """Objects smaller than this in a reference are not used; at least so many pixels must differ between the two
    results (by more than a tenth) for a sample to count as instructive."""


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class Stage(Record):
    """A stage of training before the last: each of its networks starts from the stage before, unless ``init`` differs.

    None: this stage has no such network.
    """

    data: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    """The data of this stage: paths or URLs, each perhaps with settings of `Source`; none: the data of the run."""
    stills: bool = False
    """Of the run's data, make clips of single frames that are moved (`train.data.stills`)."""
    s2m: S2MSettings | None = None
    propagation: PropagationSettings | None = None
    fusion: FusionSettings | None = None


NETWORKS = ("s2m", "propagation", "fusion")
"""In training order: fusion learns from propagation's results."""
MAIN = "main"
"""The name of the last stage."""
StageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class Recipe(Record):
    """How to train the three networks: in stages, the last of which has the settings outside ``stages``.

    Fusion learns from the propagation network of the last stage, whatever its own stage.
    """

    stages: dict[StageName, Stage] = Field(default={}, exclude_if=lambda stages: not stages)
    """The stages before the last, by name, in their order."""
    s2m: S2MSettings = S2MSettings()
    propagation: PropagationSettings = PropagationSettings()
    fusion: FusionSettings = FusionSettings()

    @model_validator(mode="after")
    def _last_is_main(self) -> Self:
        if MAIN in self.stages:
            raise ValueError(f"the stage '{MAIN}' is the last, whose settings are outside 'stages': name it otherwise")
        return self
