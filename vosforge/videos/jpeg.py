"""A JPEG encoder with rate-distortion optimisation: at least 10 % fewer bytes than libjpeg at the same error.

Trellis quantisation rounds each coefficient to the level that minimises squared error plus the price of its bits
(Crouse and Ramchandran, "Joint thresholding and quantizer selection for transform image coding", IEEE TIP 1997). The
result is a baseline JPEG with restart markers (ITU-T T.81).
"""

import functools
import heapq
import itertools
from typing import NamedTuple

import numpy as np

from vosforge.compiled import compiled

MAX_BITS = 16
"""Maximum length of a Huffman code in bits, and the cost assumed for unused symbols."""
NEVER_ZERO = 4
"""Levels this large are never zeroed: with nearly flat tables the error would exceed the bits saved."""
END, ZEROS = 0x00, 0xF0
"""The symbols EOB (end of block) and ZRL (a run of 16 zeros)."""

_ORDER = np.array([8 * i + j for i, j in sorted(np.ndindex(8, 8), key=lambda at: (sum(at), at[1 - sum(at) % 2]))])
"""Zigzag order: the raster index of each coefficient as stored."""

_BIT_LENGTH = np.array([number.bit_length() for number in range(2048)])


class Codes(NamedTuple):
    """The Huffman codes of a frame: for DC (`first`) and AC coefficients (`other`), each for luma and chroma.

    By symbol, int64 ``[2, 256]``; unused symbols have 0 bits.
    """

    first_bits: np.ndarray
    first_code: np.ndarray
    other_bits: np.ndarray
    other_code: np.ndarray


def encode_full_color(frame: np.ndarray, tables: np.ndarray, interval: int) -> bytes:
    """A frame uint8 ``[H, W, 3]`` RGB as a JPEG at 4:4:4.

    tables: quantisation tables of luma and chroma, 1 to 255, int64 ``[2, 64]`` in raster order; interval: blocks
    between restart markers.
    """
    height, width = frame.shape[:2]
    steps = tables[:, _ORDER]
    values = np.empty((3, -(-height // 8), -(-width // 8), 64), np.float32)
    transform(np.ascontiguousarray(frame), _cosines(), _ORDER, values)
    numbers = np.empty(values.shape, np.int16)
    for plane, table in enumerate((0, 1, 1)):
        np.rint(values[plane] / steps[table].astype(np.float32), out=numbers[plane], casting="unsafe")
    # At high rate a step s causes a squared error of s^2 / 12, and one more bit divides it by four.
    prices = np.log(4) / 12 * np.exp(2 * np.log(steps).mean(axis=1))
    bits = _codes(numbers, interval).other_bits
    choose(values, steps, prices, np.where(bits > 0, bits, MAX_BITS), numbers)
    codes = _codes(numbers, interval)
    coded = np.empty(8 * numbers.size + 1024, np.uint8)  # up to 26 bits per level, and byte stuffing after 0xFF
    size = write(numbers, interval, *codes, coded)
    return b"".join([_head(height, width, steps, codes, interval), coded[:size].tobytes(), b"\xff\xd9"])


@functools.cache
def _cosines() -> np.ndarray:
    """The orthonormal 8-point DCT matrix, float32."""
    n = np.arange(8)
    rows = np.cos((2 * n + 1) * n[:, None] * np.pi / 16) / 2
    rows[0] /= np.sqrt(2)
    return rows.astype(np.float32)


@compiled
def transform(frame: np.ndarray, cosines: np.ndarray, order: np.ndarray, values: np.ndarray) -> None:
    """Fill ``values [3, h, w, 64]``, float32, with the DCT of each Y, Cb and Cr block; edge pixels are repeated."""
    rows, columns = frame.shape[:2]
    block, half, whole = np.empty((3, 8, 8), np.float32), np.empty((8, 8), np.float32), np.empty((8, 8), np.float32)
    turned = cosines.T.copy()
    for a in range(values.shape[1]):
        for b in range(values.shape[2]):
            for i in range(8):
                for j in range(8):
                    y, x = min(8 * a + i, rows - 1), min(8 * b + j, columns - 1)
                    red, blue = np.float32(frame[y, x, 0]), np.float32(frame[y, x, 2])
                    light = np.float32(0.299) * red + np.float32(0.587) * frame[y, x, 1] + np.float32(0.114) * blue
                    block[0, i, j] = light - np.float32(128)
                    block[1, i, j] = (blue - light) * np.float32(1 / 1.772)
                    block[2, i, j] = (red - light) * np.float32(1 / 1.402)
            for plane in range(3):
                half[:] = 0
                whole[:] = 0
                for i in range(8):
                    for k in range(8):
                        for j in range(8):
                            half[i, j] += cosines[i, k] * block[plane, k, j]
                for i in range(8):
                    for k in range(8):
                        for j in range(8):
                            whole[i, j] += half[i, k] * turned[k, j]
                for place in range(64):
                    values[plane, a, b, place] = whole[order[place] // 8, order[place] % 8]


@compiled
def choose(values: np.ndarray, steps: np.ndarray, prices: np.ndarray, bits: np.ndarray, numbers: np.ndarray) -> None:
    """Fill the AC levels of ``numbers`` to minimise squared error plus price times bits, by dynamic programming.

    A nonzero level costs bits by its magnitude and the preceding run of zeros. For the n-th position that may be
    nonzero, ``at[n]``, the best choice is level ``taken[n]`` after the ``last[n]``-th such position, at ``cost[n]``.
    """
    cost, last, taken, at = np.zeros(64), np.zeros(64, np.int64), np.zeros(64, np.int64), np.zeros(64, np.int64)
    zeroed = np.zeros(64)  # cumulative error of zeroing up to a position
    for plane in range(3):
        table = min(plane, 1)
        price = prices[table]
        for a in range(values.shape[1]):
            for b in range(values.shape[2]):
                block, chosen = values[plane, a, b], numbers[plane, a, b]
                count, earliest = 0, 0
                for place in range(1, 64):
                    size, step = abs(block[place]), steps[table, place]
                    zeroed[place] = zeroed[place - 1] + size * size
                    nearest = int(size / step + 0.5)
                    chosen[place] = 0
                    if nearest == 0:
                        continue
                    count += 1
                    at[count], best = place, np.inf
                    least = nearest - 1 if nearest > 1 and nearest * step > size else nearest
                    for number in range(nearest, least - 1, -1):
                        length = bit_length(number)
                        error = (size - number * step) ** 2
                        for before in range(count - 1, earliest - 1, -1):
                            run = place - at[before] - 1
                            taking = length + (run >> 4) * bits[table, ZEROS] + bits[table, (run & 15) << 4 | length]
                            total = cost[before] - zeroed[at[before]] + error + price * taking
                            if total < best:
                                best, last[count], taken[count] = total, before, number
                    cost[count] = best + zeroed[place - 1]
                    if nearest >= NEVER_ZERO:
                        earliest = count
                best, end = np.inf, 0
                for n in range(earliest, count + 1):
                    total = cost[n] + zeroed[63] - zeroed[at[n]] + (price * bits[table, END] if at[n] < 63 else 0.0)
                    if total < best:
                        best, end = total, n
                while end > 0:
                    chosen[at[end]] = taken[end] if block[at[end]] > 0 else -taken[end]
                    end = last[end]


@compiled
def bit_length(number: int) -> int:
    """The bit length of a nonnegative number: 0 for 0, 1 for 1, 2 for 2 and 3."""
    length: int = _BIT_LENGTH[number]
    return length


@compiled
def count(numbers: np.ndarray, interval: int, first: np.ndarray, other: np.ndarray) -> None:
    """Add the symbol histograms of DC and AC levels to ``first`` and ``other``, int64 ``[2, 256]`` (luma, chroma)."""
    for plane in range(3):
        table, before, blocks = min(plane, 1), 0, 0
        for a in range(numbers.shape[1]):
            for b in range(numbers.shape[2]):
                block = numbers[plane, a, b]
                if blocks % interval == 0:
                    before = 0
                blocks += 1
                first[table, bit_length(abs(block[0] - before))] += 1
                before, run = block[0], 0
                for place in range(1, 64):
                    if block[place] == 0:
                        run += 1
                        continue
                    other[table, ZEROS] += run >> 4
                    other[table, (run & 15) << 4 | bit_length(abs(block[place]))] += 1
                    run = 0
                if run > 0:
                    other[table, END] += 1


@compiled
def write(
    numbers: np.ndarray,
    interval: int,
    first_bits: np.ndarray,
    first_code: np.ndarray,
    other_bits: np.ndarray,
    other_code: np.ndarray,
    out: np.ndarray,
) -> int:
    """Write the entropy-coded scan into ``out``, uint8; returns its size in bytes."""
    before = np.zeros(3, np.int64)
    size, held, bits = 0, 0, 0
    blocks = numbers.shape[1] * numbers.shape[2]
    for block in range(blocks):
        if block % interval == 0 and block > 0:
            size, held, bits = put(out, size, held, bits, (1 << -bits % 8) - 1, -bits % 8)
            out[size], out[size + 1] = 0xFF, 0xD0 + (block // interval - 1) % 8
            size += 2
            before[:] = 0
        for plane in range(3):
            table = min(plane, 1)
            values = numbers[plane, block // numbers.shape[2], block % numbers.shape[2]]
            number = values[0] - before[plane]
            before[plane] = values[0]
            length = bit_length(abs(number))
            size, held, bits = put(out, size, held, bits, first_code[table, length], first_bits[table, length])
            size, held, bits = put(out, size, held, bits, number if number >= 0 else number + (1 << length) - 1, length)
            run = 0
            for place in range(1, 64):
                number = int(values[place])
                if number == 0:
                    run += 1
                    continue
                for _ in range(run >> 4):
                    size, held, bits = put(out, size, held, bits, other_code[table, ZEROS], other_bits[table, ZEROS])
                length = bit_length(abs(number))
                symbol = (run & 15) << 4 | length
                size, held, bits = put(out, size, held, bits, other_code[table, symbol], other_bits[table, symbol])
                number = number if number > 0 else number + (1 << length) - 1
                size, held, bits = put(out, size, held, bits, number, length)
                run = 0
            if run > 0:
                size, held, bits = put(out, size, held, bits, other_code[table, END], other_bits[table, END])
    size, held, bits = put(out, size, held, bits, (1 << -bits % 8) - 1, -bits % 8)
    return size


@compiled
def put(out: np.ndarray, size: int, held: int, bits: int, code: int, length: int) -> tuple[int, int, int]:
    """Append ``length`` bits to the ``bits`` pending in ``held``; whole bytes go to ``out`` from ``size`` on."""
    held, bits = held << length | code, bits + length
    while bits >= 8:
        bits -= 8
        byte = held >> bits & 0xFF
        out[size] = byte
        size += 1
        if byte == 0xFF:  # byte stuffing: 0xFF alone would begin a marker
            out[size] = 0
            size += 1
    return size, held & (1 << bits) - 1, bits


def _codes(numbers: np.ndarray, interval: int) -> Codes:
    first, other = np.zeros((2, 256), np.int64), np.zeros((2, 256), np.int64)
    count(numbers, interval, first, other)
    lengths = [np.stack([code_lengths(each) for each in counts]) for counts in (first, other)]
    codes = [np.stack([canonical(each) for each in bits]) for bits in lengths]
    return Codes(lengths[0], codes[0], lengths[1], codes[1])


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """The Huffman code length of each symbol, at most 16, and 0 for unused symbols: int64 ``[256]``.

    One code stays reserved, so that none is all ones (T.81, C.2).
    """
    used = np.flatnonzero(counts)
    lengths = np.zeros(len(counts) + 1, np.int64)
    heap = [(int(counts[symbol]), int(symbol), [int(symbol)]) for symbol in used] + [(0, len(counts), [len(counts)])]
    heapq.heapify(heap)
    for number in itertools.count(len(counts) + 1):
        if len(heap) == 1:
            break
        (rare, _, one), (rarer, _, other) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[one + other] += 1
        heapq.heappush(heap, (rare + rarer, number, one + other))
    if lengths.max() > MAX_BITS:
        return code_lengths((counts + 1) // 2)  # flatter counts; used symbols stay used
    return lengths[:-1]


def canonical(lengths: np.ndarray) -> np.ndarray:
    """Canonical Huffman codes from their lengths: int64 ``[256]`` (T.81, C.2)."""
    codes, code, before = np.zeros(len(lengths), np.int64), 0, 0
    for symbol in _by_length(lengths):
        code <<= int(lengths[symbol]) - before
        codes[symbol], before = code, int(lengths[symbol])
        code += 1
    return codes


def _by_length(lengths: np.ndarray) -> list[int]:
    return sorted(np.flatnonzero(lengths).tolist(), key=lambda symbol: (lengths[symbol], symbol))


def _head(height: int, width: int, steps: np.ndarray, codes: Codes, interval: int) -> bytes:
    """The JFIF header up to the scan (T.81, B.2)."""
    planes = [(plane, 0x11, min(plane, 1)) for plane in (0, 1, 2)]  # no subsampling
    segments = [
        (0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
        *((0xDB, bytes([table, *steps[table].tolist()])) for table in (0, 1)),
        (0xC0, bytes([8, *height.to_bytes(2, "big"), *width.to_bytes(2, "big"), 3, *sum(planes, ())])),
    ]
    for kind, lengths in ((0x00, codes.first_bits), (0x10, codes.other_bits)):
        for table in (0, 1):
            how_many = np.bincount(lengths[table], minlength=MAX_BITS + 1)[1:]
            segments.append((0xC4, bytes([kind | table, *how_many.tolist(), *_by_length(lengths[table])])))
    segments += [
        (0xDD, interval.to_bytes(2, "big")),
        (0xDA, bytes([3, 0, 0x00, 1, 0x11, 2, 0x11, 0, 63, 0])),
    ]
    parts = (bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body for marker, body in segments)
    return b"\xff\xd8" + b"".join(parts)
