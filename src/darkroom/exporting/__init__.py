"""What ``darkroom models export`` does: a model of the store as a folder that other programs can read."""

from darkroom.exporting.giving import Exported, export_model

__all__ = ["Exported", "export_model"]
