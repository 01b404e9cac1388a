"""``darkroom refine``: finished pictures taken further, without training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from darkroom.cli.given.values import Folder, Whole
from darkroom.contracts.errors import BadInput
from darkroom.contracts.refinement import parse_chain

LARGEST_MAP = 4096  # pixels a side
EXAMPLE = 'darkroom refine photo.jpg "clean, exposure=0.3, sharpen"'


def refine(
    *images: str,
    out: Folder = Path("refined"),
    format: str = "png",
    model: str = "default",
    json_: Annotated[bool, Parameter(name="--json")] = False,
    dry_run: bool = False,
) -> None:
    """Refine pictures: cleaner, graded, sharper, cut, larger. The last word is the chain of steps.

    Steps: clean, exposure, white-balance, curve, contrast, saturation, lut, match, sharpen, crop, resize, upscale;
    docs/finishing.md has them all. A picture that darkroom drew keeps its recipe, with the steps added.

    Examples:

        darkroom refine photo.jpg "clean, white-balance=auto, exposure=0.3"
        darkroom refine pictures "lut=film.cube:0.7, sharpen=0.4, crop=16:9" --out graded

    Parameters
    ----------
    images
        Pictures, or folders of them, and at last the chain: step, step=value, in the order they are done.
    out
        Folder for the pictures; none is written over another.
    format
        png, jpg or webp. Only a PNG keeps every pixel as it was made.
    model
        The model whose upscaler is used, by name or folder.
    json_
        Print one JSON object.
    dry_run
        Print what the files would say and write nothing.
    """
    if len(images) < 2:
        missing = "no picture" if not images else "no chain" if os.path.exists(images[0]) else "no picture or no chain"
        raise BadInput(missing, "was given", f"give both: {EXAMPLE}")
    *pictures, chain = images
    try:
        steps = parse_chain(chain)
    except BadInput:
        if not chain.strip() or not os.path.exists(chain):
            raise
        raise BadInput(chain, "is a file, and the chain of steps comes last", f"write {EXAMPLE}") from None
    if blank := [picture for picture in pictures if not picture.strip() or "\0" in picture]:
        raise BadInput(f"the picture {blank[0]!r}", "has no name", "give a file or a folder")
    from darkroom.picture.write import FORMATS
    from darkroom.refining import refine as refine_files

    if format.lower() not in FORMATS:
        raise BadInput(f"--format {format}", "is not written", "use png, jpg or webp")
    refine_files(
        [Path(picture) for picture in pictures], steps, out, model=model, format=format, as_json=json_, dry_run=dry_run
    )


def control_map(
    kind: str,
    image: Path,
    *,
    out: Folder | None = None,
    size: Whole = 128,
) -> None:
    """Make a control map of a picture: its edges, a scribble, its palette, a silhouette or a layout.

    Depth maps and poses are not to be seen in a picture: draw them, or take those another program makes.

    Examples:

        darkroom control-map edges photo.jpg
        darkroom generate "a red fox" --control edges.safetensors=photo-edges.png:0.8

    Parameters
    ----------
    kind
        edges, scribble, palette, silhouette (what does not hang together with the border), or layout (boxes of what the
        judge sees, coloured by what it is).
    image
        The picture.
    out
        The file to write, over what is there. Without it its name with the kind, "photo-edges.png", or the next free.
    size
        Pixels at the longer side: those of the pictures that the control was trained on.
    """
    from darkroom.contracts.files import publish
    from darkroom.picture.read import read
    from darkroom.picture.write import encode, write_map

    if not 16 <= size <= LARGEST_MAP:
        raise BadInput(f"--size {size}", f"is not from 16 to {LARGEST_MAP}", "give the pixels of the longer side")
    pixels = read(image)
    if out is not None and (out.is_dir() or out.suffix.lower() != ".png"):
        raise BadInput(f"--out {out}", "names no PNG, and other files lose lines", "end it in .png")
    from darkroom.control.maps import map_of  # imports torch
    from darkroom.selection import things_in

    made = map_of(kind, pixels, size, things_in)
    print(write_map(made, image, kind) if out is None else publish(encode(made, None, edited=True), out))
