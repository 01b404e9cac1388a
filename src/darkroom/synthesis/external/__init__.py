"""Public checkpoints behind the same protocols as our own models: a family is one file here and one row of the table.

Networks are those of diffusers and transformers, which are imported when a checkpoint is opened and not before.
"""

from __future__ import annotations

from darkroom.synthesis.external.family import Family
from darkroom.synthesis.external.flux import FLUX
from darkroom.synthesis.external.sd import SD1, SD2
from darkroom.synthesis.external.sd3 import SD3
from darkroom.synthesis.external.sdxl import REFINER, SDXL
from darkroom.synthesis.external.z_image import Z_IMAGE

FAMILIES: dict[str, Family] = {family.name: family for family in (SD1, SD2, SDXL, REFINER, SD3, FLUX, Z_IMAGE)}
