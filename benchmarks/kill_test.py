"""Stop trainings at random moments until so many signals were sent; each must end bit for bit as if it had not been.

    python benchmarks/kill_test.py --kills 100         # about an hour on two cores

SIGKILL, SIGINT and SIGTERM, to the process or to its whole group; lattice, pairs, unpaired, image_folder and mnist with
0, 1 and 2 data workers, in one process and in two. Prints a line a training and a table at the end; exit status 1
where one differs.
"""

import argparse
import sys
import tempfile
from collections import Counter
from itertools import cycle, product
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import killing
from conftest import write_folders


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="signals to send (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--cases", nargs="+", choices=killing.CASES, default=list(killing.CASES))
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--devices", nargs="+", type=int, default=[1, 2])
    options = parser.parse_args()
    table: dict[tuple, Counter] = {}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write_folders(root, np.random.default_rng(0))
        wholes: dict[tuple, tuple[Path, float]] = {}
        choices = cycle(enumerate(product(options.devices, options.workers, options.cases)))
        round_ = options.seed
        while sum(counts["signals"] for counts in table.values()) < options.kills:
            number, (devices, workers, case) = next(choices)
            round_ += number == 0
            settings = killing.overrides(case, root)
            if devices > 1:
                settings += ["trainer=ddp_cpu", f"trainer.devices={devices}"]
            if (case, devices) not in wholes:
                folder = root / f"whole_{case}_{devices}"
                _, seconds = killing.stopped_until_it_ends(folder, [*settings, "data.num_workers=0"])
                wholes[case, devices] = folder, seconds
            whole, seconds = wholes[case, devices]
            folder = root / f"{case}_{devices}_{workers}_{round_}"
            row = table.setdefault((case, workers, devices), Counter())
            row["trainings"] += 1
            try:
                sent, _ = killing.stopped_until_it_ends(
                    folder,
                    [*settings, f"data.num_workers={workers}"],
                    seed=100 * round_ + number,
                    longest=0.6 * seconds,
                )
                row["signals"] += sent.total()
                row.update(sent)
                killing.same(whole, folder)
                said = "equal"
            except AssertionError as error:
                row["different"] += 1
                said = f"DIFFERENT: {error}"
            print(f"{case}, {workers} workers, {devices} processes: {dict(sent)}: {said}", flush=True)
    columns = ("trainings", "signals", "SIGKILL", "SIGINT", "SIGTERM", "different")
    print("\ncase           workers processes " + " ".join(f"{name:>9}" for name in columns))
    for (case, workers, devices), row in table.items():
        print(f"{case:14} {workers:7} {devices:9} " + " ".join(f"{row[name]:9}" for name in columns))
    return int(any(row["different"] for row in table.values()))


if __name__ == "__main__":
    sys.exit(main())
