"""Where the rows of a run go, also when the run goes on after it was stopped. Only rank 0 writes."""

import csv
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from omegaconf import OmegaConf
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from ganforge.errors import UserError, require
from ganforge.files import untrusted
from ganforge.files.folders import replace

if TYPE_CHECKING:  # either takes a second to import, and few runs use both
    import wandb
    from torch.utils.tensorboard import SummaryWriter


class RunCSV(Logger):
    """FOLDER/metrics.csv: a line a row, columns in the order of the alphabet, on the disk's way at once.

    A row costs one appended line; one with a new column has the file written anew, beside itself until it is whole.
    Lightning's CSVLogger removes a file that is there.
    """

    def __init__(self, *, folder: str):
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._columns: list[str] | None = None  # not looked yet
        self._file: TextIO | None = None

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @rank_zero_only
    def go_on_from(self, images: float) -> None:
        """Keep the rows up to this number of images seen, and only the columns that these have: the later come again.

        A line that was cut off by a kill or a power cut is dropped, with whatever is after it.
        """
        self._close()
        rows: list[dict[str, Any]] = []
        for row in _whole_rows(self.path):
            try:
                seen = float(row["images"])
            except (KeyError, ValueError):
                break
            if seen <= images:
                rows.append(row)
        self._columns = sorted({name for row in rows for name, value in row.items() if value != ""})
        if rows:
            self._write(rows)
        else:
            self.path.unlink(missing_ok=True)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The configuration is in `.hydra/`."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if self._columns is None:
            self.go_on_from(float("inf"))
        row = {**metrics, "step": step}
        self._restore()
        if not row.keys() <= set(self._columns):
            self._close()
            self._columns = sorted({*self._columns, *row})
            self._write(_whole_rows(self.path))
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
            rows = _rows(self._file.read())
            self._close()
            self._write(rows)

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # rows that the disk did not take: it was said when they were written
                self._file.close()
            self._file = None

    def _write(self, rows: list[dict[str, Any]]) -> None:
        with replace(self.path) as file:
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, self._columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
            file.write(text.getvalue().encode())


def _whole_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file up to the first line that is not whole."""
    if not path.is_file():
        return []
    # A power cut may leave zeros where the last lines should be.
    return _rows(path.read_bytes().split(b"\0")[0].decode(errors="replace"))


def _rows(text: str) -> list[dict[str, str]]:
    """The rows of the text of a CSV file up to the first line that is not whole."""
    whole_lines = text[: text.rfind("\n") + 1]
    header, *rows = list(csv.reader(io.StringIO(whole_lines, newline=""))) or [[]]
    whole = []
    for row in rows:
        if len(row) != len(header):
            break
        whole.append(dict(zip(header, row, strict=True)))
    return whole


class Board(Logger):
    """A logger that shows more than rows. `ganforge.callbacks.Dashboard` calls these methods, on rank 0 alone."""

    def begin(self, card: dict[str, Any], processes: int) -> None:
        """Before the training. card: `config` (resolved), `versions`, `data_fingerprint`, `git_difference`."""

    def picture(self, name: str, file: Path, caption: str, images: int) -> None:
        """A picture file, at this number of images seen."""

    def histogram(self, name: str, values: Sequence[float], images: int) -> None:
        """How numbers are distributed, at this number of images seen."""

    def table(self, name: str, columns: list[str], rows: list[list[Any]], images: int) -> None:
        """A table of strings, numbers and None."""

    def numbers(self, values: dict[str, float], images: int) -> None:
        """The numbers with which the run ends."""

    def checkpoint(self, file: Path, images: int) -> None:
        """The best checkpoint, when the run has ended."""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Told by `begin`."""


class RunTensorBoard(Board):
    """FOLDER/tensorboard: event files whose step is the number of images seen; a run that goes on adds one."""

    def __init__(self, *, folder: str):
        super().__init__()
        self.folder = Path(folder) / "tensorboard"
        self._purge: int | None = None
        self._writer: SummaryWriter | None = None

    @property
    def name(self) -> str:
        return "tensorboard"

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.folder.parent)

    def go_on_from(self, images: int) -> None:
        """Have TensorBoard forget what is there of later steps: it comes again."""
        self._purge = images + 1

    @property
    def writer(self) -> "SummaryWriter":
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=self._purge)
        return self._writer

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        for name, value in metrics.items():
            if name != "images":  # the step
                self.writer.add_scalar(name, value, step)

    def begin(self, card: dict[str, Any], processes: int) -> None:
        self.writer.add_text("config", f"```yaml\n{OmegaConf.to_yaml(card['config'])}\n```", 0)

    def picture(self, name: str, file: Path, caption: str, images: int) -> None:
        from ganforge.pictures import images as pictures

        self.writer.add_image(name, pictures.read(file, channels=3), images, dataformats="HWC")

    def histogram(self, name: str, values: Sequence[float], images: int) -> None:
        import numpy as np

        self.writer.add_histogram(name, np.asarray(values), images)

    def table(self, name: str, columns: list[str], rows: list[list[Any]], images: int) -> None:
        lines = [columns, ["---"] * len(columns), *rows]
        text = "\n".join(f"| {' | '.join('' if cell is None else str(cell) for cell in line)} |" for line in lines)
        self.writer.add_text(name, text, images)

    def numbers(self, values: dict[str, float], images: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"results/{name}", value, images)

    @rank_zero_only
    def save(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._writer is not None:
            self._writer.flush()


class RunWandB(Board):
    """A run on Weights & Biases, over images seen; one that goes on in its folder goes on there, by FOLDER/wandb_id.

    Lightning's WandbLogger has an x axis of its own, and leaves ending the run to others; see `ending` for ours.

    mode: "online" needs an account (`wandb login`), "offline" writes files below FOLDER/wandb for `wandb sync`,
        "disabled" does nothing.
    group: of runs that belong together; null for the sweep that this run is a job of.
    best_checkpoint: whether to upload it, as an artifact, when the run has ended.
    """

    MODES = ("online", "offline", "disabled")

    def __init__(
        self,
        *,
        folder: str,
        project: str = "ganforge",
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        mode: str = "online",
        best_checkpoint: bool = False,
    ):
        super().__init__()
        require(mode in self.MODES, f"logger.wandb.mode={mode}: {', '.join(self.MODES)}")
        self.folder, self.best_checkpoint = Path(folder), best_checkpoint
        self.options = {"project": project, "entity": entity, "name": name, "group": group, "mode": mode}
        self.tags = list(tags)
        sweep = os.environ.get("GANFORGE_SWEEP")
        if sweep:
            self.options |= {"group": group or Path(sweep).name, "name": f"{name} {self.folder.name}"}
        self._run: wandb.Run | None = None
        self._known = 0
        if mode == "online":
            self._log_in()

    @rank_zero_only
    def _log_in(self) -> None:
        import wandb

        offline = "logger.wandb.mode=offline needs no account, and `wandb sync` uploads its files later"
        try:
            known = wandb.login(prompt=False, verify=True)
        except wandb.Error as error:
            raise UserError(f"logger.wandb.mode=online: {error.message}; {offline}") from error
        require(known, f"logger.wandb.mode=online: no W&B account is known here; type `wandb login` once, or {offline}")

    @property
    def name(self) -> str:
        return "wandb"

    @property
    def version(self) -> str:
        return self._run.id if self._run else ""

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    @property
    def run(self) -> "wandb.Run":
        if self._run is None:
            self._start()
        return self._run

    def _start(self) -> None:
        import wandb

        from ganforge.runs.provenance import project

        file = self.folder / "wandb_id"
        known = (untrusted.read_text(self.folder, "wandb_id") or "").strip()
        known = known if re.fullmatch(r"[\w-]{1,64}", known) else ""
        chosen = {**self.options, "id": known or None, "resume": "allow"}
        if "WANDB_SWEEP_ID" in os.environ:  # its agent chooses
            chosen |= {"project": None, "entity": None, "id": None, "resume": None}
        try:
            # A killed run lacks a second of its rows.
            settings = {"git_root": str(project()), "x_transaction_log_flush_interval": 1.0}
            settings = {name: value for name, value in settings.items() if name in wandb.Settings.model_fields}
            self._run = wandb.init(
                dir=str(self.folder),
                tags=self.tags,
                reinit="finish_previous",
                settings=wandb.Settings(**settings),
                **chosen,
            )
        except wandb.Error as error:
            raise UserError(f"logger=wandb: {error}; logger.wandb.mode=offline writes files for later") from error
        with replace(file) as written:
            written.write(f"{self._run.id}\n".encode())
        self._run.define_metric("images")
        self._run.define_metric("*", step_metric="images")
        if self._run.resumed:
            # W&B has what is before this step, and would complain about each of these rows.
            self._known = self._run.starting_step
            # What was on its way to W&B when the run was killed, where metrics.csv has it.
            for row in _whole_rows(self.folder / "metrics.csv"):
                values = {name: float(value) for name, value in row.items() if value and name not in ("images", "step")}
                self._log(values, int(row["images"]))

    def _log(self, values: dict[str, Any], images: int) -> None:
        run = self.run
        if images >= self._known:
            run.log({**values, "images": images}, step=images)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self._log(metrics, step)

    def begin(self, card: dict[str, Any], processes: int) -> None:
        if processes > 1:
            self.tags.append("ddp")
        told = {**card["config"], "processes": processes, "versions": card["versions"]}
        told["data_fingerprint"] = card["data_fingerprint"]
        # A sweep of W&B over model=... has a config with this name, which cannot be changed.
        taken = [
            key for key, value in told.items() if isinstance(value, dict) and isinstance(self.run.config.get(key), str)
        ]
        told = {f"{key}_settings" if key in taken else key: value for key, value in told.items()}
        self.run.config.update(told, allow_val_change=True)
        if card["git_difference"] and not self.run.settings.disable_git:
            patch = Path(self.run.dir) / "git_difference.patch"
            patch.write_text(card["git_difference"])
            self.run.save(str(patch), base_path=self.run.dir, policy="now")

    def picture(self, name: str, file: Path, caption: str, images: int) -> None:
        import wandb

        self._log({name: wandb.Image(str(file), caption=caption)}, images)

    def histogram(self, name: str, values: Sequence[float], images: int) -> None:
        import wandb

        self._log({name: wandb.Histogram(values)}, images)

    def table(self, name: str, columns: list[str], rows: list[list[Any]], images: int) -> None:
        import wandb

        self._log({name: wandb.Table(columns=columns, data=rows)}, images)

    def numbers(self, values: dict[str, float], images: int) -> None:
        # Sweeps of W&B look at what is logged.
        self._log({name: value for name, value in values.items() if name.startswith("best/")}, images)
        self.run.summary.update(values)

    def checkpoint(self, file: Path, images: int) -> None:
        import wandb

        if self.best_checkpoint:
            artifact = wandb.Artifact(f"model-{self.run.id}", type="model", metadata={"images_seen": images})
            artifact.add_file(str(file))
            self.run.log_artifact(artifact, aliases=["best"])


@contextmanager
def ending(*stopped: type[BaseException]) -> Iterator[None]:
    """After it no W&B run is open: it has ended well, was stopped from outside (these exceptions), or has failed."""
    code = 1
    try:
        yield
        code = 0
    except stopped:
        code = 255  # W&B calls it killed
        raise
    finally:
        wandb = sys.modules.get("wandb")
        if wandb is not None and wandb.run is not None:
            wandb.finish(exit_code=code)
