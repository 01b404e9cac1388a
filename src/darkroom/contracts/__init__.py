"""The words everybody shares: torch-free, frozen pydantic models."""
