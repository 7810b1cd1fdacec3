"""Tables of attributes: which picture has which, as CelebA's list_attr_celeba.txt or as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganforge.errors import UserError, require
from ganforge.files.folders import natural_key, open_file
from ganforge.files.untrusted import printable, shortened
from ganforge.game.domains import Domains

_LARGEST = 2**28  # bytes
_SHOWN = 5
_DELIMITERS = ",;\t"
_VALUES = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), 1.0),
    **dict.fromkeys(("0", "-1", "0.0", "-1.0", "false", "no"), 0.0),
}


@dataclass(frozen=True)
class Table:
    """What a table says: names of the columns, and of each picture's name the values and the number of its line."""

    path: Path
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[Sequence[str], int]]

    @classmethod
    def read(cls, path: Path) -> "Table":
        """CelebA's layout (a line with the count, one with the names, then NAME 1 -1 ...) or CSV, whose first line
        names the columns and whose first column holds the names of the pictures.

        Raises UserError for a file that is neither, for lines that do not fit, and for a picture that is listed twice
        with different values.
        """
        argument = f"data.table={path}"
        require(path.is_file(), f"{argument}: no such file; give a table of attributes, CSV or as CelebA's")
        try:
            with open_file(path) as file:
                text = file.read(_LARGEST + 1).decode("utf-8-sig")
            require(len(text) <= _LARGEST, f"{argument}: is larger than {_LARGEST // 2**20} MiB")
            lines = list(_lines(text))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{argument}: cannot be read ({error}); give a table as CSV or as CelebA's") from error
        require(len(lines) >= 2, f"{argument}: has no line of a picture; one with the names of the columns comes first")
        (_, (_, *columns)), *below = lines
        columns = tuple(name.strip() for name in columns)
        require(
            len(columns) > 0 and all(columns) and len(set(columns)) == len(columns),
            f"{argument}: its columns {shortened(', '.join(columns), 100)} must be one or more, named, all different",
        )
        rows: dict[str, tuple[Sequence[str], int]] = {}
        for number, (name, *values) in below:
            require(
                len(values) == len(columns),
                f"{argument}, line {number}: {len(values)} values for {len(columns)} columns",
            )
            values = [value.strip() for value in values]
            if name in rows:
                former, line = rows[name]
                differing = [c for c, one, other in zip(columns, former, values, strict=True) if one != other]
                require(
                    not differing,
                    f"{argument}, lines {line} and {number}: contradict each other about {printable(name)} "
                    f"({', '.join(differing[:_SHOWN])}); remove one of them",
                )
            rows.setdefault(name, (values, number))
        return cls(path, columns, rows)

    def domains(self, attributes: Sequence[str] | None, exclusive: Sequence[Sequence[str]]) -> Domains:
        """The domains that these columns say, all where None: attributes of 0 and 1 (or -1, true, false, yes, no), or
        the values of one column of words, of which each picture has one.

        Raises UserError for columns that are not there, and for values that are neither.
        """
        chosen = self.columns if attributes is None else tuple(map(str, attributes))
        unknown = [name for name in chosen if name not in self.columns]
        require(
            len(chosen) > 0 and not unknown,
            f"data.attributes={list(chosen)}: {self.path} has no {', '.join(map(printable, unknown)) or 'such column'}"
            f"; choose one or more of {shortened(', '.join(self.columns), 2000)}",
        )
        if len(chosen) == 1 and not exclusive:
            values = {row[self.columns.index(chosen[0])] for row, _ in self.rows.values()}
            if not all(value.casefold() in _VALUES for value in values):
                return Domains(tuple(sorted(values, key=natural_key)), one_of_many=True)
        return Domains(chosen, one_of_many=False, exclusive=tuple(map(tuple, exclusive)))

    def labels(self, domains: Domains, names: Iterable[str], attributes: Sequence[str] | None) -> np.ndarray:
        """float32 (N, D) of these pictures; raises UserError for a value that says neither yes nor no."""
        rows = [self.rows[name] for name in names]
        if domains.one_of_many:
            column = self.columns.index(self.columns[0] if attributes is None else str(attributes[0]))
            known = {name: index for index, name in enumerate(domains.names)}
            return np.eye(len(known), dtype=np.float32)[[known[values[column]] for values, _ in rows]]
        columns = [self.columns.index(name) for name in domains.names]
        labels = np.empty((len(rows), len(columns)), np.float32)
        for place, (values, number) in enumerate(rows):
            found = [_VALUES.get(values[column].casefold()) for column in columns]
            if None in found:
                name = domains.names[found.index(None)]
                value = shortened(values[self.columns.index(name)], 40)
                raise UserError(
                    f"data.table={self.path}, line {number}: {name} is {value!r}; 1 and 0, 1 and -1, true and false "
                    "or yes and no are expected; a column of words is chosen alone, as data.attributes=[NAME]"
                )
            labels[place] = found
        return labels

    def match(self, files: Iterable[Path], skip_unmatched: bool) -> tuple[dict[Path, str], str | None]:
        """The row's name of each file, by its name with or without the suffix; and a note on what was left out.

        Raises UserError for a picture without a row and a row without a picture, unless these are to be left out.
        """
        files = list(files)
        found = {file: next((name for name in (file.name, file.stem) if name in self.rows), None) for file in files}
        alone = [file.name for file, name in found.items() if name is None]
        taken = set(found.values())
        missing = [name for name in self.rows if name not in taken]
        left_out = [
            f"{len(names):,} {what} ({', '.join(map(printable, names[:_SHOWN]))}{', ...' * (len(names) > _SHOWN)})"
            for names, what in ((alone, "pictures have no row"), (missing, "rows have no picture"))
            if names
        ]
        said = f"data.table={self.path}: {' and '.join(left_out)}"
        require(
            skip_unmatched or not left_out, f"{said}; mend the table, or leave them out by data.skip_unmatched=true"
        )
        matched = {file: name for file, name in found.items() if name is not None}
        require(bool(matched), f"{said}; no picture has a row: are the names in the first column those of the files?")
        return matched, f"{said}, which are left out" if left_out else None


def _lines(text: str) -> Iterable[tuple[int, list[str]]]:
    """The number and the cells of each line that is not empty; the first one names the columns."""
    first, _, rest = text.partition("\n")
    if first.strip().isdecimal():  # CelebA's: a count, then names without one for the pictures
        for number, line in enumerate(rest.splitlines(), 2):
            cells = line.split()
            if cells:
                yield number, ["", *cells] if number == 2 else cells
        return
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    for cells in reader:
        if cells:
            yield reader.line_num, cells
