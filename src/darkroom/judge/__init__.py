"""Saying what is in a picture, and whether it is what was asked for."""
