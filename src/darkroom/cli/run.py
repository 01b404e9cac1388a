"""The program: its verbs, and how an error becomes one sentence and an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter, UnknownCommandError, UnusedCliTokensError
from pydantic import ValidationError

import darkroom
from darkroom.cli.data import data_app
from darkroom.cli.evaluate import evaluate
from darkroom.cli.generate import generate
from darkroom.cli.models import models_app
from darkroom.cli.recipe import recipe_app
from darkroom.cli.refine import control_map, refine
from darkroom.cli.serve import serve
from darkroom.cli.train import train_app
from darkroom.cli.wording import prompt, style_app
from darkroom.contracts.errors import BadInput, DarkroomError, Stopped, Unfinished, brief, explain, reason, shown
from darkroom.machine.heap import keep_pages
from darkroom.machine.threads import share_cores

app = App(
    name="darkroom",
    version=darkroom.__version__,
    help="Your own image model, from your pictures to the finished render.",
    help_format="plaintext",
)
for verb in (generate, refine, control_map, prompt, evaluate, serve):
    app.command(verb)
for group in (style_app, recipe_app, data_app, train_app, models_app):
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
    keep_pages()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in arguments
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(_usage(error, arguments), 2, as_json)
    except ValidationError as error:
        _fail(explain(error), 2, as_json)
    except BadInput as error:
        _fail(str(error), 2, as_json)
    except Stopped as error:
        _tell(as_json, {**error.done, "error": str(error)})
        print(error, file=sys.stderr)
        raise SystemExit(130) from None
    except (DarkroomError, ValueError, RuntimeError) as error:
        if os.environ.get("DARKROOM_TRACEBACK"):
            raise
        _fail(str(error), 1, as_json, error.done if isinstance(error, Unfinished) else {})
    except BrokenPipeError:  # whoever read our output has gone; nothing is left to be said, at exit neither
        os._exit(141)
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {reason(error)}", 1, as_json)
    except KeyboardInterrupt:
        _fail("stopped", 130, as_json)


def _usage(error: CycloptsError, arguments: Sequence[str]) -> str:
    """What is wrong with a command line, with the fix."""
    if isinstance(error.__cause__, BadInput):  # of our own reading of a value
        return str(error.__cause__)
    unused = error.unused_tokens or []
    if isinstance(error, UnusedCliTokensError) and arguments[:1] == ["generate"]:
        return f"{brief(unused, quoted=True)} came after the prompt; put the sentence in quotes"
    if isinstance(error, UnknownCommandError) and " " in arguments[0].strip() and unused[:1] == [arguments[0]]:
        return f"{shown(arguments[0])} is not a command; to draw it: darkroom generate {json.dumps(arguments[0])}"
    return str(error).strip()


def _fail(sentence: str, code: int, as_json: bool, done: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Ends the program; a program that reads JSON finds the error there, with what was done before."""
    _tell(as_json, {**done, "error": sentence})
    print(f"error: {sentence}", file=sys.stderr)
    raise SystemExit(code)


def _tell(as_json: bool, what: Mapping[str, Any]) -> None:
    if as_json:
        print(json.dumps(what), flush=True)
