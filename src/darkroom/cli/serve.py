"""``darkroom serve``: the studio."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from darkroom.cli.given.values import Folder, Whole
from darkroom.contracts.errors import BadInput


def serve(
    *,
    host: str = "127.0.0.1",
    port: Whole = 7860,
    data: Folder | None = None,
    keys: Path | None = None,
    name: Annotated[list[str] | None, Parameter(negative_iterable=())] = None,
    width: Whole = 32,
    hang: Whole = 900,
) -> None:
    """Serve the studio: a page, a queue that loses nothing, and APIs that clients know.

    Examples:

        darkroom serve
        darkroom serve --port 8000 --data studio
        darkroom serve --host 0.0.0.0 --keys keys.txt

    Parameters
    ----------
    host
        Address it listens at. Without it this machine alone can reach it; any other needs --keys.
    port
        Port it listens at; 0 takes a free one.
    data
        Folder for jobs, pictures and what is brought along. Without it one among your data.
    keys
        File with a line "name key" for each who may come in.
    name
        A name that it is called by, such as studio.example.org; once for each.
    width
        Pictures that are drawn at once.
    hang
        Seconds without a sign of life after which whoever draws is taken for dead and started again.
    """
    from darkroom.server.keeping.folders import Folders, default_data
    from darkroom.server.running import run
    from darkroom.server.settings import Settings, read_keys

    if not 0 <= port <= 65_535:
        raise BadInput(f"--port {port}", "is not between 0 and 65535", "try 7860")
    if not 1 <= width <= 64:
        raise BadInput(f"--width {width}", "is not between 1 and 64", "try 32")
    if hang < 1:
        raise BadInput(f"--hang {hang}", "is less than a second", "try 900")
    folders = Folders((data or default_data()).absolute())
    known = {} if keys is None else read_keys(keys)
    settings = Settings(folders, host, port, names=tuple(name or ()), keys=known, width=width, hang_s=hang)
    run(settings, lambda address: print(f"the studio is at {address}", file=sys.stderr))
