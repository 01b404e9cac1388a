"""The only way out: pixels become a file that says how it was made, whole or not at all.

Equal pixels and an equal recipe give equal bytes (with the same Pillow).
"""

from __future__ import annotations

import io
import os
import re
import struct
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from darkroom.contracts.errors import BadInput, CannotWrite, shown
from darkroom.contracts.files import publish
from darkroom.contracts.recipe import Recipe, Refinement
from darkroom.picture import xmp
from darkroom.picture.metadata import jpeg_blocks, png_texts, webp_blocks

FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}
QUALITY = {"JPEG": 92, "WEBP": 90}  # no difference to be seen at full size on drawings with hard edges
MAX_SIDE = {"PNG": 65_535, "JPEG": 65_535, "WEBP": 16_383}  # PNG allows more, and no reader here would take it
LEVEL = 4  # of a PNG's zlib: a twentieth more bytes than by 6 in two fifths of the time
SLUG_CHARACTERS = 60
MAX_COPIES = 100_000  # names tried for one seed and prompt before giving up


def write(
    pixels: np.ndarray,
    path: str | os.PathLike[str],
    recipe: Recipe | None = None,
    *,
    quality: int | None = None,
    edited: bool = False,
    replace: bool = True,
) -> Path:
    """Write a picture; the path's ending picks PNG, JPEG or WebP.

    The file appears whole or not at all; a full disk is :class:`NoSpace`. ``recipe`` None: the picture is no single
    drawing (a sheet). For the rest see :func:`encode`. ``replace=False`` raises FileExistsError where a file is.
    """
    path = Path(path)
    return publish(encode(pixels, recipe, path.suffix or ".", quality=quality, edited=edited), path, replace=replace)


def write_new(
    pixels: np.ndarray,
    folder: str | os.PathLike[str],
    recipe: Recipe,
    format: str = "png",
    *,
    quality: int | None = None,
    edited: bool = False,
    number: str = "",
) -> Path:
    """Write a picture under a name of its own, "0007-a-red-fox.png", and never over another file, even when several
    processes write the same name at once. ``number`` is its place among several, "03": it ends the name,
    so that those of one prompt and seed sort as they belong."""
    data = encode(pixels, recipe, format, quality=quality, edited=edited)
    stem = _stem(recipe.seed, recipe.prompt.text) + (number and f"-{number}")
    return _written(data, _names(Path(folder), stem, format), folder)


def write_refined(
    pixels: np.ndarray,
    folder: str | os.PathLike[str],
    stem: str,
    told: Recipe | Refinement,
    format: str = "png",
    *,
    source_type: str | None = None,
) -> Path:
    """Write a picture under a stem of its own, "fox-refined.png", then "fox-refined-2.png", never over another file."""
    return _written(encode(pixels, told, format, source_type=source_type), _names(Path(folder), stem, format), folder)


def choose_path(folder: str | os.PathLike[str], seed: int, text: str, format: str = "png") -> Path:
    """A name no file has yet: "0007-a-red-fox.png", then "0007-a-red-fox-2.png". Another process may take it before
    it is written; :func:`write_new` closes that gap."""
    return _free(_names(Path(folder), _stem(seed, text), format), folder)


def write_sheet(pixels: np.ndarray, folder: str | os.PathLike[str], *, edited: bool = False) -> Path:
    """Write a contact sheet as "sheet.png", "sheet-2.png" and so on, never over another file; ``edited`` as for
    :func:`encode`."""
    return _written(encode(pixels, None, edited=edited), _names(Path(folder), "sheet", "png"), folder)


def write_map(pixels: np.ndarray, source: Path, kind: str) -> Path:
    """Write a control map here, as "photo-edges.png", then "photo-edges-2.png", never over another file."""
    return _written(encode(pixels, None, edited=True), _names(Path(), f"{source.stem}-{kind}", "png"), ".")


def write_grid(
    pixels: np.ndarray, folder: str | os.PathLike[str], told: Mapping[str, Any], *, edited: bool = False
) -> Path:
    """Write the sheet of a grid as "grid.png", "grid-2.png" and so on, never over another file. ``told`` is what it was
    made of, for :func:`darkroom.picture.metadata.read_grid`; ``edited`` as for :func:`encode`."""
    return _written(encode(pixels, None, edited=edited, grid=told), _names(Path(folder), "grid", "png"), folder)


def write_film(
    frames: Sequence[np.ndarray], folder: str | os.PathLike[str], milliseconds: int, *, edited: bool = False
) -> Path:
    """Write pictures of one size as an animated WebP, "film.webp", "film-2.webp" and so on, never over another file.

    It plays for ever, each frame so many ``milliseconds``; ``edited`` as for :func:`encode`.
    """
    images = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    _, packet = webp_blocks(None, xmp.EDITED if edited else xmp.MADE)
    file = io.BytesIO()
    options = {"save_all": True, "append_images": images[1:], "duration": milliseconds, "loop": 0, "xmp": packet}
    images[0].save(file, "WEBP", quality=QUALITY["WEBP"], method=4, **options)
    return _written(file.getvalue(), _names(Path(folder), "film", "webp"), folder)


def sheet_path(folder: str | os.PathLike[str]) -> Path:
    """The name the next sheet in a folder gets."""
    return _free(_names(Path(folder), "sheet", "png"), folder)


def _written(data: bytes, names: Iterable[Path], folder: str | os.PathLike[str]) -> Path:
    """Puts data under the first name that is free."""
    for path in names:
        try:
            return publish(data, path, replace=False)
        except FileExistsError:
            continue
    raise _too_many(folder)


def _free(names: Iterable[Path], folder: str | os.PathLike[str]) -> Path:
    for path in names:
        if not os.path.lexists(path):
            return path
    raise _too_many(folder)


def place_of(at: int, of: int) -> str:
    """The number of a picture among several, from 1, as long as the last one's and of two digits at least: "03"."""
    return f"{at + 1:0{max(2, len(str(of)))}d}"


def _stem(seed: int, text: str) -> str:
    return f"{seed:04d}-{slug(text)}"


def _names(folder: Path, stem: str, format: str) -> Iterator[Path]:
    ending = format.lower().removeprefix(".")
    yield folder / f"{stem}.{ending}"
    yield from (folder / f"{stem}-{copy}.{ending}" for copy in range(2, MAX_COPIES + 1))


def _too_many(folder: str | os.PathLike[str]) -> CannotWrite:
    return CannotWrite(str(folder), f"holds {MAX_COPIES:,} pictures of one name", "choose another folder")


def slug(text: str) -> str:
    """Text as a part of a file name: lower-case ASCII letters, digits and single hyphens, whatever the text holds."""
    plain = unicodedata.normalize("NFKD", text[: 20 * SLUG_CHARACTERS]).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain.replace("'", ""))
    kept = ""
    for word in words:
        longer = f"{kept}-{word}" if kept else word[:SLUG_CHARACTERS]
        if len(longer) > SLUG_CHARACTERS:
            break
        kept = longer
    return kept or "picture"


def encode(
    pixels: np.ndarray,
    recipe: Recipe | Refinement | None,
    format: str = "png",
    *,
    quality: int | None = None,
    edited: bool = False,
    grid: Mapping[str, Any] | None = None,
    source_type: str | None = None,
) -> bytes:
    """A picture as a file's bytes.

    ``pixels`` are (height, width, 3 or 4) uint8 sRGB. ``quality`` is 1-100, for JPEG and WebP; None takes
    ``QUALITY``. ``edited``: parts come from a real photo, as they may in any that began with a picture. ``grid`` is
    what the sheet of a grid was made of, which a PNG keeps; None: it is none. ``source_type`` is IPTC's; None: a model
    made it, or a part of it where it is edited.
    """
    # 1. pixels
    kind = _format(format)
    image = _checked(pixels, kind)
    # 2. the watermark goes into the pixels here, before anything is encoded
    # 3. encode, with recipe, infotext and XMP
    begun = isinstance(recipe, Recipe) and recipe.init_image is not None
    source_type = source_type or (xmp.EDITED if edited or begun else xmp.MADE)
    data = _encoded(image, kind, recipe, source_type, _quality(quality, kind), grid)
    # 4. the signature (C2PA) comes last: whatever touches the bytes after it breaks it
    return data


def _format(name: str) -> str:
    kind = FORMATS.get(name.lower().removeprefix("."))
    if kind is None:
        raise BadInput(f"format {shown(name.removeprefix('.'))}", "is not written", "use png, jpg or webp")
    return kind


def _checked(pixels: np.ndarray, kind: str) -> Image.Image:
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3:
        found = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise BadInput(f"pixels ({found})", "are not a uint8 array (height, width, channels)", "convert them first")
    height, width, channels = pixels.shape
    if channels not in (3, 4):
        raise BadInput(f"{channels} channels", "are neither RGB nor RGBA", "give 3 or 4")
    limit = MAX_SIDE[kind]
    if not (1 <= height <= limit and 1 <= width <= limit):
        raise BadInput(f"{width} x {height} pixels", f"do not fit into {kind} (1 to {limit} a side)", "resize them")
    if channels == 4 and kind == "JPEG":
        raise BadInput("a transparent picture", "does not fit into JPEG", "use png or webp")
    return Image.fromarray(np.ascontiguousarray(pixels))


def _quality(quality: int | None, kind: str) -> int:
    if quality is None:
        return QUALITY.get(kind, 0)
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise BadInput(f"quality {shown(quality)}", "is not between 1 and 100", "try 90")
    return quality


def _encoded(
    image: Image.Image,
    kind: str,
    recipe: Recipe | Refinement | None,
    source_type: str,
    quality: int,
    grid: Mapping[str, Any] | None,
) -> bytes:
    file = io.BytesIO()
    if kind == "PNG":
        image.save(file, "PNG", pnginfo=png_texts(recipe, source_type, grid), compress_level=LEVEL)
    elif kind == "WEBP":
        exif, packet = webp_blocks(recipe, source_type)
        image.save(file, "WEBP", quality=quality, method=4, exif=exif, xmp=packet)
    else:
        image.save(file, "JPEG", quality=quality, subsampling=0, optimize=True)  # 4:4:4: coloured edges stay sharp
        return _with_segments(file.getvalue(), jpeg_blocks(recipe, source_type))
    return file.getvalue()


def _with_segments(jpeg: bytes, bodies: list[bytes]) -> bytes:
    """A JPEG with APP1 segments after its JFIF header."""
    at = 4 + struct.unpack_from(">H", jpeg, 4)[0] if jpeg[2:4] == b"\xff\xe0" else 2
    segments = [b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in bodies]
    return b"".join([jpeg[:at], *segments, jpeg[at:]])
