"""The mechanics of networks, in files and in a picture each."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from scipy.io import mmwrite

from ganforge.commands import networks
from ganforge.errors import UserError, require
from ganforge.files.folders import make_writable, plain_name, replace
from ganforge.files.untrusted import printable
from ganforge.lattice.classify import classify
from ganforge.lattice.mechanics import BINS, MODES, Mechanics, accuracy_of, density_of_states, moduli, springs_of
from ganforge.lattice.mechanics import analyse as analyse_network
from ganforge.lattice.rigidity import DENSE, Springs
from ganforge.lattice.rings import rings, shares
from ganforge.lattice.show import picture

TABLE = "mechanics.csv"


def mechanics(
    given: Sequence[str | Path],
    output: str | Path,
    *,
    pinned: bool = False,
    accuracy: float | None = None,
    modes: int = MODES,
    bins: int = BINS,
    matrix: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Write the mechanics of each network to `output`: NAME.json, NAME.png, and mechanics.csv with a row for each.

    given: pictures, JSON, GraphML or folders of them (`ganforge.commands.networks`). pinned: sites on the rim do not
    move. accuracy: see `ganforge.lattice.mechanics.analyse`. modes: how many of the softest. bins: of the density of
    states, 0 for none. matrix: also the rigidity matrix, NAME.mtx (Matrix Market). Returns the files written. Raises
    UserError before the first is written where one is no network, or there already.
    """
    require(1 <= modes <= 100, f"--modes {modes}: accepted is 1 to 100")
    require(0 <= bins <= 1000, f"--bins {bins}: accepted is 0 (none) to 1000")
    output = Path(output)
    read = networks.load(given)
    names = networks.stems(read)
    ends = (".json", ".png", *([".mtx"] if matrix else []))
    files = [[output / plain_name(name, end) for end in ends] for name in names]
    written = [*(file for each in files for file in each), output / TABLE]
    require(not output.exists() or output.is_dir(), f"--output {output}: is a file; give a folder")
    existing = [file.name for file in written if file.exists()]
    require(
        overwrite or not existing,
        f"--output {output}: already holds {', '.join(existing[:5])}{' ...' if len(existing) > 5 else ''}; choose "
        "another folder, or --overwrite",
    )
    inputs = {one.file.resolve() for one in read}
    own = [file for file in written if file.resolve() in inputs]
    require(
        not own, f"--output {output}: {own[0].name if own else ''} would replace what it is made from; give another"
    )
    require(
        not pinned or all(one.cell is None for one in read), "--pinned: a periodic network has no rim; leave it out"
    )
    springs = [springs_of_one(one, pinned, accuracy) for one in read]
    make_writable(output, f"--output {output}")

    rows = []
    for one, spring, (record_file, picture_file, *matrix_file) in track(
        list(zip(read, springs, files, strict=True)), description="analysing"
    ):
        found, record = analysed(one, spring, accuracy=accuracy, modes=modes, bins=bins)
        _write(record_file, (json.dumps(record, indent=1) + "\n").encode())
        with replace(picture_file) as file:
            picture(spring, found.modes[0] if len(found.modes) else None).save(file, format="PNG")
        for path in matrix_file:
            with replace(path) as file:
                mmwrite(file, spring.matrix)
        rows.append({key: value for key, value in record.items() if not isinstance(value, dict | list)})
        print(printable(f"{one.file.name}: {sentence(found)}"))
    text = io.StringIO()
    table = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    _write(output / TABLE, text.getvalue().encode())
    print(printable(f"{len(rows)} networks analysed, written to {output}"))
    return written


def springs_of_one(one: networks.Given, pinned: bool = False, accuracy: float | None = None) -> Springs:
    """The springs of a network that was given; raises UserError, naming its file."""
    try:
        springs = springs_of(one.network, np.flatnonzero(rings(one.network).rim) if pinned else (), one.cell)
        accuracy_of(springs, accuracy)
    except UserError as error:
        raise UserError(f"{one.file}: {error}") from error
    return springs


def analysed(
    one: networks.Given, springs: Springs, *, accuracy: float | None = None, modes: int = MODES, bins: int = BINS
) -> tuple[Mechanics, dict[str, Any]]:
    """The mechanics of a network, and the record that is written of them."""
    held = np.flatnonzero(springs.pinned)
    found = analyse_network(one.network, accuracy=accuracy, pinned=held, cell=one.cell, modes=modes)
    return found, {"file": one.file.name, **numbers(one, springs, found, bins)}


def numbers(one: networks.Given, springs: Springs, found: Mechanics, bins: int) -> dict[str, Any]:
    """What is written of a network: plain numbers first, then lists."""
    network = one.network
    degrees, inside = network.degrees(), ~rings(network).rim
    if one.cell is not None:
        inside[:] = True
    kind = classify(network)
    said = {
        "sites": found.sites,
        "bonds": found.bonds,
        "boundary": "periodic" if one.cell is not None else "pinned" if springs.pinned.any() else "free",
        "pinned_sites": int(springs.pinned.sum()),
        "coordination": float(degrees.mean()),
        "coordination_inside": float(degrees[inside].mean()) if inside.any() else None,
        "freedoms": found.freedoms,
        "rigid_motions": found.rigid_motions,
        "maxwell_count": found.maxwell,
        "zero_modes": found.zero_modes,
        "self_stresses": found.self_stresses,
        "zero_modes_within_accuracy_only": found.within_accuracy,
        "accuracy": found.accuracy,
        "tolerance": found.tolerance,
        "lattice": kind.lattice if one.cell is None else None,
    }
    if one.cell is not None:
        response = moduli(network, one.cell)
        said |= {
            "bulk_modulus": response.bulk,
            "pure_shear_modulus": response.pure_shear,
            "simple_shear_modulus": response.simple_shear,
        }
    said["coordination_shares"] = {str(number): share for number, share in shares(degrees).items()}
    said["softest_frequencies"] = found.frequencies.tolist()
    if bins:
        edges, number = density_of_states(network, bins=bins, pinned=np.flatnonzero(springs.pinned), cell=one.cell)
        said["density_of_states"] = {"edges": edges.tolist(), "modes": number.tolist()}
    if len(springs.free) <= DENSE:
        said["singular_values"] = springs.frequencies[::-1][: min(springs.matrix.shape)].tolist()
    said["softest_modes"] = found.modes.round(6).tolist()
    return said


def sentence(found: Mechanics) -> str:
    """The counts in words."""
    within = f" ({found.within_accuracy} only within the accuracy of the sites)" if found.within_accuracy else ""
    known = (
        f"sites known to {found.accuracy:g}, bonds' directions to {found.tolerance:.2g} rad"
        if found.accuracy
        else "sites taken as exact"
    )
    return (
        f"{found.sites} sites, {found.bonds} bonds, zero modes beyond the {found.rigid_motions} rigid motions: "
        f"{found.zero_modes}{within}, states of self stress: {found.self_stresses}; {known}"
    )


def _write(path: Path, content: bytes) -> None:
    with replace(path) as file:
        file.write(content)
