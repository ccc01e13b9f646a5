"""Validates a network while it trains, and keeps the page of the run up to date."""

import io
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from PIL import Image
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from tools.inspect.training_page import validation_picture, write_training_page
from train.loop import OnStep, Validate
from train.settings import FusionSettings, PropagationSettings, S2MSettings, TrainSettings
from train.validation import Validator, fusion_validator, propagation_validator, s2m_validator
from vosforge.errors import InputError
from vosforge.files import write_sealed
from vosforge.log import logger
from vosforge.videos.video import Video

JPEG_QUALITY = 85
PAGE_SECONDS = 60
"""Between two writings of the page."""


def validation(
    kind: str, videos: Sequence[Video], settings: TrainSettings, out: Path, propagation: Path
) -> Validate | None:
    """What `train.loop.fit` calls to judge a network by the held-out ``videos``; None without such videos.

    Each call leaves a picture beside the network, for the page. ``propagation``: the network that fusion learns from.
    """
    usable = [video for video in videos if video.has_colors and video.has_masks and video.num_objects]
    if not usable:
        return None
    try:
        judge = _validator(usable, settings, out, propagation)
    except InputError as error:
        logger.warning("%s is not validated: %s", kind, error)
        return None

    def validate(network: nn.Module, step: int) -> Mapping[str, float]:
        found = judge(network)
        picture = validation_picture(found)
        if picture is not None:
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY)
            write_sealed(out / f"{kind}.validation.jpg", buffer.getvalue())
            with SummaryWriter(str(out / "tensorboard" / f"{kind}-validation")) as board:
                board.add_image("held out: truth, result", picture, step, dataformats="HWC")
        logger.info("%s, step %d: held-out J&F %.1f", kind, step, 100 * found.scores["jf"])
        return found.scores

    return validate


def _validator(videos: Sequence[Video], settings: TrainSettings, out: Path, propagation: Path) -> Validator:
    match settings:
        case PropagationSettings():
            return propagation_validator(videos, settings)
        case S2MSettings():
            return s2m_validator(videos, settings)
        case FusionSettings():
            return fusion_validator(videos, settings, propagation, out / "validation-data")
    raise TypeError(type(settings))


class PageWriter:
    """Rewrites ``out/training.html`` now and then; does nothing (and says so once) without the packages it needs."""

    def __init__(self, out: Path) -> None:
        self._out, self._last = out, time.monotonic()
        self._able = all(find_spec(name) for name in ("jinja2", "matplotlib"))
        if not self._able:
            logger.info("no page of this run: pip install 'vosforge[report]' for one")

    def write(self) -> None:
        """Write the page now."""
        if self._able:
            write_training_page(self._out)
            self._last = time.monotonic()

    def beside(self, on_step: OnStep) -> OnStep:
        """``on_step``, which also writes the page when the last one is old."""

        def show(step: int, total: int, loss: float) -> None:
            on_step(step, total, loss)
            if time.monotonic() - self._last > PAGE_SECONDS:
                self.write()

        return show
