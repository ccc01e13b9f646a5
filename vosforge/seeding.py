"""Explicit randomness: every draw comes from a generator derived from named keys, never from global state."""

import hashlib

import numpy as np


def rng_for(*keys: int | str) -> np.random.Generator:
    """The generator that belongs to ``keys``, for example ``rng_for(seed, "scene", video_index, attempt)``.

    Equal keys give equal streams on every machine and in every order of calls; unequal keys give independent
    streams. Integers and their decimal strings are different keys.
    """
    text = "\x1f".join(f"{type(key).__name__}:{key}" for key in keys)
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(int.from_bytes(digest, "little"))))
