"""The command line: one program, a verb for each thing to do. Data goes to stdout; progress and errors to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

import darkroom
from darkroom.contracts.errors import BadInput, DarkroomError, explain
from darkroom.contracts.request import Request, expand, parse_seeds, parse_size
from darkroom.threads import share_cores
from darkroom.training.commands import train_app

app = App(
    name="darkroom",
    version=darkroom.__version__,
    help="Your own image model, from your pictures to the finished render.",
    help_format="plaintext",
)
data_app = App(name="data", help="Build, check and look at training data.")
models_app = App(name="models", help="The models at hand.")
for sub in (data_app, train_app, models_app):
    app.command(sub)


# --- pictures ----------------------------------------------------------------------------------------------------


@app.command
def generate(
    prompt: str | None = None,
    *,
    negative: str = "",
    seed: str | None = None,
    count: int = 1,
    size: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    sampler: str | None = None,
    style: str | None = None,
    model: str = "default",
    recipe: Path | None = None,
    out: Path = Path("pictures"),
    sheet: bool = False,
    json_: Annotated[bool, Parameter(name="--json")] = False,
    dry_run: bool = False,
) -> None:
    """Draw pictures from a sentence.

    Examples:

        darkroom generate "a red fox, 3d" --seed 7
        darkroom generate "three yellow tulips" --seed 0-7 --style cartoon --sheet
        darkroom generate --recipe pictures/0007-a-red-fox-3d.png

    Parameters
    ----------
    prompt
        What to draw. Left out when --recipe gives it.
    negative
        What not to draw.
    seed
        A number ("7"), a range ("0-7") or a list ("1,4,9"); without it one is drawn.
    count
        Pictures to draw, from the seed upwards.
    size
        "256x192", or one side; multiples of 16. Without it the model's own.
    steps
        Steps from noise to picture. Without it the model's own.
    guidance
        How strongly the prompt steers, 1 is plain. Without it the model's own.
    sampler
        euler, heun, dpmpp-2m or euler-a. Without it the model's own.
    style
        A style of the model: see `darkroom models show`.
    model
        A model's name, or the folder that holds its card.json.
    recipe
        A picture made by darkroom: draw it again, bit for bit.
    out
        Folder for the pictures.
    sheet
        Also write a contact sheet of all pictures.
    json_
        Print one JSON object with paths and recipes on stdout.
    dry_run
        Print the resolved recipes and draw nothing.
    """
    if recipe is not None:
        given: dict[str, object] = {"prompt": prompt, "negative": negative, "seed": seed, "size": size, "steps": steps}
        given |= {"guidance": guidance, "sampler": sampler, "style": style}
        if clash := [name for name, value in given.items() if value] + (["count"] if count != 1 else []):
            raise BadInput(f"--{clash[0]}", "cannot change a recipe", "leave it out, or draw without --recipe")
        _draw([], recipe, out, sheet=sheet, as_json=json_, dry_run=dry_run, model=model)
        return
    if prompt is None:
        raise BadInput("no prompt", "was given", 'say what to draw: darkroom generate "a red fox"')
    width, height = parse_size(size) if size else (None, None)
    request = Request.model_validate(
        {
            "prompt": {"text": prompt, "negative": negative},
            "width": width,
            "height": height,
            "steps": steps,
            "guidance": guidance,
            "sampler": sampler,
            "style": style,
            "model": model,
        }
    )
    requests = expand(request, _seeds(seed, count)) if seed is not None or count != 1 else [request]
    _draw(requests, None, out, sheet=sheet, as_json=json_, dry_run=dry_run, model=model)


def _draw(*arguments: Any, **options: Any) -> None:
    from darkroom.drawing import draw  # torch is imported here: not for --help, not for a request that is refused

    draw(*arguments, **options)


def _seeds(seed: str | None, count: int) -> list[int]:
    """The seeds of ``--seed`` and ``--count`` together."""
    import secrets

    if not 1 <= count <= 10_000:
        raise BadInput(f"count {count}", "is not between 1 and 10000", "try 4")
    seeds = parse_seeds(seed) if seed is not None else [secrets.randbelow(2**32)]
    if count == 1:
        return seeds
    if len(seeds) > 1:
        raise BadInput(f"count {count}", f"and {len(seeds)} seeds say two different numbers", "give one of them")
    return parse_seeds(f"{seeds[0]}-{seeds[0] + count - 1}")


# --- data --------------------------------------------------------------------------------------------------------


@data_app.command(name="build")
def data_build(*, source: Path, out: Path = Path("runs/data"), photos: bool = True, fonts: Path | None = None) -> None:
    """Turn the data pack, or a folder of your own pictures, into what training reads.

    Examples:

        darkroom data build --source PACK --out runs/data
        darkroom data build --source my-pictures --out runs/mine

    Parameters
    ----------
    source
        The data pack's folder; or a folder of name.jpg with name.txt, a metadata.jsonl, or a folder for each class.
    out
        Folder to write: drawings or pictures, and the ledger of licences and hashes.
    photos
        Also keep the pack's photos, those set apart for tests left out.
    fonts
        Folder of .ttf and .otf files words are drawn in, beside the one font that is always there.
    """
    from darkroom.data import built
    from darkroom.data.pack import is_pack

    if not is_pack(source):
        from darkroom.data.imported import import_folder

        report = import_folder(source, out)
        print("\n".join(report.lines()), file=sys.stderr)
        print(f"{len(report.usable)} pictures in {out}, ledger in {out / 'ledger.jsonl'}")
        return
    found = built.build(source, out, with_photos=photos, lettering=fonts)
    drawings = found.drawings.sprites
    concepts = len({sprite.concept for sprite in drawings})
    pictures = f" and {len(found.photos.photos)} photos" if found.photos is not None else ""
    print(f"{len(drawings)} drawings of {concepts} concepts{pictures} in {out}, ledger in {out / 'ledger.jsonl'}")


@data_app.command(name="check")
def data_check(folder: Path, *, json_: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Report broken, tiny, duplicate and captionless pictures of a folder; the exit code says whether it is clean.

    Examples:

        darkroom data check my-pictures
    """
    from darkroom.data.check import check_folder

    report = check_folder(folder)
    print(json.dumps(report.as_json(), indent=1) if json_ else "\n".join(report.lines()))
    if not report.ok:
        raise SystemExit(1)


@data_app.command(name="inspect")
def data_inspect(
    *, data: Path = Path("runs/data"), out: Path = Path("pictures/scenes.png"), count: int = 32, seed: int = 0
) -> None:
    """Write a sheet of random training scenes with their captions.

    Examples:

        darkroom data inspect --data runs/data --count 32
    """
    from darkroom.training.legs import scene_sheet

    print(scene_sheet(data, out, count, seed))


# --- judging -----------------------------------------------------------------------------------------------------


@app.command
def evaluate(
    *,
    model: str = "default",
    set_: Annotated[str, Parameter(name="--set")] = "dev",
    prompts: Path | None = None,
    out: Path | None = None,
    limit: int | None = None,
    judge: Path | None = None,
    calibration: bool = False,
    data: Path = Path("runs/data"),
    count: int = 1000,
    json_: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Measure how often a model draws what it was asked for, fact by fact.

    Examples:

        darkroom evaluate --model default --out runs/scores
        darkroom evaluate --prompts mine.jsonl --json
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
        Folder of another judge than the one in the package.
    calibration
        Measure the judge instead of a model, on scenes composed of --data.
    data
        Built data, for --calibration.
    count
        Scenes of --calibration.
    json_
        Print one JSON object.
    """
    from darkroom.evaluation import command

    if calibration:
        command.calibration(data, judge, count, as_data=json_)
    else:
        command.evaluate(model, set_, prompts, out, judge, limit, as_data=json_)


# --- models ------------------------------------------------------------------------------------------------------


@models_app.command(name="list")
def models_list(*, json_: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """List the models at hand."""
    from darkroom.model import known_models, read_card

    cards = {name: read_card(folder) for name, folder in known_models().items()}
    if json_:
        print(json.dumps({name: json.loads(card.to_json()) for name, card in cards.items()}))
        return
    for name, card in cards.items():
        size = sum(entry.bytes for entry in card.files.values()) / 1e6
        print(f"{name}  {card.family}  {size:.1f} MB  {card.licence}  {card.description.splitlines()[0]}")


@models_app.command(name="show")
def models_show(name: str = "default", *, json_: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Show a model's card: what it draws, its styles, defaults, limits, licence and training."""
    from darkroom.model import folder_of, read_card

    card = read_card(folder_of(name))
    if json_:
        print(card.to_json())
        return
    print("\n".join(card_lines(card)))


def card_lines(card: Any) -> list[str]:
    """A card in plain words."""
    d = card.defaults
    lines = [card.name, card.description, ""]
    lines += [f"defaults    {d.width}x{d.height}, {d.steps} steps of {d.sampler}, guidance {d.guidance:g}"]
    lines += [f"styles      {', '.join(card.styles)}", f"licence     {card.licence}", f"hash        {card.model_hash}"]
    lines += [f"cannot      {limit}" for limit in card.limits]
    lines += [f"trained     {leg.date}  {leg.samples:,} samples  {leg.what}" for leg in card.training]
    thanks = {s.attribution for leg in card.training for s in leg.sources if s.attribution}
    lines += [f"thanks to   {line}" for line in sorted(thanks)]
    lines += [f"score       {name}: {value:g}" for name, value in card.scores.items()]
    lines += [f"draws       {', '.join(card.vocabulary)}"] if card.vocabulary else []
    return lines


@models_app.command(name="sheet")
def models_sheet(
    name: str = "default", *, out: Path = Path("pictures/sheet.png"), steps: int | None = None, blind: bool = False
) -> None:
    """Draw the fixed sheet of 64 prompts, uncurated; --blind numbers the pictures instead of naming them."""
    from darkroom.evaluation.sheet import draw_sheet
    from darkroom.model import load

    print(draw_sheet(load(name), out, captions=not blind, steps=steps))


@models_app.command(name="pack")
def models_pack(*, autoencoder: Path, base: Path, out: Path, name: str = "default", card: Path | None = None) -> None:
    """Put the hand-overs of training legs together into a model folder.

    Parameters
    ----------
    autoencoder
        Hand-over of the autoencoder's leg.
    base
        Hand-over of the diffusion leg: denoiser, text encoder and tokenizer.
    out
        The model folder to write.
    card
        A card to take the words from (description, limits, licence, training); without it a plain one is written.
    """
    from darkroom.training.packing import pack

    print(pack(autoencoder, base, out, name, card))


@models_app.command(name="judge")
def models_judge(
    *, leg: Annotated[Path, Parameter(name="--from")], data: Path = Path("runs/data"), out: Path, count: int = 2000
) -> None:
    """Make a judge of a training leg's hand-over: its weights in int8, and how far it can be trusted.

    Parameters
    ----------
    leg
        Hand-over of a `darkroom train judge` run.
    data
        Built data, whose scenes it is measured on.
    out
        The folder to write.
    count
        Scenes it is measured on.
    """
    from darkroom.evaluation.command import pack_judge

    print(pack_judge(leg, data, out, count))


# --- doctor ------------------------------------------------------------------------------------------------------


@app.command
def doctor(*, json_: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Look at this machine: device, versions, free disk and memory, known conflicts. Exit code 1 when one is found."""
    from darkroom.doctor import examine

    findings = examine()
    if json_:
        print(json.dumps({f.what: {"found": f.found, "fix": f.fix} for f in findings}))
    else:
        for finding in findings:
            print(f"{'  !  ' if finding.fix else ' ok  '}{finding.what:<12}{finding.found}")
            if finding.fix:
                print(f"     {'':<12}fix: {finding.fix}")
    if any(finding.fix for finding in findings):
        raise SystemExit(1)


# --- running it --------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the program; every expected error is one sentence on stderr and a non-zero exit code."""
    share_cores()
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(str(error).strip(), 2)
    except ValidationError as error:
        _fail(explain(error), 2)
    except BadInput as error:
        _fail(str(error), 2)
    except (DarkroomError, ValueError, RuntimeError) as error:
        if os.environ.get("DARKROOM_TRACEBACK"):
            raise
        _fail(str(error), 1)
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    except BrokenPipeError:
        os._exit(141)


def _fail(sentence: str, code: int) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
