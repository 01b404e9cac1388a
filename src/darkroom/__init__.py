"""darkroom: your own image model, from your pictures to the finished render.

>>> import darkroom
>>> model = darkroom.load("default")
>>> image = model.generate("a red fox", seed=7)
>>> image.save("fox.png")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from darkroom.door import DrawingModel

__version__ = "0.1.0"


def load(name: str = "default", *, dtype: str | None = None, offload: bool = False) -> DrawingModel:
    """Opens a model by name, or by the folder that holds its card. Raises DarkroomError when there is none.

    ``dtype`` says how its weights are kept, such as "fp32", and of a public checkpoint "int8" or "bf16,vae=fp32"; None:
    bf16. With ``offload`` only the network of a public checkpoint that is at work is in memory.
    """
    from darkroom.machine.threads import share_cores

    share_cores()
    from darkroom.door import open_model  # torch is imported here, not with the package

    return open_model(name, dtype=dtype, offload=offload)
