"""Finished pictures that are brought along: what is written in them, and larger ones of them."""

from __future__ import annotations

import base64
from typing import Annotated

import numpy as np
from fastapi import APIRouter
from fastapi import Request as Asking
from fastapi.responses import Response
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from darkroom.contracts.contract import Number, Text, Whole
from darkroom.contracts.errors import BadInput, explained, unknown
from darkroom.contracts.request import MAX_SIDE
from darkroom.picture.infotext import parse_infotext
from darkroom.picture.metadata import read_infotext_as_written
from darkroom.picture.write import encode
from darkroom.server.brought import bytes_of, from_base64, json_object
from darkroom.server.routes.a1111.told import NOTES, replied
from darkroom.server.studio import AnyStudio, Owner

router = APIRouter()
UPSCALERS = {"None": Image.Resampling.LANCZOS, "Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}
LARGEST = 4 * MAX_SIDE  # pixels a side


@router.post("/png-info")
async def png_info(asking: Asking, owner: Owner) -> Response:
    """What a picture says of how it was made, in A1111's words."""
    data = bytes_of((await json_object(asking)).get("image"), "image")
    text = await run_in_threadpool(read_infotext_as_written, data)
    read = parse_infotext(text or "")
    parameters = {"Prompt": read.prompt, "Negative prompt": read.negative, **read.settings} if text else {}
    return replied({"info": text or "", "items": {"parameters": text} if text else {}, "parameters": parameters})


class Extra(BaseModel):
    """What extra-single-image is told."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    image: Text
    resize_mode: Annotated[Whole, Field(ge=0, le=1)] = 0  # 0: so many times larger, 1: to a size
    upscaling_resize: Annotated[Number, Field(gt=0, le=8)] = 2
    upscaling_resize_w: Annotated[Whole, Field(ge=1, le=LARGEST)] = 512
    upscaling_resize_h: Annotated[Whole, Field(ge=1, le=LARGEST)] = 512
    upscaling_crop: bool = True
    upscaler_1: Annotated[Text, Field(max_length=100)] = "None"


@router.post("/extra-single-image")
async def extra(asking: Asking, studio: AnyStudio, owner: Owner) -> Response:
    """A picture made larger or smaller, by arithmetic alone."""
    fields = await json_object(asking)
    try:
        told = Extra.model_validate(fields)
    except ValidationError as error:
        raise BadInput(explained(error.errors())) from None
    if told.upscaler_1 not in UPSCALERS:
        raise unknown("upscaler", told.upscaler_1, UPSCALERS)
    ignored = ("gfpgan_visibility", "codeformer_visibility", "extras_upscaler_2_visibility")
    notes = [f"{name} changes nothing: it is not here" for name in ignored if fields.get(name)]
    image = base64.b64encode(await run_in_threadpool(_enlarged, told)).decode()
    return replied({"html_info": "; ".join(notes), "image": image, NOTES: notes})


def _enlarged(told: Extra) -> bytes:
    pixels = from_base64(told.image, "image")
    height, width = pixels.shape[:2]
    if told.resize_mode == 0:
        size = round(width * told.upscaling_resize), round(height * told.upscaling_resize)
        box = (0.0, 0.0, float(width), float(height))
    else:
        size = told.upscaling_resize_w, told.upscaling_resize_h
        box = _box(width, height, *size) if told.upscaling_crop else (0.0, 0.0, float(width), float(height))
    if min(size) < 1 or max(size) > LARGEST:
        raise BadInput("{}x{}".format(*size), f"has sides that are not between 1 and {LARGEST}", "enlarge it less")
    image = Image.fromarray(pixels).resize(size, UPSCALERS[told.upscaler_1], box)
    return encode(np.asarray(image), None, "png", edited=True)


def _box(width: int, height: int, across: int, down: int) -> tuple[float, float, float, float]:
    """The largest part in the middle that has the shape of a size."""
    scale = max(across / width, down / height)
    left, top = (width - across / scale) / 2, (height - down / scale) / 2
    return left, top, width - left, height - top
