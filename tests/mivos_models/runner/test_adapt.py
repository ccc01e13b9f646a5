"""A network learns the given frame of a video."""

import numpy as np
import pytest
import torch

from mivos_models import STCN, SmallPropagation, SpaceTimeNetwork, normalise, propagate
from mivos_models.runner.adapt import adapted
from tests.mivos_models.networks.test_own_goldens import moving_squares


@pytest.mark.parametrize("build", [SmallPropagation, lambda: STCN(18, 0.125)])
def test_the_decoder_learns_the_frame_and_nothing_else_changes(build) -> None:
    torch.manual_seed(0)
    network: SpaceTimeNetwork = build().eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    frames, masks = moving_squares(1, 64, 96, 1)
    frame, given = normalise(frames), torch.from_numpy((masks == 1).astype(np.float32))[None]

    def error(of: SpaceTimeNetwork) -> float:
        with torch.inference_mode():
            found = of.segment(of.query(frame), of.memorize(frame, given))
            return float((found - given).abs().mean())

    with torch.inference_mode():  # as the runner calls it
        first, second = (adapted(network, frame, given, steps=20) for _ in range(2))
    assert error(first) < 0.9 * error(network)
    assert not first.training and not any(parameter.requires_grad for parameter in first.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    changed = {key for key, value in first.state_dict().items() if not torch.equal(value, before[key])}
    assert changed and all(key.startswith("decoder.") for key in changed)
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())


def test_a_video_is_segmented_by_the_adapted_copy() -> None:
    torch.manual_seed(0)
    network = SmallPropagation().eval()
    frames, masks = moving_squares(3, 48, 64, 2)
    plain, learned = (propagate(frames, masks[0], network, adapt=adapt) for adapt in (False, True))
    assert plain.shape == learned.shape and np.array_equal(learned[0], masks[0])
    assert not np.array_equal(plain, learned)
