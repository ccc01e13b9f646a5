"""Texts inside a shard: of fixed length, UTF-8.

HDF5 keeps texts of variable length in a heap without checksums, and can loop forever in a damaged one; nothing here
ever reads such a text.
"""

from collections.abc import Sequence

import h5py
import numpy as np


def write_text(attributes: h5py.AttributeManager, name: str, text: str) -> None:
    """Set an attribute to ``text``."""
    data = text.encode()
    attributes.create(
        name, np.array(data, f"S{max(len(data), 1)}"), dtype=h5py.string_dtype("utf-8", max(len(data), 1))
    )


def read_text(attributes: h5py.AttributeManager, name: str, default: str | None = None) -> str:
    """The attribute ``name``; KeyError for a missing one without a default, ValueError if it is not a text."""
    if name not in attributes:
        if default is None:
            raise KeyError(f"there is no '{name}'")
        return default
    stored = attributes.get_id(name)
    if stored.dtype.kind != "S" or stored.shape != ():
        raise ValueError(f"'{name}' is no text")
    return bytes(attributes[name]).decode()


def text_array(texts: Sequence[str]) -> np.ndarray:
    """Texts as an array of bytes ``[K]``, for a data set."""
    return np.array([text.encode() for text in texts], dtype=np.bytes_ if any(texts) else "S1")


def is_texts(dataset: h5py.Dataset) -> bool:
    """Whether a data set holds texts."""
    return dataset.dtype.kind == "S"


def read_texts(dataset: h5py.Dataset) -> tuple[str, ...]:
    """The texts of a data set ``[K]``; ValueError for one that holds something else."""
    if not is_texts(dataset) or dataset.ndim != 1:
        raise ValueError(f"'{dataset.name}' holds no texts")
    return tuple(item.decode() for item in dataset[()].tolist())
