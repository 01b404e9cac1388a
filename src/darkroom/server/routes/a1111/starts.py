"""Pictures that img2img begins from, their masks, and the maps of controls."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from darkroom.contracts.errors import BadInput, shown
from darkroom.server.brought import from_base64, kept
from darkroom.server.keeping.folders import Folders
from darkroom.server.routes.a1111.asked import Asked
from darkroom.server.routes.a1111.names import adapter

STRETCHED, FILLED, ENLARGED = 0, 2, 3  # values of resize_mode; what is cut, 1, is so by itself
ORIGINAL = 1  # of inpainting_fill: what was there is begun from
REDRAWN = 0.75  # A1111's own, where denoising_strength is not said


def start_of(asked: Asked, notes: list[str], folders: Folders) -> dict[str, Any]:
    """The fields of a request that say what it begins from. Adds to ``notes``. Raises BadInput or BadFile."""
    if not asked.init_images:
        raise BadInput("init_images", "is missing", "send a picture as base64")
    if len(asked.init_images) > 1:
        notes.append("init_images changes nothing from the second on: one picture is begun from, the first")
    pixels = _flat(from_base64(asked.init_images[0], "init_images[0]"))
    found: dict[str, Any] = {"strength": REDRAWN if asked.denoising_strength is None else asked.denoising_strength}
    mask = mask_of(asked)
    if mask is not None:
        if mask.shape[:2] != pixels.shape[:2]:  # theirs is stretched to the picture, too
            mask = resized(mask, pixels.shape[1], pixels.shape[0])
        if asked.mask_blur is not None:
            found["mask_blur"] = asked.mask_blur
        if asked.inpainting_fill not in (None, ORIGINAL):
            notes.append("denoising_strength changes nothing: with this inpainting_fill all of the mask is drawn anew")
            found["strength"] = 1.0
        if asked.inpaint_full_res:
            notes.append("inpaint_full_res changes nothing: the whole picture is drawn at its own size")
    if asked.width is not None and asked.height is not None and asked.resize_mode not in (None, 1):
        pixels, mask = _fitted(pixels, mask, asked.width, asked.height, asked.resize_mode or 0)
    found["init_image"] = kept(pixels, folders)
    return found if mask is None else {**found, "mask": kept(mask, folders)}


def mask_of(asked: Asked) -> np.ndarray | None:
    """The mask, (height, width, 3) uint8, white where is drawn; None: none was sent."""
    if not asked.mask:
        return None
    pixels = from_base64(asked.mask, "mask")
    grey = pixels[..., 3] if pixels.shape[2] == 4 else np.asarray(Image.fromarray(pixels).convert("L"))
    if pixels.shape[2] == 4:  # where it has transparency, that says it
        grey = np.where(grey > 127, 255, 0).astype(np.uint8)
    if asked.inpainting_mask_invert:
        grey = 255 - grey
    return np.repeat(grey[..., None], 3, axis=2)


def _fitted(
    pixels: np.ndarray, mask: np.ndarray | None, width: int, height: int, mode: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """A picture and its mask at a size: stretched, or whole with its edges carried on around it."""
    if mode != FILLED:
        return resized(pixels, width, height), None if mask is None else resized(mask, width, height)
    high, wide = pixels.shape[:2]
    scale = min(width / wide, height / high)
    inner = max(1, round(wide * scale)), max(1, round(high * scale))
    across, down = width - inner[0], height - inner[1]
    around = (down // 2, down - down // 2), (across // 2, across - across // 2), (0, 0)
    filled = np.pad(resized(pixels, *inner), around, "edge")
    return filled, None if mask is None else np.pad(resized(mask, *inner), around)


def resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pixels, (height, width, 3) uint8, at another size, whatever their shape was."""
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def _flat(pixels: np.ndarray) -> np.ndarray:
    """Without transparency: what shines through is white."""
    if pixels.shape[2] == 3:
        return pixels
    image = Image.fromarray(pixels)
    ground = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(ground, image).convert("RGB"))


def controls_of(scripts: dict[str, Any], notes: list[str], folders: Folders) -> list[dict[str, Any]]:
    """The controls of a ControlNet script's units; other scripts go into ``notes``. Raises BadInput or BadFile."""
    found = []
    for name, script in scripts.items():
        units = script.get("args", []) if isinstance(script, dict) else []
        if not isinstance(units, list) or len(units) > 100:
            raise BadInput(f"the script {shown(name)}", "has no list of args", 'write {"args": [...]}')
        if name.lower() != "controlnet":
            if any(unit for unit in units):
                notes.append(f"the script {shown(name)} changes nothing: it is not here")
            continue
        found += [_control(unit, notes, folders) for unit in units if _acts(unit)]
    return found


def _acts(unit: Any) -> bool:
    if not isinstance(unit, dict):
        raise BadInput("a unit of ControlNet", "is not an object", "give its fields by name")
    return bool(unit.get("enabled", True)) and unit.get("model") not in (None, "", "None")


def _control(unit: dict[str, Any], notes: list[str], folders: Folders) -> dict[str, Any]:
    module = unit.get("module") or "none"
    if str(module).lower() != "none":
        rule = "makes no maps here"
        raise BadInput(f"the preprocessor {shown(module)}", rule, 'send the map itself, with the module "none"')
    if unit.get("control_mode") not in (None, 0, "Balanced"):
        notes.append("ControlNet's control_mode changes nothing: it acts as Balanced")
    if unit.get("mask"):
        notes.append("ControlNet's mask changes nothing: a control acts everywhere")
    image = unit.get("image") or unit.get("input_image")
    image = image.get("image") if isinstance(image, dict) else image
    pixels = _flat(from_base64(image, "ControlNet's image"))
    network = adapter("ControlNet model", str(unit["model"])[:300], folders)
    told = {"scale": unit.get("weight"), "start": unit.get("guidance_start"), "end": unit.get("guidance_end")}
    named = {"network": network, "map": kept(pixels, folders)}
    return named | {name: value for name, value in told.items() if value is not None}
