"""Verbs that train beside a model that stays as it is: adapters, controls, preferences."""
