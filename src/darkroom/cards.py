"""The models at hand: their folders and their cards. Quick: no weights are read."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path

from darkroom.contracts.card import OWN, Card, FileEntry
from darkroom.contracts.errors import BadFile, BadInput, DarkroomError, reason, shown, unknown
from darkroom.wording.tokenizer import Tokenizer, TokenizerError

EMBEDDED = Path(__file__).parent / "weights"
CARD = "card.json"


def store() -> Path:
    """The folder that holds models by their names: DARKROOM_MODELS, or one among the user's data. It need not exist."""
    if named := os.environ.get("DARKROOM_MODELS"):
        return Path(named)
    home = os.environ.get("XDG_DATA_HOME", "")
    return Path(home if os.path.isabs(home) else os.path.expanduser("~/.local/share")) / "darkroom" / "models"


def known_models() -> dict[str, Path]:
    """Names and folders of the models at hand: the embedded one and those in the store."""
    found = {"default": EMBEDDED}
    cards = sorted(store().glob(f"*/{CARD}"))
    found.update({path.parent.name: path.parent for path in cards if not path.parent.name.startswith(".")})
    return {name: folder for name, folder in found.items() if (folder / CARD).is_file()}


def folder_of(name: str) -> Path:
    """The folder of a model given by name or by path. Raises BadInput with the nearest name."""
    models = known_models()
    if name in models:
        return models[name]
    if (Path(name) / CARD).is_file():
        return Path(name)
    if name == "default":
        raise BadFile("the package", "lacks its model", "install darkroom again")
    if Path(name).is_dir():
        raise BadFile(f"{name}", f"holds no {CARD}", "take a complete model folder")
    told = unknown("model", name, models)
    raise BadInput(told.value, told.rule, f"{told.fix}, or the folder of one")


def read_card(folder: Path) -> Card:
    """The card of a model folder; read again where the file has changed."""
    path = folder / CARD
    try:
        told = path.stat()
        return _card_of(path, told.st_mtime_ns, told.st_size)
    except (OSError, UnicodeDecodeError, DarkroomError) as error:
        raise BadFile(f"{path}", f"cannot be read ({reason(error)})", "take a complete model folder") from error


@lru_cache(maxsize=64)
def _card_of(path: Path, changed: int, size: int) -> Card:
    """A card as it was at a time: a server asks for it with every request."""
    return Card.from_json(path.read_text(encoding="utf-8"))


def read_tokenizer(folder: Path, card: Card) -> Tokenizer:
    """The tokenizer of a model folder. Raises BadInput for a public checkpoint, whose words are not ours."""
    if card.family != OWN:
        rule = f"reads prompts as models of the family {card.family} do, which is not shown here"
        raise BadInput(f"the model {shown(card.name)}", rule, "draw with it: darkroom generate ... --dry-run")
    if "tokenizer" not in card.files:
        raise BadFile(f"{folder / CARD}", "names no tokenizer", "take a complete model folder")
    path = folder / card.files["tokenizer"].path
    try:
        return Tokenizer.from_json(path.read_bytes())
    except (OSError, TokenizerError) as error:
        raise BadFile(f"{path}", f"cannot be read ({reason(error)})", "take a complete model folder") from error


def damaged(folder: Path, card: Card) -> list[str]:
    """The files of a model that are missing or not as long as its card says; quick, for a list."""
    paths = [(folder / entry.path, entry.bytes) for entry in card.files.values()]
    return [path.name for path, size in paths if not path.is_file() or path.stat().st_size != size]


def write_card(folder: Path, card: Card) -> None:
    """Writes a card, readable by people."""
    text = json.dumps(json.loads(card.to_json()), indent=1, ensure_ascii=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def with_file(card: Card, folder: Path, component: str, path: str) -> Card:
    """The card with the entry of one file measured anew."""
    data = (folder / path).read_bytes()
    entry = FileEntry(path=path, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    return card.model_copy(update={"files": {**card.files, component: entry}})
