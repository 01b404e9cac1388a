"""The program, run in this process."""

from __future__ import annotations

from darkroom.cli.run import main


def ran(*arguments: object) -> int:
    """The exit code of a command line."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
