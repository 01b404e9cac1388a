"""Chains of steps of every kind, for properties."""

from __future__ import annotations

from hypothesis import strategies as st

from darkroom.contracts import refinement as steps

NAMES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\"), min_size=1, max_size=20).filter(
    lambda name: name != ".." and name.isprintable()
)
HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
FACTORS, SHARES = st.floats(0, 4), st.floats(0, 1)
PICTURES = st.builds(
    steps.PictureFile, name=NAMES, sha256=HASHES, width=st.integers(1, 9999), height=st.integers(1, 9999)
)
TABLES = st.builds(steps.TableFile, name=NAMES, sha256=HASHES)
POINTS = st.lists(st.tuples(st.integers(0, 1000), SHARES), min_size=2, max_size=8, unique_by=lambda point: point[0])
SIDES = st.integers(1, 8192)

CHAINS = st.lists(
    st.one_of(
        st.builds(steps.Clean, strength=st.none() | st.floats(0, 0.5)),
        st.builds(steps.Exposure, ev=st.floats(-10, 10)),
        st.builds(steps.WhiteBalance, light=st.sampled_from(["auto", "grey-world"]) | st.integers(1667, 25_000)),
        POINTS.map(lambda points: steps.Curve(points=tuple((x / 1000, y) for x, y in sorted(points)))),
        st.builds(steps.Contrast, factor=FACTORS),
        st.builds(steps.Saturation, factor=FACTORS),
        st.builds(steps.Lut, file=TABLES, amount=SHARES),
        st.builds(steps.Match, file=PICTURES, amount=SHARES),
        st.builds(steps.Sharpen, amount=FACTORS, radius=st.floats(0.3, 10)),
        st.builds(steps.Crop, width=st.floats(1e-3, 9999), height=st.floats(1e-3, 9999)),
        st.builds(steps.Crop, width=SIDES, height=SIDES, left=SIDES, top=SIDES),
        st.builds(steps.Resize, width=SIDES, height=st.none() | SIDES),
        st.builds(steps.Upscale, factor=st.sampled_from([2, 4])),
        st.just(steps.Round()),
    ),
    max_size=8,
).map(tuple)

PIECES = st.sampled_from(
    [
        *steps.STEPS,
        *",=:\"'+x.-e ",
        "\n",
        "\t",
        "0",
        "1",
        "16:9",
        "0.5",
        "auto",
        "a.cube",
        '""',
        "1e9",
        "𝟛",
        "\ufeff",
        "é",
    ]
)
"""What means something in a chain, mixed into any text."""
