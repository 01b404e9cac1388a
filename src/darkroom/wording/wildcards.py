"""Choices inside a prompt: ``{red|blue}``, ``{2$$a|b|c}``, ``__colours__``; the same seed makes the same ones.

    {a|b|c}            one of them
    {2$$a|b|c}         two of them, no one twice, in a random order, joined by ", "
    {1-3$$ and $$a|b}  one to three of them (as many as there are), joined by " and "
    __colours__        a line of colours.txt in the folder of wildcards; __animals/wild__ of animals/wild.txt

Choices may hold choices, and so may lines of files; they are made in quoted text too. ``\\{``, ``\\|`` and ``\\_`` are
the characters themselves, and stay escaped. Braces without a partner are text. All is one pass, however deep it nests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from darkroom.contracts.errors import BadInput, nearest, reason, shown

MOST_FILES = 10_000  # lines taken from files for one prompt: files that name each other would never end
DEEPEST = 50  # files within files
MOST_CHARACTERS = 32_000  # of all lines taken for one prompt
MAX_FILE = 16 * 1024 * 1024  # bytes
_TOKEN = re.compile(r"\\[{}|_\\$]|(?<!\w)__[^\W_](?:[\w ./-]{0,80}?[^\W_])?__(?!\w)|[{}|]")
_COUNT = re.compile(r"\s*([0-9]{1,4})(?:\s*-\s*([0-9]{1,4}))?\s*\$\$")
_JOINT = ", "

# A text in pieces, nested: joined only once, at the end, so that depth costs nothing. The first piece is always text.
_Rope = list[Any]


def expanded(text: str, seed: int | str, folder: Path | None = None) -> str:
    """``text`` with its choices made by ``seed``; ``folder`` holds the files of wildcards, None: there are none.

    Where anything was chosen, braces and bars that are left are escaped: expanded again, the text is what it is.
    Raises BadInput for a file that is missing or unreadable, with the nearest name, and for files that never end.
    """
    return expanded_telling(text, seed, folder)[0]


class Choice(NamedTuple):
    """One choice of a prompt, the outermost where they nest: as it was written, and what became of it."""

    written: str
    made: str


def expanded_telling(text: str, seed: int | str, folder: Path | None = None) -> tuple[str, list[Choice]]:
    """As :func:`expanded`, with the choices that were made."""
    if not _TOKEN.search(text):
        return text, []
    expansion = _Expansion(Random(f"wildcards/{seed}"), folder)
    found = "".join(_flat(expansion.read(text)))
    return (found, expansion.told) if expansion.chose else (text, [])


class _Expansion:
    """The choices of one prompt, drawn in the order their ends stand in the text."""

    def __init__(self, random: Random, folder: Path | None) -> None:
        self.random, self.folder = random, folder
        self.taken = self.characters = self.depth = 0
        self.chose = False
        self.lines: dict[str, list[str]] = {}
        self.told: list[Choice] = []

    def read(self, text: str) -> _Rope:
        """One pass: an open brace begins a list of options, its partner chooses among them."""
        opened: list[list[_Rope]] = [
            [[]]
        ]  # of each brace that is open, its options so far; the first is the text itself
        at = outer = 0
        for token in _TOKEN.finditer(text):
            opened[-1][-1].append(text[at : token.start()])
            at = token.end()
            if len(opened) == 1:
                outer = token.start()
            self._take(token[0], opened)
            if len(opened) == 1 and self.depth == 0 and token[0][0] in "}_":
                self._tell(text[outer:at], opened[0][0][-1])
        opened[-1][-1].append(text[at:])
        while len(opened) > 1:  # braces without a partner are text
            options = opened.pop()
            opened[-1][-1] += [r"\{", _between(options, r"\|")]
        return opened[0][0]

    def _take(self, token: str, opened: list[list[_Rope]]) -> None:
        if token.startswith("\\"):
            opened[-1][-1].append(token)  # stays as it is, so that what is expanded can be read again
        elif token == "{":
            opened.append([[]])
        elif token == "|":
            opened[-1].append([]) if len(opened) > 1 else opened[-1][-1].append(r"\|")
        elif token == "}":
            if len(opened) == 1:
                opened[-1][-1].append(r"\}")
            else:
                options = opened.pop()
                opened[-1][-1].append(self._chosen(options))
        else:
            opened[-1][-1].append(self._line(token[2:-2]))

    def _tell(self, written: str, made: str | _Rope) -> None:
        """Keeps a choice that was made; a brace that closes nothing, or one option alone, is none."""
        what = made if isinstance(made, str) else "".join(_flat(made))
        if what not in (r"\}", written) and what != written.replace("{", r"\{").replace("}", r"\}"):
            self.told.append(Choice(written, what))

    def _chosen(self, options: list[_Rope]) -> _Rope:
        if len(options) == 1:
            return [r"\{", options[0], r"\}"]  # nothing to choose from: not ours
        self.chose = True
        first: str = options[0][0]  # what stands before the first token in it
        counted = _COUNT.match(first)
        if counted is None:
            return options[self.random.randrange(len(options))]
        least, most = sorted(min(int(n), len(options)) for n in (counted[1], counted[2] or counted[1]))
        joint, found, rest = first[counted.end() :].partition("$$")
        options[0][0] = rest if found else joint
        count = self.random.randint(least, most)
        return _between(self.random.sample(options, count), joint if found else _JOINT)

    def _line(self, name: str) -> _Rope:
        """A line of a file, its own choices made."""
        self.chose = True
        self.taken += 1
        if self.taken > MOST_FILES or self.depth >= DEEPEST:
            rule = f"is one of more than {MOST_FILES:,}, or {DEEPEST} files deep"
            raise BadInput(f"the wildcard __{name}__", rule, "look for files that name each other")
        if name not in self.lines:
            self.lines[name] = _lines(name, self.folder)
        chosen = self.lines[name][self.random.randrange(len(self.lines[name]))]
        self.characters += len(chosen)
        if self.characters > MOST_CHARACTERS:
            rule = f"makes the prompt longer than {MOST_CHARACTERS:,} characters"
            raise BadInput(f"the wildcard __{name}__", rule, "shorten its lines")
        self.depth += 1
        found = self.read(chosen)
        self.depth -= 1
        return found


def _lines(name: str, folder: Path | None) -> list[str]:
    """The lines of a wildcard's file that say something; one that begins with # does not."""
    what = f"the wildcard __{name}__"
    if folder is None:
        raise BadInput(what, "needs a folder of wildcards", r"give one (--wildcards), or write \_\_ for text")
    path = folder / f"{name}.txt"
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise BadInput(what, "leaves the folder of wildcards", "name a file inside it")
        if not path.is_file():
            known = sorted(str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.txt"))
            guess = nearest(name, known)
            raise BadInput(
                what, f"has no file {shown(str(path))}", f"did you mean __{guess}__?" if guess else "write it"
            )
        if path.stat().st_size > MAX_FILE:
            raise BadInput(f"{path}", f"is larger than {MAX_FILE // 2**20} MB", "split it")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}", f"cannot be read ({reason(error)})", "give a text file in UTF-8") from error
    found = [line for raw in text.splitlines() if (line := raw.strip()) and not line.startswith("#")]
    if not found:
        raise BadInput(f"{path}", "holds no line", "write one choice a line")
    return found


def _between(options: Sequence[_Rope], joint: str) -> _Rope:
    found: _Rope = []
    for i, option in enumerate(options):
        found += [joint, option] if i else [option]
    return found


def _flat(rope: _Rope) -> Iterator[str]:
    """Its pieces of text in order, without recursion."""
    waiting = [iter(rope)]
    while waiting:
        for piece in waiting[-1]:
            if isinstance(piece, str):
                if piece:
                    yield piece
            else:
                waiting.append(iter(piece))
                break
        else:
            waiting.pop()
