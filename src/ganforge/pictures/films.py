"""Films: a GIF always, and an MP4 where ffmpeg is installed."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganforge.files.folders import replace
from ganforge.files.untrusted import first_line
from ganforge.pictures.grids import animate, square

SECONDS = 0.05  # a frame
_LEAST = 256  # px a side: smaller frames are enlarged by repeating pixels


def frame(pictures: Tensor) -> np.ndarray:
    """One or more pictures (B, C, H, W) in [-1, 1] as a frame, uint8 (h, w, 3), about square, of even sides."""
    page = square(pictures).expand(3, -1, -1)
    factor = max(1, _LEAST // max(page.shape[1:]))
    page = page.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    page = torch.nn.functional.pad(page[None], (0, page.shape[2] % 2, 0, page.shape[1] % 2), mode="replicate")[0]
    return (page * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def write(frames: Sequence[np.ndarray], path: Path) -> list[Path]:
    """Write frames, as `frame` makes them and of one size, to `path` (.gif) and where ffmpeg is, to .mp4 beside it.

    Returns what was written. That there is no MP4, and why, is printed; an older one of that name is gone then.
    """
    animate(list(frames), path, SECONDS, last=SECONDS)
    film, ffmpeg = path.with_suffix(".mp4"), shutil.which("ffmpeg")
    film.unlink(missing_ok=True)  # of another film
    if ffmpeg is None:
        print(f"no ffmpeg is installed, so {film.name} is left out; {path.name} shows the same")
        return [path]
    height, width = frames[0].shape[:2]
    said = ["-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{1 / SECONDS:g}"]
    said += ["-i", "-", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]  # what browsers and players show
    try:
        with tempfile.TemporaryDirectory(prefix="ganforge-") as temporary:
            written = Path(temporary) / "film.mp4"
            command = [ffmpeg, *said, str(written)]
            subprocess.run(command, input=np.stack(frames).tobytes(), capture_output=True, check=True)
            with replace(film) as file:
                file.write(written.read_bytes())
    except (subprocess.CalledProcessError, OSError) as error:
        said = getattr(error, "stderr", None) or b""
        reason = first_line(ValueError(said.decode(errors="replace"))) if said.strip() else first_line(error)
        print(f"ffmpeg could not write {film.name} ({reason}); {path.name} shows the same")
        return [path]
    return [path, film]
