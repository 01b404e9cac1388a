"""What ``darkroom models import`` does: a public checkpoint is recognised, checked, and taken into the store."""

from darkroom.importing.taking import Imported, import_model

__all__ = ["Imported", "import_model"]
