"""What the judge must reach to be trusted, and how sure a measured share is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from darkroom.evaluation.calibration import OTHER_SIZES, OVERALL, Calibration
from darkroom.judge.judge import Trust

FACTS = ("presence", "count", "colour", "relation", "binding", "style")  # none of them may be missing
CEILING, FOIL, SPOILT = 0.95, 0.05, 0.10  # at least, at most, at most
_Z = 1.959964  # of a two-sided 95 % interval


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of ``n`` answers (Wilson, 1927); all of [0, 1] where there are none."""
    if n == 0:
        return 0.0, 1.0
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    reach = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n)) / (1 + _Z**2 / n)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def holds(kind: str, trust: Trust) -> bool | None:
    """Whether a kind of fact reaches its bars; None where it has none.

    Of pictures as a whole only the foil has one: a description with one fact changed.
    """
    own = kind.removeprefix(OTHER_SIZES)
    if own not in (*FACTS, OVERALL):
        return None
    return (own == OVERALL or trust.ceiling >= CEILING) and trust.foil is not None and trust.foil <= FOIL


def rows(trust: Mapping[str, Trust]) -> dict[str, dict[str, Any]]:
    """For a program: ceiling, floor and foil of every kind, behind how many answers, and whether they hold."""
    return {
        kind: {
            **vars(t),
            "ceiling_interval": wilson(t.ceiling, t.n),
            "foil_interval": None if t.foil is None else wilson(t.foil, t.foils),
            "holds": holds(kind, t),
        }
        for kind, t in trust.items()
    }


def about(found: Calibration) -> dict[str, Any]:
    """For a program: what is no row of a fact, always in the same places."""
    spoilt = {
        way: {"accepted": share, "n": n, "interval": wilson(share, n), "holds": share <= SPOILT}
        for way, (share, n) in sorted(found.spoilt.items())
    }
    bars = {"ceiling": CEILING, "foil": FOIL, "spoilt": SPOILT}
    return {"scenes": found.scenes, "spoilt": spoilt, "bars": bars, "failing": failing(found)}


def failing(found: Calibration) -> list[str]:
    """The bars that do not hold, by name; a fact that was never asked for is one."""
    missing = [kind for kind in FACTS if kind not in found.trust]
    low = [kind for kind, trust in found.trust.items() if holds(kind, trust) is False]
    fooled = [f"spoilt: {way}" for way, (share, _) in sorted(found.spoilt.items()) if share > SPOILT]
    return [*missing, *low, *fooled]


def lines(found: Calibration) -> list[str]:
    """For a terminal: every share with its interval, how many answers it is of, and whether its bar holds."""
    width = max(len(name) for name in (*found.trust, *found.spoilt))
    said = [f"{kind:<{width}}  {_row(kind, trust)}" for kind, trust in found.trust.items()]
    spoilt = [
        f"{way:<{width}}  still taken for one {_share(share, n)}  {_verdict(share <= SPOILT)}"
        for way, (share, n) in sorted(found.spoilt.items())
    ]
    failed = failing(found)
    end = f"does not hold: {', '.join(failed)}" if failed else "every bar holds"
    rule = f"bars: ceiling >= {CEILING:.2f} and foil <= {FOIL:.2f} for {', '.join(FACTS)}; spoilt <= {SPOILT:.2f}"
    return [*said, *spoilt, f"{found.scenes} scenes, 95 % intervals (Wilson)", rule, end]


def _row(kind: str, trust: Trust) -> str:
    foil = f"{'-':<28}" if trust.foil is None else _share(trust.foil, trust.foils)
    verdict = holds(kind, trust)
    said = "" if verdict is None else _verdict(verdict)
    return f"ceiling {_share(trust.ceiling, trust.n)}  floor {trust.floor:.3f}  foil {foil}  {said}".rstrip()


def _share(share: float, n: int) -> str:
    low, high = wilson(share, n)
    return f"{share:.3f} [{low:.3f}, {high:.3f}] {f'of {n}':<8}"


def _verdict(holds: bool) -> str:
    return "holds" if holds else "DOES NOT HOLD"
