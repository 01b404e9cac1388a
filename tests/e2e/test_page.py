"""The page in a real browser, before a real server with a real worker: what a person does with it, from end to end."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkroom.contracts.request import Request
from tests.studio import studio

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is on the PATH"),
    pytest.mark.timeout(600),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE_MS = 120_000  # a busy machine draws slowly
FOX = "a red fox, 3d"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with studio(tmp_path_factory.mktemp("page") / "data") as found:
        yield found.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A page of a visitor's own; whatever its console or its policy complains about fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 850}, accept_downloads=True)
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    complaints = watched(opened)
    opened.goto(address)
    opened.wait_for_selector("#prompt")
    yield opened
    context.close()
    assert not complaints


def watched(page: Any) -> list[str]:
    """What a page complains about, from now on."""
    complaints: list[str] = []
    refused = "the server responded with a status of 4"  # a browser's own note on what the server refuses

    def heard(said: Any) -> None:
        if said.type in ("error", "warning") and refused not in said.text:
            complaints.append(said.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda failed: complaints.append(failed.url) if "/page/" in failed.url else None)
    return complaints


def made(page: Any, prompt: str = FOX) -> str:
    """Makes a picture and waits for it; the address of its file."""
    page.fill("#prompt", prompt)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("text=Cancel")
    image = page.wait_for_selector("img.shown[src^='/api/pictures/']")
    return str(image.get_attribute("src"))


def until(page: Any, expression: str) -> None:
    """Waits until something holds; the page's policy lets no text be run within it, so it is asked from outside."""
    ends = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < ends, expression
        page.wait_for_timeout(50)


def unfold(page: Any) -> None:
    page.evaluate("document.querySelector('.more').open = true")


def test_a_picture_is_typed_made_watched_and_wound_back(page: Any) -> None:
    page.fill("#prompt", "a red fox by a zorgle, 3d")
    page.wait_for_selector(".role[data-role=subject]")
    assert "zorgle" in page.inner_text("#echo") and re.search(r"\d+ of 48 tokens", page.inner_text(".meter"))
    final = made(page)
    assert page.locator(".caption").inner_text().startswith("Seed ")
    slider = page.get_by_label("Step, from noise to picture")
    steps = int(slider.get_attribute("max"))
    assert steps >= 2
    slider.evaluate("input => { input.value = 0; input.dispatchEvent(new Event('input')) }")
    assert page.get_attribute("img.shown", "src").startswith("data:image/webp")
    assert page.locator(".caption").inner_text().startswith("Step 1 of 12")
    slider.focus()
    page.keyboard.press("End")
    assert page.get_attribute("img.shown", "src") == final
    plays = "button => { button.click(); return [button.ariaLabel, document.querySelector('.caption').textContent]; }"
    label, caption = page.get_by_label("Play the steps").evaluate(plays)  # as a film that ends with the picture
    assert label == "Stop here" and caption.startswith("Step 1 of 12")
    page.wait_for_selector(f"img.shown[src='{final}']")
    assert page.get_by_label("Play the steps").is_visible()
    page.reload()
    page.wait_for_selector(f"img.shown[src='{final}']")
    until(page, f"document.querySelector('.scrub').max == {steps}")  # its steps can be read again


def test_a_reload_in_the_middle_loses_nothing(page: Any, address: str) -> None:
    page.fill("#prompt", FOX)
    page.fill("#count", "3")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".tile[data-state=running]")
    page.fill("#prompt", "not sent yet")
    page.fill("#seed", "9007199254740993")  # beyond what a JavaScript number holds
    page.reload()
    page.wait_for_selector(".tile")
    assert page.input_value("#prompt") == "not sent yet"
    assert (page.input_value("#seed"), page.input_value("#count")) == ("9007199254740993", "3")
    until(page, "document.querySelectorAll('.tile[data-state=done]').length >= 3")
    page.wait_for_selector("img.shown[src^='/api/pictures/']")
    page.fill("#count", "1")
    made(page)
    [newest] = httpx.get(f"{address}/api/jobs?most=1").json()
    assert newest["request"]["seed"] == 9007199254740993


def test_the_queue_is_paused_reordered_and_cancelled(page: Any) -> None:
    page.get_by_role("button", name="Queue").click()
    page.get_by_role("button", name="Pause").click()
    page.wait_for_selector(".pill:has-text('Paused')")
    for prompt in ("a blue car", "a green star"):
        page.fill("#prompt", prompt)
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(f"ol.queue strong:has-text('{prompt}')")
    assert "1 before it" in page.locator("ol.queue li").nth(1).inner_text()
    page.get_by_role("button", name="a green star: to the front").click()
    until(page, "document.querySelector('ol.queue strong').textContent === 'a green star'")
    page.reload()
    page.get_by_role("button", name="Queue: Paused").click()
    page.get_by_role("button", name="Cancel a green star").click()
    until(page, "document.querySelectorAll('ol.queue li').length === 1")
    page.get_by_role("button", name="Cancel all of mine").click()
    until(page, "document.querySelectorAll('ol.queue li').length === 0")
    page.get_by_role("button", name="Go on").click()
    page.wait_for_selector(".pill:has-text('Paused')", state="detached")


def test_a_picture_that_is_drawn_is_cancelled(page: Any) -> None:
    unfold(page)
    page.fill("#field-steps", "400")
    page.fill("#prompt", FOX)
    page.get_by_role("button", name="Make", exact=True).click()
    page.wait_for_selector("text=Step ")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.wait_for_selector("text=Cancelled.")
    assert page.get_by_role("button", name="Try again").is_visible()


def test_what_is_refused_is_said_in_the_servers_own_sentence(page: Any, address: str) -> None:
    page.fill("#prompt", FOX)
    page.get_by_label("Width in pixels").fill("100")
    page.keyboard.press("Control+Enter")
    body = {"request": {"prompt": FOX, "width": 100}}
    said = httpx.post(f"{address}/api/jobs/several", json=body).json()["error"]["message"]
    page.wait_for_selector(f"[role=alert]:has-text('{said}')")


def test_settings_come_back_out_of_a_file(page: Any, tmp_path: Path, address: str) -> None:
    page.fill("#seed", "7")
    final = made(page, "three yellow tulips, cartoon")
    file = tmp_path / "tulips.png"
    file.write_bytes(httpx.get(address + final).content)
    page.fill("#prompt", "something else")
    page.fill("#seed", "")
    page.goto(f"{address}/#/gallery")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open a picture from disk").click()
    chooser.value.set_files(file)
    page.get_by_role("dialog").get_by_role("button", name="Use these settings").click()
    page.wait_for_selector("#prompt")
    assert (page.input_value("#prompt"), page.input_value("#seed")) == ("three yellow tulips, cartoon", "7")
    assert made(page, "three yellow tulips, cartoon") == final  # the same pixels, and so the same name


def test_a_picture_is_dropped_and_started_from(page: Any, tmp_path: Path) -> None:
    page.evaluate("""async () => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 128, height: 128 });
        const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
        const carried = new DataTransfer();
        carried.items.add(new File([blob], "photo.png", { type: "image/png" }));
        dispatchEvent(new DragEvent("drop", { dataTransfer: carried, cancelable: true, bubbles: true }));
    }""")
    page.get_by_role("dialog").get_by_role("button", name="Start from it").click()
    page.wait_for_selector("text=Starts from a picture")


def test_the_gallery_finds_keeps_compares_and_takes_back(page: Any, address: str) -> None:
    names = [made(page, prompt) for prompt in ("a green apple, 3d", "a blue star, flat")]
    page.goto(f"{address}/#/gallery")
    page.fill("#search", "green apple")
    until(page, "document.querySelectorAll('.card').length === 1")
    page.locator(".card-open").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Favourite").click()
    assert "a green apple, 3d" in dialog.inner_text()
    page.keyboard.press("Escape")
    page.fill("#search", "")
    page.get_by_role("button", name="Favourites").click()
    until(page, "document.querySelectorAll('.card').length === 1")
    page.get_by_role("button", name="All", exact=True).click()
    until(page, "document.querySelectorAll('.card').length >= 2")
    for at in (0, 1):
        page.locator(".card input").nth(at).check(force=True)
    page.get_by_role("button", name="Compare").click()
    assert "a blue star, flat" in page.get_by_role("dialog").inner_text()
    page.keyboard.press("Escape")
    with page.expect_download() as download:
        page.get_by_role("button", name="Zip").click()
    assert download.value.suggested_filename == "pictures.zip"
    page.get_by_role("button", name="Board").click()
    page.fill("#board", "fruit & stars")
    page.get_by_role("button", name="Put there").click()
    page.get_by_role("button", name="fruit & stars 2").click()
    until(page, "document.querySelectorAll('.card').length === 2")
    page.locator(".card input").first.check(force=True)
    page.get_by_role("button", name="Throw away").click()
    until(page, "document.querySelectorAll('.card').length === 1")
    page.get_by_role("button", name="Take back").click()
    until(page, "document.querySelectorAll('.card').length === 2")
    assert len(names) == 2


def test_a_part_is_painted_and_only_that_is_drawn_anew(page: Any, address: str) -> None:
    made(page)
    page.get_by_role("button", name="Paint on it").click()
    canvas = page.locator("canvas.paint")
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 4

    def stroke(down: float) -> None:
        page.mouse.move(x - 60, y + down)
        page.mouse.down()
        page.mouse.move(x + 60, y + down, steps=6)
        page.mouse.up()

    painted = """() => { const copy = Object.assign(document.createElement("canvas"), { width: 256, height: 256 });
        const pen = copy.getContext("2d", { willReadFrequently: true });
        pen.drawImage(document.querySelector("canvas.paint"), 0, 0);
        return pen.getImageData(0, 0, 256, 256).data.filter((value, at) => at % 4 === 3 && value > 100).length; }"""
    stroke(0)
    one = page.evaluate(painted)
    stroke(80)
    assert page.evaluate(painted) > one > 0
    page.keyboard.press("Control+z")
    page.mouse.move(1, 1)
    assert abs(page.evaluate(painted) - one) < one / 2
    page.get_by_role("button", name="Draw it").click()
    page.wait_for_selector(".result[src^='/api/pictures/']")
    [job] = httpx.get(f"{address}/api/jobs?most=1").json()
    assert job["state"] == "done" and job["request"]["init_image"] and job["request"]["mask"]
    page.get_by_role("button", name="Paint on the result").click()
    page.wait_for_selector(".result", state="detached")


def test_a_picture_goes_on_beyond_its_edge(page: Any, address: str) -> None:
    made(page)
    page.get_by_role("button", name="Paint on it").click()
    page.get_by_label("Margin: right").fill("64")
    page.get_by_role("button", name="Draw it").click()
    page.wait_for_selector(".result[src^='/api/pictures/']")
    [kept] = httpx.get(f"{address}/api/pictures?most=1").json()
    assert kept["width"] > kept["height"]


def test_a_grid_is_laid_out_and_stays_after_a_reload(page: Any, address: str) -> None:
    page.goto(f"{address}/#/grid")
    page.fill("#grid-prompt", FOX)
    page.get_by_label("Columns: values").fill("4, 6")
    page.select_option("#axis-y", "prompt")
    page.get_by_label("Rows: values").fill("fox, owl")
    page.get_by_role("button", name="Draw the grid").click()
    until(page, "document.querySelectorAll('.sheet .tile[data-state=done]').length === 4")
    page.reload()
    until(page, "document.querySelectorAll('.sheet .tile[data-state=done]').length === 4")
    assert "owl" in page.inner_text(".sheet") and "steps 6" in page.inner_text(".sheet")


def test_how_it_works_follows_a_real_picture(page: Any, address: str) -> None:
    page.goto(f"{address}/#/how")
    page.fill("#how-prompt", "a blue car, 3d")
    until(page, "document.querySelectorAll('.token').length === 6")
    page.get_by_role("button", name="Draw it").click()
    page.wait_for_selector(".how-last img")
    assert page.locator(".how-film img").count() >= 2


def test_a_workflow_is_saved_and_its_blanks_filled(page: Any, tmp_path: Path) -> None:
    page.fill("#prompt", "a {{colour|red}} {{animal}}, 3d")
    page.get_by_role("button", name="Save as a workflow").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download", exact=True).click()
    file = tmp_path / "workflow.json"
    download.value.save_as(file)
    page.fill("#prompt", "")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open a workflow").click()
    chooser.value.set_files(file)
    page.get_by_label("animal").fill("owl")
    page.get_by_role("button", name="Fill in").click()
    until(page, "document.querySelector('#prompt').value === 'a red owl, 3d'")


def test_every_field_of_a_request_is_on_the_form(page: Any) -> None:
    unfold(page)
    there = set(page.evaluate("[...document.querySelectorAll('.panel [data-field]')].map((one) => one.dataset.field)"))
    assert there >= set(Request.model_fields), set(Request.model_fields) - there


def test_a_key_is_asked_for_where_the_server_has_any(browser: Any, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("anna a-key-of-enough-letters\n")
    with studio(tmp_path / "locked", "--keys", str(keys)) as locked:
        address = locked.url
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        page.fill("#key", "not the key of anybody")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=this key opens nothing here")
        page.fill("#key", "a-key-of-enough-letters")
        page.keyboard.press("Enter")
        page.wait_for_selector("#prompt")
        assert page.evaluate("document.cookie") == ""
        made(page)
        page.close()
