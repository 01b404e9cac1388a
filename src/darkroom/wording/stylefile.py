"""The file of saved styles: TOML, a table for each, in the user's configuration folder.

    [noir]
    prompt = "film noir photo of {prompt}, dramatic light"
    negative = "colour"
    guidance = 5.0

It is written whole or not at all. What people write beside the styles stays: of a file that is changed, only the table
of one style is.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from darkroom.contracts.errors import BadFile, BadInput, reason, shown
from darkroom.contracts.files import publish

NAME = "styles.toml"
LONGEST_NAME = 100
MAX_FILE = 16 * 1024 * 1024  # bytes
_TOP = "# Saved styles of darkroom: `darkroom style --help`.\n"
_HEADER = re.compile(r"^[ \t]*\[", re.MULTILINE)
_LINE = re.compile(r"\(at line ([0-9]+), column [0-9]+\)|\(at end of document\)")


def config_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Where the user's settings are: DARKROOM_CONFIG; else ``darkroom`` in XDG_CONFIG_HOME, which is ~/.config where it
    is not set (XDG Base Directory Specification 0.8). None: the process's environment."""
    told = os.environ if environment is None else environment
    if told.get("DARKROOM_CONFIG"):
        return Path(told["DARKROOM_CONFIG"])
    home = told.get("XDG_CONFIG_HOME", "")
    return Path(home if os.path.isabs(home) else os.path.expanduser("~/.config")) / "darkroom"


def styles_file() -> Path:
    """The file of saved styles; it need not be there."""
    return config_folder() / NAME


def check_name(name: str) -> str:
    """The name of a style. Raises BadInput for what could not be given to --style, or looks like a file's path."""
    fix = "take letters, digits, spaces and dashes"
    if not name.strip() or name != name.strip():
        raise BadInput(f"the style's name {shown(name)}", "is blank or has space around it", fix)
    if set(name) & set("/\\"):
        raise BadInput(f"the style's name {shown(name)}", "holds a slash", fix)
    if name.startswith("-") or not name.isprintable() or len(name) > LONGEST_NAME:
        rule = f"begins with a dash, cannot be printed, or has more than {LONGEST_NAME} characters"
        raise BadInput(f"the style's name {shown(name)}", rule, fix)
    return name


def read_styles(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of a style file as they stand in it; none where there is no file. Raises BadFile with the line of what
    cannot be read."""
    return _parsed(_text(path), path)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE:
            raise BadFile(f"{path}", f"is larger than {MAX_FILE // 2**20} MB", "it holds no styles; move it away")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise BadFile(f"{path}", f"cannot be read ({reason(error)})", "give a text file in UTF-8") from error


def _parsed(text: str, path: Path) -> dict[str, dict[str, Any]]:
    try:
        told = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        at = _LINE.search(str(error))
        number = (at[1] if at else None) or str(text.count("\n") + 1)
        said = _LINE.sub("", str(error)).strip().rstrip(",").lower()
        raise BadFile(
            f"line {number} of {path}", f"is no TOML ({said})", "correct it, or move the file away"
        ) from error
    for name, table in told.items():
        if not isinstance(table, dict):
            found = re.search(rf"^[ \t]*{re.escape(name)}[ \t]*=", text, re.MULTILINE)
            number = str(text.count("\n", 0, found.start() if found else 0) + 1)
            raise BadFile(f"line {number} of {path}", f"says {name} of no style", "write it under a name: [noir]")
    return told


def write_style(path: Path, name: str, table: Mapping[str, Any] | None) -> None:
    """Puts one style into the file, or takes it out (``table`` None); the rest of the file stays as it is.

    Raises BadFile for a file that cannot be read, which is left alone, and CannotWrite.
    """
    text = _text(path)
    told: dict[str, Any] = _parsed(text, path)
    wanted = {n: t for n, t in told.items() if n != name} | ({} if table is None else {name: dict(table)})
    changed = _changed(text, name, "" if table is None else _written(name, table))
    try:
        sound = tomllib.loads(changed) == _plain(wanted)
    except tomllib.TOMLDecodeError:
        sound = False
    if not sound:  # written in a way that this does not follow: all is written anew
        changed = _TOP + "".join("\n" + _written(n, t) for n, t in wanted.items())
    publish(changed.encode("utf-8"), path)


def _plain(value: Any) -> Any:
    """With lists for tuples, as TOML reads them."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _changed(text: str, name: str, block: str) -> str:
    """The file's text with another table of one name, at its place or at the end."""
    starts = [match.start() for match in _HEADER.finditer(text)]
    for start, end in pairwise([*starts, len(text)]):
        line = text[start:].split("\n", 1)[0]
        try:
            found = tomllib.loads(line) == {name: {}}
        except tomllib.TOMLDecodeError:
            found = False
        if found:
            kept = re.search(r"(?:^[ \t]*(?:#[^\n]*)?\n?)*\Z", text[start:end], re.MULTILINE)  # is said of the next one
            after = text[start + kept.start() if kept and end < len(text) else end :]
            return text[:start] + (block + ("\n" if after.strip() else "") + after.lstrip("\n") if block else after)
    if not block:
        return text
    return (text.rstrip("\n") + "\n\n" if text.strip() else _TOP + "\n") + block


def _written(name: str, table: Mapping[str, Any]) -> str:
    """A table in TOML."""
    return "".join([f"[{_key(name)}]\n", *(f"{_key(key)} = {_value(value)}\n" for key, value in table.items())])


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, str):  # what JSON escapes TOML reads alike, and one character more has to be
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)
