"""The outside of picture files: which format the bytes are, how large the picture claims to be, which blocks it holds.

Everything here looks at headers only: nothing is decompressed and no pixel is allocated.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from darkroom.contracts.errors import BadFile

Format = Literal["PNG", "JPEG", "WEBP", "GIF", "BMP"]
READABLE = "PNG, JPEG, WebP, GIF or BMP"
MAX_FILE_BYTES = 256 * 1024 * 1024  # the largest picture allowed, 64 million pixels, is 244 MiB uncompressed

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
EXIF_HEADER = b"Exif\0\0"  # before the block in a JPEG, and by mistake in some other files
_REFUSED = (  # kinds worth naming when they are refused
    ("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("PSD", (b"8BPS",)),
    ("SVG", (b"<svg", b"<?xml", b"<!DOCTYPE svg")),
    ("PDF", (b"%PDF",)),
    ("icon", (b"\0\0\1\0",)),
    ("JPEG XL", (b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    ("JPEG 2000", (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    ("gzip", (b"\x1f\x8b",)),
)
_PNG_PICTURE = {b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"IDAT", b"IEND"}  # all that decides pixels
_STANDALONE = {0x01, *range(0xD0, 0xD8)}  # JPEG markers without a length
_SCAN_OR_END = {0xDA, 0xD9}
_FRAME_HEADERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0..15 without DHT, JPG, DAC


def damaged(name: str) -> BadFile:
    """The one text for every picture that breaks on the way."""
    return BadFile(name, "is damaged or cut short", "save it again and retry")


def load(source: str | os.PathLike[str] | bytes) -> tuple[bytes, str]:
    """The bytes of a file, or those given, and what to call them in a message."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, name = bytes(source), "the picture"
    else:
        name = Path(source).name.replace("\0", "?") or str(source)
        try:
            with open(source, "rb", opener=_open_without_waiting) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise BadFile(name, "is not a file", "give a picture file")
                data = file.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "bad name"
            raise BadFile(name, f"cannot be read ({reason})", "check the path") from None
    if len(data) > MAX_FILE_BYTES:
        raise BadFile(name, f"is larger than {MAX_FILE_BYTES // 2**20} MiB", "give a smaller file")
    return data, name


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would block for ever


def sniff(data: bytes, name: str) -> Format:
    """The format by its first bytes; the file's name is not asked."""
    if data.startswith(PNG_MAGIC):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:2] == b"BM":
        return "BMP"
    if not data:
        raise BadFile(name, "is empty", f"give {READABLE}")
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    kind = next((kind for kind, magics in _REFUSED if start.startswith(magics) or data.startswith(magics)), None)
    kind = kind or ("HEIF or AVIF" if data[4:8] == b"ftyp" else None)
    raise BadFile(name, f"is {kind}, which is not read" if kind else "is no picture darkroom reads", f"give {READABLE}")


def claimed_size(data: bytes, kind: Format, name: str) -> tuple[int, int]:
    """Width and height as the header states them."""
    try:
        width, height = _SIZES[kind](data)
    except (struct.error, IndexError, ValueError, StopIteration):
        raise damaged(name) from None
    if width < 1 or height < 1:
        raise damaged(name)
    return width, height


def _png_size(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        raise ValueError
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int]:
    body = next(body for marker, body in jpeg_segments(data) if marker in _FRAME_HEADERS)
    height, width = struct.unpack_from(">HH", body, 1)
    return width, height


def _gif_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp_size(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return width, abs(height)  # a negative height means rows from the top


def _webp_size(data: bytes) -> tuple[int, int]:
    kind, body = next(webp_chunks(data))
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and bytes(body[3:6]) == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError


_SIZES = {"PNG": _png_size, "JPEG": _jpeg_size, "GIF": _gif_size, "BMP": _bmp_size, "WEBP": _webp_size}


def png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Type and body of every chunk up to IEND. ValueError where the file breaks: a wrong check sum, no IEND."""
    view, at = memoryview(data), len(PNG_MAGIC)
    while True:
        length, kind = struct.unpack_from(">I4s", view, at)
        body = view[at + 8 : at + 8 + length]
        (check,) = struct.unpack_from(">I", view, at + 8 + length)
        if check != zlib.crc32(body, zlib.crc32(kind)):
            raise ValueError(f"wrong check sum in {kind!r}")
        yield kind, body
        if kind == b"IEND":
            return
        at += 12 + length


def jpeg_segments(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Marker and body of every segment before the first scan."""
    view = memoryview(data)
    for marker, start, end in _jpeg_places(data):
        if marker not in _SCAN_OR_END:
            yield marker, view[start + 4 : end]


def _jpeg_places(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of every segment up to the first scan, which has no end."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise ValueError("no marker where one must stand")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _STANDALONE:
            at += 2
        elif marker in _SCAN_OR_END:
            yield marker, at, len(data)
            return
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            if length < 2 or at + 2 + length > len(data):
                raise ValueError("a segment runs past the end")
            yield marker, at, at + 2 + length
            at += 2 + length


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Type and body of every chunk."""
    view, at = memoryview(data), 12
    end = min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", view, at)
        if at + 8 + length > len(view):
            raise ValueError("a chunk runs past the end")
        yield kind, view[at + 8 : at + 8 + length]
        at += 8 + length + (length & 1)


def exif_block(data: bytes, kind: Format) -> bytes:
    """A picture's EXIF block; empty where it has none. ValueError, IndexError or struct.error where the file breaks."""
    if kind == "PNG":
        found = (bytes(body) for chunk, body in png_chunks(data) if chunk == b"eXIf")
    elif kind == "JPEG":
        bodies = (bytes(body) for marker, body in jpeg_segments(data) if marker == 0xE1)
        found = (body for body in bodies if body.startswith(EXIF_HEADER))
    elif kind == "WEBP":
        found = (bytes(body) for chunk, body in webp_chunks(data) if chunk == b"EXIF")
    else:
        return b""
    return next(found, b"").removeprefix(EXIF_HEADER)


def bare(data: bytes, kind: Format) -> bytes:
    """A PNG or JPEG with its pixels and colour profile but without its texts, which Pillow would unpack and parse: a
    small file may hold gigabytes of them. Other formats come back as they are."""
    if kind == "PNG":
        return _bare_png(data)
    return _bare_jpeg(data) if kind == "JPEG" else data


def _bare_png(data: bytes) -> bytes:
    parts = [PNG_MAGIC]
    for kind, body in png_chunks(data):
        if kind in _PNG_PICTURE:
            check = zlib.crc32(body, zlib.crc32(kind))
            parts += [struct.pack(">I4s", len(body), kind), bytes(body), struct.pack(">I", check)]
    return b"".join(parts)


def _bare_jpeg(data: bytes) -> bytes:
    def decides_pixels(marker: int, start: int) -> bool:
        if marker == 0xE2:
            return data.startswith(b"ICC_PROFILE\0", start + 4)
        return marker < 0xE0 or marker in (0xE0, 0xEE)  # tables, frames, scans, JFIF, Adobe's colour transform

    places = _jpeg_places(data)
    return b"".join([data[:2], *(data[start:end] for marker, start, end in places if decides_pixels(marker, start))])
