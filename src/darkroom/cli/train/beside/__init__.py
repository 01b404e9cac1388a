"""Legs beside a model that stays as it is: adapters, controls, reference pictures, preferences."""
