"""``darkroom prompt`` and ``darkroom style``: prompts seen before they are drawn, and words kept for later."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from darkroom.cli.given.flags import flags_of, given
from darkroom.cli.given.values import Folder, Whole
from darkroom.contracts.errors import BadInput, Unfinished, unknown
from darkroom.contracts.prompt import Prompt
from darkroom.contracts.request import NO_SETTINGS, Request, parse_size

if TYPE_CHECKING:
    Parts = Any
    Settings = Any
else:
    Parts = flags_of(Prompt, leaving_out={"text", "negative"})
    Settings = flags_of(Request, leaving_out={*NO_SETTINGS, "width", "height"})
NO_PARTS: Any = Parts()
NO_CHANGES: Any = Settings()
Json = Annotated[bool, Parameter(name="--json")]

style_app = App(name="style", help="Saved styles: words and settings under a name, for `darkroom generate --style`.")


def prompt(
    prompt: str | None = None,
    *,
    negative: str = "",
    parts: Annotated[Parts, Parameter(name="*")] = NO_PARTS,
    style: str | None = None,
    model: str = "default",
    wildcards: Folder | None = None,
    seed: Whole | None = None,
    steps: Whole | None = None,
    verbatim: bool = False,
    json_: Json = False,
) -> None:
    """Show how a prompt is read: tokens, syntax, which part plays which role, words the model was never taught.

    Examples:

        darkroom prompt "two blue cats left of a big tree at night, 3d"
        darkroom prompt "a {red|blue} [fox:cat:0.5]" --seed 7
        darkroom prompt --subject "a red fox" --setting "in a forest" --light "soft light"

    Parameters
    ----------
    prompt
        What to look at.
    negative
        What not to draw.
    style
        A style, by name: the model's own, or a saved one.
    model
        The model, by name or folder.
    wildcards
        Folder of the files that the prompt names.
    seed
        The number that choices are made with; without it 0.
    steps
        Steps from noise to picture, which say when words change; without it the model's own.
    verbatim
        Read the prompt as it is written: talk in it is not reduced.
    json_
        Print one JSON object.
    """
    from darkroom.cards import folder_of, read_card, read_tokenizer
    from darkroom.wording.anatomy.view import lines_of, view_of
    from darkroom.wording.stylefile import styles_file

    if prompt is None and not given(parts):
        raise BadInput("no prompt", "was given", 'say what to look at: darkroom prompt "a red fox"')
    said = {"negative": negative, **given(parts)} | ({} if prompt is None else {"text": prompt})
    asked = {"prompt": said, "style": style, "seed": seed, "steps": steps, "verbatim": verbatim, "model": model}
    request = Request.checked(asked, flags=True)
    folder = folder_of(model)
    card = read_card(folder)
    view = view_of(request, card, read_tokenizer(folder, card), wildcards=wildcards, styles=styles_file())
    if json_:
        print(json.dumps(view.as_json(), ensure_ascii=False))
    else:
        print("\n".join(lines_of(view)))


@style_app.command(name="list")
def style_list(*, json_: Json = False) -> None:
    """List the saved styles."""
    from darkroom.contracts.errors import BadFile
    from darkroom.wording.stylefile import read_styles, styles_file
    from darkroom.wording.styles import style_named

    path = styles_file()
    tables = {}
    for name in read_styles(path):
        try:
            found = style_named(name, path)
            tables[name] = {} if found is None else found.table()
        except BadFile as error:  # the others are listed
            print(f"{'note':<12}{error}", file=sys.stderr)
    if json_:
        print(json.dumps(tables, ensure_ascii=False))
        return
    for name, table in tables.items():
        print(f"{name:<20}{_told(table)}")
    if not tables:
        print(f"{'note':<12}no style is saved in {path}", file=sys.stderr)


@style_app.command(name="show")
def style_show(name: str, *, json_: Json = False) -> None:
    """Show one saved style.

    Parameters
    ----------
    name
        The style.
    json_
        Print one JSON object.
    """
    from darkroom.wording.stylefile import read_styles, styles_file
    from darkroom.wording.styles import style_named

    path = styles_file()
    found = style_named(name, path)
    if found is None:
        raise unknown("saved style", name, read_styles(path))
    if json_:
        print(json.dumps(found.table(), ensure_ascii=False))
        return
    for key, value in found.table().items():
        print(f"{key:<20}{value if isinstance(value, str) else json.dumps(value)}")


@style_app.command(name="save")
def style_save(
    name: str,
    prompt: str = "",
    *,
    negative: str = "",
    settings: Annotated[Settings, Parameter(name="*")] = NO_CHANGES,
    size: str | None = None,
    replace: bool = False,
    model: str = "default",
) -> None:
    """Save a style: words, what to keep out, settings.

    Examples:

        darkroom style save noir "film noir photo of {prompt}, dramatic light" --negative colour
        darkroom style save quick --steps 4 --guidance 2

    Parameters
    ----------
    name
        What it is called.
    prompt
        Its words, with {prompt} where the prompt stands; without {prompt} they come after it.
    negative
        What it keeps out.
    size
        Of the finished picture: "256x192", or one side.
    replace
        Save it over a style of that name.
    model
        The model whose own styles' names are not to be taken.
    """
    from darkroom.wording.stylefile import styles_file
    from darkroom.wording.styles import SavedStyle

    width, height = parse_size(size) if size is not None else (None, None)
    sized = {} if width is None else {"width": width, "height": height}
    words = {key: text for key, text in (("prompt", prompt), ("negative", negative)) if text}
    style = SavedStyle.checked({**words, "settings": {**given(settings), **sized}}, flags=True)
    path = styles_file()
    _save(path, name, style, replace=replace, model=model)
    print(path)


@style_app.command(name="delete")
def style_delete(name: str) -> None:
    """Delete one saved style.

    Parameters
    ----------
    name
        The style.
    """
    from darkroom.wording.stylefile import read_styles, styles_file, write_style

    path = styles_file()
    told = read_styles(path)
    if name not in told:
        raise unknown("saved style", name, told)
    write_style(path, name, None)


@style_app.command(name="import")
def style_import(file: Path, *, replace: bool = False, model: str = "default", json_: Json = False) -> None:
    """Save the styles of A1111's styles.csv (name, prompt, negative_prompt). Rows that fail are told; the others go on.

    Parameters
    ----------
    file
        The CSV file.
    replace
        Save styles over those of their names.
    model
        The model whose own styles' names are not to be taken.
    json_
        Print one JSON object.
    """
    from darkroom.wording.stylefile import styles_file
    from darkroom.wording.stylesheet import rows_of

    path = styles_file()
    saved, failed = [], {}
    for row in rows_of(file):
        if row.empty:
            print(f"{'note':<12}line {row.line}: {row.name!r} says nothing and is left out", file=sys.stderr)
            continue
        try:
            _save(path, row.name, row.style(), replace=replace, model=model)
            saved.append(row.name)
        except BadInput as error:
            failed[row.line] = str(error)
            print(f"{'failed':<12}line {row.line}: {error}", file=sys.stderr)
            continue
        for note in row.notes:
            print(f"{'note':<12}line {row.line}: {note}", file=sys.stderr)
        if not json_:
            print(row.name)
    told = {"saved": saved, "failed": failed}
    if failed:
        count = "1 row" if len(failed) == 1 else f"{len(failed)} rows"
        raise Unfinished(f"{count} of {file}", "could not be saved", f"{len(saved)} saved in {path}", done=told)
    if json_:
        print(json.dumps(told, ensure_ascii=False))


def _save(path: Path, name: str, style: Any, *, replace: bool, model: str) -> None:
    """Saves a style under a name that is free."""
    from darkroom.cards import folder_of, read_card
    from darkroom.wording.stylefile import check_name, read_styles, write_style

    check_name(name)
    card = read_card(folder_of(model))
    if name in card.styles:
        raise BadInput(f"the style's name {name!r}", f"is one of the model {card.name}'s own", "take another name")
    inner = style.settings.get("style")
    if inner is not None and inner not in card.styles:
        raise unknown("style", inner, card.styles)
    if name in read_styles(path) and not replace:
        raise BadInput(f"the style {name!r}", "is saved already", "take another name, or add --replace")
    write_style(path, name, style.table())


def _told(table: dict[str, Any]) -> str:
    """A style on one line."""
    words = " ".join(table.get("prompt", "").split())
    parts = [words if len(words) <= 60 else words[:59] + "…"] if words else []
    parts += [f"not: {' '.join(table['negative'].split())[:40]}"] if "negative" in table else []
    return "; ".join([*parts, *(f"{k} {v}" for k, v in table.items() if k not in ("prompt", "negative"))])
