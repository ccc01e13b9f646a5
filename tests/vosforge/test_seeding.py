import subprocess
import sys

import numpy as np

from vosforge.seeding import rng_for


def test_equal_keys_give_equal_streams_in_another_process():
    code = "from vosforge.seeding import rng_for; print(rng_for(3, 'scene', 7).integers(2**62))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == rng_for(3, "scene", 7).integers(2**62)


def test_unequal_keys_give_unequal_streams():
    keys = [(0,), ("0",), (0, 0), (0, "0"), ("0", 0), ("00",), (0, 1), (1, 0)]
    draws = {tuple(rng_for(*key).integers(2**62, size=4)) for key in keys}
    assert len(draws) == len(keys)


def test_global_random_state_is_left_alone():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    rng_for(1).random(10)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
