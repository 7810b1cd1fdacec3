"""metrics.csv: a line a row, on the disk's way at once, also when the run goes on after it was stopped."""

import csv
import io
import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from ganforge.files import untrusted
from ganforge.files.folders import replace


class RunCSV(Logger):
    """FOLDER/metrics.csv: a line a row, columns in the order of the alphabet, on the disk's way at once.

    A row costs one appended line; one with a new column has the file written anew, beside itself until it is whole.
    Lightning's CSVLogger removes a file that is there.
    """

    name, version, save_dir = "csv", "", ""

    def __init__(self, *, folder: str):
        super().__init__()
        self.save_dir = folder
        self.path = Path(folder) / "metrics.csv"
        self._columns: list[str] | None = None  # not looked yet
        self._file: TextIO | None = None

    @rank_zero_only
    def rewind(self, images: float) -> None:
        """Keep the rows up to this number of images seen, and only the columns that these have: the later come again.

        A line that was cut off by a kill or a power cut is dropped, with whatever is after it.
        """
        self._close()
        self._columns = sorted({name for row in self._until(images) for name, value in row.items() if value != ""})
        if self._columns:
            self._write(self._until(images))
        else:
            self.path.unlink(missing_ok=True)

    def _until(self, images: float) -> Iterator[dict[str, str]]:
        for row in whole_rows(self.path):
            try:
                seen = float(row["images"])
            except (KeyError, ValueError):
                return
            if seen <= images:
                yield row

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The configuration is in `.hydra/`."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if self._columns is None:
            self.rewind(float("inf"))
        row = {**metrics, "step": step}
        self._restore()
        if not row.keys() <= set(self._columns):
            self._close()
            self._columns = sorted({*self._columns, *row})
            self._write(whole_rows(self.path))
        try:
            if self._file is None:
                self._file = self.path.open("a+", newline="")
            csv.DictWriter(self._file, self._columns).writerow(row)
            self._file.flush()
        except OSError as error:
            error.filename = str(self.path)
            raise

    @rank_zero_only
    def save(self) -> None:
        """Wait until every row is on the disk."""
        self._restore()
        if self._file is not None:
            os.fsync(self._file.fileno())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self._close()

    def _restore(self) -> None:
        """Write the file anew where it was deleted, or its folder renamed: while it is open, its rows are there."""
        if self._file is not None and not self.path.is_file():
            self._file.seek(0)
            self._write(_rows(self._file))
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # rows that the disk did not take: it was said when they were written
                self._file.close()
            self._file = None

    def _write(self, rows: Iterable[dict[str, Any]]) -> None:
        with replace(self.path) as file:
            text = io.TextIOWrapper(file, "utf-8", newline="")
            writer = csv.DictWriter(text, self._columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
            text.detach()


def whole_rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file up to the first line that is not whole, one at a time, whatever the file's size."""
    if path.is_file():
        with untrusted.open_file(path.parent, path.name) as file:
            # A power cut may leave zeros where the last lines should be.
            lines = itertools.takewhile(lambda line: b"\0" not in line, untrusted.lines(file))
            yield from _rows(line.decode(errors="replace") for line in lines)


def _rows(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    rows = csv.reader(itertools.takewhile(lambda line: line.endswith("\n"), lines))
    with suppress(csv.Error):
        header = next(rows, [])
        for row in itertools.takewhile(lambda row: len(row) == len(header), rows):
            yield dict(zip(header, row, strict=True))
