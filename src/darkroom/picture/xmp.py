"""XMP: the standard block of statements about a file. Ours says that the picture was made by a trained model, or what
else it is (IPTC's digital source type), and, in JPEG and WebP, holds the recipe, or what was done to a photo.

A JPEG segment holds 64 KiB. A longer recipe moves into an extended packet over several segments, as the XMP
specification, part 3, section 1.1.3.1, describes it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
EDITED = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
BY_HAND = "http://cv.iptc.org/newscodes/digitalsourcetype/humanEdits"  # "using non-generative tools"
GENERATED = {MADE, EDITED, "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic"}

_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_DARKROOM = "urn:darkroom:xmp:1.0:"
_NOTE = "http://ns.adobe.com/xmp/note/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_SPACES = {"Iptc4xmpExt": _IPTC, "darkroom": _DARKROOM, "xmpNote": _NOTE}

JPEG_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
JPEG_EXTENSION_HEADER = b"http://ns.adobe.com/xmp/extension/\0"
SEGMENT_BYTES = 65_533  # what a JPEG segment holds beside its length
_EXTENSION_PART = 65_400  # bytes of an extended packet in one segment, by the specification
MAX_PACKET = 8_000_000  # bytes read; two prompts of full length stay below one million


RECIPE, REFINEMENT = "recipe", "refinement"  # our names for what a packet holds


def packet(source_type: str, told: str | None = None, name: str = RECIPE) -> bytes:
    """An XMP packet. ``told`` is JSON and must be ASCII: XML cannot hold every character."""
    return _packet({"Iptc4xmpExt:DigitalSourceType": source_type, f"darkroom:{name}": told})


def _packet(values: dict[str, str | None]) -> bytes:
    given = {name: value for name, value in values.items() if value is not None}
    spaces = sorted({name.partition(":")[0] for name in given})
    lines = [
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">',
        f' <rdf:RDF xmlns:rdf="{_RDF}">',
        '  <rdf:Description rdf:about=""',
        *(f'    xmlns:{space}="{_SPACES[space]}"' for space in spaces),
        *(f"    {name}={quoteattr(value)}" for name, value in given.items()),
        "  />",
        " </rdf:RDF>",
        "</x:xmpmeta>",
    ]
    begin = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    return "\n".join([begin, *lines, '<?xpacket end="r"?>']).encode()


def jpeg_parts(source_type: str, told: str | None, name: str = RECIPE) -> list[bytes]:
    """The bodies of the APP1 segments a JPEG needs: one, or more when what is told is too long for it."""
    whole = JPEG_HEADER + packet(source_type, told, name)
    if len(whole) <= SEGMENT_BYTES:
        return [whole]
    extension = _packet({f"darkroom:{name}": told}).split(b"\n", 1)[1].rsplit(b"\n", 1)[0]  # no xpacket lines
    digest = hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()
    main = _packet({"Iptc4xmpExt:DigitalSourceType": source_type, "xmpNote:HasExtendedXMP": digest})
    start = JPEG_EXTENSION_HEADER + digest.encode()
    parts = [
        start + struct.pack(">II", len(extension), at) + extension[at : at + _EXTENSION_PART]
        for at in range(0, len(extension), _EXTENSION_PART)
    ]
    return [JPEG_HEADER + main, *parts]


def jpeg_packets(segments: Iterable[bytes]) -> Iterator[bytes]:
    """The packets in a JPEG's APP1 bodies: the plain one, and the extended one put together."""
    pieces: dict[int, bytes] = {}
    name, total = b"", 0
    for body in segments:
        if body.startswith(JPEG_HEADER):
            yield body[len(JPEG_HEADER) :]
        elif body.startswith(JPEG_EXTENSION_HEADER) and len(body) > len(JPEG_EXTENSION_HEADER) + 40:
            rest = body[len(JPEG_EXTENSION_HEADER) :]
            name, total = name or rest[:32], total or int.from_bytes(rest[32:36], "big")
            if rest[:32] == name:
                pieces[int.from_bytes(rest[36:40], "big")] = rest[40:]
    joined = b"".join(pieces[at] for at in sorted(pieces))
    if joined and len(joined) == total:
        yield joined


def told(packet: bytes, name: str = RECIPE) -> str | None:
    """The JSON of that name inside a packet; None when there is none or the packet is not sound XML."""
    return _said(packet, f"{{{_DARKROOM}}}{name}")


def source_type(packet: bytes) -> str | None:
    """The digital source type that a packet states; None when it states none."""
    return _said(packet, f"{{{_IPTC}}}DigitalSourceType")


def _said(packet: bytes, wanted: str) -> str | None:
    if len(packet) > MAX_PACKET or b"<!" in packet:  # declarations could unfold into gigabytes, and XMP has none
        return None
    try:
        tree = ElementTree.fromstring(packet)
    except (ElementTree.ParseError, ValueError):
        return None
    for node in tree.iter():
        if wanted in node.attrib:
            return node.attrib[wanted]
        if node.tag == wanted:
            return node.attrib.get(f"{{{_RDF}}}resource") or node.text
    return None
