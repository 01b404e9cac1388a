"""The examples of docs/server-apis.md, run against a server of a test."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from tests.studio import ROOT, Server


def guide_examples(running: Server, language: str, holding: str) -> str:
    """The first block of docs/server-apis.md in a language that holds a text, with this studio's address in it."""
    text = (ROOT / "docs" / "server-apis.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    block = next(block for kind, block in blocks if kind == language and holding in block)
    assert "7860" in block
    return block.replace("7860", str(running.port))


def run_example(running: Server, holding: str, folder: Path) -> str:
    """Runs that block of Python in a folder; what it prints."""
    code = guide_examples(running, "python", holding)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


def curled(running: Server, holding: str) -> Any:
    """What the curl command of that block is answered with."""
    address, *flags = shlex.split(guide_examples(running, "", holding).replace("\\\n", ""))[1:]
    [header, body] = [value for name, value in zip(flags[::2], flags[1::2], strict=True) if name in ("-H", "-d")]
    request = urllib.request.Request(address, body.encode(), dict([header.split(": ")]))
    with urllib.request.urlopen(request, timeout=280) as reply:
        return json.load(reply)
