"""The verbs under ``darkroom data``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

data_app = App(name="data", help="Build, check and look at training data.")


@data_app.command(name="build")
def data_build(*, source: Path, out: Path = Path("runs/data"), photos: bool = True, fonts: Path | None = None) -> None:
    """Turn the data pack, or a folder of your own pictures, into what training reads.

    Examples:

        darkroom data build --source PACK --out runs/data
        darkroom data build --source my-pictures --out runs/mine

    Parameters
    ----------
    source
        The data pack's folder; or a folder of name.jpg with name.txt, a metadata.jsonl, or a folder for each class.
    out
        Folder to write: drawings or pictures, and the ledger of licences and hashes. It must be new, empty, or an
        earlier build of the same kind.
    photos
        Also keep the pack's photos, those set apart for tests left out.
    fonts
        Folder of .ttf and .otf files words are drawn in, beside the one font that is always there.
    """
    from darkroom.data.stock import built
    from darkroom.data.stock.pack import is_pack

    if not is_pack(source):
        from darkroom.data.imported import import_folder

        report = import_folder(source, out)
        print("\n".join(report.lines()), file=sys.stderr)
        print(f"{len(report.usable)} pictures in {out}, ledger in {out / 'ledger.jsonl'}")
        return
    found = built.build(source, out, with_photos=photos, lettering=fonts)
    drawings = found.drawings.sprites
    concepts = len({sprite.concept for sprite in drawings})
    pictures = f" and {len(found.photos.photos)} photos" if found.photos is not None else ""
    print(f"{len(drawings)} drawings of {concepts} concepts{pictures} in {out}, ledger in {out / 'ledger.jsonl'}")


@data_app.command(name="excerpt")
def data_excerpt(*, source: Path, out: Path, photos: int = 2000, fonts: Path | None = None) -> None:
    """Copy what training reads out of the data pack, to take it to another machine.

    Examples:

        darkroom data excerpt --source PACK --out runs/pack

    Parameters
    ----------
    source
        The data pack's folder.
    out
        Folder to write: a small data pack, for `darkroom data build --source`.
    photos
        At most so many photos.
    fonts
        Folder of .ttf and .otf files to take along, if their licences allow it; without it words there are all drawn in
        one font.
    """
    from darkroom.data.stock.built import excerpt
    from darkroom.data.stock.pack import Pack

    found = excerpt(Pack(source), out, photos, fonts)
    if fonts is None:
        print("no fonts: words built of this will all be drawn in one font; --fonts takes some along", file=sys.stderr)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    print(f"{', '.join(f'{count} {table}' for table, count in found.items())} in {out}, {size:.1f} MB")


@data_app.command(name="check")
def data_check(folder: Path, *, json_: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Report broken, tiny, duplicate and captionless pictures of a folder; the exit code says whether it is clean.

    Examples:

        darkroom data check my-pictures
    """
    from darkroom.data.check import check_folder

    report = check_folder(folder)
    print(json.dumps(report.as_json(), indent=1) if json_ else "\n".join(report.lines()))
    if not report.ok:
        raise SystemExit(1)


@data_app.command(name="inspect")
def data_inspect(
    *,
    data: Path = Path("runs/data"),
    out: Path = Path("pictures/scenes.png"),
    count: int = 32,
    seed: int = 0,
    scenes: Literal["plain", "full"] = "full",
) -> None:
    """Write a sheet of random training scenes with their captions.

    Examples:

        darkroom data inspect --data runs/data --count 32 --scenes plain

    Parameters
    ----------
    data
        Folder that `darkroom data build` wrote; one's own pictures are shown as they are.
    out
        The sheet to write.
    count
        Scenes on it, 1 to 400.
    seed
        Another number shows others.
    scenes
        plain: things on colours, as `darkroom train diffusion` takes by itself; full: all the composer can do, as it
        takes with --scenes full, and the other parts of a model always.
    """
    from darkroom.data.inspected import scene_sheet

    print(scene_sheet(data, out, count, seed, full=scenes == "full"))
