"""The program: its verbs, and how an error becomes one sentence and an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

import darkroom
from darkroom.cli.data import data_app
from darkroom.cli.evaluate import evaluate
from darkroom.cli.generate import generate
from darkroom.cli.models import models_app
from darkroom.cli.train import train_app
from darkroom.contracts.errors import BadInput, DarkroomError, explain
from darkroom.threads import share_cores

app = App(
    name="darkroom",
    version=darkroom.__version__,
    help="Your own image model, from your pictures to the finished render.",
    help_format="plaintext",
)
for verb in (generate, evaluate):
    app.command(verb)
for group in (data_app, train_app, models_app):
    app.command(group)


@app.command
def doctor(*, json_: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Look at this machine: device, versions, free disk and memory, known conflicts. Exit code 1 when one is found."""
    from darkroom.doctor import examine

    findings = examine()
    if json_:
        print(json.dumps({f.what: {"found": f.found, "fix": f.fix} for f in findings}))
    else:
        for finding in findings:
            print(f"{'  !  ' if finding.fix else ' ok  '}{finding.what:<12}{finding.found}")
            if finding.fix:
                print(f"     {'':<12}fix: {finding.fix}")
    if any(finding.fix for finding in findings):
        raise SystemExit(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the program; every expected error is one sentence on stderr and a non-zero exit code."""
    share_cores()
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(str(error).strip(), 2)
    except ValidationError as error:
        _fail(explain(error), 2)
    except BadInput as error:
        _fail(str(error), 2)
    except (DarkroomError, ValueError, RuntimeError) as error:
        if os.environ.get("DARKROOM_TRACEBACK"):
            raise
        _fail(str(error), 1)
    except BrokenPipeError:  # whoever read our output has gone; nothing is left to be said, at exit neither
        os._exit(141)
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        _fail("stopped", 130)


def _fail(sentence: str, code: int) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    raise SystemExit(code)
