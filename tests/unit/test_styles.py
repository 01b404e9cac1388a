"""Templates, and styles saved under a name."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from darkroom.contracts.errors import BadFile, BadInput, CannotWrite
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import Request
from darkroom.picture.inputs import Inputs
from darkroom.wording.stylefile import check_name, config_folder, read_styles, write_style
from darkroom.wording.styles import SavedStyle, style_named, worded
from darkroom.wording.stylesheet import rows_of
from darkroom.wording.templates import fields_of, filled, fills_of
from tests.tiny import tiny_model


def request(text: str, **asked: object) -> Request:
    return Request.checked({"prompt": text, **asked})


# --- templates ---------------------------------------------------------------------------------------------------


def test_templates_are_filled_once_and_choices_stay() -> None:
    template = r"photo of {subject} on {the-ground}, {red|blue} light, \{x\} {subject}"
    assert fields_of(template) == ["subject", "the-ground"]
    said = filled(template, {"subject": "a {the-ground} mug", "the-ground": "snow"})
    assert said == r"photo of a {the-ground} mug on snow, {red|blue} light, \{x\} a {the-ground} mug"
    assert fields_of("{a|{b}|{2$$c|d}}") == ["b"]


@pytest.mark.parametrize(
    ("template", "values", "said"),
    [
        ("a {x", {}, "opens a brace at character 3 that is not closed"),
        ("a x}", {}, "closes a brace at character 4"),
        ("a {two words}", {}, "'two words' of the template is no name"),
        ("a {x} {y}", {"x": "1"}, "lacks y; give it: --fill y="),
        ("a {x} {y} {z}", {"x": "1"}, "lacks y, z"),
        ("a {subject}", {"subjekt": "fox"}, "unknown field 'subjekt'; did you mean 'subject'"),
        ("a {x}", {"x": " "}, "x is filled with nothing"),
        ("  ", {}, "the template is blank"),
        ("{" * 50_000, {}, "not closed"),
    ],
)
def test_templates_that_cannot_be_filled_are_refused(template: str, values: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        filled(template, values)


def test_fills_are_read() -> None:
    assert fills_of(["a=b=c", '{"d": "e", "f": ""}']) == {"a": "b=c", "d": "e", "f": ""}
    for texts, said in (
        (["a"], "names no field"),
        (["=a"], "names no field"),
        (["a=1", "a=2"], "filled twice"),
        (['{"a": 1}'], "filled with 1"),
        (['{"a"'], "is no JSON"),
    ):
        with pytest.raises(BadInput, match=said):
            fills_of(texts)


# --- styles ------------------------------------------------------------------------------------------------------


def test_a_style_is_around_a_prompt() -> None:
    assert SavedStyle(prompt="noir photo of {prompt}, dark").around("a fox.") == "noir photo of a fox, dark"
    assert SavedStyle(prompt="noir photo of {prompt} by night").around("a fox.") == "noir photo of a fox. by night"
    assert SavedStyle(prompt="dark, moody").around("a fox,") == "a fox, dark, moody"
    assert SavedStyle(prompt="{prompt} and {prompt}").around("{a|b}") == "{a|b} and {a|b}"
    assert SavedStyle(negative="x").around("a  fox.") == "a  fox."
    assert SavedStyle(prompt="{red|blue} {prompt}").around("fox") == "{red|blue} fox"


def test_what_a_request_says_itself_stays() -> None:
    style = SavedStyle(negative="snow", settings={"steps": 8, "guidance": 5.0, "width": 64, "height": 96})
    made = style.applied(Request.checked({"prompt": {"text": "a fox", "negative": "blur,"}, "steps": 3, "width": 128}))
    assert (made.steps, made.guidance, made.width, made.height) == (3, 5.0, 128, None)
    assert made.prompt.negative == "blur, snow" and made.style is None
    assert style.applied(request("a fox")).height == 96


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, "says nothing"),
        ({"prompt": " , "}, "says nothing"),
        ({"prompt": "a {subject}"}, "{subject} of a style"),
        ({"prompt": "a {prompt"}, "not closed"),
        ({"stepz": 3}, "unknown setting of a style 'stepz'; did you mean 'steps'"),
        ({"seed": 3}, "unknown setting"),
        ({"steps": 0}, "below 1"),
        ({"prompt": 5}, "not text"),
    ],
)
def test_styles_that_mean_nothing_are_refused(told: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        SavedStyle.of(told)


def test_talk_and_style_come_together_and_the_recipe_needs_neither(tmp_path: Path) -> None:
    file = tmp_path / "styles.toml"
    write_style(file, "noir", SavedStyle(prompt="noir {prompt}", negative="red", settings={"steps": 2}).table())
    model = tiny_model()
    asked = request("could you draw a {fox|cat}, please?", style="noir", seed=4)
    recipe = model.resolve(asked, Inputs(styles=file))
    assert recipe.prompt.text in ("noir a fox", "noir a cat") and recipe.prompt.negative == "red"
    assert (recipe.steps, recipe.style, recipe.saved_style) == (2, None, "noir")
    assert recipe.written == "could you draw a {fox|cat}, please?"
    read = Recipe.from_json(recipe.to_json())
    again = model.resolve(read.request())  # without the file
    assert again.prompt == recipe.prompt and again.steps == 2
    with pytest.raises(BadInput, match="unknown style 'noir'"):
        model.resolve(asked)


def test_a_models_own_style_wins_and_unknown_ones_name_both(tmp_path: Path) -> None:
    file = tmp_path / "styles.toml"
    write_style(file, "3d", {"prompt": "x"})
    write_style(file, "odd", {"style": "oil"})
    assert worded(request("a fox", style="3d"), ["3d"], file).request.prompt.text == "a fox"
    with pytest.raises(BadInput, match=r"did you mean '3d'\? known: 3d, odd"):
        worded(request("a fox", style="3dd"), ["3d"], file)
    with pytest.raises(BadInput, match="style of the saved style 'odd', 'oil'"):
        worded(request("a fox", style="odd"), ["3d"], file)


def test_verbatim_is_kept() -> None:
    recipe = tiny_model().resolve(request("please draw a fox", verbatim=True))
    assert recipe.prompt.text == "please draw a fox" and recipe.written is None
    assert tiny_model().resolve(recipe.request()).prompt == recipe.prompt


# --- their file --------------------------------------------------------------------------------------------------


def test_the_configuration_folder() -> None:
    assert config_folder({"DARKROOM_CONFIG": "here", "XDG_CONFIG_HOME": "/there"}) == Path("here")
    assert config_folder({"XDG_CONFIG_HOME": "/there"}) == Path("/there/darkroom")
    assert config_folder({"XDG_CONFIG_HOME": "there"}) == config_folder({})  # relative ones are to be ignored
    assert config_folder({}).parts[-2:] == (".config", "darkroom")


def test_a_file_keeps_what_people_wrote(tmp_path: Path) -> None:
    file = tmp_path / "new" / "styles.toml"
    assert read_styles(file) == {}
    tables = {
        "noir": {
            "prompt": 'a "{prompt}"\n\\(x\\)\x7f é',
            "steps": 8,
            "guidance": 0.1 + 0.2,
            "guidance_interval": [0.0, 0.5],
        },
        "film noir": {"negative": "[x]\n[noir]\n# no"},
        "é.b": {"prompt": "x"},
    }
    for name, table in tables.items():
        write_style(file, name, table)
    assert read_styles(file) == tables == tomllib.loads(file.read_text(encoding="utf-8"))
    text = file.read_text(encoding="utf-8").replace("[noir]\n", "# mine\n[ noir ] # best\n", 1)
    file.write_text(text, encoding="utf-8")
    write_style(file, "film noir", {"prompt": "y"})
    write_style(file, "é.b", None)
    assert read_styles(file) == {"noir": tables["noir"], "film noir": {"prompt": "y"}}
    assert "# mine\n[ noir ] # best\n" in file.read_text(encoding="utf-8")
    write_style(file, "noir", None)
    assert read_styles(file) == {"film noir": {"prompt": "y"}}


def test_a_file_written_in_another_way_is_still_changed_rightly(tmp_path: Path) -> None:
    file = tmp_path / "styles.toml"
    file.write_text('noir.prompt = "x"\nflat = {prompt = "y"}\n[multi]\nprompt = """\n[noir]\n"""\n', encoding="utf-8")
    told = read_styles(file)
    write_style(file, "noir", {"prompt": "z"})
    assert read_styles(file) == {**told, "noir": {"prompt": "z"}}
    write_style(file, "multi", None)
    assert read_styles(file) == {"noir": {"prompt": "z"}, "flat": {"prompt": "y"}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[noir]\nprompt = "x"\nsteps =\n', "line 3 of .* is no TOML"),
        ('[noir]\nprompt = "x', "line 2 of .* is no TOML"),
        ("# x\n\nsteps = 3\n", "line 3 of .* says steps of no style"),
    ],
)
def test_a_broken_file_is_named_with_its_line_and_left_alone(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "styles.toml"
    file.write_text(text, encoding="utf-8")
    for use in (lambda: read_styles(file), lambda: write_style(file, "x", {"prompt": "x"})):
        with pytest.raises(BadFile, match=said):
            use()
    assert file.read_text(encoding="utf-8") == text
    assert (
        worded(request("a fox", style="3d"), ["3d"], file).saved_style is None
    )  # who needs none is not kept from work


def test_one_bad_style_keeps_nobody_from_another(tmp_path: Path) -> None:
    file = tmp_path / "styles.toml"
    file.write_text('[bad]\nstepz = 3\n[good]\nprompt = "x"\n', encoding="utf-8")
    assert style_named("good", file) == SavedStyle(prompt="x")
    with pytest.raises(BadFile, match=r"the style 'bad' in .* unknown setting of a style 'stepz'"):
        style_named("bad", file)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises((CannotWrite, BadFile)):
        write_style(tmp_path / "file" / "styles.toml", "x", {"prompt": "x"})


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\\b", " a", "-a", "a\nb", "x" * 101, "\0"])
def test_names_that_no_style_has(name: str) -> None:
    with pytest.raises(BadInput, match="the style's name"):
        check_name(name)


# --- A1111's styles.csv ------------------------------------------------------------------------------------------


def test_a1111_styles_are_read(tmp_path: Path) -> None:
    file = tmp_path / "styles.csv"
    file.write_bytes(
        b'\xef\xbb\xbfname,prompt,negative_prompt\r\nnoir,"film noir {prompt},\r\nhigh contrast",colour\r\n'
        b'empty,,\r\n"a, ""b""","{x} (y:1.2) <lora:z:1>",\r\nmany,a,b,c\r\nbroken,"a"b,c\r\nlast,x,y\r\n'
    )
    rows = list(rows_of(file))
    good = {row.name: row.style() for row in rows if row.name in ("noir", 'a, "b"', "last")}
    assert good["noir"].around("a fox") == "film noir a fox, high contrast" and good["noir"].negative == "colour"
    assert good['a, "b"'].prompt == r"\{x\} (y:1.2)" and rows[2].notes == ["left out <lora:z:1>"]
    assert good["last"] == SavedStyle(prompt="x", negative="y")
    failed = {row.line: row for row in rows if row.name not in good}
    assert [row.line for row in rows] == [3, 4, 5, 6, 7, 8] and sorted(failed) == [4, 6, 7]
    assert failed.pop(4).empty
    for row in failed.values():
        with pytest.raises(BadInput):
            row.style()


@pytest.mark.parametrize(("text", "said"), [("", "is empty"), ("a,b\n", "does not begin"), ("x" * 200_000, "does not")])
def test_other_files_are_no_styles(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "styles.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadFile, match=said):
        list(rows_of(file))
    with pytest.raises(BadFile, match="cannot be read"):
        list(rows_of(tmp_path / "none.csv"))
