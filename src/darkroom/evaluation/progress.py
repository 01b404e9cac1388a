"""How far a long piece of work is, on stderr."""

from __future__ import annotations

import sys
import time

EVERY_S = 15.0


class Progress:
    """Says what is done and how long the rest will take: rewritten in place where a person looks, else now and then.

    Call it with what is done before the first piece too: what an earlier run did says nothing of this one's speed.
    """

    def __init__(self, doing: str, every_s: float = EVERY_S) -> None:
        self.doing, self.every_s = doing, every_s
        self.lively = sys.stderr.isatty()
        self.first: tuple[float, int] | None = None
        self.said = 0.0

    def __call__(self, done: int, of: int) -> None:
        """``done`` of ``of`` pieces are."""
        now = time.monotonic()
        if self.first is None:
            self.first = now, done
            self.said = now
        ended = done >= of
        if not (ended or self.lively or now - self.said >= self.every_s):
            return
        self.said = now
        started, before = self.first
        left = f", {_duration((now - started) / (done - before) * (of - done))} left" if before < done < of else ""
        text = f"{self.doing} {done:,} of {of:,}{left}"
        print(f"{text:<60}" if self.lively else text, file=sys.stderr, end="\r" if self.lively and not ended else "\n")
        sys.stderr.flush()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
