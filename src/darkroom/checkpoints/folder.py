"""A folder as diffusers saves it: what its index names, and which of its files are taken.

``model_index.json`` names a pipeline and its parts; each part is a folder with its settings and its weights, in one
file or in shards that an index lists. Only settings, words and safetensors are taken. A folder that holds code, or a
link that leads out of it, is refused as a whole: nobody knows what else was meant by it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.checkpoints.header import AGAIN
from darkroom.contracts.errors import BadFile, brief, reason, shown

INDEX = "model_index.json"
CODE = (".py", ".pyc", ".pyo", ".pyd", ".so", ".dll", ".dylib", ".sh", ".bat", ".exe", ".ipynb")
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
WORDS = (
    *("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "spiece.model"),
)
CONFIG = "config.json"
SETTINGS = {"scheduler": "scheduler_config.json"}  # of parts whose settings are not in config.json
LARGEST_JSON = 8_000_000  # bytes of settings; the largest index of shards has under one
MOST_FILES = 10_000
_SHARDS = 1_000


@dataclass(frozen=True, slots=True)
class Folder:
    """A checkpoint's folder: what its index says, its parts' settings, and the files of weights of each part."""

    path: Path
    index: Mapping[str, Any]
    configs: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, tuple[Path, ...]]
    words: Mapping[str, tuple[Path, ...]]  # of its tokenizers

    @property
    def pipeline(self) -> str:
        """The pipeline's class."""
        return str(self.index.get("_class_name"))

    def named(self, part: str) -> tuple[str, str] | None:
        """Library and class that the index names for a part; None: the checkpoint has none."""
        said = self.index.get(part)
        if isinstance(said, list) and len(said) == 2 and all(isinstance(word, str) for word in said):
            return said[0], said[1]
        return None

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that the index names."""
        return tuple(name for name in self.index if self.named(name) is not None)

    @property
    def licence(self) -> str | None:
        """The licence its README names in its front matter; None: it names none."""
        try:
            text = (self.path / "README.md").read_text(encoding="utf-8", errors="replace")[:20_000]
        except OSError:
            return None
        front = re.match(r"---\n(.*?)\n---", text, re.S)
        named = re.search(r"^license: *([\w.+-]{1,100}) *$", front[1], re.M) if front else None
        return named[1] if named else None


def read_folder(path: Path) -> Folder:
    """A checkpoint's folder, looked at without opening weights. Raises BadFile with what is wrong with it."""
    _check_files(path)
    if not (path / INDEX).is_file():
        fix = "give the folder of a whole checkpoint, or one safetensors file"
        raise BadFile(f"{path}", f"holds no {INDEX}", fix)
    index = read_json(path / INDEX)
    folder = Folder(path, index, {}, {}, {})
    configs: dict[str, Mapping[str, Any]] = {}
    weights: dict[str, tuple[Path, ...]] = {}
    words: dict[str, tuple[Path, ...]] = {}
    for part in folder.parts:
        if Path(part).name != part:
            raise BadFile(f"{path / INDEX}", f"names the part {shown(part)}, which is no folder's name", AGAIN)
        if part.startswith("tokenizer"):
            words[part] = tuple(path / part / name for name in WORDS if (path / part / name).is_file())
            if (settings := path / part / "tokenizer_config.json").is_file():
                configs[part] = read_json(settings)
        elif (settings := path / part / SETTINGS.get(part, CONFIG)).is_file():
            configs[part] = read_json(settings)
            if part not in SETTINGS:
                weights[part] = _weights(path / part)
    return Folder(path, index, configs, weights, words)


def read_part(path: Path) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """Settings and files of weights of a folder that holds one network, as diffusers saves it. Raises BadFile."""
    _check_files(path)
    if not (path / CONFIG).is_file():
        raise BadFile(f"{path}", f"holds no {CONFIG}", "give the folder of one network, or its safetensors file")
    return read_json(path / CONFIG), _weights(path)


def read_json(path: Path) -> dict[str, Any]:
    """A small JSON object. Raises BadFile."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise BadFile(f"{path}", f"is larger than {LARGEST_JSON} bytes, and settings are small", AGAIN)
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadFile(f"{path}", f"cannot be read ({reason(error)})", AGAIN) from error
    if not isinstance(found, dict):
        raise BadFile(f"{path}", "is no table of settings", AGAIN)
    return found


def _check_files(path: Path) -> None:
    """Refuses code, links that lead out, and folders that are no checkpoint's."""
    root = path.resolve()
    for seen, file in enumerate(_walked(path)):
        if seen > MOST_FILES:
            raise BadFile(f"{path}", f"holds more than {MOST_FILES} files", "give the folder of one checkpoint")
        if file.is_symlink() and not file.resolve().is_relative_to(root):
            fix = "copy the folder with the files themselves in it (cp -rL) and give the copy"
            raise BadFile(f"{file}", "is a link that leads out of the folder", fix)
        if file.suffix.lower() in CODE:
            fix = "take a checkpoint of settings and weights alone, or remove the file if you know what it is"
            raise BadFile(f"{file}", "is a program, and no model folder may bring one", fix)


def _walked(path: Path) -> Iterator[Path]:
    """Every file below a folder, and every link; links are not followed."""
    try:
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                if entry.name != ".git":
                    yield from _walked(Path(entry.path))
            else:
                yield Path(entry.path)
    except OSError as error:
        raise BadFile(f"{path}", f"cannot be read ({reason(error)})", "give a folder that can be") from error


def _weights(part: Path) -> tuple[Path, ...]:
    """The files of a part's weights: one, or the shards that its index lists; a half-precision variant where there is
    no other."""
    files = sorted(part.glob("*.safetensors"))
    for variant in ("", ".fp16"):
        for base in ("diffusion_pytorch_model", "model"):
            if (one := part / f"{base}{variant}.safetensors").is_file():
                return (one,)
            for index in (f"{base}.safetensors.index{variant}.json", f"{base}{variant}.safetensors.index.json"):
                if (part / index).is_file():
                    return _shards(part, part / index)
    if files:
        rule = f"holds weights under names that are not known: {brief([file.name for file in files])}"
        raise BadFile(f"{part}", rule, "call them diffusion_pytorch_model.safetensors or model.safetensors")
    pickles = [file.name for file in sorted(part.iterdir()) if file.suffix.lower() in PICKLES]
    if pickles:
        rule = f"holds its weights as a pickle only ({brief(pickles)}), which could run code"
        raise BadFile(f"{part}", rule, "take the safetensors files of the same checkpoint")
    raise BadFile(f"{part}", "holds no weights", AGAIN)


def _shards(part: Path, index: Path) -> tuple[Path, ...]:
    """The files that an index of shards lists; all must be there."""
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(name, str) for name in table.values()):
        raise BadFile(f"{index}", "lists no shards", AGAIN)
    names = sorted(set(table.values()))
    odd = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
    if odd or len(names) > _SHARDS:
        raise BadFile(f"{index}", f"lists {shown(odd[0]) if odd else len(names)} for a shard", AGAIN)
    missing = [name for name in names if not (part / name).is_file()]
    if missing:
        rule = f"lists {len(names)} shards, and {shown(missing[0])} is not there"
        raise BadFile(f"{index}", rule, "fetch the missing file into the same folder")
    return tuple(part / name for name in names)
