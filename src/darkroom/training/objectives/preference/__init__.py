"""Preference tuning: a model learns from what a judge says of its own pictures, beside networks that stay."""
