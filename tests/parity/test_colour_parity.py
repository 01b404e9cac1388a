"""Colours against the colour-science package, to 1e-4.

It needs ``pip install colour-science``. Without it these are skipped, and say so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from darkroom.refine import colour as ours
from darkroom.refine.grading import NEUTRAL_KELVIN
from darkroom.refine.lut import parse_cube, tetrahedral

pytestmark = pytest.mark.slow
colour = pytest.importorskip("colour", reason="needs colour-science: pip install colour-science")
for name in [name for name, module in sys.modules.items() if getattr(module, "__spec__", None) is None]:
    if name.partition(".")[0] == "matplotlib":  # a stand-in of colour-science's, over which diffusers stumbles
        del sys.modules[name]
COLOURS = np.random.default_rng(0).random((5000, 3))
EXACT = {"rtol": 0.0, "atol": 1e-4}


def test_srgb_and_light() -> None:
    np.testing.assert_allclose(ours.to_linear(COLOURS), colour.models.eotf_sRGB(COLOURS), **EXACT)
    np.testing.assert_allclose(ours.to_encoded(COLOURS), colour.models.eotf_inverse_sRGB(COLOURS), **EXACT)


def test_xyz() -> None:
    xyz = colour.sRGB_to_XYZ(COLOURS)
    np.testing.assert_allclose(ours.linear_to_xyz(ours.to_linear(COLOURS)), xyz, **EXACT)
    np.testing.assert_allclose(ours.xyz_to_linear(xyz), ours.to_linear(COLOURS), rtol=0, atol=3e-4)  # 4 digits there


def test_oklab() -> None:
    xyz = colour.sRGB_to_XYZ(COLOURS)
    np.testing.assert_allclose(ours.xyz_to_oklab(xyz), colour.XYZ_to_Oklab(xyz), **EXACT)
    np.testing.assert_allclose(ours.to_oklab(COLOURS), colour.XYZ_to_Oklab(xyz), **EXACT)
    oklab = colour.XYZ_to_Oklab(xyz)
    np.testing.assert_allclose(ours.oklab_to_xyz(oklab), colour.Oklab_to_XYZ(oklab), **EXACT)


@pytest.mark.parametrize("kelvin", [1667, 2000, 2222, 2856, 4000, 5003, NEUTRAL_KELVIN, 10_000, 25_000])
def test_black_bodies_and_adaptation(kelvin: int) -> None:
    xy = np.asarray(colour.temperature.CCT_to_xy_Kang2002(kelvin))
    np.testing.assert_allclose(ours.planckian(kelvin), xy, **EXACT)
    light, wanted = colour.xy_to_XYZ(xy), colour.xy_to_XYZ(np.array(ours.D65))
    np.testing.assert_allclose(ours.xyz_of(*xy), light, **EXACT)
    theirs = colour.adaptation.matrix_chromatic_adaptation_VonKries(light, wanted, transform="Bradford")
    np.testing.assert_allclose(ours.adaptation(light, wanted), theirs, **EXACT)


def test_tables(tmp_path: Path) -> None:
    cube = np.random.default_rng(1).random((9, 9, 9, 3))
    file = tmp_path / "x.cube"
    colour.write_LUT(colour.LUT3D(cube, "x"), str(file))
    read = parse_cube(file.read_bytes(), "x.cube")
    np.testing.assert_allclose(read.colours.transpose(2, 1, 0, 3), cube, **EXACT)  # theirs is by red, green, blue
    theirs = colour.read_LUT(str(file)).apply(COLOURS, interpolator=colour.algebra.table_interpolation_tetrahedral)
    np.testing.assert_allclose(tetrahedral(read.colours, COLOURS), theirs, **EXACT)
