"""The page for everybody: names, order, contrast, weight; and axe-core where DARKROOM_AXE names its file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_page import CHROMIUM, FLAGS, PATIENCE_MS, made, sync_api, unfold, watched
from tests.studio import studio

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is on the PATH"),
    pytest.mark.timeout(600),
]
ROOMS = ("make", "gallery", "canvas", "grid", "how")
MOST_BYTES = 300_000
MOST_S = 5.0  # until the form is there; a second on a machine that is not busy with a whole test suite
NAMELESS = """() => [...document.querySelectorAll("button, a[href], input, select, textarea, [tabindex='0']")]
    .filter((one) => one.offsetParent !== null && one.getAttribute("aria-hidden") !== "true")
    .filter((one) => !(one.getAttribute("aria-label") || one.innerText?.trim() || [...(one.labels ?? [])]
        .some((label) => label.innerText.trim()) || one.title))
    .map((one) => one.outerHTML.slice(0, 200))"""
TWICE = """() => { const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
    return ids.filter((id, at) => ids.indexOf(id) !== at); }"""
NAMES = ("bg", "sheet", "sunk", "raised", "text", "soft", "lamp", "lamp-text", "lamp-soft", "edge", "good", "bad")
COLOUR = """(name) => { const probe = document.body.appendChild(document.createElement("i"));
    probe.style.color = `var(--${name})`;
    const found = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(Number);
    probe.remove(); return found; }"""
READ = [(text, ground) for text in ("text", "soft", "bad") for ground in ("bg", "sheet", "sunk")]
READ += [("lamp-text", "lamp"), ("text", "lamp-soft"), ("soft", "raised"), ("lamp", "sheet"), ("good", "sunk")]
SEEN = [("edge", "sheet"), ("edge", "bg"), ("lamp", "bg"), ("lamp", "sunk")]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with studio(tmp_path_factory.mktemp("access") / "data") as found:
        yield found.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


def opened(browser: Any, address: str, **how: Any) -> Any:
    context = browser.new_context(bypass_csp=True, **how)  # axe is run inside of it
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#prompt")
    return page


def contrast(one: list[float], other: list[float]) -> float:
    """The contrast of two colours (WCAG 2.2)."""

    def light(colour: list[float]) -> float:
        parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    bright, dark = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_apart(browser: Any, address: str, scheme: str) -> None:
    page = opened(browser, address, color_scheme=scheme)
    colours = {name: page.evaluate(COLOUR, name) for name in NAMES}
    weak = {pair: round(found, 2) for pair in READ if (found := contrast(*(colours[name] for name in pair))) < 4.5}
    weak |= {pair: round(found, 2) for pair in SEEN if (found := contrast(*(colours[name] for name in pair))) < 3}
    assert not weak
    page.context.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_every_control_has_a_name_and_nothing_sticks_out(browser: Any, address: str, width: int) -> None:
    page = opened(browser, address, viewport={"width": width, "height": 800}, has_touch=width < 500)
    complaints = watched(page)
    made(page)
    unfold(page)
    axe = os.environ.get("DARKROOM_AXE")
    for room in ROOMS:
        page.goto(f"{address}/#/{room}")
        page.wait_for_selector("a.room[aria-current]")
        page.wait_for_timeout(600)
        assert page.evaluate(NAMELESS) == [], room
        assert page.evaluate(TWICE) == [], room
        assert page.evaluate("document.documentElement.scrollWidth") <= width, room
        if axe is not None:
            page.evaluate(Path(axe).read_text(encoding="utf-8"))
            found = page.evaluate("axe.run().then(({ violations }) => violations)")
            assert not [(one["id"], [node["html"][:150] for node in one["nodes"]]) for one in found], room
    assert not complaints
    page.context.close()


def test_keys_alone_make_a_picture(browser: Any, address: str) -> None:
    page = opened(browser, address)
    assert page.evaluate("document.querySelector('a, button, input').className") == "skip"
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "prompt"
    page.keyboard.type("a red fox, 3d")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("img.shown[src^='/api/pictures/']")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("2")
    page.wait_for_selector(".card-open")
    page.locator(".card-open").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open] .recipe")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className").startswith("card-open")
    page.context.close()


def test_it_is_light_and_quick(browser: Any, address: str) -> None:
    page = browser.new_page()
    sizes: list[int] = []
    page.on("response", lambda answer: sizes.append(len(answer.body())) if "/api/" not in answer.url else None)
    began = time.monotonic()
    page.goto(address)
    page.wait_for_selector("#prompt")
    took = time.monotonic() - began
    page.wait_for_timeout(300)
    print(f"first load: {sum(sizes):,} bytes in {len(sizes)} files, {took:.2f} s")
    assert 0 < sum(sizes) < MOST_BYTES and took < MOST_S
    page.close()
