"""A1111's styles.csv: a row for each style, with its name, its words and its negative words."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from darkroom.contracts.errors import BadFile, BadInput, reason
from darkroom.wording.styles import SavedStyle

MAX_FILE = 16 * 1024 * 1024  # bytes
_FIX = "give A1111's styles.csv: name,prompt,negative_prompt"
_ADAPTER = re.compile(r"\s*<(?:lora|lyco|hypernet):[^<>]{1,300}>,?")
_BRACE = re.compile(r"\{prompt\}|\\.|[{}|]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class StyleRow:
    """One row. ``line`` is where it ends in the file; ``broken`` says what cannot be read of it, "" nothing."""

    line: int
    name: str
    prompt: str
    negative: str
    broken: str = ""

    def style(self) -> SavedStyle:
        """The row as a saved style: braces in its words are text, but for {prompt}. Raises BadInput."""
        if self.broken:
            raise BadInput(f"the row {self.broken}", fix="correct it in the file")
        words = {"prompt": self.prompt, "negative": self.negative}
        return SavedStyle.checked({name: _plain(text).strip(" ,") for name, text in words.items()})

    @property
    def empty(self) -> bool:
        """Whether it is a heading between others, as people make them: a name that says nothing."""
        return not self.broken and not self.prompt.strip() and not self.negative.strip()

    @property
    def notes(self) -> list[str]:
        """What of it is left out."""
        found = _ADAPTER.findall(self.prompt + self.negative)
        return [f"left out {', '.join(adapter.strip(' ,') for adapter in found)}"] if found else []


def _plain(text: str) -> str:
    """Words of another program: adapters are none, and braces are no choices."""
    text = " ".join(_ADAPTER.sub("", text).split())
    return _BRACE.sub(lambda brace: brace[0] if len(brace[0]) > 1 else "\\" + brace[0], text)


def _foreign(path: Path) -> BadFile:
    return BadFile(f"{path}", "does not begin with the columns name,prompt,negative_prompt", _FIX)


def rows_of(path: Path) -> Iterator[StyleRow]:
    """The rows of a file. Raises BadFile for what is no such file."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise BadFile(f"{path}", f"is larger than {MAX_FILE // 2**20} MB", _FIX)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise BadFile(f"{path}", f"cannot be read ({reason(error)})", _FIX) from error
    rows = csv.reader(io.StringIO(text.replace("\0", ""), newline=""), strict=True)
    names: list[str] | None = None
    while True:
        try:
            cells = next(rows, None)
        except csv.Error as error:
            if names is None:
                raise _foreign(path) from error
            yield StyleRow(rows.line_num, "", "", "", f"cannot be read ({error})")
            continue
        if cells is None:
            break
        if not any(cell.strip() for cell in cells):
            continue
        if names is None:
            names = [cell.strip().lower() for cell in cells]
            if not {"name", "prompt"} <= set(names):
                raise _foreign(path)
        elif len(cells) > len(names):
            yield StyleRow(rows.line_num, "", "", "", f"has {len(cells)} cells, and there are {len(names)} columns")
        else:
            told = dict(zip(names, cells, strict=False))
            name, words, against = (told.get(key, "") for key in ("name", "prompt", "negative_prompt"))
            yield StyleRow(rows.line_num, name.strip(), words, against)
    if names is None:
        raise BadFile(f"{path}", "is empty", _FIX)
