"""Legs beside a model that stays as it is; torch is imported when one runs."""
