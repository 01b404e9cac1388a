"""What ``darkroom generate`` does: pictures of requests, of a batch file, of a grid."""

from darkroom.drawing.pictures import draw
from darkroom.drawing.reading import read_prompt

__all__ = ["draw", "read_prompt"]
