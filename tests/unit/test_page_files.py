"""The page's files: their own, small, and without a word that reaches elsewhere."""

from __future__ import annotations

import re

from darkroom.server.routes.page import WEB

MOST_BYTES = 300_000
FILES = [path for path in sorted(WEB.rglob("*")) if path.is_file()]
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
NAMESPACE = "http://www.w3.org/2000/svg"


def test_all_of_it_is_small() -> None:
    assert SCRIPTS and sum(path.stat().st_size for path in FILES) < MOST_BYTES


def test_nothing_comes_from_elsewhere() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8").replace(NAMESPACE, "")
        assert not re.search(
            r"https?://|//cdn|@import|\beval\(|new Function|innerHTML|outerHTML|document\.write", text
        ), path


def test_no_style_or_script_stands_in_the_page_itself() -> None:
    index = (WEB / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", index)
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"""setAttribute\(\s*["']style""", text), path


def test_modules_are_short_and_folders_few() -> None:
    long = {path.name: n for path in SCRIPTS if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long
    for folder in {path.parent for path in SCRIPTS}:
        assert len(list(folder.glob("*.js"))) <= 12, folder
    nothing = {"utils", "util", "misc", "common", "helpers", "helper", "manager"}
    assert not [path for path in SCRIPTS if path.stem in nothing]


def test_every_module_is_used_and_every_import_is_there() -> None:
    named = {WEB / "js" / "main.js"}
    for path in SCRIPTS:
        for found in re.findall(r"""(?:from|import\()\s*["'](\.[^"']+)["']""", path.read_text(encoding="utf-8")):
            target = (path.parent / found).resolve()
            assert target.is_file(), f"{path.name} imports {found}"
            named.add(target)
    assert not [path for path in SCRIPTS if path.resolve() not in {one.resolve() for one in named}]


def test_what_the_page_begins_with_is_asked_for_at_once() -> None:
    begins: list[str] = []

    def follow(name: str) -> None:
        for found in re.findall(r'^import .*? from "(\.[^"]+)";', (WEB / name).read_text(encoding="utf-8"), re.M):
            path = (WEB / name).parent.joinpath(found).resolve().relative_to(WEB.resolve()).as_posix()
            if path not in begins:
                begins.append(path)
                follow(path)

    follow("js/main.js")
    index = (WEB / "index.html").read_text(encoding="utf-8")
    assert sorted(re.findall(r'modulepreload" href="/page/([^"]+)"', index)) == sorted(begins)
