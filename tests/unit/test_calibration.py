"""How far the judge can be trusted: the figures of judges that are known to be faultless, blind, gullible or fooled."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor

from darkroom.contracts.errors import BadInput
from darkroom.data.scenes.captions import caption
from darkroom.data.scenes.compose import Composed, Composer
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import FULL, Scene, scene_seed
from darkroom.data.stock.built import Built
from darkroom.evaluation import bars, command
from darkroom.evaluation.calibration import OTHER_SIZES, OVERALL, RANKING, Calibration, calibrate
from darkroom.judge.expect import Expectation
from darkroom.judge.judge import Judge, Trust, load_judge
from darkroom.judge.sight import Sight
from darkroom.judge.sizes import TAUGHT, TRIED, from_afar
from darkroom.judge.spoilt import WAYS
from darkroom.judge.verdict import Fact, judged
from darkroom.wording.vocabulary import core
from tests.toys import sprite_table
from tests.unit.test_judge import perfect_sight, small_judge

SIX = bars.FACTS


class Watched(Composer):
    """A composer that remembers which scene every picture shows."""

    seen: dict[bytes, Scene]
    whole: dict[int, Scene]  # by seed

    def render(self, scenes: Sequence[Scene]) -> Composed:
        made = super().render(scenes)
        for pixels, scene in zip(made.pixels, scenes, strict=True):
            if len(self.whole.setdefault(scene.seed, scene).objects) == len(scene.objects):  # not the ground alone
                self.seen[pixels.numpy().tobytes()] = scene
        return made


class Watching(Built):
    """A stock whose last composer can be asked what it has shown."""

    last: Watched

    def composer(self, side: int = 128) -> Watched:
        one = Watched(self.drawings, side, fonts=self.fonts)
        one.seen, one.whole = {}, {}
        object.__setattr__(self, "last", one)
        return one


class Scripted(Judge):
    """A judge that knows scenes by their pictures; ``unknown`` says what it sees in a picture it does not know."""

    def __init__(self, stock: Watching, unknown: Callable[[Tensor, Scripted], Sight]) -> None:
        object.__setattr__(self, "stock", stock)
        object.__setattr__(self, "unknown", unknown)

    def sight(self, scene: Scene) -> Sight:
        seen = perfect_sight(scene, self.stock.last)  # type: ignore[attr-defined]
        return replace(seen, vector=torch.tensor([scene.seed % 2**40, scene.seed >> 40]))

    def look(self, pixels: Tensor) -> list[Sight]:
        known = self.stock.last.seen  # type: ignore[attr-defined]
        keys = [picture.numpy().tobytes() for picture in pixels]
        return [
            self.sight(known[key]) if key in known else self.unknown(picture, self)  # type: ignore[attr-defined]
            for key, picture in zip(keys, pixels, strict=True)
        ]

    def fit(self, sights: Sequence[Sight], sentences: Sequence[str]) -> Tensor:
        whole = self.stock.last.whole  # type: ignore[attr-defined]
        own = [whole[seed[0] + (seed[1] << 40)] for seed in (sight.vector.tolist() for sight in sights)]
        captions = [{caption(scene), caption(scene, paraphrase=True)} for scene in own]
        return torch.tensor([[float(sentence in texts) for sentence in sentences] for texts in captions])


def sees_nothing(picture: Tensor, judge: Scripted) -> Sight:
    return Sight((), {}, "")


def takes_it_for_the_nearest(picture: Tensor, judge: Scripted) -> Sight:
    """What a judge that credits blobs sees: the picture as it was before it was spoilt."""
    known = judge.stock.last.seen  # type: ignore[attr-defined]
    gap = {
        key: (torch.frombuffer(bytearray(key), dtype=torch.float32).view_as(picture) - picture).abs().mean().item()
        for key in known
    }
    return judge.sight(known[min(gap, key=gap.__getitem__)])


@pytest.fixture(scope="module")
def stock() -> Watching:
    words = [concept.word for concept in core()[:140]] + ["woman", "man", "sun hat", "pair of glasses"]
    return Watching(sprite_table(tuple(FULL.styles), words=tuple(words)), None, (None,))


@pytest.fixture(scope="module")
def faultless(stock: Watching) -> Calibration:
    return calibrate(Scripted(stock, sees_nothing), stock, 120)


def test_a_faultless_judge_has_no_blemish(faultless: Calibration) -> None:
    kinds = list(faultless.trust)
    assert {*SIX, OVERALL, "one", "ground", "light", "camera", "letters", "group: wearing", "group: word"} <= set(kinds)
    for kind in kinds:
        trust = faultless.trust[kind]
        assert trust.ceiling == 1 and trust.foil in (0, None) and trust.n > 0, (kind, trust)
        assert trust.floor < (0.5 if kind in ("presence", "relation", OVERALL) else 1), (kind, trust)
    assert all(faultless.trust[kind].foil == 0 for kind in (*SIX, OVERALL))
    assert set(faultless.spoilt) == set(WAYS)
    assert all(share == 0 and n > 0 for share, n in faultless.spoilt.values())
    assert faultless.trust[RANKING].floor == 0 and faultless.trust[RANKING].n > 100
    assert bars.failing(faultless) == []


def test_one_that_says_yes_to_all_takes_every_foil(stock: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    def yes(sight: Sight, expected: Expectation) -> tuple[Fact, ...]:
        return tuple(replace(fact, answer="yes") for fact in judged(Sight((), NOTHING, ""), expected))

    monkeypatch.setattr("darkroom.evaluation.calibration.judged", yes)
    found = calibrate(Scripted(stock, sees_nothing), stock, 60)
    for kind in (*SIX, OVERALL):
        assert (found.trust[kind].ceiling, found.trust[kind].floor, found.trust[kind].foil) == (1, 1, 1), kind
    assert set(SIX) <= set(bars.failing(found))


NOTHING = {fact: {"": 1.0} for fact in ("style", "ground", "light", "camera", "motion", "quality")}


def test_one_that_credits_blobs_is_found_out(stock: Watching) -> None:
    found = calibrate(Scripted(stock, takes_it_for_the_nearest), stock, 60)
    assert found.spoilt and all(share > 0.7 for share, _ in found.spoilt.values())
    assert {f"spoilt: {way}" for way in found.spoilt} <= set(bars.failing(found))
    assert found.trust["presence"].ceiling == 1


def test_one_that_sees_nothing_has_no_ceiling_and_is_fooled_by_nothing(stock: Watching, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    found = calibrate(load_judge(small_judge(tmp_path)), stock, 60, lambda done, of: told.append((done, of)))
    assert found.trust["presence"].ceiling < 0.2 and not found.spoilt  # what it never saw cannot be spoilt for it
    assert told[0] == (0, found.scenes) and told[-1] == (found.scenes, found.scenes) and found.scenes >= 50
    assert {"presence", "style"} <= set(bars.failing(found))


# --- sizes never seen --------------------------------------------------------------------------------------------


def test_facts_are_also_asked_of_sizes_no_scene_has(faultless: Calibration) -> None:
    other = {kind.removeprefix(OTHER_SIZES) for kind in faultless.trust if kind.startswith(OTHER_SIZES)}
    assert {*SIX, OVERALL} <= other


def test_scenes_of_other_sizes_show_the_same_facts_at_sizes_of_their_own(stock: Watching) -> None:
    config = stock.everything(held_out="include", camera_share=0.3)
    singles: list[float] = []
    others: list[float] = []
    small: list[float] = []
    for i in range(300):
        scene = draw_scene(scene_seed("preview", 3, i), config)
        other, taught = (from_afar(scene, reach, Random(i)) for reach in (TRIED, TAUGHT))
        assert (other is None) == (taught is None)
        if other is None or taught is None:
            assert scene.camera or scene.figure or scene.lettering or not scene.objects
            continue
        assert replace(other, objects=scene.objects) == scene
        assert all(
            a.concept == b.concept and a.colour == b.colour for a, b in zip(other.objects, scene.objects, strict=True)
        )
        if scene.kind == "single":
            singles.append(scene.objects[0].size)
            others.append(other.objects[0].size)
            small.append(taught.objects[0].size)
    assert len(singles) > 50 and max(small) < min(others) and max(others) < min(singles)


# --- bars --------------------------------------------------------------------------------------------------------


def test_the_interval_is_wilsons() -> None:
    assert bars.wilson(0.1, 50) == pytest.approx((0.0435, 0.2136), abs=1e-4)  # 5 of 50, by a table
    assert bars.wilson(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert bars.wilson(0.0, 0) == (0.0, 1.0)


GOOD = {kind: Trust(0.96, 0.1, 0.04, 500, 300) for kind in (*SIX, OVERALL, "light", OTHER_SIZES + "style")}


@pytest.mark.parametrize(
    ("kind", "trust", "failing"),
    [
        ("presence", Trust(0.95, 0.0, 0.05, 9, 9), []),
        ("presence", Trust(0.949, 0.0, 0.0, 9, 9), ["presence"]),
        ("colour", Trust(1.0, 0.0, 0.051, 9, 9), ["colour"]),
        ("colour", Trust(1.0, 0.0, None, 9, 0), ["colour"]),
        (OTHER_SIZES + "style", Trust(0.9, 0.0, 0.0, 9, 9), [OTHER_SIZES + "style"]),
        (OVERALL, Trust(0.5, 0.0, 0.05, 9, 9), []),
        (OVERALL, Trust(0.99, 0.0, 0.06, 9, 9), [OVERALL]),
        ("light", Trust(0.1, 0.0, 0.9, 9, 9), []),
    ],
)
def test_a_bar_holds_or_fails(kind: str, trust: Trust, failing: list[str]) -> None:
    assert bars.failing(Calibration({**GOOD, kind: trust}, {}, 10)) == failing


def test_a_fact_that_was_never_asked_for_fails_and_so_do_spoilt_things_taken_for_whole() -> None:
    trust = {kind: t for kind, t in GOOD.items() if kind != "binding"}
    found = Calibration(trust, {"melted": (0.10, 40), "blob": (0.11, 40)}, 10)
    assert bars.failing(found) == ["binding", "spoilt: blob"]


def test_lines_and_rows_say_share_interval_number_and_whether_the_bar_holds() -> None:
    found = Calibration({**GOOD, "style": Trust(0.5, 0.1, 0.2, 40, 20)}, {"half erased": (0.5, 8)}, 77)
    lines = bars.lines(found)
    style = next(line for line in lines if line.startswith("style"))
    assert "ceiling 0.500 [0.352, 0.648] of 40" in style and "foil 0.200 [0.081, 0.416] of 20" in style
    assert style.endswith("DOES NOT HOLD") and "floor 0.100" in style
    assert len({line.index("ceiling") for line in lines[: len(found.trust)]}) == 1  # long names stay apart
    assert lines[-1] == "does not hold: style, spoilt: half erased"
    rows = json.loads(json.dumps(bars.rows(found.trust)))
    assert {(row["n"], row["foils"], row["holds"]) for kind, row in rows.items() if kind == "style"} == {
        (40, 20, False)
    }
    assert rows["light"]["holds"] is None and rows["colour"]["holds"] is True
    assert rows["colour"]["ceiling_interval"] == pytest.approx(bars.wilson(0.96, 500))
    about = bars.about(found)
    assert about["scenes"] == 77 and about["failing"] == ["style", "spoilt: half erased"]
    assert about["spoilt"]["half erased"] == {"accepted": 0.5, "n": 8, "interval": bars.wilson(0.5, 8), "holds": False}


# --- the command -------------------------------------------------------------------------------------------------


def test_the_command_prints_rows_of_facts_and_one_about_the_rest(
    stock: Watching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small_judge(tmp_path / "judge")
    monkeypatch.setattr("darkroom.data.stock.built.load", lambda path: stock)
    command.calibration(tmp_path, folder, 60, None, as_data=True)
    said = capsys.readouterr()
    told = json.loads(said.out)
    about = told.pop("about")
    assert all({"ceiling", "floor", "foil", "n", "holds"} <= row.keys() for row in told.values())
    assert set(SIX) <= set(told) and about["spoilt"] == {} and about["failing"]
    assert said.err.splitlines()[-1].startswith("scenes ")
    with pytest.raises(SystemExit) as ended:
        command.calibration(tmp_path, folder, 60, None, as_data=False, strict=True)
    assert ended.value.code == 1 and "does not hold: " in capsys.readouterr().out
    with pytest.raises(BadInput, match="count -5 leaves no scene"):
        command.calibration(tmp_path, folder, -5, None, as_data=True)
    with pytest.raises(BadInput, match="style 'baroque' is not one of"):
        command.calibration(tmp_path, folder, 60, "baroque", as_data=True)
