"""The check of a folder: every kind of problem is found where it is, and nothing else is flagged."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from darkroom.data import dedup, filter
from darkroom.data.check import CheckReport, check_folder
from darkroom.data.dedup import Fingerprint, exact_duplicates, fingerprint, near_duplicates
from darkroom.data.filter import KINDS, pixel_problems
from darkroom.data.sources import Progress


def scene(seed: int, width: int = 96, height: int = 96) -> Image.Image:
    """A smooth picture unlike that of any other seed."""
    small = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def drawing(
    colour: str, mode: str = "RGB", ground: str | tuple[int, ...] = "white", **more: tuple[int, ...]
) -> Image.Image:
    """A circle and, where ``dot`` is given, a small disc."""
    image = Image.new(mode, (128, 128), ground)
    ImageDraw.Draw(image).ellipse((30, 20, 100, 90), fill=colour)
    if "dot" in more:
        ImageDraw.Draw(image).ellipse(more["dot"], fill=more.get("shade", "black"))
    return image


def encoded(image: Image.Image, format: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


class Folder:
    """A folder of sound pictures with captions and licences, to which faults are added."""

    def __init__(self, root: Path, sound: int = 4) -> None:
        self.root, self.rows = root, []
        root.mkdir()
        for n in range(sound):
            self.add(f"sound-{n:03}.png", encoded(scene(n)))

    def add(self, name: str, data: bytes, caption: str = "a scene", licence: str = "CC0-1.0") -> None:
        (self.root / name).write_bytes(data)
        self.rows.append({"file_name": name, "text": caption, "licence": licence})

    def check(self, progress: Progress | None = None) -> CheckReport:
        (self.root / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in self.rows))
        return check_folder(self.root, progress)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "pets")


def named(report: CheckReport) -> dict[str, list[str]]:
    return {kind: [problem.path for problem in group] for kind, group in report.grouped().items()}


def test_a_sound_folder_has_no_problems(folder):
    folder.add("jpeg.jpg", encoded(scene(90), "JPEG"))
    folder.add("webp.webp", encoded(scene(91), "WEBP"))
    folder.add("grey.png", encoded(scene(92).convert("L")))
    folder.add("alpha.png", encoded(drawing("red", "RGBA", (0, 0, 0, 0))))
    folder.add("narrow.png", encoded(scene(93, 64, 192)))  # both limits, just kept
    report = folder.check()
    assert report.problems == ()
    assert report.ok
    assert (report.pictures, len(report.usable)) == (9, 9)
    assert [example.id for example in report.usable] == sorted(row["file_name"] for row in folder.rows)


def invisible(image: Image.Image) -> Image.Image:
    image.putalpha(0)
    return image


def noisy_grey() -> bytes:
    noise = np.random.default_rng(0).normal(128, 2, (96, 96, 3)).astype(np.uint8)
    return encoded(Image.fromarray(noise))


def bomb() -> bytes:
    """A PNG of a few bytes that claims 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


FAULTS = {
    "cut png": ("broken", encoded(scene(50, 300, 300))[:-4000], {}),
    "cut jpeg": ("broken", encoded(scene(50, 300, 300), "JPEG")[:2000], {}),
    "no picture": ("broken", b"<html>404</html>", {}),
    "empty file": ("broken", b"", {}),
    "bomb": ("broken", bomb(), {}),
    "narrower than 64": ("tiny", encoded(scene(50, 63, 96)), {}),
    "longer than 3 to 1": ("aspect", encoded(scene(50, 196, 65)), {}),
    "one colour": ("uniform", encoded(Image.new("RGB", (96, 96), "teal")), {}),
    "nothing but noise": ("uniform", noisy_grey(), {}),
    "invisible": ("uniform", encoded(invisible(scene(50))), {}),
    "no caption": ("captionless", encoded(scene(50)), {"caption": "  "}),
    "same file": ("duplicate", encoded(scene(0)), {}),
    "half the size": ("near-duplicate", encoded(scene(0).resize((70, 70)), "JPEG"), {}),
    "no licence": ("licence", encoded(scene(50)), {"licence": ""}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_nothing_else(folder, fault):
    kind, data, words = FAULTS[fault]
    folder.add("y-fault.png", data, **words)
    report = folder.check()
    assert named(report) == {kind: ["y-fault.png"]}
    assert report.counts == {kind: 1}
    assert report.pictures == 5
    assert len(report.usable) == (5 if kind == "licence" else 4)
    assert report.ok == (kind == "licence")
    assert all(problem.detail and problem.fix for problem in report.problems)


def test_a_picture_may_have_several_faults(folder):
    folder.add("y.png", encoded(Image.new("RGB", (200, 40))), caption="")
    assert named(folder.check()) == {kind: ["y.png"] for kind in ("tiny", "aspect", "uniform", "captionless")}


def test_the_problems_of_listing_are_in_the_report(folder):
    folder.rows += [{"file_name": "../secret.jpg", "text": "x"}, {"file_name": "gone.jpg", "text": "x"}]
    (folder.root / "scan.tiff").write_bytes(b"II*\0")
    report = folder.check()
    assert named(report) == {"outside": ["metadata.jsonl"], "missing": ["metadata.jsonl"], "format": ["scan.tiff"]}
    assert len(report.usable) == 4
    assert not report.ok


def test_one_in_a_hundred_corrupt_is_listed_and_the_run_ends(tmp_path):
    folder = Folder(tmp_path / "pets", sound=198)
    folder.add("bad-1.jpg", b"\xff\xd8\xff\xe0" + bytes(500))
    folder.add("bad-2.png", encoded(scene(500, 200, 200))[:-3000])
    calls = []
    report = folder.check(lambda *call: calls.append(call))
    assert named(report) == {"broken": ["bad-1.jpg", "bad-2.png"]}
    assert len(report.usable) == 198
    assert calls == [(stage, n, 200) for stage in ("list", "check") for n in range(1, 201)]


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, SyntaxError, struct.error, OSError])
def test_whatever_a_decoder_raises_is_one_broken_picture(folder, monkeypatch, error):
    sound = filter.read

    def read(path: Path) -> np.ndarray:
        if path.name == "sound-001.png":
            raise error("bad\x1bcode")
        return sound(path)

    monkeypatch.setattr(filter, "read", read)
    report = folder.check()
    assert named(report) == {"broken": ["sound-001.png"]}
    assert "\x1b" not in "".join(report.lines())


def test_a_duplicate_is_searched_among_usable_pictures_only(folder):
    """The copy that has a caption stays, although the one without comes first."""
    folder.add("a-first.png", encoded(scene(60)), caption="")
    folder.add("b-second.png", encoded(scene(60)), caption="a scene")
    report = folder.check()
    assert named(report) == {"captionless": ["a-first.png"]}
    assert "b-second.png" in {example.id for example in report.usable}


def test_the_report_for_the_console_and_for_machines(folder):
    for n in range(5):
        folder.add(f"tiny-{n}.png", encoded(scene(70 + n, 32, 32)))
    folder.add("sound.png", encoded(scene(80)), licence="")
    report = folder.check()
    lines = report.lines()
    assert lines[0].endswith("pets: 10 pictures, 5 usable, captions from metadata files")
    assert [line.split()[:2] for line in lines if not line.startswith(" ")][1:] == [["tiny", "5"], ["licence", "1"]]
    assert lines[2].strip().startswith("tiny-0.png: 32x32; give a picture of at least 64")
    assert sum("tiny-" in line for line in lines) == 3
    assert "    … and 2 more" in lines
    data = json.loads(json.dumps(report.as_json()))
    assert data["counts"] == {"tiny": 5, "licence": 1}
    assert (data["pictures"], data["usable"], data["ok"], data["layout"]) == (10, 5, False, "metadata")
    assert [problem["path"] for problem in data["problems"]["tiny"]] == [f"tiny-{n}.png" for n in range(5)]


def test_two_runs_say_the_same(folder):
    folder.add("copy.png", encoded(scene(0)))
    folder.add("small.png", encoded(scene(2).resize((64, 64))))
    first, second = folder.check(), folder.check()
    assert first == second
    assert list(first.counts) == [kind for kind in KINDS if kind in first.counts]


# One picture


def test_fine_drawings_are_not_uniform():
    line = Image.new("RGB", (512, 512), "white")
    ImageDraw.Draw(line).line((10, 256, 500, 256), fill="black")  # 0.2 % of the pixels
    white = drawing("white", "RGBA", (255, 255, 255, 0))  # varies in alpha alone
    equal = Image.new("RGB", (64, 64), (255, 0, 0))
    ImageDraw.Draw(equal).rectangle((0, 0, 63, 31), fill=(0, 130, 0))  # equal brightness
    for image in (line, white, equal):
        assert pixel_problems(np.asarray(image), "a") == []


# Duplicates


def twins(*images: Image.Image) -> dict[int, int]:
    return near_duplicates([fingerprint(np.asarray(image)) for image in images])


def symmetric(colour: str) -> Image.Image:
    """Half of its frequencies are zero, but for what coding adds."""
    image = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(image).ellipse((30, 30, 97, 97), fill=colour, outline="red", width=9)
    return image


COPIES = {
    "half": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS),
    "1.37 times": lambda image: image.resize((int(image.width * 1.37), int(image.height * 1.37))),
    "jpeg 50": lambda image: Image.open(io.BytesIO(encoded(image, "JPEG", quality=50))),
    "webp 80": lambda image: Image.open(io.BytesIO(encoded(image, "WEBP", quality=80))),
    "half, jpeg 85": lambda image: Image.open(io.BytesIO(encoded(image.reduce(2), "JPEG", quality=85))),
}


@pytest.mark.parametrize("copy", COPIES)
def test_scaled_and_recompressed_copies_are_near_duplicates_and_other_pictures_are_not(copy):
    originals = [scene(seed, 160, 128) for seed in range(30)]
    originals += [drawing("red"), drawing("black", dot=(10, 90, 30, 110)), symmetric("navy"), symmetric("orange")]
    copies = [COPIES[copy](image) for image in originals]
    count = len(originals)
    assert twins(*originals) == {}
    assert twins(*originals, *copies) == {count + n: n for n in range(count)}


CLEAR = (0, 0, 0, 0)
DIFFERENT = {
    "colour": (drawing("red"), drawing("blue")),
    "colour of equal brightness": (drawing((255, 0, 0)), drawing((0, 130, 0))),
    "one small thing more": (drawing("red"), drawing("red", dot=(8, 100, 20, 112))),
    "one small thing elsewhere": (drawing("red", dot=(8, 100, 20, 112)), drawing("red", dot=(104, 100, 116, 112))),
    "black and white on nothing": (drawing("black", "RGBA", CLEAR), drawing("white", "RGBA", CLEAR)),
    "one faint thing more": (drawing("red"), drawing("red", dot=(8, 100, 30, 122), shade=(235, 235, 235))),
    "mirrored": (drawing("red"), drawing("red").transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "negative": (drawing("black"), drawing("white", ground="black")),
}


@pytest.mark.parametrize("pair", DIFFERENT)
def test_pictures_that_differ_in_what_a_caption_says_are_kept(pair):
    assert twins(*DIFFERENT[pair]) == {}


def test_drawings_on_nothing_have_a_shape_whatever_their_colour():
    bits = {colour: fingerprint(np.asarray(drawing(colour, "RGBA", CLEAR))).bits for colour in ("black", "white")}
    assert bits["black"] and bits["white"] and bits["black"] != bits["white"]


def test_hidden_colour_does_not_count():
    pixels = np.asarray(drawing("red", "RGBA", CLEAR)).copy()
    hidden = pixels.copy()
    hidden[pixels[..., 3] == 0, :3] = 200
    assert near_duplicates([fingerprint(pixels), fingerprint(hidden)]) == {1: 0}


def test_exact_duplicates_point_at_the_first():
    assert exact_duplicates(["a", "b", "a", "c", "b", "a"]) == {2: 0, 4: 1, 5: 0}
    assert exact_duplicates(["a", "b"]) == exact_duplicates([]) == {}


GREY = np.full((16, 16, 4), 128, np.uint8)


def flipped(rng: np.random.Generator, bits: int, count: int) -> int:
    for position in rng.choice(64, count, replace=False).tolist():
        bits ^= 1 << position
    return bits


def test_the_bucketed_search_finds_every_pair_within_three_bits_and_none_beyond():
    rng = np.random.default_rng(3)
    prints, expected = [], {}
    for n in range(400):
        bits, distance = int(rng.integers(0, 1 << 63)), n % 6
        expected |= {2 * n + 1: 2 * n} if distance <= 3 else {}
        prints += [Fingerprint(bits, GREY), Fingerprint(flipped(rng, bits, distance), GREY)]
    assert near_duplicates(prints) == expected


@pytest.mark.parametrize("crowded", [False, True], ids=["random", "one bucket"])
def test_the_search_does_not_compare_everything_with_everything(monkeypatch, crowded):
    compared = 0
    distance = dedup._distance

    def counted(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        nonlocal compared
        compared += len(a)
        return distance(a, b)

    monkeypatch.setattr(dedup, "_distance", counted)
    count = 1000 if crowded else 20_000
    rng = np.random.default_rng(0)
    bits = [0] * count if crowded else rng.integers(0, 1 << 63, count).tolist()
    thumbs = rng.integers(96, 160, (count, 16, 16, 4), np.uint8)  # of one brightness, and none like another
    assert near_duplicates([Fingerprint(b, thumb) for b, thumb in zip(bits, thumbs, strict=True)]) == {}
    # every pair in every table would be 10 million comparisons in the crowd, 4,000 million at random
    assert 0 < compared <= (20 * 64 * count if crowded else count)


def test_a_chain_of_small_changes_is_not_collapsed():
    """Three shades, of which only neighbours are alike: the middle one goes, or, where it comes first, stays alone."""
    a, b, c = (Fingerprint(7, np.full((16, 16, 4), (v, v, v, 255), np.uint8)) for v in (100, 103, 106))
    assert near_duplicates([a, b, c]) == {1: 0}
    assert near_duplicates([b, a, c]) == {1: 0, 2: 0}
