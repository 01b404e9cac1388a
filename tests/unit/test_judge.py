"""The judge's logic: truth, sight, expectations, foils and verdicts, against scenes whose truth is known."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import ComposerConfig, Ground, Scene, SpecObject, scene_seed
from darkroom.judge.expect import Expectation, Related, Wanted, expected_of, foils
from darkroom.judge.judge import Trust, load_judge, save_judge
from darkroom.judge.sight import LOOKS, Sight, Thing, look
from darkroom.judge.truth import COLOUR_NAMES, IGNORED, WHOLE, joined, truth_of
from darkroom.judge.verdict import all_right, judged
from darkroom.nn.detector import CELLS, Detector, Seen, nano
from darkroom.nn.text import TextConfig
from darkroom.training.objectives.judge import JudgeTraining, _reach_from
from darkroom.wording.tokenizer import Tokenizer
from darkroom.wording.vocabulary import core
from tests.wardrobe import everything, full_composer, full_table, index, one, photos

PLAIN = {"light": {"plain": 1.0}, "style": {"3d": 1.0}}
SIZES = {name: len(values) for name, values in WHOLE.items()}


@pytest.fixture(scope="module")
def composer() -> Composer:
    return full_composer(full_table())


@pytest.fixture(scope="module")
def config(composer: Composer) -> ComposerConfig:
    kinds = {"single": 0.3, "count": 0.24, "pair": 0.36, "wearing": 0.06, "word": 0.04}
    return everything(composer.table.stock, kinds=kinds, colour_share=0.5)


@pytest.fixture(scope="module")
def scenes(config: ComposerConfig) -> list[Scene]:
    return [draw_scene(scene_seed("judge", 0, i), config) for i in range(400)]


def a_thing(word: str, score: float, colour: str, box: tuple[float, float, float, float], covered: float) -> Thing:
    """Something that can only be this, in this colour."""
    return Thing({word: score}, {colour: 1.0}, box, covered)


def perfect_sight(scene: Scene, composer: Composer) -> Sight:
    """What a faultless detector would see: read off the truth, cell for cell."""
    truth = truth_of([scene], composer, [frozenset()])
    things = []
    for (_, row, column), concept, colour, box, covered in zip(
        truth.at.tolist(),
        truth.concept.tolist(),
        truth.colour.tolist(),
        truth.box.tolist(),
        truth.covered.tolist(),
        strict=True,
    ):
        x, y = (column + 0.5) / CELLS, (row + 0.5) / CELLS
        reach = (x - box[0], y - box[1], x + box[2], y + box[3])
        things.append(a_thing(core()[concept].word, 0.9, COLOUR_NAMES[max(0, colour)], reach, covered))
    whole = {
        name: {value: float(i == truth.whole[name].item()) for i, value in enumerate(values)}
        for name, values in WHOLE.items()
    }
    return Sight(tuple(things), whole, truth.letters[0])


# --- truth and verdicts together ---------------------------------------------------------------------------------


def test_a_faultless_eye_finds_every_fact_of_every_scene(scenes: list[Scene], composer: Composer) -> None:
    for scene in scenes:
        facts = judged(perfect_sight(scene, composer), expected_of(scene))
        assert all(fact.answer == "yes" for fact in facts), (scene, facts)


def test_a_faultless_eye_refuses_every_foil(scenes: list[Scene], composer: Composer) -> None:
    refused: dict[str, int] = {}
    for scene in scenes:
        sight = perfect_sight(scene, composer)
        for kind, foil in foils(expected_of(scene)):
            facts = judged(sight, foil)
            assert not all_right(facts), (kind, scene, facts)
            kinds = ("one", "count") if kind == "one" else (kind,)
            assert any(fact.kind in kinds and fact.answer == "no" for fact in facts), (kind, facts)
            refused[kind] = refused.get(kind, 0) + 1
    assert set(refused) >= {
        "presence",
        "one",
        "count",
        "colour",
        "binding",
        "relation",
        "style",
        "ground",
        "light",
        "camera",
    }


def test_a_foil_changes_one_kind_of_fact_only(scenes: list[Scene], composer: Composer) -> None:
    for scene in scenes:
        sight = perfect_sight(scene, composer)
        for kind, foil in foils(expected_of(scene)):
            wrong = {fact.kind for fact in judged(sight, foil) if fact.answer == "no"}
            told = {
                "one": {"count"},
                "presence": {"presence", "one", "count", "colour", "binding", "relation"},
                "binding": {"binding", "colour"},
            }
            assert wrong <= told.get(kind, {kind, "binding"}), (kind, wrong)


def test_nothing_seen_holds_nothing(scenes: list[Scene], composer: Composer) -> None:
    for scene in scenes[:50]:
        blind = replace(perfect_sight(scene, composer), things=())
        facts = judged(blind, expected_of(scene))
        kinds = ("presence", "one", "count", "colour", "binding", "relation")
        assert all(fact.answer == "no" for fact in facts if fact.kind in kinds)


def test_a_spoilt_thing_is_no_longer_in_the_truth(composer: Composer) -> None:
    pair = one(objects=(SpecObject(index("cat"), None, 0.3, 0.5, 0.4), SpecObject(index("dog"), None, 0.7, 0.5, 0.4)))
    both, left = (truth_of([pair], composer, [gone]) for gone in (frozenset(), frozenset({1})))
    assert both.concept.tolist() == [index("cat"), index("dog")]
    assert left.concept.tolist() == [index("cat")]
    assert left.heat[0, 8, 11].item() < 0.1 < both.heat[0, 8, 11].item()


def test_what_a_thing_looks_like_is_its_colour_told_or_not(composer: Composer) -> None:
    red = replace(composer.table, sprites=tuple(replace(s, colour="red") for s in composer.table.sprites))
    drawn = full_composer(red)
    told, plain, blue = (one(objects=(SpecObject(index("cat"), c, 0.5, 0.5, 0.6),)) for c in ("red", None, "blue"))
    truth = truth_of([told, plain, blue], drawn, [frozenset()] * 3)
    assert [COLOUR_NAMES[c] for c in truth.colour.tolist()] == ["red", "red", "blue"]
    pictures = drawn.render([told, plain, blue]).pixels
    assert torch.equal(pictures[0], pictures[1]) and not torch.equal(pictures[0], pictures[2])
    hidden = [replace(plain, light="neon"), replace(plain, style="pencil sketch", drawn="3d")]
    assert truth_of(hidden, drawn, [frozenset()] * 2).colour.tolist() == [IGNORED, IGNORED]


def test_the_one_behind_is_covered(composer: Composer) -> None:
    front = one(objects=(SpecObject(index("cat"), None, 0.5, 0.4, 0.6), SpecObject(index("dog"), None, 0.5, 0.6, 0.5)))
    assert truth_of([front], composer, [frozenset()]).covered.tolist() == [1.0, 0.0]
    touching = replace(
        front, objects=tuple(replace(t, x=x, y=0.5, size=0.4) for t, x in zip(front.objects, (0.3, 0.66), strict=True))
    )
    assert truth_of([touching], composer, [frozenset()]).covered.tolist() == [float(IGNORED), 0.0]


def test_a_box_is_the_same_from_every_cell_around_its_middle(scenes: list[Scene], composer: Composer) -> None:
    truth = truth_of(scenes[:40], composer, [frozenset()] * 40)
    reach = _reach_from(truth)
    y, x = ((truth.around[:, 1:] + 0.5) / CELLS).T
    boxes = torch.stack([x - reach[:, 0], y - reach[:, 1], x + reach[:, 2], y + reach[:, 3]], 1)
    y, x = ((truth.at[:, 1:] + 0.5) / CELLS).T
    known = torch.stack([x - truth.box[:, 0], y - truth.box[:, 1], x + truth.box[:, 2], y + truth.box[:, 3]], 1)
    assert len(boxes) > 5 * len(known)
    assert torch.allclose(boxes, known[truth.whose], atol=1e-6)


def test_what_cannot_be_seen_is_not_asked(composer: Composer) -> None:
    lit = one(light="neon", ground=Ground("light grey"))
    grey = one(style="pencil sketch", drawn="3d")
    truth = truth_of([lit, grey, one()], composer, [frozenset()] * 3)
    assert truth.whole["ground"].tolist() == [IGNORED, IGNORED, WHOLE["ground"].index("white")]


def test_truths_joined_are_the_truth_of_all(scenes: list[Scene], composer: Composer) -> None:
    gone = [frozenset[int]()] * 12
    whole = truth_of(scenes[:12], composer, gone)
    parts = joined([truth_of(scenes[:5], composer, gone[:5]), truth_of(scenes[5:12], composer, gone[5:])])
    for name, value in whole._asdict().items():
        other = getattr(parts, name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, other), name
        elif isinstance(value, dict):
            assert all(torch.equal(value[k], other[k]) for k in value)
        else:
            assert value == other


# --- sight -------------------------------------------------------------------------------------------------------


class _Fixed(Detector):
    """A detector that always sees the same."""

    def __init__(self, seen: Seen) -> None:
        super().__init__(nano(SIZES))
        self.seen = seen

    def forward(self, pixels: torch.Tensor) -> Seen:
        return self.seen


def seen_at(row: int, column: int, word: str, letters: str = "", cells: int = CELLS) -> Seen:
    concept = torch.full((1, len(core()), cells, cells), -9.0)
    concept[0, index(word)] = 9.0
    heat = torch.full((1, cells, cells), -9.0)
    heat[0, row, column] = 5.0
    read = torch.zeros(1, cells, 27)
    read[..., 0] = 1.0
    for i, letter in enumerate(letters):
        read[0, 2 * i + 1, ord(letter) - 64] = 5.0
    colour = torch.zeros(1, 12, cells, cells)
    colour[0, COLOUR_NAMES.index("red")] = 4.0
    box = torch.full((1, 4, cells, cells), 0.25)
    whole = torch.zeros(1, sum(SIZES.values()))
    return Seen(heat, concept, colour, box, heat * 0 - 3, read, whole, torch.zeros(1, 16))


def test_a_peak_becomes_a_thing_with_its_box() -> None:
    (sight,) = look(_Fixed(seen_at(8, 4, "fox", "ZOO")), torch.zeros(1, 3, 128, 128))
    (thing,) = sight.things
    assert set(thing.words) == {"fox"} and thing.words["fox"] > 0.9 and thing.covered < 0.1
    assert max(thing.colours, key=thing.colours.__getitem__) == "red" and sum(thing.colours.values()) > 0.999
    assert thing.box == pytest.approx((4.5 / 16 - 0.25, 8.5 / 16 - 0.25, 4.5 / 16 + 0.25, 8.5 / 16 + 0.25))
    assert sight.word == "ZOO"  # the blank between keeps both letters


def test_the_same_thing_seen_twice_counts_once() -> None:
    seen = seen_at(8, 4, "fox")
    seen.heat[0, 8, 6] = 4.0  # two cells on: its box is mostly the same
    (sight,) = look(_Fixed(seen), torch.zeros(1, 3, 128, 128))
    assert len(sight.things) == 2 and all_right(judged(sight, Expectation((Wanted("fox", 1),))))


class _Looks(_Fixed):
    """Says something else of each side it looks at; nothing where nothing is given."""

    def __init__(self, *seen: Seen) -> None:
        super().__init__(seen[0])
        self.at = dict(zip(LOOKS, seen, strict=False))
        blank = seen_at(0, 0, "fox", cells=32)
        self.at.setdefault(LOOKS[-1], blank._replace(heat=torch.full((1, 32, 32), -9.0)))

    def forward(self, pixels: torch.Tensor) -> Seen:
        return self.at[pixels.shape[-1]]


def test_looks_at_one_thing_are_one_thing() -> None:
    plain, nearer, farther = (
        seen_at(8, 4, "fox", "ZOO"),
        seen_at(12, 6, "fox", cells=24),
        seen_at(6, 3, "fox", cells=12),
    )
    nearer.heat[0, 12, 6], nearer.colour[0, COLOUR_NAMES.index("blue")] = 9.0, 9.0  # surer, and of another opinion
    (sight,) = look(_Looks(plain, nearer, farther), torch.zeros(1, 3, 128, 128))
    (thing,) = sight.things
    left, up = 6.5 / 24, 12.5 / 24  # of the surest look
    assert thing.box == pytest.approx((left - 0.25, up - 0.25, left + 0.25, up + 0.25))
    surest = [seen.heat[0].amax().sigmoid().item() for seen in (nearer, plain)]
    assert thing.words["fox"] == pytest.approx(sum(surest) / 2, abs=1e-3)
    assert sum(thing.colours.values()) == pytest.approx(1)
    assert 0.2 < thing.colours["blue"] < 0.5 < thing.colours["red"]  # one of three says blue
    assert sight.word == "ZOO"  # words are read from the picture as it is


def test_what_one_look_alone_sees_is_half_as_sure() -> None:
    nothing = seen_at(8, 4, "fox")._replace(heat=torch.full((1, CELLS, CELLS), -9.0))
    nearer = seen_at(20, 20, "owl", cells=24)
    nearer.box[:] = 0.04
    (sight,) = look(_Looks(nothing, nearer, seen_at(2, 2, "fox", cells=12)), torch.zeros(1, 3, 128, 128))
    assert [max(thing.words, key=thing.words.__getitem__) for thing in sight.things] == ["owl", "fox"]
    assert all(0.45 < thing.sure < 0.5 for thing in sight.things)


def test_two_of_a_kind_seen_by_several_looks_stay_two() -> None:
    looks = [seen_at(cells // 2, cells // 4, "fox", cells=cells) for cells in (16, 24, 12)]
    for seen in looks:
        seen.heat[0, seen.heat.shape[1] // 2, 3 * seen.heat.shape[1] // 4] = 4.0
    (sight,) = look(_Looks(*looks), torch.zeros(1, 3, 128, 128))
    assert len(sight.things) == 2 and all_right(judged(sight, Expectation((Wanted("fox", 2),))))
    assert not all_right(judged(sight, Expectation((Wanted("fox", 1),))))


def test_a_small_thing_is_told_where_it_is_on_a_finer_map(scenes: list[Scene], composer: Composer) -> None:
    some = scenes[:24]
    gone = [frozenset[int]()] * len(some)
    coarse, fine = truth_of(some, composer, gone), truth_of(some, composer, gone, 24)
    assert fine.heat.shape == (24, 24, 24) and len(fine.at) >= len(coarse.at)
    for truth, cells in ((coarse, 16), (fine, 24)):  # the boxes are the same boxes
        middles = torch.stack([truth.at[:, 2], truth.at[:, 1]], 1).add(0.5) / cells
        edges = torch.cat([middles - truth.box[:, :2], middles + truth.box[:, 2:]], 1)
        wanted = [composer.visible_box(scene, thing) for scene in some for thing in scene.objects]
        off = (edges[:, None] - torch.tensor(wanted)[None]).abs().amax(2).amin(1)
        assert off.max() < 0.02, cells


def test_of_things_of_other_sizes_nothing_is_asked(scenes: list[Scene], composer: Composer) -> None:
    pair = next(s for s in scenes if len(s.objects) == 2 and s.relation in ("left of", "right of") and s.light is None)
    large, small = replace(pair.objects[0], size=0.8), replace(pair.objects[1], size=0.2)
    scene = replace(pair, objects=(large, small))
    whole = truth_of([scene], composer, [frozenset()])
    assert len(whole.at) == 2 and whole.known.all()
    near, far = (truth_of([scene], composer, [frozenset()], sizes=sizes) for sizes in ((0.1, 0.5), (0.5, 1.2)))
    assert near.concept.tolist() == [small.concept] and far.concept.tolist() == [large.concept]
    assert not near.known.all() and not far.known.all()
    for truth in (near, far):  # what is asked is asked wherever it lies
        number, row, column = truth.around.T
        assert truth.known[number, row, column].all()
        assert (truth.heat * truth.known).amax() > 0.99


@pytest.mark.parametrize("shape", [(64, 64), (256, 256), (96, 160), (300, 128)])
def test_pictures_of_any_shape_are_looked_at(shape: tuple[int, int]) -> None:
    detector = Detector(nano(SIZES)).eval()
    (sight,) = look(detector, torch.rand(1, 3, *shape))
    assert set(sight.whole) == set(WHOLE)
    assert all(sum(values.values()) == pytest.approx(1, abs=1e-3) for values in sight.whole.values())


# --- expectations ------------------------------------------------------------------------------------------------


def test_an_expectation_is_read_back_as_it_was_told(scenes: list[Scene]) -> None:
    for scene in scenes[:100]:
        expected = expected_of(scene)
        assert Expectation.of(json.loads(json.dumps(expected.told()))) == expected


def test_synonyms_are_understood_and_unknown_words_kept() -> None:
    told = {
        "objects": [{"concept": "kitten", "count": 2}, {"concept": "wombat"}],
        "relations": [["puppy", "on", "yak"]],
    }
    expected = Expectation.of(told)
    assert expected.objects == (Wanted("cat", 2),)
    assert expected.relations == () and expected.unknown == ("wombat", "yak")
    facts = judged(Sight((), {}, ""), expected)
    assert [fact.answer for fact in facts if fact.kind == "unknown"] == ["cannot tell"] * 2


@pytest.mark.parametrize(
    "told", [{"colour": "red"}, {"style": "baroque"}, {"objects": [{"concept": "cat", "colour": "mauve"}]},
             {"objects": [{"concept": "cat", "color": "green"}]}, {"relations": [["cat", "astride", "dog"]]},
             {"light": "dusk"}, {"light": 3}]
)  # fmt: skip
def test_a_fact_the_judge_does_not_know_is_refused_with_those_it_does(told: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=r"none the judge knows; use .*,"):
        Expectation.of(told)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ([], "expect .* is no JSON object"),
        ({"objects": {"concept": "cat"}}, "objects .* is no list"),
        ({"objects": ["cat"]}, "an object 'cat' is no JSON object"),
        ({"objects": [{"count": 2}]}, "concept None is no word"),
        ({"objects": [{"concept": 7}]}, "concept 7 is no word"),
        *(({"objects": [{"concept": "cat", "count": n}]}, "is no whole number from 1 to 6")
          for n in (0, -3, 2.5, 7, 9, "two", True)),
        ({"relations": [["cat", "on"]]}, "is no list of three"),
        ({"relations": ["cat"]}, "is no list of three"),
        ({"objects": [{"concept": "cat"}], "relations": [[0, "on", 1]]}, "object 1 of a relation is none of the 1"),
        ({"relations": [[True, "on", "cat"]]}, "concept True is no word"),
        ({"letters": 5}, "letters 5 is no word"),
        ({"letters": "GO 2"}, "letters 'GO 2' is no word"),
    ],
)  # fmt: skip
def test_what_is_told_amiss_is_refused_in_one_sentence(told: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Expectation.of(told)


def test_relations_may_name_objects_by_place() -> None:
    told = {
        "objects": [{"concept": "yak"}, {"concept": "apple", "colour": "gray"}, {"concept": "apple", "colour": "red"}],
        "relations": [[1, "left of", 2], [0, "on", 1]],
    }
    expected = Expectation.of(told)
    assert expected.objects == (Wanted("apple", None, "grey"), Wanted("apple", None, "red"))
    assert expected.relations == (Related(0, "left of", 1),) and expected.unknown == ("yak",)
    assert Expectation.of(expected.told()) == expected


def test_photos_teach_no_emptiness(composer: Composer) -> None:
    photo = replace(one(), kind="photo", style="photo", objects=(), photo=photos()[0])
    assert truth_of([photo, one()], composer, [frozenset()] * 2).known.amax((1, 2)).tolist() == [0.0, 1.0]


# --- the files ---------------------------------------------------------------------------------------------------


def small_judge(folder: Path) -> Path:
    torch.manual_seed(0)
    training = JudgeTraining(nano(SIZES), TextConfig(512, 32, 1, 16, spelling_width=8))
    networks = {"detector": asdict(training.detector.config), "reader": asdict(training.matching.reader.config)}
    calibration = {"presence": Trust(0.98, 0.01, 0.02)}
    return save_judge(folder, training.state_dict(), networks, Tokenizer(), calibration)


def test_a_judge_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    judge = load_judge(small_judge(tmp_path / "judge"), torch.float32)
    torch.manual_seed(0)
    original = JudgeTraining(nano(SIZES), TextConfig(512, 32, 1, 16, spelling_width=8))
    for part in ("detector", "matching"):
        expected = getattr(original, part).state_dict()
        for name, tensor in getattr(judge, part).state_dict().items():
            assert torch.allclose(tensor, expected[name], atol=0.02), name
    assert judge.calibration == {"presence": Trust(0.98, 0.01, 0.02)}
    assert len(judge.look(torch.rand(20, 3, 128, 128))) == 20


def test_a_sentence_fits_a_picture_the_same_whatever_stands_beside_them(tmp_path: Path) -> None:
    judge = load_judge(small_judge(tmp_path / "judge"))
    sights = judge.look(torch.rand(3, 3, 128, 128))
    sentences = ["a cat", 'a much longer sentence with the word "HELLO" in it', "a dog left of a cat"]
    fits = judge.fit(sights, sentences)
    assert fits.shape == (3, 3) and len(set(fits.flatten().tolist())) == 9
    for i, sight in enumerate(sights):
        for j, sentence in enumerate(sentences):
            assert judge.fit([sight], [sentence]).item() == pytest.approx(fits[i, j].item(), abs=1e-5)


def test_a_damaged_judge_is_refused(tmp_path: Path) -> None:
    folder = small_judge(tmp_path / "judge")
    data = bytearray((folder / "judge.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "judge.safetensors").write_bytes(data)
    with pytest.raises(BadFile, match=r"is damaged.*darkroom train judge"):
        load_judge(folder)
    small_judge(folder)
    words = folder / "judge-tokenizer.json"
    words.write_text(Tokenizer([(70, 71)]).to_json())
    with pytest.raises(BadFile, match=r"judge-tokenizer.json.*is damaged"):
        load_judge(folder)
    (folder / "judge.json").write_text("{")
    with pytest.raises(BadFile, match="cannot be opened"):
        load_judge(folder)
    with pytest.raises(BadFile, match=r"holds no judge \(no such file or directory\)"):
        load_judge(tmp_path)
