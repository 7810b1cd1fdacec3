"""Which lattices networks are, in a table."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ganforge.commands import networks
from ganforge.errors import require
from ganforge.files.folders import replace
from ganforge.files.untrusted import printable
from ganforge.lattice.classify import LatticeClass
from ganforge.lattice.classify import classify as class_of


def classify(
    given: Sequence[str | Path], *, output: str | Path | None = None, overwrite: bool = False
) -> list[LatticeClass]:
    """Print the lattice of each network, and the numbers that say so; with `output` also as JSON.

    given: pictures, JSON, GraphML or folders of them (`ganforge.commands.networks`). Raises UserError where one is no
    network, before anything is printed.
    """
    if output is not None:
        require(overwrite or not Path(output).exists(), f"--output {output}: exists; choose another, or --overwrite")
    read = networks.load(given)
    found = [class_of(one.network) for one in read]
    rows = [("network", "lattice", "margin", "sites", "coordination", "psi4", "psi6", "rings")]
    for one, its in zip(read, found, strict=True):
        lattice = its.lattice if its.lattice == its.nearest else f"{its.lattice} (nearest {its.nearest})"
        rings = " ".join(f"{size}:{share:.2f}" for size, share in its.rings.items() if share >= 0.005)
        values = (f"{value:.2f}" for value in (its.coordination, its.psi4, its.psi6))
        rows.append(
            (printable(one.file.name), lattice, f"{its.margin:.2f}", str(len(one.network.sites)), *values, rings)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())
    if output is not None:
        records = [{"file": one.file.name, **asdict(its)} for one, its in zip(read, found, strict=True)]
        with replace(output) as file:
            file.write((json.dumps(records, indent=1) + "\n").encode())
    return found
