"""Files of words that were learnt (textual inversion, arXiv:2208.01618), for the text encoders of a public checkpoint.

Such a file holds vectors that stand where those of tokens would: one tensor, called ``emb_params`` or by the word
itself, where there is one encoder; ``clip_l`` and ``clip_g`` where there are two. The word is written as the file is
called, or as its tensor is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from darkroom.checkpoints.header import check_finite, read_header
from darkroom.contracts.errors import BadFile, BadInput, brief, shown
from darkroom.prompt.public import ClipReader, Learnt

OF_ENCODERS = ("clip_l", "clip_g")  # the tensors' names where there are two encoders, in their order
NAMELESS = ("emb_params", *OF_ENCODERS)  # what tensors are called that do not say their word
LARGEST = 10_000_000  # bytes: 75 vectors for each of the largest encoders are a tenth


def read_embedding(path: Path, readers: Sequence[ClipReader], family: str) -> tuple[list[Tensor], str | None]:
    """The vectors of a file for each reader, (tokens, width), and the word its tensor is called; None: it says none.

    Raises BadInput for one that is made for other encoders, BadFile for a damaged one.
    """
    what = f"the embedding {shown(path.name)}"
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        rule = "is a pickle or something else, and no safetensors file" if path.is_file() else "is not there"
        raise BadInput(what, rule, "give a safetensors file")
    if path.stat().st_size > LARGEST:
        raise BadInput(what, f"is larger than {LARGEST / 1e6:g} MB, and no word is", "give a file of learnt words")
    header = read_header(path)
    check_finite(header)
    tensors = load_file(path)
    for other in ("emb_params",) if len(readers) > 1 else OF_ENCODERS:
        if other in tensors:
            rule = f"holds {shown(other)}, which {family} has no text encoder for"
            raise BadInput(what, rule, "take one that was made for this family")
    names = list(tensors) if len(readers) == 1 else [name for name in OF_ENCODERS if name in tensors]
    over = [name for name in tensors if name not in names]
    if len(names) != len(readers) or over:
        rule = f"holds {brief(list(tensors), quoted=True) or 'nothing'}, and {family} takes "
        asked = "one tensor" if len(readers) == 1 else f"{' and '.join(OF_ENCODERS)}"
        raise BadInput(what, rule + asked, "take one that was made for this family")
    vectors = [_vectors(what, name, tensors[name], reader, family) for name, reader in zip(names, readers, strict=True)]
    if len({len(one) for one in vectors}) > 1:
        counts = " and ".join(str(len(one)) for one in vectors)
        raise BadFile(f"{path}", f"stands for {counts} tokens, and they have to be as many", "fetch the file again")
    return vectors, None if names[0] in NAMELESS else names[0]


def _vectors(what: str, name: str, tensor: Tensor, reader: ClipReader, family: str) -> Tensor:
    width, room = int(reader.network.config.hidden_size), reader.limit - 2
    vectors = tensor[None] if tensor.ndim == 1 else tensor
    if vectors.ndim != 2 or vectors.shape[1] != width or not tensor.is_floating_point():
        rule = f"holds {shown(name)} of shape {tuple(tensor.shape)}, and vectors of {family} are {width} wide"
        raise BadInput(what, rule, "take one that was made for this family")
    if not 1 <= len(vectors) <= room:
        rule = f"stands for {len(vectors)} tokens, and {family} reads {room} at once"
        raise BadInput(what, rule, "take one of fewer")
    return vectors


def word(use: str, sha256: str, called: str | None, tokens: int) -> Learnt:
    """How a word is written: as its file is called in a recipe, and as its tensor is."""
    spellings = (Path(use).stem, *([] if called is None else [called]))
    return Learnt(sha256, spellings, tokens)
