"""Legs beside a model that stays as it is: adapters and controls."""
