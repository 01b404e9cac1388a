"""What a picture says about itself: its recipe, the A1111 infotext, and that a model made it. A photo that was refined
has no recipe; it says what was done to it (``darkroom-refinement``, ``darkroom:refinement``), and is no model's work.

| | recipe (the authority) | infotext (a courtesy copy) | source type |
|---|---|---|---|
| PNG | iTXt ``darkroom`` | text ``parameters`` | iTXt ``XML:com.adobe.xmp`` |
| JPEG | XMP ``darkroom:recipe`` | EXIF UserComment | XMP |
| WebP | XMP ``darkroom:recipe`` | EXIF UserComment | XMP |

A JPEG's EXIF block ends at 64 KiB; an infotext that does not fit is left out, never cut.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import PngImagePlugin

from darkroom.contracts.errors import BadFile, BadInput, NoRecipe
from darkroom.contracts.recipe import Recipe, Refinement
from darkroom.picture import exif, xmp
from darkroom.picture.containers import (
    EXIF_HEADER,
    Format,
    damaged,
    exif_block,
    jpeg_segments,
    load,
    png_chunks,
    sniff,
    webp_chunks,
)
from darkroom.picture.graph import parse_graph
from darkroom.picture.infotext import Infotext, infotext, parse_infotext

RECIPE_KEY = "darkroom"
GRID_KEY = "darkroom grid"  # where the sheet of a grid says what it was made of
REFINEMENT_KEY = "darkroom-refinement"
INFOTEXT_KEY = "parameters"
GRAPH_KEY = "prompt"  # where ComfyUI keeps what it ran
XMP_KEY = "XML:com.adobe.xmp"
MAX_TEXT_BYTES = 4_000_000  # of one text, unpacked


# --- writing -----------------------------------------------------------------------------------------------------


def png_texts(
    told: Recipe | Refinement | None, source_type: str, grid: Mapping[str, Any] | None = None
) -> PngImagePlugin.PngInfo:
    """The text chunks of a PNG; ``grid`` is what the sheet of a grid was made of, None: it is none."""
    texts = PngImagePlugin.PngInfo()
    if isinstance(told, Recipe):
        texts.add_itxt(RECIPE_KEY, told.to_json())
        texts.add_text(INFOTEXT_KEY, infotext(told))
    elif told is not None:
        texts.add_itxt(REFINEMENT_KEY, told.to_json())
    if grid is not None:
        texts.add_itxt(GRID_KEY, json.dumps(grid, ensure_ascii=False))
    texts.add_itxt(XMP_KEY, xmp.packet(source_type).decode())
    return texts


def jpeg_blocks(told: Recipe | Refinement | None, source_type: str) -> list[bytes]:
    """The bodies of a JPEG's APP1 segments."""
    block = EXIF_HEADER + _exif(told)
    blocks = [block] if len(EXIF_HEADER) < len(block) <= xmp.SEGMENT_BYTES else []
    return blocks + xmp.jpeg_parts(source_type, *_named(told))


def webp_blocks(told: Recipe | Refinement | None, source_type: str) -> tuple[bytes, bytes]:
    """The EXIF and XMP chunks of a WebP; an empty one is not written."""
    return _exif(told), xmp.packet(source_type, *_named(told))


def _exif(told: Recipe | Refinement | None) -> bytes:
    return exif.with_user_comment(infotext(told)) if isinstance(told, Recipe) else b""


def _named(told: Recipe | Refinement | None) -> tuple[str | None, str]:
    """What XMP holds, and its name there."""
    name = xmp.REFINEMENT if isinstance(told, Refinement) else xmp.RECIPE
    return (told.to_json(ascii_only=True) if told else None), name


# --- reading -----------------------------------------------------------------------------------------------------


def read_recipe(source: str | os.PathLike[str] | bytes) -> Recipe:
    """The recipe inside a picture; :class:`NoRecipe` when it has none, :class:`BadFile` when it cannot be read."""
    data, name = load(source)
    kind = sniff(data, name)
    try:
        text = _told(data, kind, RECIPE_KEY, xmp.RECIPE)
        foreign = text is None and _infotext(data, kind) is not None
        photo = text is None and _told(data, kind, REFINEMENT_KEY, xmp.REFINEMENT) is not None
    except (ValueError, IndexError, struct.error):
        raise damaged(name) from None
    if photo:
        raise NoRecipe(name, "was refined, and not drawn from a recipe", "see it with `darkroom recipe show`")
    if text is None:
        has = "holds settings of another program but no darkroom recipe" if foreign else "holds no darkroom recipe"
        raise NoRecipe(name, has, "give a picture as darkroom saved it; editors and chats often remove the recipe")
    try:
        return Recipe.from_json(text)
    except BadInput as error:
        raise BadFile(
            name, f"holds a recipe that cannot be used ({error})", "give the picture as it was saved"
        ) from None


def read_infotext(source: str | os.PathLike[str] | bytes) -> Infotext | None:
    """The A1111 settings inside a picture, from whatever program; None when it has none."""
    text = read_infotext_as_written(source)
    return None if text is None else parse_infotext(text)


def read_infotext_as_written(source: str | os.PathLike[str] | bytes) -> str | None:
    """The text of them; None when a picture has none. Raises BadFile for what is no picture."""
    data, name = load(source)
    kind = sniff(data, name)
    try:
        return _infotext(data, kind)
    except (ValueError, IndexError, struct.error):
        raise damaged(name) from None


def read_settings(source: str | os.PathLike[str] | bytes) -> Infotext | None:
    """The settings of another program inside a picture: A1111's text, or a ComfyUI graph; None when it has neither."""
    found = read_infotext(source)
    if found is not None:
        return found
    data, name = load(source)
    if sniff(data, name) != "PNG":
        return None
    try:
        graph = _png_text(data, GRAPH_KEY)
    except (ValueError, IndexError, struct.error):
        raise damaged(name) from None
    return None if graph is None else parse_graph(graph)


def read_grid(source: str | os.PathLike[str] | bytes) -> dict[str, Any] | None:
    """What the sheet of a grid says it was made of: its base and its axes; None where a picture is no such sheet."""
    data, name = load(source)
    if sniff(data, name) != "PNG":
        return None
    try:
        text = _png_text(data, GRID_KEY)
        told = None if text is None else json.loads(text)
    except (ValueError, IndexError, struct.error, RecursionError):
        raise damaged(name) from None
    return told if isinstance(told, dict) else None


def read_refinement(source: str | os.PathLike[str] | bytes) -> Refinement | None:
    """What was done to a picture that was not drawn from a recipe; None when it says nothing of the kind."""
    data, name = load(source)
    kind = sniff(data, name)
    try:
        text = _told(data, kind, REFINEMENT_KEY, xmp.REFINEMENT)
    except (ValueError, IndexError, struct.error):
        raise damaged(name) from None
    try:
        return None if text is None else Refinement.from_json(text)
    except BadInput as error:
        raise BadFile(name, f"holds a record that cannot be used ({error})", "give it as it was saved") from None


def read_source_type(source: str | os.PathLike[str] | bytes) -> str | None:
    """IPTC's digital source type, as a picture states it; None when it states none."""
    data, name = load(source)
    kind = sniff(data, name)
    try:
        if kind == "PNG":
            packet = _png_text(data, XMP_KEY)
            return None if packet is None else xmp.source_type(packet.encode())
        found = (xmp.source_type(packet) for packet in _xmp_packets(data, kind))
        return next((text for text in found if text is not None), None)
    except (ValueError, IndexError, struct.error):
        raise damaged(name) from None


def _told(data: bytes, kind: Format, key: str, name: str) -> str | None:
    """JSON of ours: in a PNG under a key, elsewhere in XMP under a name."""
    if kind == "PNG":
        return _png_text(data, key)
    found = (xmp.told(packet, name) for packet in _xmp_packets(data, kind))
    return next((text for text in found if text is not None), None)


def _xmp_packets(data: bytes, kind: Format) -> Iterator[bytes]:
    if kind == "JPEG":
        yield from xmp.jpeg_packets(bytes(body) for marker, body in jpeg_segments(data) if marker == 0xE1)
    elif kind == "WEBP":
        yield from (bytes(body) for chunk, body in webp_chunks(data) if chunk == b"XMP ")


def _infotext(data: bytes, kind: Format) -> str | None:
    if kind == "PNG":
        return _png_text(data, INFOTEXT_KEY)
    return exif.user_comment(exif_block(data, kind))


def _png_text(data: bytes, key: str) -> str | None:
    """The first text chunk of that key, of any of the three kinds."""
    for kind, body in png_chunks(data):
        if kind not in (b"tEXt", b"zTXt", b"iTXt") or bytes(body[: len(key) + 1]) != key.encode() + b"\0":
            continue
        rest = bytes(body[len(key) + 1 : len(key) + 1 + MAX_TEXT_BYTES])
        if kind == b"tEXt":
            return rest.decode("latin-1")
        if kind == b"zTXt":
            return _unpacked(rest[1:]).decode("latin-1")
        packed, rest = rest[:1] == b"\1", rest[2:]
        _, _, rest = rest.partition(b"\0")  # language
        _, _, rest = rest.partition(b"\0")  # translated key
        return (_unpacked(rest) if packed else rest).decode()
    return None


def _unpacked(data: bytes) -> bytes:
    unpack = zlib.decompressobj()
    try:
        text = unpack.decompress(data, MAX_TEXT_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if unpack.unconsumed_tail:
        raise ValueError("a text too long to unpack")
    return text
