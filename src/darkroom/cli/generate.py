"""``darkroom generate``: pictures from a sentence."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from darkroom.cli.given.flags import flags_of, given
from darkroom.cli.given.values import Folder, Whole
from darkroom.cli.many import draw_many
from darkroom.contracts.errors import BadInput, shown, unknown
from darkroom.contracts.prompt import Prompt
from darkroom.contracts.request import CHOSEN_SEEDS, Request, expand, parse_size
from darkroom.requests.spelling import frames_of, parse_margins, seeds_of

if TYPE_CHECKING:
    Flags = Any
    Parts = Any
else:
    Flags = flags_of(Request, leaving_out={"prompt", "seed", "width", "height", "outpaint"})
    Parts = flags_of(Prompt, leaving_out={"text", "negative"})
NOTHING_ASKED: Any = Flags()
NO_PARTS: Any = Parts()


def generate(
    prompt: str | None = None,
    *,
    negative: str = "",
    parts: Annotated[Parts, Parameter(name="*")] = NO_PARTS,
    template: str | None = None,
    fill: list[str] | None = None,
    seed: str | None = None,
    count: Whole = 1,
    size: str | None = None,
    outpaint: str | None = None,
    flags: Annotated[Flags, Parameter(name="*")] = NOTHING_ASKED,
    judge: Folder | None = None,
    wildcards: Folder | None = None,
    recipe: Path | None = None,
    batch: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    x: str | None = None,
    y: str | None = None,
    z: str | None = None,
    files: Folder | None = None,
    out: Folder = Path("pictures"),
    sheet: bool = False,
    frames: Whole | None = None,
    json_: Annotated[bool, Parameter(name="--json")] = False,
    dry_run: bool = False,
) -> None:
    """Draw pictures from a sentence.

    Examples:

        darkroom generate "a red fox, 3d" --seed 7
        darkroom generate "three yellow tulips" --seed 0-7 --style cartoon --sheet
        darkroom generate "a castle" --size 512
        darkroom generate --subject "a red fox" --setting "in a forest" --light "soft light" --composition close-up
        darkroom generate --template "a {what} on a {colour} background" --fill what=cat --fill colour=blue
        darkroom generate "a castle, cartoon" --init-image sketch.png --strength 0.7
        darkroom generate "a red apple" --init-image photo.jpg --mask mask.png
        darkroom generate "a castle" --refine "clean, contrast=1.1, sharpen, crop=16:9"
        darkroom generate --recipe pictures/0007-a-red-fox-3d.png
        darkroom generate "a red apple" --toward "a yellow lemon" --frames 8 --seed 5
        darkroom generate --batch prompts.csv --steps 8
        darkroom generate "a red fox" --x steps=4,8,16 --y sampler=euler,heun

    Parameters
    ----------
    prompt
        What to draw. Left out when --recipe gives it; it may be beside its parts, or a template.
        (word:1.3) counts more and [word] less, {red|blue} is one of them, [cat:dog:0.5] becomes another thing half
        way, \\( is a bracket: docs/prompts.md has it all.
    negative
        What not to draw.
    template
        A sentence with fields in braces, to be filled; a field {prompt} is the prompt.
    fill
        What a field stands for: subject="a red mug"; once for each, or all as JSON.
    seed
        A number ("7"), a range ("0-7") or a list ("1,4,9"); without it one is drawn.
    count
        Pictures to draw, from the seed upwards.
    size
        Of the finished picture: "256x192", or one side; multiples of 16. Without it the model's own, or about
        that of the picture it begins with.
    outpaint
        Pixels to draw around the start picture: "left=64,right=64", or "64" for all sides.
    judge
        Folder of the judge for --verify, --best-of and --retry. Without it the one in the package.
    wildcards
        Folder of the files that the prompt names: __colours__ is a line of its colours.txt.
    recipe
        A picture made by darkroom: draw it again, bit for bit. What it began with is looked for beside it, or given
        with --init-image and --mask; a guide with --guide, a refiner with --refiner, adapters with --lora, and so with
        --control, --image-prompt, --embedding and --vae.
    batch
        A CSV or JSONL file with a request a row, or "-" for JSONL on stdin: docs/many-pictures.md. Flags hold for what
        a row does not say. The same command again draws what is missing.
    x
        A field laid out along the top of a grid, with its values: steps=4,8,16 or guidance=1..5 or prompt=fox,cat,
        which puts cat in the place of fox.
    y
        A field laid out down its left side.
    z
        A field with a sheet for each value.
    files
        Folder in which what a recipe names is looked for, beside the picture otherwise.
    out
        Folder for the pictures.
    sheet
        Also write contact sheets of all pictures, 48 on each; never over another.
    frames
        Pictures of a film, from the prompt to what --toward says, or from the seed's noise to that of
        --variation-seed, or both at once; also written as an animated WebP.
    json_
        Print one JSON object with paths, recipes and notes on stdout, or with the error.
    dry_run
        Print the resolved recipes and draw nothing.
    """
    asked = given(flags)
    model = asked.get("model", "default")
    axes = {letter: text for letter, text in (("x", x), ("y", y), ("z", z)) if text is not None}
    told: dict[str, Any] = {"size": size, "outpaint": outpaint, "seed": seed}
    if recipe is not None:
        named = ("init_image", "mask", "guide", "refiner", "lora", "control", "image_prompt", "embedding", "vae")
        brought = {name: asked[name] for name in named if name in asked}
        others = {"prompt": prompt, "negative": negative or None, **told, **given(parts), "template": template}
        others |= {"fill": fill, "judge": judge, "wildcards": wildcards, "count": None if count == 1 else count}
        others |= {"batch": batch, "frames": frames, **axes}
        opening: dict[str, Any] = {"model": model, "offload": asked.get("offload", False)}
        _refuse_changes(others | {name: value for name, value in asked.items() if name not in {*opening, *brought}})
        _draw([], recipe, out, given=brought, files=files, sheet=sheet, as_json=json_, dry_run=dry_run, **opening)
        return
    if files is not None:
        raise BadInput("--files", "is where the files of a recipe are, and there is none", "leave it out")
    _refuse_shells_number([prompt, negative, template, *(fill or []), x, y, z, *given(parts).values(), *asked.values()])
    prompt = _filled(prompt, template, fill)
    said = {"negative": negative, **given(parts)} | ({} if prompt is None else {"text": prompt})
    if frames is not None and (batch is not None or axes or count != 1):
        raise BadInput("--frames", "and --batch, --count, --x, --y or --z are ways to draw many", "give one of them")
    if batch is not None or axes:
        text = Prompt.checked(said).text if given(parts) else prompt
        told |= {"prompt": text, "negative": negative or None, "count": count}
        options: dict[str, Any] = {"judge": judge, "wildcards": wildcards, "as_json": json_, "dry_run": dry_run}
        draw_many({**told, **asked}, batch, axes, out, sheet=sheet, **options)
        return
    if prompt is None and not given(parts):
        raise BadInput("no prompt", "was given", 'say what to draw: darkroom generate "a red fox"')
    for kind in ("sampler", "style", "spacing", "guidance_method"):
        if kind in asked and not asked[kind].strip():
            _refuse_blank(kind, asked[kind], model)
    request = _request(said, size, outpaint, asked if frames is None else _leading(asked))
    if judge is not None and not request.judged:
        raise BadInput("--judge", "has nothing to judge", "add --verify, --best-of or --retry")
    options = {"sheet": sheet, "as_film": frames is not None, "as_json": json_, "dry_run": dry_run}
    requests = _expanded(request, seed, count, frames)
    _draw(requests, None, out, wildcards=wildcards, model=model, judge=judge, **options)


def _request(said: dict[str, Any], size: str | None, outpaint: str | None, asked: dict[str, Any]) -> Request:
    """What the flags tell of one picture."""
    width, height = parse_size(size) if size is not None else (None, None)
    fields = {"prompt": said, "width": width, "height": height, **asked}
    if outpaint is not None:
        fields["outpaint"] = parse_margins(outpaint)
    return Request.checked(fields, flags=True)


def _leading(asked: dict[str, Any]) -> dict[str, Any]:
    """The flags of a film, which goes all the way to another seed where nothing else is said."""
    return {"variation": 1.0, **asked} if "variation_seed" in asked else asked


def _expanded(request: Request, seed: str | None, count: int, frames: int | None) -> list[Request]:
    """A request for each seed, or for each frame of a film."""
    several = seed is not None or count != 1
    requests = expand(request, seeds_of(seed, count, secrets.randbelow(CHOSEN_SEEDS))) if several else [request]
    if frames is None:
        return requests
    if len(requests) > 1:
        raise BadInput(f"--frames and {len(requests)} seeds", "are as many films", "give one seed")
    return frames_of(requests[0], frames, (secrets.randbelow(CHOSEN_SEEDS), secrets.randbelow(CHOSEN_SEEDS)))


def _filled(prompt: str | None, template: str | None, fill: list[str] | None) -> str | None:
    """The template with its fields filled; without one, the prompt."""
    from darkroom.wording.templates import filled, fills_of

    values = fills_of(fill or [])
    if template is None:
        if fill:
            raise BadInput(f"--fill {fill[0]}", "has no template to fill", "give one: --template")
        return prompt
    return filled(template, values if prompt is None else {"prompt": prompt, **values})


def _refuse_shells_number(said: list[Any]) -> None:
    """Raises BadInput where the shell wrote its own number for the $$ of a choice, as it does in double quotes."""
    shell = os.getppid()
    if shell < 1000:  # no shell that somebody writes in: a container's first process, or its parent
        return
    for text in chain.from_iterable(one if isinstance(one, list | tuple) else [one] for one in said):
        if isinstance(text, str) and re.search(rf"\{{[0-9]+(?:-[0-9]+)?{shell}(?![0-9$])", text):
            raise BadInput(shown(text), f"holds {shell}, the shell's own number, where $$ stood", "use single quotes")


def _refuse_changes(others: dict[str, Any]) -> None:
    """A recipe is drawn as it stands."""
    if clash := [name.replace("_", "-") for name, value in others.items() if value is not None]:
        raise BadInput(f"--{clash[0]}", "cannot change a recipe", "leave it out, or draw without --recipe")


def _draw(*arguments: Any, wildcards: Path | None = None, **options: Any) -> None:
    from darkroom.drawing import draw  # torch is imported here: not for --help, not for a request that is refused
    from darkroom.picture.inputs import Inputs
    from darkroom.wording.stylefile import styles_file

    draw(*arguments, inputs=Inputs(wildcards, styles_file()), **options)


def _refuse_blank(kind: str, named: str, model: str) -> None:
    """The names there are, where none was given."""
    from darkroom.cards import folder_of, read_card
    from darkroom.synthesis.combine import METHODS
    from darkroom.synthesis.samplers import SAMPLERS
    from darkroom.synthesis.spacing import SPACINGS
    from darkroom.wording.stylefile import read_styles, styles_file

    tables: dict[str, Iterable[str]] = {"sampler": SAMPLERS, "spacing": SPACINGS, "guidance_method": METHODS}
    known = tables[kind] if kind in tables else [*read_card(folder_of(model)).styles, *read_styles(styles_file())]
    raise unknown(kind.replace("_", " "), named, known)
