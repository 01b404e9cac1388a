"""Chains of steps: written, read, and refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from darkroom.contracts.errors import BadInput, explain
from darkroom.contracts.refinement import (
    MAX_CHAIN,
    STEPS,
    Clean,
    Crop,
    Curve,
    Exposure,
    Lut,
    Match,
    PictureFile,
    Resize,
    Round,
    Sharpen,
    Step,
    TableFile,
    Upscale,
    WhiteBalance,
    chain_text,
    parse_chain,
)
from darkroom.contracts.request import Request
from tests.chains import CHAINS, PIECES


def test_steps_come_in_the_order_written() -> None:
    text = (
        "clean, exposure=0.3, white-balance=auto, curve=0:0 0.25:0.2 1:1, saturation=1.2, lut=film.cube:0.7,"
        "match=reference.jpg:0.8 ,sharpen=0.4,crop=16:9, resize=512, upscale=2, clean=.05, resize=640x480"
    )
    names = "clean exposure white-balance curve saturation lut match sharpen crop resize upscale clean resize"
    steps = parse_chain(text)
    assert [step.step for step in steps] == names.split()
    assert steps[3] == Curve(points=((0, 0), (0.25, 0.2), (1, 1)))
    assert steps[5] == Lut(file="film.cube", amount=0.7) and steps[11] == Clean(strength=0.05)
    assert steps[9] == Resize(width=512) and steps[12] == Resize(width=640, height=480)


def test_every_step_can_be_written() -> None:
    forms = {name: kind.FORM for name, kind in STEPS.items()}
    assert all(form.startswith(name) for name, form in forms.items()) and len(forms) == 13


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("white-balance", WhiteBalance()),
        ("white-balance=3200K", WhiteBalance(light=3200)),
        ("sharpen", Sharpen()),
        ("sharpen=1:2.5", Sharpen(amount=1, radius=2.5)),
        ("upscale", Upscale()),
        ("upscale=4", Upscale(factor=4)),
        ("exposure=-.5", Exposure(ev=-0.5)),
        ("exposure=+1e-1", Exposure(ev=0.1)),
        ("crop=2.39:1", Crop(width=2.39, height=1)),
        ("crop=320x240+10+0", Crop(width=320, height=240, left=10, top=0)),
        ('lut="a, ""b"":0.5.cube":0.7', Lut(file='a, "b":0.5.cube', amount=0.7)),
        ("lut=C:\\looks\\a b.cube", Lut(file="C:\\looks\\a b.cube")),
        ("match=a=b.jpg", Match(file="a=b.jpg")),
        ("match=2:1:0.5", Match(file="2:1", amount=0.5)),
        ("round", Round()),
    ],
)
def test_values(text: str, step: Step) -> None:
    assert parse_chain(text) == (step,)
    assert parse_chain(chain_text([step])) == (step,)


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_a_blank_chain_is_none(text: str) -> None:
    assert parse_chain(text) == () and Request(prompt="a fox", refine=text).refine == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cleen", "unknown step 'cleen'; did you mean 'clean'? known: clean, contrast"),
        ("Sharpen", "did you mean 'sharpen'?"),
        ("clean,", "step 2 of the chain has no name; remove a comma, or name it"),
        (",clean", "step 1 of the chain has no name"),
        ("=2", "step 1 of the chain has no name"),
        ("clean exposure=1", "step 1, 'clean exposure=1', is not a name with = and a value"),
        ("exposure", "step 1, 'exposure', is not of the form exposure=EV; write it so"),
        ("clean, exposure=1:2", "step 2, 'exposure=1:2', is not of the form exposure=EV"),
        ("exposure=nan", "is not of the form"),
        ("exposure=1e999", "exposure: ev inf is not a finite number"),
        ("exposure=11", "step 1, exposure: ev 11.0 is above 10; try 10"),
        ("clean=0.6", "strength 0.6 is above 0.5"),
        ("white-balance=100", "white-balance=100 is not between 1667 and 25000 kelvin; try 1667"),
        ("white-balance=sunny", "is not of the form white-balance, white-balance=grey-world or white-balance=KELVIN"),
        ("curve=0:0", "is not of the form curve=X:Y X:Y"),
        ("curve=0.5:0 0.5:1", "the point at 0.5 comes too early; write points from dark to bright"),
        ("curve=0:0 1:1.5", "points.1.1 1.5 is above 1"),
        ("lut=", "is not of the form lut=FILE.cube or lut=FILE.cube:AMOUNT"),
        ('lut="a.cube', "is not a name with = and a value"),
        ('lut="a.cube"x', "is not of the form lut=FILE"),
        ("lut=a.cube:2", "amount 2.0 is above 1"),
        ("sharpen=1:0", "radius 0.0 is below 0.3"),
        ("crop=0:1", "width 0.0 is not above 0; give more"),
        ("crop=10x10", "is not of the form crop=W:H (a shape, such as 16:9) or crop=WxH+LEFT+TOP (pixels)"),
        ("resize=0", "width 0 is below 1"),
        ("resize=9000", "width 9000 is above 8192"),
        ("upscale=3", "is not of the form upscale=2 or upscale=4"),
        ("round=2", "is not of the form round"),
        ("clean," * 64 + "clean", "the chain has more than 64 steps"),
        ("x" * (MAX_CHAIN + 1), f"a chain of {MAX_CHAIN + 1} characters is longer than {MAX_CHAIN}"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_chain(text)
    assert said in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400
    with pytest.raises(ValidationError) as again:
        Request(prompt="a fox", refine=text)
    assert explain(again.value) == str(caught.value)


@given(CHAINS)
def test_what_is_written_is_read_again(steps: tuple[Step, ...]) -> None:
    read = parse_chain(chain_text(steps))
    assert read == tuple(step.asked() for step in steps)
    assert Request(prompt="a fox", refine=list(map(dict, read))).refine == read  # type: ignore[arg-type]


@given(st.lists(PIECES | st.text(max_size=4)).map("".join))
def test_any_text_is_a_chain_or_refused(text: str) -> None:
    try:
        steps = parse_chain(text)
    except BadInput as error:
        assert "\n" not in str(error)
    else:
        assert parse_chain(chain_text(steps)) == steps


def test_files_are_named_by_their_own_names_once_found() -> None:
    told = PictureFile(name="a, b.jpg", sha256="0" * 64, width=2, height=2)
    table = TableFile(name="film.cube", sha256="1" * 64)
    steps = (Match(file=told, amount=0.5), Lut(file=table))
    assert chain_text(steps) == 'match="a, b.jpg":0.5, lut=film.cube:1'
    assert [step.asked() for step in steps] == [Match(file="a, b.jpg", amount=0.5), Lut(file="film.cube")]
    with pytest.raises(ValidationError, match="names a folder"):
        TableFile(name="a/b.cube", sha256="1" * 64)
