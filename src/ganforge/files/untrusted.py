"""Files of a run or a sweep, which someone else may have written: read as data and within bounds, shown as text.

Nothing here follows a link out of the run's folder, waits for a pipe, resolves an interpolation or builds an object.
Imports nothing heavy.
"""

import json
import math
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from ganforge.files import folders

try:  # libyaml, four times as fast
    from yaml._yaml import CParser
except ImportError:
    CParser = None

MOST_BYTES = 1_000_000  # of a file of settings or results; those of a run have some 10,000
MOST_VALUES = 20_000  # in such a file, each list and mapping counted as one
DEEPEST = 40  # lists and mappings inside each other
LONGEST_LINE = 1_000_000  # bytes
LONGEST_KEY = 300  # characters
LARGEST = 2**64  # of whole numbers
LONGEST_NUMBER = 40  # characters
HIDING = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode categories
JOINERS = "\u200c\u200d"  # without a width as well, but some scripts are not written without them


def open_file(folder: str | Path, name: str) -> BinaryIO:
    """The file `name` of a run's folder, for reading; OSError where it is no file, or a link that leads elsewhere."""
    folder = Path(folder)
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise OSError(f"{path} leads out of its folder")
    return folders.open_file(path)


def is_file(folder: str | Path, name: str) -> bool:
    """Whether `open_file` would open it."""
    try:
        open_file(folder, name).close()
    except (OSError, ValueError, RuntimeError):  # also a loop of links
        return False
    return True


def lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file one at a time, up to the first that has LONGEST_LINE bytes or more."""
    while 0 < len(line := file.readline(LONGEST_LINE)) < LONGEST_LINE:
        yield line


def read_bytes(folder: str | Path, name: str, most: int = MOST_BYTES) -> bytes:
    """What `open_file` opens; OSError also where it has more than `most` bytes."""
    with open_file(folder, name) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(f"{Path(folder) / name} has more than {most:,} bytes")
    return content


def read_text(folder: str | Path, name: str, most: int = MOST_BYTES) -> str | None:
    """The text of a file; None where there is none that can be read."""
    try:
        return read_bytes(folder, name, most).decode(errors="replace")
    except (OSError, ValueError, RuntimeError):
        return None


def read_json(folder: str | Path, name: str) -> Any:
    """The values of a JSON file; None where it cannot be read. A number that is not finite is None."""
    text = read_text(folder, name)
    try:
        found = json.loads(text or "", parse_float=_finite, parse_constant=lambda constant: None)
        return plain(found)
    except (ValueError, RecursionError):
        return None


def read_yaml(folder: str | Path, name: str) -> Any:
    """The values of a YAML file that OmegaConf wrote, interpolations as strings; None where it cannot be read."""
    text = read_text(folder, name)
    try:
        return None if text is None else plain(yaml.load(text, Loader=_Loader))
    except Exception:  # whatever stands in a file
        return None


def plain(value: Any) -> Any:
    """Nested dicts with strings as keys, lists, strings and numbers; ValueError for anything else and for too much."""
    left = MOST_VALUES

    def copy(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > DEEPEST:
            raise ValueError(f"more than {MOST_VALUES} values, or more than {DEEPEST} inside each other")
        if isinstance(value, dict):
            if any(len(str(key)) > LONGEST_KEY for key in value):
                raise ValueError(f"a key of more than {LONGEST_KEY} characters")
            return {str(key): copy(below, depth + 1) for key, below in value.items()}
        if isinstance(value, list):
            return [copy(below, depth + 1) for below in value]
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ValueError("a whole number above 2 ** 64")
        if value is None or isinstance(value, str | int | float):
            return value
        raise ValueError(f"a value of type {type(value).__name__}")

    return copy(value, 0)


def printable(text: Any, lines: bool = False) -> str:
    """`text` for a terminal or a page: what would move the cursor, turn the line around or hide is written out.

    Those are control characters, characters of format such as bidirectional overrides, and bytes of file names that are
    no text: `\\x1b`, `\\u202e`, `\\udcff`. lines: but line ends and tabs stay.
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    kept = JOINERS + "\n\t" * lines
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in HIDING and character not in kept
        else character
        for character in text
    )


def shortened(text: Any, most: int = 300) -> str:
    """The beginning of `text` as `printable`."""
    text = str(text)
    return printable(text if len(text) <= most else f"{text[: most - 1]}…")


def first_line(error: BaseException) -> str:
    """What an error says in its first line, or what it is called; short, without control characters."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return "".join(c if c.isprintable() else "?" for c in line[:200])


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


class _Compiled(Composer, CParser or object, SafeConstructor, Resolver):
    """yaml.SafeLoader, of which the parser alone is libyaml's, so that `compose_node` is asked of each node."""

    def __init__(self, stream: Any):
        CParser.__init__(self, stream)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)


class _Loader(_Compiled if CParser else yaml.SafeLoader):
    """YAML without references to other places of the file, which may stand for more than any memory holds."""

    # Dates are texts, as to OmegaConf.
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: Any):
        super().__init__(stream)
        self.left = 2 * MOST_VALUES  # keys are nodes, too
        self.depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.left -= 1
        self.depth += 1
        if self.check_event(yaml.AliasEvent) or self.left < 0 or self.depth > DEEPEST + 1:
            raise yaml.YAMLError("not what a run writes")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def number(self, node: Any) -> int | float:
        if len(node.value) > LONGEST_NUMBER:
            raise yaml.YAMLError("a number of many digits")
        whole = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.number)
