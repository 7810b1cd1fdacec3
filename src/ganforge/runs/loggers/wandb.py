"""A run at Weights & Biases."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.utilities.rank_zero import rank_zero_only

from ganforge.errors import UserError, require
from ganforge.files import untrusted
from ganforge.files.folders import replace
from ganforge.hardware.processes import SWEEP
from ganforge.runs.loggers.media import MediaLogger
from ganforge.runs.loggers.rows import whole_rows

if TYPE_CHECKING:  # it takes a second to import
    import wandb


class RunWandB(MediaLogger):
    """A run on Weights & Biases, over images seen; one that goes on in its folder goes on there, by FOLDER/wandb_id.

    Lightning's WandbLogger has an x axis of its own, and leaves ending the run to others; see `ending` for ours.

    mode: "online" needs an account (`wandb login`), "offline" writes files below FOLDER/wandb for `wandb sync`,
        "disabled" does nothing.
    group: of runs that belong together; null for the sweep that this run is a job of.
    best_checkpoint: whether to upload it, as an artifact, when the run has ended.
    """

    MODES = ("online", "offline", "disabled")
    name, save_dir = "wandb", ""

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
        self.save_dir, self.folder, self.best_checkpoint = folder, Path(folder), best_checkpoint
        self.options = {"project": project, "entity": entity, "name": name, "group": group, "mode": mode}
        self.tags = list(tags)
        sweep = os.environ.get(SWEEP)
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
    def version(self) -> str:
        return self._run.id if self._run else ""

    @property
    def run(self) -> "wandb.Run":
        if self._run is None:
            self._start()
        return self._run

    def _start(self) -> None:
        import wandb

        from ganforge.runs.git import project

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
            for row in whole_rows(self.folder / "metrics.csv"):
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

    def cases(self, name: str, rows: list[tuple[Path, str, dict[str, float]]], images: int) -> None:
        import wandb

        shown = []
        for file, title, scores in rows:
            said = ", ".join(f"{number} {value:.4g}" for number, value in scores.items())
            shown.append(wandb.Image(str(file), caption=f"{title}: {said}"))
        self._log({name: shown}, images)

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
