"""Prompts to measure models with: the dev set, the locked test set, and anyone's own.

The two sets were written once by ``python -m darkroom.evaluation.prompts`` from seeds of their own streams, and are
files of the package since. The dev set is for every day. The test set is for a release: nothing is tuned on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from darkroom.contracts.errors import BadFile, BadInput, explain, reason, shown, unknown
from darkroom.contracts.prompt import Prompt
from darkroom.data.scenes.captions import Told, tell
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import FULL, ComposerConfig, Scene, Stock, scene_seed
from darkroom.judge.expect import Expectation, expected_of
from darkroom.judge.mistold import mistold

T = TypeVar("T")
SETS = ("dev", "test")
SEEDS = (11, 12, 13, 14)  # every prompt is drawn with each
_RUN = 7  # of the streams "dev" and "test": calibration has others
_PAIRED = frozenset({"colour", "relation", "binding", "wearing", "style"})  # groups with held-out pairs
_PLAIN = replace(
    FULL, place_share=0.0, light_share=0.0, camera_share=0.0, motion_share=0.0, quality_share=0.0, medium_share=0.0
)


@dataclass(frozen=True)
class PromptRow:
    """One prompt and what its pictures should hold."""

    prompt: str
    expected: Expectation
    group: str = "own"
    seen: bool = True  # whether its pairs may occur in training
    foil: str = ""  # the prompt with one fact changed; "": none

    def as_json(self) -> dict[str, Any]:
        """As a line of a prompt file."""
        told = {"prompt": self.prompt, "expect": self.expected.told(), "group": self.group, "seen": self.seen}
        return {**told, "foil": self.foil} if self.foil else told


@dataclass(frozen=True)
class Group:
    """Prompts about one thing: how many, and the scenes they are told of."""

    name: str
    count: int
    config: ComposerConfig
    facts: frozenset[str] = frozenset()  # what the caption must tell, beside what is shown
    paraphrase: bool = False


def _groups() -> list[Group]:
    """The groups of a set, with how many prompts each; half of those with pairs are of pairs never trained."""
    single, count, pair, worn = ({kind: 1.0} for kind in ("single", "count", "pair", "wearing"))
    bare = replace(_PLAIN, colour_share=0.0)
    placed = replace(bare, kinds=single, place_share=0.5)
    return [
        Group("single object", 60, replace(bare, kinds=single)),
        Group("count", 60, replace(bare, kinds=count)),
        Group("colour", 50, replace(_PLAIN, kinds=single, colour_share=1.0)),
        Group("two objects", 40, replace(bare, kinds=pair)),
        Group("relation", 60, replace(bare, kinds=pair)),
        Group("wearing", 30, replace(bare, kinds=worn)),
        Group("binding", 40, replace(_PLAIN, kinds=pair, colour_share=1.0)),
        Group("style", 50, replace(bare, kinds=single, medium_share=0.45), frozenset({"style"})),
        Group("ground", 30, replace(bare, kinds=single, place_share=0.6), frozenset({"ground"})),
        Group("light", 20, replace(placed, light_share=1.0), frozenset({"light"})),
        Group("camera", 20, replace(placed, camera_share=1.0), frozenset({"camera"})),
        Group(
            "long", 20, replace(_PLAIN, kinds=pair, colour_share=0.7, place_share=0.6), frozenset({"style", "ground"})
        ),
        Group("paraphrase", 20, placed, frozenset({"style", "ground"}), True),
    ]


WORDS = Group("word", 30, replace(_PLAIN, kinds={"word": 1.0}))
"""Words in letters: in no set, but own prompts may ask for them."""
TRIES = 300  # scenes drawn for one prompt at most


def written(name: str) -> list[PromptRow]:
    """A set made from its seeds by the composer as it is; the files hold what it was when they were frozen."""
    taken = {row.prompt for row in written("dev")} if name == "test" else set()
    return [row for row, _ in described(name, _RUN, taken=taken)]


def described(
    stream: str,
    run: int,
    stock: Stock | None = None,
    share: float = 1.0,
    taken: Iterable[str] = (),
    more: Iterable[Group] = (),
) -> Iterator[tuple[PromptRow, Scene]]:
    """Prompts, each once, with the scenes they were told of; half of those with pairs are of pairs never trained.

    ``stock`` None draws on every drawing there might be; ``share`` makes each group so much smaller or larger; ``more``
    groups follow those of the sets. What cannot be drawn of the stock is left out: nothing is coloured where all
    drawings are black and white.
    """
    told = set(taken)
    number = 0
    for group in (*_groups(), *more):
        count = max(2, round(group.count * share))
        unseen = count // 2 if group.name in _PAIRED else 0
        halves: tuple[tuple[Literal["exclude", "only"], int], ...] = (("exclude", count - unseen), ("only", unseen))
        for held_out, wanted in halves:
            config = _drawn_from(stock, group, held_out)
            found, last = 0, number + TRIES * wanted
            while found < wanted and number < last:
                everyday = replace(config, vocabulary="everyday")  # every other one
                scene = draw_scene(scene_seed(stream, run, number), everyday if found % 2 else config)
                number += 1
                row = _row(group, scene, held_out == "exclude")
                if row is not None and row.prompt not in told:
                    yield row, scene
                    told.add(row.prompt)
                    found += 1


def _drawn_from(stock: Stock | None, group: Group, held_out: Literal["exclude", "only"]) -> ComposerConfig:
    """The group's scenes as far as there are drawings."""
    only = held_out == "only"
    config = replace(group.config, held_out=held_out, every_drawing=only and group.name != "style")
    if only and group.name == "style":
        config = replace(config, medium_share=0.0)  # what is held out is a drawn style
    if stock is None:
        return config
    drawn = {style for _, style in stock.shapes} if stock.shapes is not None else set(config.styles)
    return replace(config, stock=stock, styles={s: share for s, share in config.styles.items() if s in drawn})


def _row(group: Group, scene: Scene, seen: bool) -> PromptRow | None:
    """A prompt for a scene that tells what its group is about; None where this scene's caption does not."""
    told = tell(scene, paraphrase=group.paraphrase)
    if not group.facts <= told.facts or (scene.kind == "single" and group.name in ("wearing", "count")):
        return None
    if group.name in ("colour", "binding") and any(thing.colour is None for thing in scene.objects):
        return None
    if group.name == "relation" and scene.relation == "next to":
        return None  # "a cat and a dog" says no relation
    expected = _said(expected_of(scene), told)
    if group.name == "two objects":
        expected = replace(expected, relations=())
    return PromptRow(told.text, expected, group.name, seen, mistold(scene) or "")


def _said(expected: Expectation, told: Told) -> Expectation:
    """Only what the caption says."""
    whole = {fact: value for fact, value in expected.whole.items() if fact in told.facts}
    beside = any(words in told.text for words in ("next to", "beside"))  # "a cat and a dog" says no relation
    relations = tuple(r for r in expected.relations if r.relation != "next to" or beside)
    return replace(expected, whole=whole, relations=relations)


def prompt_set(name: str) -> list[PromptRow]:
    """The dev or the test set, from the package's file."""
    if name not in SETS:
        raise BadInput(f"set {name!r}", f"is not one of {', '.join(SETS)}", "use --set dev, or --prompts FILE")
    text = files("darkroom.evaluation").joinpath("sets", f"{name}.jsonl").read_text(encoding="utf-8")
    return list(_rows(text, name))


def own_prompts(path: Path) -> list[PromptRow]:
    """Prompts of a file: a line of JSON each, ``{"prompt": ..., "expect": {...}}``."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{path}", f"cannot be read ({reason(error)})", "give a file of JSON lines") from error
    rows = list(_rows(text, str(path)))
    if not rows:
        raise BadFile(f"{path}", "holds no prompt", 'write a line as {"prompt": "a cat", "expect": {...}} for each')
    return rows


def _rows(text: str, where: str) -> Iterator[PromptRow]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield _row_of(json.loads(line))
        except ValidationError as error:
            raise BadFile(f"line {number} of {where}", f"cannot be used: {explain(error)}") from error
        except BadInput as error:
            raise BadFile(f"line {number} of {where}", f"cannot be used: {error}") from error
        except (ValueError, RecursionError) as error:
            raise BadFile(f"line {number} of {where}", f"is no JSON ({error})", _LIKE) from error


_LIKE = 'write {"prompt": "a cat", "expect": {...}}'


def _row_of(told: Any) -> PromptRow:
    """A line of a prompt file. Raises BadInput, or pydantic's ValidationError for a prompt no model would take."""
    if not isinstance(told, dict):
        raise BadInput(f"{shown(told)}", "is no JSON object", _LIKE)
    known = ("prompt", "expect", "group", "seen", "foil")
    for key in told:
        if key not in known:
            raise unknown("key", key, known)
    if "prompt" not in told:
        raise BadInput("the prompt", "is missing", _LIKE)
    group, seen, foil = told.get("group", "own"), told.get("seen", True), told.get("foil", "")
    if not isinstance(group, str) or not isinstance(seen, bool) or not isinstance(foil, str):
        fix = 'write "group": "mine", "seen": true, "foil": "a dog"'
        raise BadInput("group, seen or foil", "is not what it should be", fix)
    return PromptRow(Prompt(text=told["prompt"]).text, Expectation.of(told.get("expect", {})), group, seen, foil)


def spread(rows: Sequence[T], count: int) -> list[T]:
    """So many of them, from all over, in their order; all where there are no more."""
    count = min(count, len(rows))
    return [rows[i * len(rows) // count] for i in range(count)]


def main() -> None:
    """Writes both sets into the package's source."""
    folder = Path(__file__).parent / "sets"
    folder.mkdir(exist_ok=True)
    for name in SETS:
        lines = [json.dumps(row.as_json()) for row in written(name)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{len(lines)} prompts in {folder / name}.jsonl")


if __name__ == "__main__":
    main()
