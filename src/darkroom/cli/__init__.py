"""The command line: one program, a verb for each thing to do. Data goes to stdout; progress and errors to stderr."""

from darkroom.cli.run import app, main

__all__ = ["app", "main"]
