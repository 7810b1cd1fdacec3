"""Files of `torch.save` from anyone, without PyTorch: that they are plain archives, and what is in them but tensors."""

import pickle
import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from ganforge.errors import UserError
from ganforge.files.folders import open_file
from ganforge.files.untrusted import first_line

# What a file may name. `torch.load` knows more, such as bytearray, which takes as much memory as it is told.
_NAMES = re.compile(
    r"collections (OrderedDict|Counter)|__builtin__ (set|complex)|torch\._utils _rebuild_(tensor_v2|parameter)"
    r"|torch (Size|device|\w+Storage|(b?float|u?int|complex|bool)\d*)"
)
_MOST_DESCRIBED = 2**26  # bytes of the description of all tensors; theirs is read apart
_MOST_ENTRIES = 10**6


class Refused(Exception):
    """A whole file that asks for what no file of tensors needs."""


def check(file: BinaryIO) -> None:
    """Raise what says why this is no archive as torch writes them: uncompressed, whole, with few names in it."""
    with zipfile.ZipFile(file) as archive:
        entry = _description(archive, file)
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of its part {damaged!r} differs")
        _check_names(archive.read(entry))


def without_tensors(path: Path, said: str) -> Any:
    """What a file of torch.save holds, each of its tensors as None. said: what the errors begin with.

    Raises UserError as `ganforge.files.tensor_files.read`; the bytes of the tensors are not looked at.
    """
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            entry = _description(archive, file)
            content = archive.read(entry)
            _check_names(content)
            with archive.open(entry) as described:
                return _Described(described).load()
    except Exception as error:  # readers of damaged files raise nearly anything
        raise said_of(error, said, is_refused=isinstance(error, pickle.UnpicklingError)) from error


def said_of(error: Exception, said: str, is_refused: bool) -> UserError:
    """What is said of a file that raised this."""
    if is_refused or isinstance(error, Refused):
        return UserError(
            f"{said}: holds more than tensors and plain values, or was not written by PyTorch; refused, since loading "
            f"it could run code or take all memory{f' ({error})' if isinstance(error, Refused) else ''}"
        )
    reason = getattr(error, "strerror", None) or first_line(error)
    return UserError(f"{said}: cannot be read, it may be truncated or damaged ({reason})")


def _description(archive: zipfile.ZipFile, file: BinaryIO) -> zipfile.ZipInfo:
    """The part that describes all others."""
    entries = archive.infolist()
    size = file.seek(0, 2)
    if len(entries) > _MOST_ENTRIES or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise Refused("its parts are compressed, as PyTorch never does")
    if sum(entry.file_size for entry in entries) > size:
        raise Refused("its parts are together larger than it is")
    described = [entry for entry in entries if entry.filename.endswith("data.pkl")]
    if len(described) != 1 or described[0].file_size > _MOST_DESCRIBED:
        raise Refused("PyTorch writes one data.pkl")
    return described[0]


def _check_names(content: bytes) -> None:
    for number, (operation, argument, _) in enumerate(pickletools.genops(content)):
        if operation.name in ("GLOBAL", "INST", "STACK_GLOBAL") and not _NAMES.fullmatch(str(argument)):
            raise Refused(f"it names {str(argument)!r:.100}")
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > number:
            raise Refused("it counts otherwise than PyTorch")  # and would be given memory for what it counts


class _Weights(dict):
    """In place of an OrderedDict, without the attributes that a file gives it."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Described(pickle.Unpickler):
    """Plain values; nothing that a file names is looked up. A file can set attributes of what it is given for a name,
    so that is made for it alone."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return type("Weights", (_Weights,), {})
        return lambda *_: None  # in place of what makes a tensor

    def persistent_load(self, _: Any) -> None:
        return None
