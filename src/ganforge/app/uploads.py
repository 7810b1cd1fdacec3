"""Pictures that visitors give: on the disk while they are translated, and not after that."""

import io
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ganforge.app import shared, views
from ganforge.errors import UserError
from ganforge.files.folders import plain_name
from ganforge.pictures import images, rasters

Told = Callable[[float], None]  # the share of the work that is done


@dataclass
class Result:
    """A translated picture. files: name -> content, the first as `ganforge predict` names it; the rest of a network.

    before: None of a list of sites, of what is too large to be shown, and of all but the first of many. size: height
    and width of the picture in px. bands: of the result, where it has others than colours.
    """

    name: str
    files: dict[str, bytes]
    notes: list[str]
    seconds: float
    before: np.ndarray | None
    size: tuple[int, int]
    bands: tuple[str, ...]
    views: dict[str, np.ndarray] = field(default_factory=dict)
    mechanics: Any = None  # of a network, once they were computed

    @property
    def pictures(self) -> list[str]:
        """The names of what was translated: one, or one of each domain."""
        others = (".json", ".graphml", "_sites.png")
        return [name for name in self.files if not name.endswith(others)]

    def view(self, name: str, band: str | None = None) -> np.ndarray:
        """One of its pictures as it is shown."""
        key = f"{name}/{band}"
        if key not in self.views:
            with _folder() as here:
                file = here / f"view{Path(name).suffix}"
                file.write_bytes(self.files[name])
                self.views[key] = views.seen(file, band)
        return self.views[key]


def translated(
    generator: Any,
    name: str,
    content: bytes,
    options: dict[str, Any],
    longest: int | None,
    tell: Told,
    is_shown: bool = True,
) -> Result:
    """One picture, as `ganforge predict` translates it. Raises UserError, which names it as its visitor does.

    options: of `ganforge.commands.predict.write`. longest: px of the longer side, to which larger ones are reduced.
    is_shown: whether to keep what it was `before`, too.
    """
    from ganforge.commands import predict

    @contextmanager
    def progress(steps: int) -> Iterator[Callable[..., None]]:
        left = steps

        def done(count: int = 1) -> None:
            nonlocal left
            left -= count
            tell(1 - left / max(steps, 1))

        yield done

    path = PurePosixPath(name.replace("\\", "/"))
    with _folder() as here, shared.WORKING:
        begin = time.perf_counter()
        file = here / plain_name(path.stem or "picture", path.suffix.lower())
        file.write_bytes(content)
        try:
            is_picture = file.suffix in images.SUFFIXES
            if longest is not None and is_picture:
                file = _reduced(file, longest)
            output = here / "out"
            written = predict.write(generator, [file], output, progress=progress, **options)
            seconds = time.perf_counter() - begin
            files = {path.name: path.read_bytes() for path in written.files}
            head = rasters.header(written.files[0])
            before = None
            with suppress(UserError):  # too large to be shown
                if is_shown and is_picture:
                    before = views.seen(file, grey=generator.card.get("colour_space") is not None)
        except UserError as error:
            raise UserError(_without(str(error), here, generator.path)) from error
        notes = [_without(note, here, generator.path) for note in written.notes]
        bands = () if head.is_ordinary else head.bands
        return Result(name, files, notes, seconds, before, (head.height, head.width), bands)


def archive(results: Sequence[Result]) -> bytes:
    """A ZIP of all their files; those of one name get a number."""
    content, names = io.BytesIO(), set()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as file:
        for name, data in (pair for result in results for pair in result.files.items()):
            path, number, free = PurePosixPath(name), 1, name
            while free in names:
                number += 1
                free = f"{path.stem}_{number}{path.suffix}"
            names.add(free)
            file.writestr(free, data)
    return content.getvalue()


def _reduced(file: Path, longest: int) -> Path:
    picture = images.read(file, 3)
    height, width = picture.shape[:2]
    if max(height, width) <= longest:
        return file
    factor = longest / max(height, width)
    target = file.with_suffix(".png")
    images.write(target, images.resize(picture, (max(1, round(height * factor)), max(1, round(width * factor)))))
    return target


@contextmanager
def _folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="ganforge-app-") as folder:
        yield Path(folder)


def _without(text: str, folder: Path, model: Path) -> str:
    """A sentence without the places of files on the server."""
    return text.replace(f"{folder / 'out'}/", "").replace(f"{folder}/", "").replace(str(model), model.name)
