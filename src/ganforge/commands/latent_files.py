"""Where the sheets and films of a latent space go: into the run's folder, or where the user wants them."""

from collections.abc import Sequence
from pathlib import Path

from ganforge.errors import require
from ganforge.files.folders import make_writable
from ganforge.runs.folder import LATENT, is_run
from ganforge.runs.generators import Generator


def targets(
    generator: Generator, output: str | Path | None, names: Sequence[str], overwrite: bool, films: Sequence[str] = ()
) -> list[Path]:
    """The paths of files to be written in `output`; None: in the folder "latent" of the run, whose report shows them.

    films: further names, with .gif and .mp4. Raises UserError where one is there and not to be overwritten, where the
    folder cannot be written, and for a checkpoint that lies in no run without `output`.
    """
    folder = generator.path.absolute().parents[1]
    require(
        output is not None or is_run(folder),
        f"{generator.path}: lies in no run's folder; say where to, by --output DIR",
    )
    output = folder / LATENT if output is None else Path(output)
    require(
        not output.exists() or output.is_dir(), f"--output {output}: is a file; give a folder, it is made if missing"
    )
    written = [output / name for name in (*names, *(f"{film}.gif" for film in films))]
    existing = [str(path) for path in (*written, *(output / f"{film}.mp4" for film in films)) if path.exists()]
    require(
        overwrite or not existing, f"{', '.join(existing)} is already there; choose another --output, or --overwrite"
    )
    make_writable(output, f"--output {output}")
    return written


def numbers(text: str, said: str) -> list[int]:
    """Picture numbers "0,5,7", as `ganforge sample` names its files; raises UserError, which begins with `said`."""
    found = text.replace(" ", "").split(",")
    require(all(number.isdecimal() and len(number) < 16 for number in found), f"{said}: picture numbers, such as 0,5,7")
    return [int(number) for number in found]
