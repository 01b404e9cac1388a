"""Without the extra, what needs it says so, and how to get it."""

from __future__ import annotations

import sys

import pytest

from darkroom.contracts.errors import BadInput
from darkroom.synthesis.external import FAMILIES
from darkroom.synthesis.external.networks import empty_network


@pytest.mark.parametrize("family", FAMILIES)
def test_a_missing_library_is_named_with_the_fix(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)  # as where it is not installed
    monkeypatch.setitem(sys.modules, "transformers", None)
    for part in FAMILIES[family].parts.values():
        with pytest.raises(
            BadInput, match=r"needs \w+, which is not installed; pip install 'darkroom-studio\[public\]'"
        ):
            empty_network(part, {})
