import io
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vosforge.seeding import rng_for
from vosforge.videos.codec import SEGMENT_BLOCKS, Region, decode, decode_region, encode, restart_interval


def picture(height: int, width: int) -> np.ndarray:
    """Smooth colours with some noise, uint8 ``[H, W, 3]``."""
    rng = rng_for("picture", height, width)
    coarse = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    return np.clip(smooth + rng.normal(0, 5, smooth.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("encoding", ["png", "webp"])
def test_lossless_encodings_give_the_same_pixels(encoding):
    frame = picture(37, 53)
    assert np.array_equal(decode(encode(frame, encoding, 95), (37, 53)), frame)


def test_jpegs_are_close_and_decode_as_elsewhere():
    frame = picture(120, 200)
    data = encode(frame, "jpeg", 95)
    decoded = decode(data, (120, 200))
    assert np.abs(decoded.astype(int) - frame).mean() < 3
    assert np.array_equal(decoded, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_region_is_cut_from_the_whole_frame_to_the_bit(data):
    height, width = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 600))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bottom, right = data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width))
    encoded = encode(picture(height, width), "jpeg", 90)
    whole = decode(encoded, (height, width))
    region = decode_region(encoded, (height, width), Region(top, left, bottom, right))
    assert np.array_equal(region, whole[top:bottom, left:right])


@pytest.mark.parametrize(
    "options",
    [
        [],
        [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
        [cv2.IMWRITE_JPEG_RST_INTERVAL, 4],  # with subsampled colours
        [cv2.IMWRITE_JPEG_RST_INTERVAL, 7, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
    ],
)
def test_regions_of_other_peoples_jpegs_are_right_too(options):
    _, data = cv2.imencode(".jpg", picture(100, 160), options)
    encoded = data.tobytes()
    whole = decode(encoded, (100, 160))
    region = decode_region(encoded, (100, 160), Region(21, 30, 77, 150))
    assert np.array_equal(region, whole[21:77, 30:150])


def test_a_region_touches_little_of_the_frame():
    """What lies in other segments may be damaged."""
    frame = picture(256, 512)
    encoded = bytearray(encode(frame, "jpeg", 95))
    whole = decode(bytes(encoded), (256, 512))
    encoded[-200:-100] = b"\x00" * 100
    region = decode_region(bytes(encoded), (256, 512), Region(0, 0, 128, 512))
    assert np.array_equal(region, whole[:128])


def test_restart_intervals_divide_a_row_of_blocks():
    for width in range(1, 3000, 7):
        row = -(-width // 8)
        assert row % restart_interval(width) == 0
        assert restart_interval(width) in (row, *range(SEGMENT_BLOCKS, 3000))
    assert restart_interval(768) == SEGMENT_BLOCKS


@pytest.mark.parametrize("encoding", ["jpeg", "png", "webp"])
def test_bad_bytes_are_named(encoding):
    data = encode(picture(40, 60), encoding, 95)
    for bad in (b"", b"nothing", data[: len(data) // 3], b"\x00" * 500):
        with pytest.raises(ValueError):
            decode(bad, (40, 60))
    with pytest.raises(ValueError, match="60x40, not 30000x30000"):
        decode(data, (30000, 30000))


def test_a_header_of_a_huge_image_is_refused_before_it_is_decoded():
    png = bytearray(encode(picture(40, 60), "png", 95))
    png[16:24] = (200_000).to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    with pytest.raises(ValueError, match="far larger"):
        decode(bytes(png), (200_000, 200_000))


@pytest.mark.parametrize("quality", [10, 50, 75, 95, 100])
def test_the_usual_tables_are_those_of_other_encoders(quality):
    frame = picture(40, 60)
    _, theirs = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
    ours = encode(frame, "jpeg", quality, tables="annex-k")
    assert tables_of(ours) == tables_of(theirs.tobytes())


@pytest.mark.parametrize("tables", ["even", "annex-k"])
def test_noise_at_the_best_quality_is_encoded_whole(tables):
    noise = np.random.default_rng(0).integers(0, 256, (256, 320, 3)).astype(np.uint8)
    data = encode(noise, "jpeg", 100, tables=tables)
    assert len(data) > 2 * 256 * 320, "more than Pillow's guess of the bytes it takes"
    assert abs(decode(data, (256, 320)).astype(int) - noise).mean() < 1


def test_even_tables_lose_less_for_the_bytes_they_take():
    """What makes a frame hard is fine texture, in which the usual tables hide their errors."""
    rng = np.random.default_rng(1)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (256, 256, 3)).astype(np.uint8), (0, 0), 1.0)

    def error_and_size(quality, tables):
        data = encode(texture, "jpeg", quality, tables=tables)
        return np.square(decode(data, (256, 256)).astype(float) - texture).mean(), len(data)

    usual_error, usual_size = error_and_size(95, "annex-k")
    smaller = [error_and_size(quality, "even") for quality in range(80, 100)]
    assert min(error for error, size in smaller if size <= usual_size) < 0.9 * usual_error


def tables_of(data):
    with Image.open(io.BytesIO(data)) as image:
        return image.quantization
