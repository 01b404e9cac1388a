"""Text encoders of public checkpoints behind the ``TextEncoder`` protocol: CLIP, T5 and Qwen kinds, alone or together.

A reader is one tokenizer with its network. What several readers make of a text is joined as the checkpoint's denoiser
was trained on it, which its family says (``darkroom.synthesis.external``).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any, Protocol

import torch
from torch import Tensor

from darkroom.contracts.errors import BadInput, shown
from darkroom.nn.public.branches import Wearing
from darkroom.nn.public.learnt import taught
from darkroom.protocols import Call, Conditioning, Network, Task
from darkroom.wording.cutting import parts_of
from darkroom.wording.syntax import Sentence

REMEMBERED = 32  # texts: of the largest T5, 4096 wide, at 512 tokens, 270 MB


@dataclass(frozen=True, slots=True)
class Read:
    """What one reader makes of a text: a vector for each token, and one for all of it."""

    tokens: Tensor  # (tokens, width)
    pooled: Tensor  # (width of the pooled vector)


@dataclass(frozen=True, slots=True)
class Learnt:
    """A word that was learnt: its file's hash, how it is written, and how many tokens it stands for."""

    sha256: str
    spellings: tuple[str, ...]
    tokens: int


class Reader(Network, Protocol):
    """A tokenizer and its network."""

    NETWORK: str
    limit: int  # tokens that are read at once, start and end included
    network: Any
    wearing: Wearing

    def length(self, text: str) -> int:
        """Tokens of a text, start and end included."""

    def call(self, text: str) -> Call:
        """What is asked about a text, which is cut where it is too long."""

    def read(self, answer: Tensor) -> Read:
        """What the answer says."""

    def starts(self, text: str) -> list[int]:
        """For each token, the character of the text it begins at; -1 where it stands for none."""


class _TokenReader:
    """What readers of both kinds share: a tokenizer that pads every text to the limit."""

    def __init__(self, tokenizer: Any, network: Any, name: str, limit: int, pooled: int) -> None:
        self.tokenizer, self.network, self.NETWORK, self.limit = tokenizer, network.eval(), name, limit
        self._pooled = pooled  # width of the pooled vector
        self.wearing = Wearing()

    def length(self, text: str) -> int:
        """Tokens of a text, start and end included."""
        return len(self.tokenizer(text).input_ids)

    def call(self, text: str) -> Call:
        """The text's tokens, padded to the limit or cut to it."""
        return Call(self.NETWORK, {"ids": torch.tensor(self._padded(text).input_ids)})

    def starts(self, text: str) -> list[int]:
        """For each token, the character of the text it begins at; -1 where it stands for none."""
        spans = self._padded(text, return_offsets_mapping=True).offset_mapping
        return [first if last > first else -1 for first, last in spans]

    def read(self, answer: Tensor) -> Read:
        """An answer is one row: the tokens' vectors one after the other, then the pooled one."""
        tokens, pooled = answer[: len(answer) - self._pooled], answer[len(answer) - self._pooled :]
        return Read(tokens.view(self.limit, -1), pooled)

    def _padded(self, text: str, **more: Any) -> Any:
        return self.tokenizer(text, padding="max_length", max_length=self.limit, truncation=True, **more)


class ClipReader(_TokenReader):
    """A CLIP text network (arXiv:2103.00020): causal, and what it made of the end token stands for the whole text.

    ``layer`` counts hidden states from the end: -1 is the last, after the final norm; -2 the one before, without it.
    It can be taught words, whose vectors are ``learnt``, by the hashes of their files.
    """

    def __init__(self, tokenizer: Any, network: Any, name: str, layer: int = -1) -> None:
        """``network`` is a transformers ``CLIPTextModel``, or one with a projection of its pooled vector."""
        config = network.config
        projected = hasattr(network, "text_projection")
        pooled = config.projection_dim if projected else config.hidden_size
        super().__init__(tokenizer, network, name, config.max_position_embeddings, pooled)
        self.layer, self._of_all = layer, "text_embeds" if projected else "pooler_output"
        self.learnt: dict[str, Tensor] = {}
        self._words: tuple[Learnt, ...] = ()

    def knowing(self, words: Sequence[Learnt]) -> ClipReader:
        """The same reader, to whom these words are words."""
        other = copy(self)
        other._words = tuple(words)
        return other

    def length(self, text: str) -> int:
        """Tokens of a text, start and end included."""
        return len(self._spelt(text)[0]) + 2 if self._words else super().length(text)

    def call(self, text: str) -> Call:
        """The text's tokens, padded to the limit or cut to it; words that were learnt have numbers of their own."""
        if not self._pieces(text)[1]:
            return super().call(text)
        ids, _ = self._spelt(text)
        start, end = self.tokenizer("").input_ids
        padded = [start, *ids[: self.limit - 2], end]
        padded += [self.tokenizer.pad_token_id] * (self.limit - len(padded))
        return Call(self.NETWORK, {"ids": torch.tensor(padded)}, tuple(word.sha256 for word in self._words))

    def starts(self, text: str) -> list[int]:
        """For each token, the character of the text it begins at; -1 where it stands for none."""
        if not self._words:
            return super().starts(text)
        places = [-1, *self._spelt(text)[1][: self.limit - 2]]
        return places + [-1] * (self.limit - len(places))

    def _spelt(self, text: str) -> tuple[list[int], list[int]]:
        """The numbers of a text's tokens, without start and end, and the characters they begin at."""
        ids: list[int] = []
        places: list[int] = []
        texts, words = self._pieces(text)
        for (at, piece), word in zip_longest(texts, words):
            made = self.tokenizer(piece, add_special_tokens=False, return_offsets_mapping=True)
            ids += made.input_ids
            places += [at + first if last > first else -1 for first, last in made.offset_mapping]
            if word is not None:
                place, first, count = word
                ids += range(first, first + count)
                places += [place] * count
        return ids, places

    def _pieces(self, text: str) -> tuple[list[tuple[int, str]], list[tuple[int, int, int]]]:
        """The text between words that were learnt, each with its place; and the words: place, first number, tokens."""
        pattern = any_of(self._words)
        texts, words, at = [], [], 0
        for match in pattern.finditer(text) if pattern else ():
            texts.append((at, text[at : match.start()]))
            at = match.end()
            first = self.network.config.vocab_size
            for word in self._words:
                if match[0].lower() in (spelling.lower() for spelling in word.spellings):
                    words.append((match.start(), first, word.tokens))
                    break
                first += word.tokens
        return [*texts, (at, text[at:])], words

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Token vectors and the pooled vector of each text, as one row."""
        found = []
        for call in calls:
            vectors = [self.learnt[name] for name in call.adapters if name in self.learnt]
            found += self.wearing.answers(self.network, [call], partial(self._answer, vectors))
        return found

    def _answer(self, vectors: Sequence[Tensor], ids: Tensor) -> Tensor:
        with taught(self.network, ids, vectors) as numbers:
            out = self.network(numbers, output_hidden_states=self.layer != -1)
        tokens = out.last_hidden_state if self.layer == -1 else out.hidden_states[self.layer]
        return torch.cat([tokens.flatten(1), getattr(out, self._of_all)], 1)


class T5Reader(_TokenReader):
    """The encoder of a T5 (arXiv:1910.10683); it has no vector for the whole text."""

    def __init__(self, tokenizer: Any, network: Any, name: str, limit: int) -> None:
        """``network`` is a transformers ``T5EncoderModel``; ``limit`` is what the denoiser was trained with."""
        super().__init__(tokenizer, network, name, limit, pooled=0)

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Token vectors of each text, as one row."""
        return self.wearing.answers(self.network, calls, lambda ids: self.network(ids).last_hidden_state.flatten(1))


class TalkReader(_TokenReader):
    """A language model that talks (Qwen3, arXiv:2505.09388), given the sentence as what a user says to it.

    The words around it are those of its kind, written here: templates of a checkpoint are programs. Nothing is padded,
    since a causal network's tokens do not see what comes after.
    """

    def __init__(self, tokenizer: Any, network: Any, name: str, limit: int, layer: int) -> None:
        """``network`` is a transformers ``Qwen3Model``; ``layer`` counts hidden states from the end."""
        super().__init__(tokenizer, network, name, limit, pooled=0)
        self.layer, self._width = layer, int(network.config.hidden_size)

    def length(self, text: str) -> int:
        """Tokens of a text, with the words around it."""
        return len(self._said(text))

    def call(self, text: str) -> Call:
        """The tokens of a text, with the words around it."""
        return Call(self.NETWORK, {"ids": torch.tensor(self._said(text)[: self.limit])})

    def read(self, answer: Tensor) -> Read:
        """An answer is one row: the tokens' vectors one after the other."""
        return Read(answer.view(-1, self._width), answer.new_zeros(1))

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Token vectors of each text, as one row."""
        return self.wearing.answers(self.network, calls, self._answer)

    def _answer(self, ids: Tensor) -> Tensor:
        out = self.network(input_ids=ids, output_hidden_states=True, use_cache=False)
        states: Tensor = out.hidden_states[self.layer]
        return states.flatten(1)

    def _said(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n").input_ids
        return ids


def any_of(words: Sequence[Learnt]) -> re.Pattern[str] | None:
    """Finds learnt words where they stand by themselves, in whatever case; None: there are none."""
    spellings = sorted({spelling for word in words for spelling in word.spellings}, key=len, reverse=True)
    if not spellings:
        return None
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, spellings))})(?!\w)", re.IGNORECASE)


def named_in(text: str, words: Sequence[Learnt]) -> bool:
    """Whether a text holds one of these words."""
    pattern = any_of(words)
    return pattern is not None and pattern.search(text) is not None


def _key(call: Call) -> tuple[object, ...]:
    """What decides the answer to a call."""
    told = (
        (name, tuple(value.tolist()) if isinstance(value, Tensor) else value) for name, value in call.inputs.items()
    )
    return (call.network, call.adapters, *sorted(told))


# What a denoiser is told, of what each reader made of one text; the text itself may be the empty one.
Join = Callable[[str, Sequence[Read]], Read]


class PublicEncoder:
    """The readers of a checkpoint together.

    ``leading`` is the reader whose limit counts. Where ``chunked``, longer prompts are read in parts, one after the
    other, and the pooled vector is that of the first; where not, they are refused with their length. A word's weight
    moves its vector away from what stands in its place in the empty sentence, or towards it: e + w (v - e).
    """

    def __init__(
        self, readers: Sequence[Reader], join: Join, leading: int = 0, *, chunked: bool, words: Sequence[Learnt] = ()
    ) -> None:
        self.readers, self._join, self._leading, self.chunked = readers, join, leading, chunked
        self._words = any_of(words)
        self._remembered: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()

    def knowing(self, words: Sequence[Learnt]) -> PublicEncoder:
        """The same readers, to whom these words are words; all of them can be taught, where there are any words."""
        if not words:
            return self
        readers = [reader.knowing(words) for reader in self.readers if isinstance(reader, ClipReader)]
        return PublicEncoder(readers, self._join, self._leading, chunked=self.chunked, words=words)

    def called(self, role: str) -> PublicEncoder:
        """The same readers, whose calls are set apart from those of another checkpoint."""
        readers = [copy(reader) for reader in self.readers]
        for reader in readers:
            reader.NETWORK = f"{role}{reader.NETWORK}"
        return PublicEncoder(readers, self._join, self._leading, chunked=self.chunked)

    @property
    def limit(self) -> int:
        """Tokens that are read at once, start and end included."""
        return self.readers[self._leading].limit

    def length(self, text: str) -> int:
        """Tokens of a text, start and end included."""
        return self.readers[self._leading].length(text)

    def parts(self, chunks: Sequence[Sentence]) -> tuple[list[Sentence], tuple[str, ...]]:
        """The chunks, cut where they are longer than is read at once, and the words that are too many.

        Raises BadInput for what cannot be cut, and for weights where they mean nothing.
        """
        if self.chunked:
            return parts_of(chunks, lambda text: self.length(text) - 2, self.limit, self._words)
        if len(chunks) > 1:
            raise BadInput(f"a prompt of {len(chunks)} chunks", "is read as one by this model", "leave BREAK out")
        for chunk in chunks:
            if (length := self.length(chunk.spelling)) > self.limit:
                rule = f"are more than the {self.limit} that this model reads, and it cannot read in parts"
                raise BadInput(f"the prompt's {length} tokens", rule, "say it in fewer words")
            if chunk.runs:
                rule = "has no meaning to this model, whose text encoder reads sentences as a whole"
                raise BadInput(f"a weight in {shown(chunk.text)}", rule, "leave the brackets out, or escape them: \\(")
        return list(chunks), ()

    def encode(self, chunks: Sequence[Sentence]) -> Task[Conditioning]:
        """Sentences to vectors."""
        parts, _ = self.parts(chunks)
        texts = [part.spelling for part in parts]
        if any(part.runs for part in parts):
            texts.append("")
        answers = yield [reader.call(text) for text in texts for reader in self.readers]
        found = []
        for at, text in enumerate(texts):
            rows = answers[at * len(self.readers) : (at + 1) * len(self.readers)]
            found.append((text, [reader.read(row) for reader, row in zip(self.readers, rows, strict=True)]))
        empty = found[-1][1]
        read = [
            self._join(text, self._weighed(part, reads, empty) if part.runs else reads)
            for part, (text, reads) in zip(parts, found, strict=False)
        ]
        tokens = torch.cat([one.tokens for one in read])
        return Conditioning(tokens, torch.ones(len(tokens), dtype=torch.bool), read[0].pooled)

    def asked(self, calls: Sequence[Call]) -> list[Any]:
        """The network that calls of one reader go through; none where all of them are remembered."""
        return [] if all(_key(call) in self._remembered for call in calls) else [self._reader(calls).network]

    def _reader(self, calls: Sequence[Call]) -> Reader:
        [reader] = (reader for reader in self.readers if calls[0].network == reader.NETWORK)
        return reader

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """What the reader that the calls name makes of them; texts of late are remembered, since most pictures of a
        session say what another said, and a large reader takes as long as a step."""
        reader = self._reader(calls)
        keys = [_key(call) for call in calls]
        new = {key: call for key, call in zip(keys, calls, strict=True) if key not in self._remembered}
        found = dict(zip(new, reader.evaluate(list(new.values())), strict=True)) if new else {}
        answers = [found[key] if key in found else self._remembered[key] for key in keys]
        for key, answer in zip(keys, answers, strict=True):
            self._remembered[key] = answer
            self._remembered.move_to_end(key)
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return answers

    def _weighed(self, part: Sentence, reads: Sequence[Read], empty: Sequence[Read]) -> list[Read]:
        found = []
        for reader, one, nothing in zip(self.readers, reads, empty, strict=True):
            weights = [part.weight(place) if place >= 0 else 1.0 for place in reader.starts(part.spelling)]
            counts = torch.tensor(weights, dtype=one.tokens.dtype)[:, None]
            moved = nothing.tokens + counts * (one.tokens - nothing.tokens)
            found.append(Read(torch.where(counts == 1.0, one.tokens, moved), one.pooled))
        return found
