"""What is drawn reaches the folder as it ends, and what goes wrong takes nothing of it away."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import darkroom.drawing.pictures as drawing
from darkroom.cards import damaged, folder_of, read_card, write_card
from darkroom.cli import main
from darkroom.contracts.errors import BadFile, BadInput, CannotWrite, Unfinished
from darkroom.contracts.request import Request, expand
from darkroom.door import DrawingModel
from darkroom.drawing.results import AT_ONCE, Judging, Wanted, results
from darkroom.drawing.speaker import Speaker
from darkroom.model import Model, load
from darkroom.picture.inputs import Inputs
from tests.tiny import saved, tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_model(), tmp_path_factory.mktemp("models") / "tiny")


def requests(count: int) -> list[Request]:
    return expand(Request(prompt="a fox", steps=1), range(count))


def broken_after(count: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model ends with this error once so many pictures are drawn."""
    results = drawing.results

    def some(*arguments: object) -> Iterator[object]:
        for number, result in enumerate(results(*arguments)):  # type: ignore[arg-type]
            if number == count:
                raise error
            yield result

    monkeypatch.setattr(drawing, "results", some)


def test_a_folder_that_cannot_be_written_into_is_refused_before_the_model_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "load_for", lambda request: pytest.fail("the model was opened"))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(CannotWrite, match="cannot be written into"):
        drawing.draw(requests(1), None, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_what_was_drawn_before_a_failure_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken_after(2, CannotWrite("the disk", "is full"), monkeypatch)
    with pytest.raises(Unfinished, match="the disk is full") as caught:
        drawing.draw(requests(4), None, tmp_path, model=str(folder), as_json=True)
    paths = [Path(picture["path"]) for picture in caught.value.done["pictures"]]
    assert len(paths) == 2 and all(path.is_file() for path in paths)
    assert capsys.readouterr().out == ""


def test_stopping_keeps_what_is_drawn_and_counts_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken_after(2, KeyboardInterrupt(), monkeypatch)
    with pytest.raises(SystemExit) as exit:
        main(["generate", "a fox", "--seed", "0-3", "--model", str(folder), "--out", str(tmp_path), "--json"])
    out, err = capsys.readouterr()
    assert exit.value.code == 130 and err == "stopped; 2 pictures kept\n"
    told = json.loads(out)
    assert len(told["pictures"]) == 2 and told["error"] == "stopped; 2 pictures kept"
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_pictures_of_a_long_range_are_written_before_all_are_begun(folder: Path) -> None:
    model = load(str(folder))
    taken = []

    def wanted() -> Iterator[Wanted[int]]:
        for number, request in enumerate(requests(20)):
            taken.append(number)
            yield Wanted(request, model.resolve(request), number)

    ended = results(wanted(), model, Judging(None), Inputs(), Speaker(quiet=True))
    next(ended)
    assert len(taken) <= AT_ONCE + 1


def test_a_person_sees_how_many_are_done(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    drawing.draw(requests(3), None, tmp_path, model=str(folder))
    err = capsys.readouterr().err
    assert "1/3 evaluations" in err and "2 of 3" in err


def test_too_large_a_picture_is_told_to_be_smaller(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: Model, calls: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(Model, "evaluate", full)
    with pytest.raises(Unfinished, match="64x64 needs more memory than is free; try a smaller --size"):
        drawing.draw(requests(1), None, tmp_path, model=str(folder))
    assert "failed" not in capsys.readouterr().err


def test_a_model_with_a_file_cut_short_is_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = saved(tiny_model(), tmp_path / "cut")
    assert damaged(cut, read_card(cut)) == []
    (cut / "denoiser.safetensors").write_bytes(b"short")
    assert damaged(cut, read_card(cut)) == ["denoiser.safetensors"]
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path))
    for verb in ("list", "show"):
        with pytest.raises(SystemExit) as exit:
            main(["models", verb, *(["cut"] if verb == "show" else [])])
        assert exit.value.code == 0 and "DAMAGED: denoiser.safetensors" in capsys.readouterr().out
        with pytest.raises(SystemExit):
            main(["models", verb, "--json", *(["cut"] if verb == "show" else [])])
        told = json.loads(capsys.readouterr().out)
        assert (told if verb == "show" else told["cut"])["damaged"] == ["denoiser.safetensors"]


def test_a_card_that_cannot_be_read_hides_no_other_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("bad", "good"):
        saved(tiny_model(), tmp_path / name)
    (tmp_path / "bad" / "card.json").write_text("{")
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path))
    with pytest.raises(SystemExit) as exit:
        main(["models", "list"])
    out, err = capsys.readouterr()
    assert exit.value.code == 0 and "good  diffusion" in out
    assert len(err.splitlines()) == 1 and str(tmp_path / "bad" / "card.json") in err


def test_a_model_of_another_family_is_not_drawn_from(tmp_path: Path) -> None:
    other = saved(tiny_model(), tmp_path / "other")
    write_card(other, read_card(other).model_copy(update={"family": "gan"}))
    with pytest.raises(BadFile, match="names the family 'gan'"):
        load(str(other))


def test_a_package_without_its_model_is_installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.cards.EMBEDDED", tmp_path)
    with pytest.raises(BadFile, match="install darkroom again"):
        folder_of("default")


# --- the Python door ---------------------------------------------------------------------------------------------


def test_the_door_says_what_is_wrong_in_one_sentence() -> None:
    with pytest.raises(BadInput, match=r"^steps 0 is below 1; try 1$"):
        DrawingModel(tiny_model()).generate("a fox", steps=0)


def test_models_and_pictures_are_short_in_print_and_shown_in_notebooks() -> None:
    model = DrawingModel(tiny_model())
    image = model.generate("a fox", seed=7, steps=1)
    assert repr(model) == "<darkroom model tiny, 64x64>" and len(repr(model.model)) < 60
    assert repr(image) == "<picture 64x64, 'a fox', seed 7>"
    assert image._repr_png_() == image.encoded("png")


@pytest.mark.parametrize(
    ("prompt", "style", "conflict"),
    [
        ("a fox in black and white", "3d", "the prompt says black and white and --style says 3d; it may draw either"),
        ("a fox, 3d", "black and white", "the prompt says 3d and --style says black and white; it may draw either"),
        ("a fox, 3d", "3d", None),
        ("a 3drone", "black and white", None),
    ],
)
def test_two_styles_at_once_are_said(prompt: str, style: str, conflict: str | None) -> None:
    model = tiny_model()
    model = replace(model, card=model.card.model_copy(update={"styles": ("3d", "black and white")}))
    notes = drawing.read_prompt(model, model.resolve(Request(prompt=prompt, style=style))).notes
    assert [note for note in notes if "may draw either" in note] == ([conflict] if conflict else [])


@pytest.mark.parametrize(
    ("prompt", "odd"),
    [("a (red:high) fox", True), ("a (red:1.3) fox", False), (r"a \(a:b) fox", False), ("a fox (time: noon)", False)],
)
def test_a_weight_that_is_no_number_is_said(prompt: str, odd: bool) -> None:
    model = tiny_model()
    notes = drawing.read_prompt(model, model.resolve(Request(prompt=prompt))).notes
    assert any("no number after its colon" in note for note in notes) == odd
