"""The legs of the default model's training: what each one trains, and on what.

A leg lives in a run folder. The next leg starts from its hand-over (``handover.py``) and warms its optimiser anew.
"""
