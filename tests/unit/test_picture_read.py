"""The way in: named formats, bounded before decoding, upright, in sRGB, and nothing of the file but its pixels."""

from __future__ import annotations

import io
import os
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from darkroom.contracts.errors import BadFile
from darkroom.picture.containers import PNG_MAGIC
from darkroom.picture.read import read
from darkroom.picture.write import encode

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (24, 40, 3), np.uint8)
RGBA = RNG.integers(0, 256, (24, 40, 4), np.uint8)
ACROSS, DOWN = np.meshgrid(np.linspace(0, 255, 40), np.linspace(0, 255, 24))
SMOOTH = np.stack([ACROSS, DOWN, np.full((24, 40), 90.0)], -1).astype(np.uint8)
DAMAGED = "is damaged or cut short"


def saved(pixels: np.ndarray | Image.Image, format: str, **options: object) -> bytes:
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def refused(source: bytes | Path, **options: int) -> str:
    with pytest.raises(BadFile) as caught:
        read(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what is read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "BMP"])
def test_lossless_formats_give_their_pixels(format: str) -> None:
    assert np.array_equal(read(saved(RGB, format)), RGB)


def test_webp_and_transparency() -> None:
    assert np.array_equal(read(saved(RGB, "WEBP", lossless=True)), RGB)
    assert np.array_equal(read(saved(RGBA, "WEBP", lossless=True, exact=True)), RGBA)
    assert np.array_equal(read(saved(RGBA, "PNG")), RGBA)


def test_a_transparent_picture_that_hides_nothing_is_rgb() -> None:
    opaque = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    assert np.array_equal(read(saved(opaque, "PNG")), RGB)


def test_jpeg_is_close() -> None:
    assert np.abs(read(saved(SMOOTH, "JPEG", quality=95)).astype(int) - SMOOTH).max() < 12


def test_the_first_frame_of_a_gif() -> None:
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "blue")]
    pixels = read(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert pixels.shape == (20, 30, 3) and (pixels == (255, 0, 0)).all()


def test_palettes_with_and_without_transparency() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    assert (read(saved(image, "PNG")) == (10, 200, 30)).all()
    image.putpixel((0, 0), 0)
    pixels = read(saved(image, "PNG", transparency=0))
    assert pixels.shape == (8, 8, 4) and tuple(pixels[0, 0])[3] == 0 and tuple(pixels[1, 1]) == (10, 200, 30, 255)


def test_grey_of_1_8_and_16_bits() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    assert np.array_equal(read(saved(ramp, "PNG"))[..., 0].ravel(), np.arange(256))  # scaled, not clipped
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(read(saved(grey, "PNG")), np.dstack([grey] * 3))
    assert (read(saved(Image.new("1", (4, 4), 1), "PNG")) == 255).all()
    assert read(saved(Image.fromarray(grey).convert("LA"), "PNG")).shape == (16, 16, 3)


def test_cmyk_jpeg() -> None:
    red = read(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    assert red.shape == (16, 16, 3) and (np.abs(red.astype(int) - (254, 0, 0)) < 20).all()


def test_pixels_may_be_written_to() -> None:
    assert read(saved(RGB, "PNG")).flags.writeable


def test_colour_profiles_are_applied_and_broken_ones_ignored() -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert np.abs(read(saved(SMOOTH, "PNG", icc_profile=bytes(profile))).astype(int) - SMOOTH).max() <= 2
    profile[profile.index(b"rXYZ") : profile.index(b"rXYZ") + 4] = b"TEMP"  # red and blue change places
    profile[profile.index(b"bXYZ") : profile.index(b"bXYZ") + 4] = b"rXYZ"
    profile[profile.index(b"TEMP") : profile.index(b"TEMP") + 4] = b"bXYZ"
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    assert (read(saved(red, "PNG", icc_profile=bytes(profile))) == (0, 0, 255)).all()
    assert np.array_equal(read(saved(RGB, "PNG", icc_profile=b"no profile at all")), RGB)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, format: str) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16] = (255, 0, 0)  # top left
    upright[16:, 32:] = (0, 255, 0)  # bottom right
    stored = {  # how a camera that held the sensor that way stores it (EXIF 2.32)
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {} if format != "WEBP" else {"lossless": True}
    pixels = read(saved(np.ascontiguousarray(stored), format, exif=exif.tobytes(), **lossless))
    assert pixels.shape == upright.shape and np.abs(pixels.astype(int) - upright).mean() < 8


def test_a_broken_exif_block_does_not_matter() -> None:
    for block in (b"", b"MM", b"MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0" + b"\xff" * 40):
        assert np.array_equal(read(saved(RGB, "PNG", exif=block)), RGB)


def test_gps_and_comments_do_not_get_out() -> None:
    exif = Image.Exif()
    exif[0x010F] = "SECRETCAM"
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.34), 29: "2026:11:21"}
    jpeg = saved(RGB, "JPEG", exif=exif, comment=b"SECRETNOTE", xmp=b"<x>SECRETXMP</x>")
    assert b"SECRETCAM" in jpeg and b"2026:11:21" in jpeg
    for format in ("png", "jpg", "webp"):
        out = encode(read(jpeg), None, format)
        assert b"SECRET" not in out and b"2026:11:21" not in out
        assert 0x8825 not in Image.open(io.BytesIO(out)).getexif()


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (saved(RGB, "TIFF"), "is TIFF, which is not read; give PNG, JPEG, WebP, GIF or BMP"),
        (b'<?xml version="1.0"?><svg/>', "is SVG, which is not read"),
        (b"\xef\xbb\xbf  <svg xmlns='x'/>", "is SVG, which is not read"),
        (b"8BPS\0\1" + b"\0" * 40, "is PSD, which is not read"),
        (b"\0\0\0\x1cftypavif", "is HEIF or AVIF, which is not read"),
        (saved(RGB, "ICO"), "is icon, which is not read"),
        (saved(RGB, "PPM"), "is no picture darkroom reads"),
        (b"%PDF-1.4", "is PDF, which is not read"),
        (b"", "is empty"),
        (b"hello", "is no picture darkroom reads; give PNG, JPEG, WebP, GIF or BMP"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_formats_are_refused_by_content(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "picture.png"  # the name promises what the bytes do not hold
    path.write_bytes(data)
    assert said in refused(data) and f"picture.png {said}" in refused(path)


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "picture.tiff"
    path.write_bytes(saved(RGB, "PNG"))
    assert np.array_equal(read(path), RGB)


SOUND = {
    "PNG": saved(RGB, "PNG"),
    "JPEG": saved(RNG.integers(0, 256, (64, 64, 3), np.uint8), "JPEG"),
    "WEBP": saved(RGB, "WEBP"),
    "GIF": saved(RGB, "GIF"),
    "BMP": saved(RGB, "BMP"),
}


@pytest.mark.parametrize("format", SOUND)
def test_truncated_files_are_refused_at_every_cut(format: str) -> None:
    data = SOUND[format]
    last = len(data) - (1 if format in ("PNG", "BMP") else 8)  # elsewhere the last pixel is not the end
    for cut in {*range(1, 64), *range(64, last, max(1, last // 64)), last}:
        said = refused(data[:cut])
        assert DAMAGED in said or "no picture darkroom reads" in said


def test_a_png_without_its_end_is_cut_short() -> None:
    assert f"the picture {DAMAGED}; save it again and retry" == refused(SOUND["PNG"][:-12])


def test_any_changed_byte_of_a_png_picture_is_noticed() -> None:
    for at in range(8, len(SOUND["PNG"]), 7):
        data = bytearray(SOUND["PNG"])
        data[at] ^= 0x40
        assert refused(bytes(data))


def test_mutations_never_crash() -> None:
    for data in SOUND.values():
        for _ in range(60):
            broken = bytearray(data)
            for at in RNG.integers(0, len(broken), 4):
                broken[at] = RNG.integers(256)
            try:
                pixels = read(bytes(broken), max_pixels=10_000)
            except BadFile:
                continue
            assert pixels.dtype == np.uint8 and pixels.ndim == 3


def bombs() -> dict[str, bytes]:
    """Headers that claim a hundred thousand pixels a side, or as many as the format can."""
    png = PNG_MAGIC + chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    jpeg = bytearray(SOUND["JPEG"])
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    gif = bytearray(SOUND["GIF"])
    gif[6:10] = b"\xff\xff\xff\xff"
    frame_gif = bytearray(SOUND["GIF"])
    at = frame_gif.index(b"\x2c\0\0\0\0")
    frame_gif[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    bmp = bytearray(SOUND["BMP"])
    bmp[18:26] = struct.pack("<ii", 100_000, -100_000)
    vp8x = b"VP8X" + struct.pack("<I", 10) + b"\0" * 4 + b"\xff\xff\xff" + b"\xff\xff\xff"
    webp = b"RIFF" + struct.pack("<I", 4 + len(vp8x)) + b"WEBP" + vp8x
    return {
        "png": png + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b""),
        "jpeg": bytes(jpeg),
        "gif": bytes(gif),
        "gif frame": bytes(frame_gif),
        "bmp": bytes(bmp),
        "webp": webp,
    }


@pytest.mark.parametrize("name", bombs())
def test_bombs_are_refused_before_anything_is_allocated(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "more than 64,000,000" in refused(bombs()[name])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_the_pixel_limit_is_the_callers() -> None:
    assert read(SOUND["PNG"], max_pixels=24 * 40).shape == (24, 40, 3)
    assert "has 40 x 24 pixels, more than 959" in refused(SOUND["PNG"], max_pixels=24 * 40 - 1)


def test_huge_texts_are_not_unpacked() -> None:
    text = chunk(b"zTXt", b"note\0\0" + zlib.compress(b"\0" * 60_000_000, 1))
    texts = PngImagePlugin.PngInfo()
    texts.add_text("note", "x" * 5_000_000)
    data = saved(RGB, "PNG", pnginfo=texts)
    at = data.index(b"IDAT") - 4
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert np.array_equal(read(data[:at] + text * 20 + data[at:]), RGB)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # kB


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # would block for ever
    assert "is not a file" in refused(tmp_path / "pipe.png")
    assert "is not a file" in refused(Path("/dev/zero"))
    assert "cannot be read" in refused(tmp_path)
    assert "none.png cannot be read (no such file or directory)" in refused(tmp_path / "none.png")
    assert "cannot be read" in refused(Path("a\0b.png"))
    assert "cannot be read" in refused(Path("https://example.com/a.png"))
