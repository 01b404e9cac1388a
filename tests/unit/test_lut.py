"""Tables of colours: read, looked up, and refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.contracts.errors import BadFile
from darkroom.refine.lut import along, graded, parse_cube, tetrahedral

PIXELS = np.random.default_rng(0).random((40, 50, 3), np.float32)


def cube(size: int, change: Callable[[np.ndarray], np.ndarray] = lambda colours: colours, head: str = "") -> bytes:
    """A .cube file of three dimensions: red changes fastest."""
    at = np.linspace(0, 1, size)
    colours = np.array([(r, g, b) for b in at for g in at for r in at])
    rows = "\n".join("{:.9f} {:.9f} {:.9f}".format(*row) for row in change(colours))
    return f"{head}LUT_3D_SIZE {size}\n{rows}\n".encode()


@pytest.mark.parametrize("size", [2, 3, 17, 33, 64])
def test_a_table_that_changes_nothing_changes_nothing(size: int) -> None:
    table = parse_cube(cube(size), "x.cube")
    assert table.colours.shape == (size, size, size, 3)
    assert np.abs(graded(PIXELS, table, 1.0) - PIXELS).max() < 1e-6
    assert graded(PIXELS, table, 0.0) is PIXELS
    eight = (PIXELS * 255).round() / np.float32(255)
    assert np.array_equal((graded(eight, table, 1.0) * 255).round(), (eight * 255).round())


def test_red_changes_fastest() -> None:
    table = parse_cube(cube(3, lambda c: c * [1, 0, 0]), "x.cube")
    assert graded(PIXELS, table, 1.0) == pytest.approx(PIXELS * [1, 0, 0], abs=1e-6)
    turned = parse_cube(cube(5, lambda c: c[:, [2, 0, 1]]), "x.cube")
    assert graded(PIXELS, turned, 1.0) == pytest.approx(PIXELS[..., [2, 0, 1]], abs=1e-6)


def test_corners_are_met_and_greys_stay_between_greys() -> None:
    rng = np.random.default_rng(1)
    colours = rng.random((4, 4, 4, 3))
    at = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    assert tetrahedral(colours, at[:, ::-1] / 3) == pytest.approx(colours.reshape(-1, 3))
    greys = np.linspace(0, 1, 4)[:, None].repeat(3, 1)
    colours[range(4), range(4), range(4)] = greys**2
    found = tetrahedral(colours, np.linspace(0, 1, 99)[:, None].repeat(3, 1))
    assert np.ptp(found, -1).max() < 1e-12


def test_amounts_lie_between() -> None:
    table = parse_cube(cube(9, lambda c: 1 - c), "x.cube")
    assert graded(PIXELS, table, 0.25) == pytest.approx(0.75 * PIXELS + 0.25 * (1 - PIXELS), abs=1e-6)


def test_curves_of_one_dimension() -> None:
    rows = "\n".join(f"{x**2} {x} {1 - x}" for x in np.linspace(0, 1, 257))
    table = parse_cube(f'TITLE "curves"\nLUT_1D_SIZE 257\n{rows}'.encode(), "x.cube")
    wanted = np.stack([PIXELS[..., 0] ** 2, PIXELS[..., 1], 1 - PIXELS[..., 2]], -1)
    assert graded(PIXELS, table, 1.0) == pytest.approx(wanted, abs=1e-5)
    assert along(np.array([[0.0] * 3, [1.0] * 3]), np.array([0.25, 0.5, 1.0])) == pytest.approx([0.25, 0.5, 1.0])


def test_domains_say_which_colours_the_ends_are() -> None:
    head = "DOMAIN_MIN 0.25 0 0\nDOMAIN_MAX 0.75 1 2\n"
    found = graded(PIXELS, parse_cube(cube(5, head=head), "x.cube"), 1.0)
    wanted = np.clip((PIXELS - [0.25, 0, 0]) / [0.5, 1, 2], 0, 1)
    assert found == pytest.approx(wanted, abs=1e-6)
    resolve = parse_cube(cube(5, head="LUT_3D_INPUT_RANGE 0.0 2.0\n"), "x.cube")
    assert graded(PIXELS, resolve, 1.0) == pytest.approx(PIXELS / 2, abs=1e-6)


def test_line_ends_marks_comments_and_titles_are_read() -> None:
    plain = cube(2).decode()
    for text in (plain.replace("\n", "\r\n"), plain.replace("\n", "\r"), f"\ufeff{plain}", f"# a note\n\n{plain}\n\n"):
        found = parse_cube(text.encode(), "x.cube")
        assert np.array_equal(found.colours, parse_cube(plain.encode(), "x.cube").colours)
    assert parse_cube(f'TITLE "LUT_3D_SIZE 64"\n{plain}'.encode(), "x.cube").colours.shape == (2, 2, 2, 3)


def test_values_beyond_white_are_cut_after_mixing() -> None:
    found = graded(PIXELS, parse_cube(cube(2, lambda c: c * 3 - 1), "x.cube"), 1.0)
    assert found.min() == 0 and found.max() == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no LUT_1D_SIZE and no LUT_3D_SIZE"),
        ("LUT_3D_SIZE 65\n", "LUT_3D_SIZE '65', which is not from 2 to 64"),
        ("LUT_3D_SIZE 1\n0 0 0", "not from 2 to 64"),
        ("LUT_3D_SIZE 99999999999999999999\n", "not from 2 to 64"),
        ("LUT_3D_SIZE -3\n", "not from 2 to 64"),
        ("LUT_3D_SIZE ٣\n", "holds 0 lines"),
        ("LUT_1D_SIZE 65537\n", "not from 2 to 65536"),
        ("LUT_3D_SIZE 2\n0 0 0\n", "holds 1 lines of colours, and its size asks for 8"),
        ("LUT_3D_SIZE 64\n" + "0 0 0\n" * 9, "asks for 262144"),
        ("LUT_1D_SIZE 2\nLUT_3D_SIZE 2\n", "holds two tables"),
        ("LUT_1D_SIZE 2\nLUT_1D_SIZE 3\n", "'LUT_1D_SIZE 3' in line 2"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1\n", "is not three plain numbers"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 1 1\n", "is not three plain numbers"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 nan\n", "'1 1 nan' in line 3"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 1e999\n", "is not three plain numbers"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 1_0\n", "'1 1 1_0' in line 3"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 -+e\n", "is not three plain numbers"),
        ("DOMAIN_MIN 1 1 1\nDOMAIN_MAX 1 1 1\nLUT_1D_SIZE 2\n0 0 0\n1 1 1", "a domain that ends where it begins"),
        ("DOMAIN_MIN 0 0\nLUT_1D_SIZE 2\n0 0 0\n1 1 1", "'0 0' where 3 numbers must stand"),
        ("DOMAIN_MAX 1 1 inf\nLUT_1D_SIZE 2\n0 0 0\n1 1 1", "where 3 numbers must stand"),
        ("<svg/>", "'<svg/>' in line 1"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 1\nLUT_3D_SIZE 2", "in line 4"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(BadFile) as caught:
        parse_cube(text.encode(), "x.cube")
    assert said in str(caught.value) and str(caught.value).startswith("x.cube ") and "\n" not in str(caught.value)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(BadFile, match="is no text"):
        parse_cube(b"\xff\xfe\x00L", "x.cube")
    with pytest.raises(BadFile, match="is larger than 32 MiB"):
        parse_cube(b"0" * (32 * 1024 * 1024 + 1), "x.cube")


WORDS = ["LUT_3D_SIZE", "LUT_1D_SIZE", "DOMAIN_MIN", "2", "0 0 0\n", "1 1 1\n", "\n", " ", "-", "e", "1e308", "#", "x"]


@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join) | st.text(max_size=60))
def test_any_text_is_a_table_or_refused(text: str) -> None:
    try:
        table = parse_cube(text.encode(errors="surrogatepass"), "x.cube")
    except BadFile:
        return
    assert np.isfinite(graded(PIXELS[:2, :2], table, 1.0)).all()
