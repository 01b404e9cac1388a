"""The two entries of an EXIF block that matter here: how the picture is turned, and the comment that holds settings.

Pillow's reader is not used for it: it warns on every broken block, and most of the blocks in the world are broken.
Offsets and types: TIFF 6.0, section 2; tags: EXIF 2.32.
"""

from __future__ import annotations

import struct

_ORIENTATION, _EXIF_IFD, _USER_COMMENT = 0x0112, 0x8769, 0x9286
_SHORT, _LONG, _UNDEFINED = 3, 4, 7
_UNICODE = b"UNICODE\0"
MAX_ENTRIES = 1000  # of one directory; cameras write a few dozen


def orientation(block: bytes) -> int:
    """1 to 8, as EXIF counts them; 1, upright, where the block says nothing or is broken."""
    found = _entry(block, _first(block), _ORIENTATION)
    if found is None or found[0] != _SHORT:
        return 1
    (value,) = struct.unpack(_order(block) + "H", found[2][:2])
    return int(value) if 1 <= value <= 8 else 1


def user_comment(block: bytes) -> str | None:
    """The comment's text; None where the block has none or is broken."""
    directory = _entry(block, _first(block), _EXIF_IFD)
    if directory is None or directory[0] != _LONG:
        return None
    found = _entry(block, struct.unpack(_order(block) + "I", directory[2])[0], _USER_COMMENT)
    if found is None or found[1] <= 8:
        return None
    (at,) = struct.unpack(_order(block) + "I", found[2])
    code, body = block[at : at + 8], block[at + 8 : at + found[1]]
    if code != _UNICODE:
        return body.decode("utf-8", errors="replace")
    # the standard leaves the byte order open; A1111 and darkroom put the big end first, some others do not
    readings = [body.decode(order, errors="replace") for order in ("utf-16-be", "utf-16-le")]
    return next((text for text in readings if "Steps: " in text), readings[0])


def with_user_comment(text: str) -> bytes:
    """An EXIF block with that comment alone, in UTF-16 with its big end first."""
    comment = _UNICODE + text.encode("utf-16-be")
    return b"".join(
        [
            struct.pack(">2sHI", b"MM", 42, 8),
            struct.pack(">HHHIII", 1, _EXIF_IFD, _LONG, 1, 26, 0),  # the first directory, at 8: the next is at 26
            struct.pack(">HHHIII", 1, _USER_COMMENT, _UNDEFINED, len(comment), 44, 0),  # the second: the text is at 44
            comment,
        ]
    )


def _order(block: bytes) -> str:
    return "<" if block.startswith(b"II") else ">"


def _first(block: bytes) -> int:
    """Where the first directory stands; 0 where the block is no EXIF."""
    if len(block) < 8 or block[:4] not in (b"II*\0", b"MM\0*"):
        return 0
    (at,) = struct.unpack_from(_order(block) + "I", block, 4)
    return int(at)


def _entry(block: bytes, at: int, tag: int) -> tuple[int, int, bytes] | None:
    """Type, count and the four bytes of value or offset of a tag in the directory at ``at``."""
    if not 8 <= at <= len(block) - 2:
        return None
    (count,) = struct.unpack_from(_order(block) + "H", block, at)
    for start in range(at + 2, min(at + 2 + 12 * min(count, MAX_ENTRIES), len(block) - 11), 12):
        found, kind, number = struct.unpack_from(_order(block) + "HHI", block, start)
        if found == tag:
            return kind, number, block[start + 8 : start + 12]
    return None
