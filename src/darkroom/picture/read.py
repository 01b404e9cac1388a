"""The way in: any picture a user brings becomes plain sRGB pixels.

In this order: the format by its first bytes, the size by its header, and only then pixels. Orientation and colour
profile are applied and then gone, and so is every other word the file carried (EXIF, GPS, comments).
"""

from __future__ import annotations

import io
import os

import numpy as np
from PIL import (
    Image,
    ImageCms,
    WebPImagePlugin,  # noqa: F401 - registers the format without loading every other one Pillow knows
)

from darkroom.contracts.errors import BadFile
from darkroom.picture.containers import Format, bare, claimed_size, damaged, exif_block, load, sniff
from darkroom.picture.exif import orientation

MAX_PIXELS = 64_000_000
MAX_PROFILE_BYTES = 4 * 1024 * 1024  # the largest printing profiles have about 2.5 MB

_TURNS = {  # EXIF 2.32, tag Orientation; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read(source: str | os.PathLike[str] | bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of a PNG, JPEG, WebP, GIF (its first frame) or BMP: (height, width, 3) uint8, or 4 where it is
    transparent anywhere. Raises :class:`BadFile` for everything else."""
    data, name = load(source)
    kind = sniff(data, name)
    _check_pixels(*claimed_size(data, kind, name), max_pixels, name)
    try:
        turn = orientation(exif_block(data, kind))
        return _decoded(bare(data, kind), kind, turn, max_pixels, name)
    except (BadFile, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise BadFile(name, f"has more than {max_pixels:,} pixels", "make it smaller") from None
    except Exception as error:  # decoders raise anything on hostile bytes
        raise damaged(name) from error


def _check_pixels(width: int, height: int, max_pixels: int, name: str) -> None:
    if width * height > max_pixels:
        raise BadFile(name, f"has {width} x {height} pixels, more than {max_pixels:,}", "make it smaller")


def _decoded(data: bytes, kind: Format, turn: int, max_pixels: int, name: str) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=[kind]) as image:
        _check_pixels(*image.size, max_pixels, name)  # a GIF's frame may be larger than the header said
        profile, transparent = image.info.get("icc_profile"), image.has_transparency_data
        image.load()
        upright = _upright(image, turn)
        return np.array(_in_srgb(upright, profile, transparent))


def _upright(image: Image.Image, turn: int) -> Image.Image:
    return image.transpose(_TURNS[turn]) if turn in _TURNS else image


def _in_srgb(image: Image.Image, profile: object, transparent: bool) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; convert() would clip it, not scale it
        grey = (np.asarray(image).astype(np.uint32) * 255 + 32_767) // 65_535
        image = Image.fromarray(grey.astype(np.uint8))
    alpha = image.convert("RGBA").getchannel("A") if transparent else None
    if image.mode not in ("RGB", "CMYK", "L"):  # the modes a profile can speak about
        image = image.convert("RGB")
    rgb = _managed(image, profile) or image.convert("RGB")
    if alpha is not None and alpha.getextrema() != (255, 255):
        rgb.putalpha(alpha)
    return rgb


def _managed(image: Image.Image, profile: object) -> Image.Image | None:
    """The picture moved from its colour profile to sRGB; None where it has no profile that can be used."""
    if not isinstance(profile, bytes) or not 0 < len(profile) <= MAX_PROFILE_BYTES:
        return None
    try:
        return ImageCms.profileToProfile(
            image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
