"""A trained generator from whatever it lies in; PyTorch is loaded where it is needed."""

from pathlib import Path

from ganforge.runs.engine import Generator

ONNX = ".onnx"


def is_onnx(path: Path) -> bool:
    return path.suffix.lower() == ONNX and not path.is_dir()


def open_generator(path: str | Path, output: str | None = None) -> Generator:
    """The generator of a run, a checkpoint, a folder of `ganforge export`, or an .onnx file, which needs no PyTorch.

    output: its name where the model has several, such as AtoB; None for the first.
    """
    path = Path(path)
    if is_onnx(path):
        from ganforge.runs.onnx_model import load_onnx

        return load_onnx(path, output)
    from ganforge.runs.generators import load_generator

    return load_generator(path, output)
