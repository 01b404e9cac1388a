"""A checkpoint in one file, as it was trained: what its parts' settings are, and which of its tensors each part is.

Such a file says nothing of its settings; they follow from which tensors there are and from their shapes. Nothing is
converted: a part's network is filled from the file by other names. A file of a UNet's kind holds all parts
(:mod:`.unets`); of a transformer's kind it holds the transformer, and the other parts are lent by a folder
(:mod:`.transformers`).
"""

from darkroom.synthesis.external.single.transformers import FLUX_FILE, SD3_FILE, Alone
from darkroom.synthesis.external.single.unets import (
    PREFIX,
    Shapes,
    Single,
    Text,
    control_name,
    unet_name,
    unused,
    vae_name,
)

SingleFile = Single | Alone

__all__ = [
    "FLUX_FILE",
    "PREFIX",
    "SD3_FILE",
    "Alone",
    "Shapes",
    "Single",
    "SingleFile",
    "Text",
    "control_name",
    "unet_name",
    "unused",
    "vae_name",
]
