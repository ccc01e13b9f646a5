"""The mask palette of DAVIS and PASCAL VOC."""

import numpy as np


def davis_palette() -> np.ndarray:
    """The 256 colours of DAVIS and PASCAL VOC, uint8 [256, 3] RGB: the bits of an index, dealt out to the channels.

    Bits 0, 3, 6 go to red, 1, 4, 7 to green and 2, 5 to blue, the lowest to the highest place (VOC devkit). Some
    DAVIS files write 191 for 192 and greys from index 22 on; the labels mean the same.
    """
    index = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for place in range(8):
        for channel in range(3):
            palette[:, channel] |= ((index >> (3 * place + channel) & 1) << (7 - place)).astype(np.uint8)
    return palette


PALETTE = davis_palette()
