"""`ganforge check`: what is wrong in a data set, before anything is trained: a table, a sheet of pictures, a status."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ganforge.commands.chosen_data import chosen_data, chosen_name
from ganforge.data.image_folder import ImageFolderData
from ganforge.data.inspection import Finding, Inspection, Item
from ganforge.data.looks import shown, thumbnail
from ganforge.data.pairs import PairsData
from ganforge.data.threads import listed
from ganforge.errors import UserError, require
from ganforge.files.folders import make_writable, plain_name, replace
from ganforge.files.untrusted import printable, shortened

FOLDER = Path("lightning_logs/checks")

_CELL = 128  # px a side of one picture on the sheet
_COLUMNS = 1024  # px
_TEXT = 42  # px below a picture
_LINE = 14  # px
_SHOWN = 48  # suspicious items on a sheet, of each kind as many
_EXAMPLES = 8  # others, to compare with


def check(overrides: Sequence[str], *, output: str | Path | None = None, overwrite: bool = False) -> Inspection | None:
    """Look at the data of `overrides` (data=pairs data.root=FOLDER ...), print a table and write a sheet of pictures.

    output: a PNG; None for lightning_logs/checks/FOLDER.png. Raises UserError where training would be wrong (after all
    is printed and written), and for an output that is there. For data whose pictures are no files of the user's it says
    that nothing was checked, and gives None.
    """
    name = chosen_name(overrides)
    data = chosen_data(overrides)
    if not isinstance(data, PairsData | ImageFolderData):
        print(
            f"data={name}: nothing was checked; ganforge check looks at picture files, of data=pairs and "
            "data=image_folder, and at no pictures that are drawn or stored in another way"
        )
        return None
    output = Path(output or FOLDER / plain_name(data.root.resolve().name or "root", ".png"))
    require(output.suffix.lower() == ".png", f"--output {output}: the sheet is a PNG; give a name that ends in .png")
    require(overwrite or not output.exists(), f"{output}: is already there; give another --output, or --overwrite")
    make_writable(output.parent, f"--output {output}")
    inspection = Inspection(data)
    found = [finding for finding in inspection.findings if len(finding)]
    _print(inspection, found, data)
    _sheet(inspection, found, output)
    print(f"sheet: {printable(output)}")
    wrong = [finding for finding in found if finding.wrong]
    said = "; ".join(f"{len(finding):,} × {finding.what}" for finding in wrong)
    require(not wrong, f"training on {printable(data.root)} would be wrong: {said}; mend or remove these files")
    return inspection


def _print(inspection: Inspection, found: Sequence[Finding], data: PairsData | ImageFolderData) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    kinds = Table(title=str(printable(data.root)), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for heading in ("split", "number", "pixels", "files hold"):
        kinds.add_column(heading, justify="right" if heading == "number" else "left", overflow="fold")
    reader = inspection.reader
    for split, members in reader.splits.items():
        rows = [row for row in inspection.sound if inspection.items[row].split == split]
        shapes = Counter("{1}×{0}".format(*inspection.seen[row].looks[0].shape) for row in rows)
        modes = Counter(" → ".join(dict.fromkeys(inspection.seen[row].modes)) for row in rows)
        again = "" if rows or not members else "those of another split"
        kinds.add_row(split, f"{len(members):,}", _most(shapes) or again, Text(printable(_most(modes))))
    console.print(kinds)
    if found:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("")
        table.add_column("found", overflow="fold")
        table.add_column("number", justify="right")
        table.add_column("such as", overflow="fold")
        for finding in sorted(found, key=lambda own: not own.wrong):
            names = ", ".join(printable(item.name) for item, _ in finding.shown[:3])
            table.add_row("wrong" if finding.wrong else "note", finding.what, f"{len(finding):,}", Text(names))
        console.print(table)
    for finding in found:
        lines = [f"{item.name} ({item.split}): {said}" for item, said in finding.shown]
        print(f"{finding.what}:{printable(listed([shortened(line, 300) for line in lines]), lines=True)}")
    for sentence in (*reader.notes, *inspection.unsure):
        print(textwrap.fill(f"note: {printable(sentence)}", 80, break_long_words=False))
    if not found:
        print("nothing suspicious was found")


def _most(counts: Counter[str]) -> str:
    """The three most frequent, with how many there are of each."""
    if len(counts) == 1:
        return next(iter(counts))
    parts = [f"{name} ({count:,})" for name, count in counts.most_common(3)]
    return ", ".join(parts) + (f", and {len(counts) - 3} more" if len(counts) > 3 else "")


def _sheet(inspection: Inspection, found: Sequence[Finding], output: Path) -> None:
    """The suspicious pictures, named, and some others to compare with."""
    each = max(1, _SHOWN // max(1, len(found)))
    chosen = [(item, (said, finding.what), finding.wrong) for finding in found for item, said in finding.shown[:each]]
    suspicious = {item for finding in found for item, _ in finding.shown}
    others = [item for row, item in enumerate(inspection.items) if row in set(inspection.sound)]
    others = [item for item in others if item not in suspicious]
    step = max(1, len(others) // _EXAMPLES)
    chosen += [(item, ("nothing found,", "to compare"), False) for item in others[::step][:_EXAMPLES]]
    cells = [_cell(inspection, *one) for one in chosen]
    width = max((cell.width for cell in cells), default=_CELL)
    columns = max(1, _COLUMNS // width)
    height = _CELL + _TEXT
    page = Image.new("RGB", (columns * width, height * max(1, -(-len(cells) // columns))), "white")
    for number, cell in enumerate(cells):
        page.paste(cell, (number % columns * width, number // columns * height))
    with replace(output) as file:
        page.save(file, "PNG")


def _cell(inspection: Inspection, item: Item, said: tuple[str, str], wrong: bool) -> Image.Image:
    sides = 2 if item.pair is not None else 1
    cell = Image.new("RGB", (sides * (_CELL + 2) + 6, _CELL + _TEXT), "white")
    draw, font = ImageDraw.Draw(cell), ImageFont.load_default(11)
    try:
        for side, ((values, valid), bands) in enumerate(inspection.values(item)):
            picture = thumbnail(np.asarray(shown(values, valid, bands)), _CELL)
            cell.paste(Image.fromarray(picture), (side * (_CELL + 2) + 2, 2))
    except (UserError, OSError):
        draw.rectangle((2, 2, cell.width - 6, _CELL), fill=(200, 200, 200))
    letters = max(8, (cell.width - 6) // 6)
    lines = [shortened(line, letters) for line in (f"{item.name} ({item.split})", *said)]
    for number, line in enumerate(lines):
        draw.text(
            (3, _CELL + 2 + _LINE * number - 1), line, fill=(190, 0, 0) if wrong and number else "black", font=font
        )
    return cell
