"""Options that say what scenes a denoiser is taught on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from darkroom.contracts.errors import BadInput, unknown
from darkroom.training.limits import within

if TYPE_CHECKING:
    from darkroom.data.scenes.spec import ComposerConfig

Vocabulary = Annotated[
    Literal["everyday", "core"],
    Parameter(help="everyday: the hundred most usual things; core: all there are. Scenes are made of these."),
]
Described = Annotated[
    Literal["plain", "full"],
    Parameter(
        help="plain: things on colours; full: all the composer can do (places, light, views, media, words, photos ...)."
    ),
]
SceneStyles = Annotated[
    str | None,
    Parameter(help='Styles of the drawings and their shares, as in "3d:.5,flat:.5"; without it those of the scenes.'),
]
Kinds = Annotated[
    str | None,
    Parameter(
        help="Kinds of scene (single, count, pair, depth, wearing, figure, boxes, word, photo) and their shares; "
        "depth: pairs of which one hides a part of the other."
    ),
]


def composed(
    scenes: Literal["plain", "full"], vocabulary: Literal["everyday", "core"], styles: str | None, kinds: str | None
) -> ComposerConfig:
    """The scenes that these options describe."""
    from darkroom.data.scenes.spec import FULL, ComposerConfig
    from darkroom.data.scenes.subjects import KINDS

    found = replace(FULL if scenes == "full" else ComposerConfig(), vocabulary=vocabulary)
    if styles is not None:
        found = replace(found, styles=_shares("style", styles, FULL.styles))
    if kinds is not None:
        found = replace(found, kinds=_shares("kind", kinds, KINDS))
    return found


def _shares(what: str, text: str, known: Collection[str]) -> dict[str, float]:
    """ "3d:.5,cartoon:.25" as a mapping of known names to numbers."""
    try:
        pairs = [part.split(":") for part in text.split(",")]
        found = {name.strip(): float(share) for name, share in pairs}
    except ValueError:
        raise BadInput(f"shares {text!r}", "are not name:number pairs", 'write "3d:.5,cartoon:.5"') from None
    for name, share in found.items():
        if name not in known:
            raise unknown(what, name, known)
        within(f"the share of {name}", share, 0, 1e6)
    if not any(found.values()):
        raise BadInput(f"shares {text!r}", "are all zero", "give one of them a share")
    return found
