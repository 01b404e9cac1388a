"""What requests of other programs bring along: JSON, and pictures within it."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from typing import Any

import numpy as np
from fastapi import Request

from darkroom.contracts.errors import BadInput, shown
from darkroom.picture.read import read
from darkroom.picture.write import encode
from darkroom.server.keeping.folders import Folders

_ADDRESS = re.compile(r"\s{0,9}[a-zA-Z][a-zA-Z0-9+.-]{1,20}://")


async def json_object(request: Request) -> dict[str, Any]:
    """The JSON object that a request's body is. Raises BadInput for anything else, and for numbers that are none."""
    try:
        told = json.loads(await request.body(), parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        raise BadInput("the body", "is not valid JSON", "send an object, and finite numbers in it") from None
    if not isinstance(told, dict):
        raise BadInput("the body", "is not an object", "give its fields by name")
    return told


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(text[:20])
    return number


def from_base64(text: Any, what: str) -> np.ndarray:
    """The pixels of a picture in base64. Raises BadInput or BadFile."""
    return read(bytes_of(text, what))


def bytes_of(text: Any, what: str) -> bytes:
    """The bytes of a picture in base64, plain or as a data URL. Raises BadInput; addresses are not followed."""
    if not isinstance(text, str) or not text.strip():
        raise BadInput(f"{what} {shown(text)}", "is no picture", "send one as base64")
    if _ADDRESS.match(text):
        raise BadInput(f"{what} {shown(text)}", "is an address, and pictures are not fetched", "send it as base64")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput(what, "is not valid base64", "send the file's bytes as base64") from None


def kept(pixels: np.ndarray, folders: Folders) -> str:
    """Keeps pixels that were brought along; the name that requests have for them."""
    return folders.publish_input(encode(pixels, None, "png", edited=True), "png")
