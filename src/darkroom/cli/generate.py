"""``darkroom generate``: pictures from a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from darkroom.cli.flags import flags_of, given
from darkroom.cli.values import Folder, Whole
from darkroom.contracts.errors import BadInput, unknown
from darkroom.contracts.request import Request, expand, parse_margins, parse_seeds, parse_size

if TYPE_CHECKING:
    Flags = Any
else:
    Flags = flags_of(Request, leaving_out={"prompt", "seed", "width", "height", "outpaint"})
NOTHING_ASKED: Any = Flags()


def generate(
    prompt: str | None = None,
    *,
    negative: str = "",
    seed: str | None = None,
    count: Whole = 1,
    size: str | None = None,
    outpaint: str | None = None,
    flags: Annotated[Flags, Parameter(name="*")] = NOTHING_ASKED,
    judge: Folder | None = None,
    wildcards: Folder | None = None,
    recipe: Path | None = None,
    files: Folder | None = None,
    out: Folder = Path("pictures"),
    sheet: bool = False,
    json_: Annotated[bool, Parameter(name="--json")] = False,
    dry_run: bool = False,
) -> None:
    """Draw pictures from a sentence.

    Examples:

        darkroom generate "a red fox, 3d" --seed 7
        darkroom generate "three yellow tulips" --seed 0-7 --style cartoon --sheet
        darkroom generate "a castle" --size 512
        darkroom generate "a castle, watercolour" --init-image sketch.png --strength 0.7
        darkroom generate "a red apple" --init-image photo.jpg --mask mask.png
        darkroom generate "a castle" --refine "clean, contrast=1.1, sharpen, crop=16:9"
        darkroom generate --recipe pictures/0007-a-red-fox-3d.png

    Parameters
    ----------
    prompt
        What to draw. Left out when --recipe gives it. (word:1.3) counts more and [word] less, {red|blue} is one of
        them, [cat:dog:0.5] becomes another thing half way, \\( is a bracket: docs/prompts.md has it all.
    negative
        What not to draw.
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
        Folder of the judge for --verify, --best-of and --retry. This version ships none yet: train one with
        `darkroom train judge`.
    wildcards
        Folder of the files that the prompt names: __colours__ is a line of its colours.txt.
    recipe
        A picture made by darkroom: draw it again, bit for bit. What it began with is looked for beside it, or given
        with --init-image and --mask.
    files
        Folder in which what a recipe names is looked for, beside the picture otherwise.
    out
        Folder for the pictures.
    sheet
        Also write a contact sheet of all pictures; never over another.
    json_
        Print one JSON object with paths, recipes and notes on stdout, or with the error.
    dry_run
        Print the resolved recipes and draw nothing.
    """
    asked = given(flags)
    model = asked.get("model", "default")
    if recipe is not None:
        brought = {name: asked[name] for name in ("init_image", "mask") if name in asked}
        others: dict[str, Any] = {"prompt": prompt, "negative": negative or None, "seed": seed, "size": size}
        others |= {"outpaint": outpaint, "judge": judge, "wildcards": wildcards, "count": None if count == 1 else count}
        _refuse_changes(others | {name: value for name, value in asked.items() if name not in {"model", *brought}})
        _draw([], recipe, out, given=brought, files=files, sheet=sheet, as_json=json_, dry_run=dry_run, model=model)
        return
    if files is not None:
        raise BadInput("--files", "is where the files of a recipe are, and there is none", "leave it out")
    if prompt is None:
        raise BadInput("no prompt", "was given", 'say what to draw: darkroom generate "a red fox"')
    for kind in ("sampler", "style", "spacing", "guidance_method"):
        if kind in asked and not asked[kind].strip():
            _refuse_blank(kind, asked[kind], model)
    width, height = parse_size(size) if size is not None else (None, None)
    fields = {"prompt": {"text": prompt, "negative": negative}, "width": width, "height": height, **asked}
    if outpaint is not None:
        fields["outpaint"] = parse_margins(outpaint)
    request = Request.checked(fields, flags=True)
    if judge is not None and not request.judged:
        raise BadInput("--judge", "has nothing to judge", "add --verify, --best-of or --retry")
    requests = expand(request, _seeds(seed, count)) if seed is not None or count != 1 else [request]
    _draw(
        requests, None, out, wildcards=wildcards, sheet=sheet, as_json=json_, dry_run=dry_run, model=model, judge=judge
    )


def _refuse_changes(others: dict[str, Any]) -> None:
    """A recipe is drawn as it stands."""
    if clash := [name.replace("_", "-") for name, value in others.items() if value is not None]:
        raise BadInput(f"--{clash[0]}", "cannot change a recipe", "leave it out, or draw without --recipe")


def _draw(*arguments: Any, wildcards: Path | None = None, **options: Any) -> None:
    from darkroom.drawing import draw  # torch is imported here: not for --help, not for a request that is refused
    from darkroom.picture.inputs import Inputs

    draw(*arguments, inputs=Inputs(wildcards), **options)


def _refuse_blank(kind: str, named: str, model: str) -> None:
    """The names there are, where none was given."""
    from darkroom.model import folder_of, read_card
    from darkroom.synthesis.combine import METHODS
    from darkroom.synthesis.samplers import SAMPLERS
    from darkroom.synthesis.spacing import SPACINGS

    tables: dict[str, Iterable[str]] = {"sampler": SAMPLERS, "spacing": SPACINGS, "guidance_method": METHODS}
    known = tables[kind] if kind in tables else read_card(folder_of(model)).styles
    raise unknown(kind.replace("_", " "), named, known)


def _seeds(seed: str | None, count: int) -> list[int]:
    """The seeds of ``--seed`` and ``--count`` together."""
    import secrets

    if not 1 <= count <= 10_000:
        raise BadInput(f"count {count}", "is not between 1 and 10000", f"try {min(max(count, 1), 10_000)}")
    seeds = parse_seeds(seed) if seed is not None else [secrets.randbelow(2**32)]
    if count == 1:
        return seeds
    if len(seeds) > 1:
        raise BadInput(f"count {count}", f"and {len(seeds)} seeds say two different numbers", "give one of them")
    return parse_seeds(f"{seeds[0]}-{seeds[0] + count - 1}")
