"""``darkroom evaluate``: how good a model is, and how far its judge can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from darkroom.cli.given.flags import flags_of, given
from darkroom.cli.given.values import Whole
from darkroom.contracts.errors import BadInput
from darkroom.contracts.request import Request, Settings

if TYPE_CHECKING:
    Flags = Any
else:
    HOW = {*Settings.model_fields, "guidance_threshold", "guide", "lora", "shift"} - {"width", "height", "upscale"}
    Flags = flags_of(Request, leaving_out=set(Request.model_fields) - HOW)
AS_IT_DRAWS: Any = Flags()


def evaluate(
    *,
    model: str = "default",
    set_: Annotated[str, Parameter(name="--set")] = "dev",
    prompts: Path | None = None,
    out: Path | None = None,
    limit: Whole | None = None,
    flags: Annotated[Flags, Parameter(name="*")] = AS_IT_DRAWS,
    judge: Path | None = None,
    report: bool = False,
    own: Path | None = None,
    calibration: bool = False,
    data: Path | None = None,
    count: Whole | None = None,
    style: str | None = None,
    strict: bool = False,
    json_: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Measure how often a model draws what it was asked for, fact by fact.

    Examples:

        darkroom evaluate --model default --out runs/scores
        darkroom evaluate --prompts mine.jsonl --json
        darkroom evaluate --limit 100 --steps 6 --sampler heun
        darkroom evaluate --own my-pictures --model runs/own/model --out runs/own/likeness
        darkroom evaluate --calibration --data runs/data

    Parameters
    ----------
    model
        A model's name, or the folder that holds its card.json.
    set_
        dev, or test: the locked set, once for a release.
    prompts
        Your own prompts instead: a line of JSON for each, with "prompt" and "expect".
    out
        Folder that keeps what was judged; the same command goes on from there.
    limit
        Take only so many prompts.
    judge
        Folder of the judge. Without it the one in the package.
    report
        Also write a page with everything to --out: curves, costs, distances, best and worst cases, the sheet.
    own
        Folder of your own pictures, as `darkroom train --data` takes it: draw its captions, and say how often they are
        told for what they are, how near they are to yours, and whether they are copies. --out gets sheets of them.
    calibration
        Measure the judge instead of a model, on scenes composed of --data.
    data
        Built data: for --calibration, and for the report's comparison with real scenes.
    count
        Scenes of --calibration, about: without it 1000. Pictures that are drawn for --own: without it 200.
    style
        With --calibration: on drawings of one style only, as for a judge trained without it.
    strict
        With --calibration: exit code 1 where the judge does not reach its bars.
    json_
        Print one JSON object.
    """
    settings = given(flags)
    told: dict[str, object] = {"--prompts": prompts, "--out": out, "--limit": limit, "--report": report or None}
    told |= {"--model": model if model != "default" else None, "--set": set_ if set_ != "dev" else None}
    told |= {"--own": own, "--calibration": calibration or None, "--data": data, "--count": count}
    told |= {"--style": style, "--strict": strict or None}
    told |= {"--" + name.replace("_", "-"): value for name, value in settings.items()}
    _only_what_goes_together({flag for flag, value in told.items() if value is not None})
    from darkroom.evaluation import command  # torch is imported here: not for --help, not for what is refused

    if calibration:
        scenes = 1000 if count is None else count
        command.calibration(data or Path("runs/data"), judge, scenes, style, as_data=json_, strict=strict)
    elif own is not None:
        pictures = 200 if count is None else count
        command.own(own, model, out, judge, pictures, settings=settings, as_data=json_)
    else:
        options: dict[str, Any] = {"data": data, "settings": settings, "report": report, "as_data": json_}
        command.evaluate(model, set_, prompts, out, judge, limit, **options)


def _only_what_goes_together(flags: set[str]) -> None:
    """Raises BadInput for a flag that means nothing beside the others."""
    if "--calibration" in flags:
        for flag in sorted(flags - {"--calibration", "--data", "--count", "--style", "--strict"}):
            raise BadInput(flag, "is about a model, and --calibration about its judge", "leave it out")
        return
    for flag in sorted(flags & {"--style", "--strict"}):
        raise BadInput(flag, "is for --calibration", "add --calibration, or leave it out")
    if "--own" not in flags:
        if "--count" in flags:
            raise BadInput("--count", "is for --calibration and --own", "add one of them, or leave it out")
        return
    for flag in sorted(flags & {"--prompts", "--set", "--limit", "--report", "--data"}):
        rule = "and --own, which asks for the captions of a folder, do not go together"
        raise BadInput(flag, rule, "leave one of them out")
