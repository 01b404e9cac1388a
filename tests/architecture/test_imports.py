"""The rules of docs/architecture.md that a machine can keep."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "darkroom"
SOURCES = sorted(PACKAGE.rglob("*.py"))
# The server joins when it is there.
TORCH_FREE = ("contracts", "picture", "wording", "requests", "checkpoints", "server")


def named(path: Path) -> str:
    """The dotted name of a module's file."""
    return ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")


def test_imports_go_downward_only() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_words_and_the_command_line_load_no_torch() -> None:
    free = [named(path) for path in SOURCES if path.relative_to(PACKAGE).parts[0] in TORCH_FREE]
    modules = ["darkroom", "darkroom.cli", *free]
    assert len(modules) > 10
    script = f"import sys\nfor name in {modules}: __import__(name); assert 'torch' not in sys.modules, name"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_drawing_loads_no_compiler() -> None:
    script = (
        "import sys, darkroom.cli.run, darkroom.drawing\n"
        "assert 'darkroom.nn.dit' in sys.modules and 'torch._dynamo' not in sys.modules, 'a second and a half of start'"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_torchvision_is_absent() -> None:
    assert importlib.util.find_spec("torchvision") is None, "beside a CPU torch it breaks every library that finds it"
    names = {(found.metadata["Name"] or "").lower() for found in metadata.distributions()}
    assert "torchvision" not in names


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"\b(import|from) pickle\b|\bpickle\.", "pickles run code"),
        (
            r"\btorch\.(load|save)\((?!.*weights_only=True)",
            "weights are safetensors, and pickles are read for weights alone",
        ),
        (r"weights_only\s*=\s*False", "pickles run code"),
        (r"(?<![\w.])eval\(", "text is never run"),
        (r"(?<![\w.])exec\(", "text is never run"),
    ],
)
def test_what_no_source_may_hold(pattern: str, reason: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in SOURCES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(pattern, line.split("#")[0]) and '"""' not in line
    ]
    assert not found, f"{reason}: " + "; ".join(found)


def test_names_say_what_a_module_is_about() -> None:
    nothing = {"utils", "util", "misc", "common", "helpers", "helper", "manager", "managers"}
    assert not [path for path in SOURCES if path.stem in nothing or path.parent.name in nothing]


def test_files_and_folders_stay_readable() -> None:
    long = {named(path): n for path in SOURCES if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long, f"over 400 lines: {long}"
    folders = {path.parent for path in SOURCES}
    full = {named(f): n for f in folders if (n := len([p for p in f.glob("*.py") if p.name != "__init__.py"])) > 12}
    assert not full, f"over 12 modules: {full}"


def written_by_people() -> Iterator[Path]:
    """The text files of the project, wherever it was unpacked."""
    skipped = {"runs", "pictures", "build", "dist", "__pycache__"}
    for folder, below, files in os.walk(ROOT):
        below[:] = [name for name in below if name not in skipped and (not name.startswith(".") or name == ".ci")]
        for name in files:
            path = Path(folder, name)
            if path.suffix in {".py", ".md", ".toml", ".json", ".tsv", ".cfg", ".txt", ".html", ".js", ".css", ""}:
                yield path


def test_no_file_names_a_machine_or_a_registry() -> None:
    # Written in two parts, so that this file does not find itself.
    machine = ["/work" + "/", "/opt" + "/", "/root" + "/", ".." + "/shared"]
    registries = ["pypi" + ".org", "pythonhosted" + ".org", "download.pytorch" + ".org", "npmjs" + ".org"]
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in written_by_people()
        for word in (*machine, *registries)
        if word in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert not found
