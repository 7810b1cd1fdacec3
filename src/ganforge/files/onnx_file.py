"""An .onnx file from anyone, looked at before a runtime opens it: no other files, no loops, standard operators alone.

Reads the protobuf of onnx.proto (ONNX IR version 3 to 13) by its field numbers; needs no package.
"""

from collections.abc import Iterator
from pathlib import Path

from ganforge.errors import UserError, require
from ganforge.files.folders import open_file

MOST_BYTES = 2**31  # of a file, which protobuf cannot exceed
MOST_ENTRIES = 100_000  # nodes, tensors, attributes
MOST_METADATA = 4_000_000  # bytes of one value
_DOMAINS = ("", "ai.onnx")
_EXTERNAL = 1  # TensorProto.DataLocation
_DRAWN = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")

# Field numbers of onnx.proto.
_MODEL = {"graph": 7, "metadata": 14, "training": 20, "functions": 25}
_GRAPH = {"node": 1, "initializer": 5, "sparse": 15}
_NODE = {"operator": 4, "attribute": 5, "domain": 7}
_ATTRIBUTE = {"tensor": 5, "graph": 6, "tensors": 10, "graphs": 11, "sparse": 22, "sparses": 23}
_TENSOR = {"external": 13, "location": 14}
_PAIR = {"key": 1, "value": 2}

Field = tuple[int, int | memoryview]


def read(path: Path) -> tuple[bytes, dict[str, str]]:
    """The bytes of a file, and its metadata. Raises UserError, naming the file, for any that asks for more."""
    try:
        with open_file(path) as file:
            size = file.seek(0, 2)
            require(size < MOST_BYTES, f"{path}: has {size:,} bytes; an .onnx file has less than 2 GB")
            file.seek(0)
            content = file.read(MOST_BYTES)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give an .onnx file") from error
    try:
        return content, _Checker(path).model(memoryview(content))
    except _Damaged as error:
        raise UserError(f"{path}: is no .onnx file, or damaged ({error})") from error


class _Damaged(Exception):
    pass


class _Checker:
    def __init__(self, path: Path):
        self.path, self.left = path, MOST_ENTRIES

    def model(self, content: memoryview) -> dict[str, str]:
        metadata, graphs = {}, 0
        for number, value in self._fields(content):
            if number == _MODEL["graph"]:
                graphs += 1
                self._graph(_message(value))
            elif number == _MODEL["metadata"]:
                pair = dict(self._fields(_message(value)))
                key, text = (_text(pair.get(_PAIR[part], memoryview(b""))) for part in ("key", "value"))
                metadata[key] = text
            self._refuse(number in (_MODEL["training"], _MODEL["functions"]), "functions of its own")
        if graphs != 1:
            raise _Damaged(f"{graphs} graphs")
        return metadata

    def _graph(self, content: memoryview) -> None:
        for number, value in self._fields(content):
            if number == _GRAPH["node"]:
                self._node(_message(value))
            elif number == _GRAPH["initializer"]:
                self._tensor(_message(value))
            self._refuse(number == _GRAPH["sparse"], "sparse tensors")

    def _node(self, content: memoryview) -> None:
        for number, value in self._fields(content):
            if number == _NODE["domain"]:
                domain = _text(value)
                self._refuse(domain not in _DOMAINS, f"operators of {domain!r:.60}, which are no standard ones")
            elif number == _NODE["operator"]:
                name = _text(value)
                self._refuse(name in _DRAWN, f"the operator {name}, which draws at random")
            elif number == _NODE["attribute"]:
                for inner, held in self._fields(_message(value)):
                    if inner in (_ATTRIBUTE["tensor"], _ATTRIBUTE["tensors"]):
                        self._tensor(_message(held))
                    branches = (_ATTRIBUTE["graph"], _ATTRIBUTE["graphs"])
                    self._refuse(inner in branches, "loops or branches, of which nobody knows how long they take")
                    self._refuse(inner in (_ATTRIBUTE["sparse"], _ATTRIBUTE["sparses"]), "sparse tensors")

    def _tensor(self, content: memoryview) -> None:
        for number, value in self._fields(content):
            external = number == _TENSOR["external"] or (number == _TENSOR["location"] and value == _EXTERNAL)
            self._refuse(external, "numbers that lie in another file")

    def _refuse(self, holds: bool, what: str) -> None:
        require(not holds, f"{self.path}: holds {what}; ganforge opens .onnx files as ganforge export writes them")

    def _fields(self, content: memoryview) -> Iterator[Field]:
        """(number, value) of each field of a message: a whole number, or bytes."""
        place, end = 0, len(content)
        while place < end:
            self.left -= 1
            self._refuse(self.left < 0, f"more than {MOST_ENTRIES:,} entries")
            key, place = _varint(content, place)
            number, kind = key >> 3, key & 7
            if kind == 0:
                value, place = _varint(content, place)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
                value, place = content[place : place + size], place + size
            elif kind == 2:
                size, place = _varint(content, place)
                value, place = content[place : place + size], place + size
            else:
                raise _Damaged(f"a field of kind {kind}")
            if place > end or number == 0:
                raise _Damaged("it ends in the middle")
            yield number, value


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(content):
            raise _Damaged("it ends in the middle")
        byte = content[place]
        value, place = value | (byte & 127) << shift, place + 1
        if byte < 128:
            return value, place
    raise _Damaged("a number without an end")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _Damaged("a number in the place of a part")
    return value


def _text(value: int | memoryview) -> str:
    content = _message(value)
    if len(content) > MOST_METADATA:
        raise _Damaged(f"a text of {len(content):,} bytes")
    try:
        return bytes(content).decode()
    except UnicodeDecodeError as error:
        raise _Damaged("a text that is none") from error
