"""A run as its folder tells it. Imports nothing heavy; nothing broken crashes it."""

import os
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ganforge.files import untrusted
from ganforge.files.folders import natural_key
from ganforge.runs import status

# The order of a ranking: what has a result comes first.
STATES = ("finished", "pruned", "running", "interrupted", "failed", "unknown")
BETWEEN = ("floor", "test", "ceiling")
MARKS = (".hydra/config.yaml", status.FILE, "results.json", "metrics.csv")
LATENT = "latent"  # folder in that of a run, of the sheets that ganforge interpolate and others draw
# Where a run is and how it was started, not what it trains.
PLACE = {"name", "run_dir", "resume", "ckpt_path", "sweep", "launcher"}
# Of runs that did not write down whether a small or a large number is better.
LARGER_IS_BETTER = re.compile(r"f1|exact|^is\b|psnr|ssim|accuracy|precision|recall")


@dataclass(kw_only=True)
class Run:
    """One run. What its folder does not tell is None or empty.

    state: one of STATES; "unknown" where a run of an older version did not finish.
    score: the best value of `monitor` (`val/...`), better when smaller or larger as `mode` ("min", "max") says.
    config: as written, interpolations unresolved; choices: config group -> choice.
    """

    folder: Path
    name: str
    state: str = "unknown"
    score: float | None = None
    monitor: str | None = None
    mode: str | None = None
    overrides: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, str | None] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def images(self) -> int | None:
        """Images seen."""
        for found in (self.results.get("images_seen"), self.status.get("images_seen")):
            if isinstance(found, int):
                return found
        return None

    @property
    def duration(self) -> float | None:
        """Seconds; of a running one until now."""
        if is_number(self.results.get("duration_s")):
            return float(self.results["duration_s"])
        began = _time(self.status.get("began"))
        ended = _time(self.status.get("ended")) or (datetime.now(timezone.utc) if self.state == "running" else None)
        # A clock that was set back in between tells nothing.
        return (ended - began).total_seconds() if began and ended and ended >= began else None

    @property
    def between(self) -> dict[str, float]:
        """What the compared number is on the test set; of a translation "floor", "test", "ceiling", where these are."""
        number = (self.monitor or "").removeprefix("val/")
        found = {title: self.results.get(f"{title}/{number}") for title in BETWEEN}
        known = {title: float(value) for title, value in found.items() if is_number(value)}
        return known if "floor" in known else {title: value for title, value in known.items() if title == "test"}

    @property
    def error(self) -> str | None:
        return self.status.get("error")

    @property
    def settings(self) -> dict[str, Any]:
        """Every choice and every value of the config by its dotted key."""
        return flatten(self.config) | self.choices

    def value(self, key: str) -> Any:
        """What the run has under `key`: a column of the table, a setting, or a number of its results; None if nothing.

        The last part of a setting's key is enough where one setting alone ends so.
        """
        if key in ("name", "folder", "state", "score", "monitor", "mode", "images", "duration", "error"):
            return getattr(self, key)
        settings = self.settings
        for values in (settings, self.results, self.status):
            if key in values:
                return values[key]
        ends = [name for name in settings if name.endswith(f".{key}")]
        return settings[ends[0]] if len(ends) == 1 else None


def read(folder: str | Path) -> Run:
    """The run in a folder, whatever is missing or broken there."""
    folder = Path(folder)
    run = Run(folder=folder, name=folder.resolve().name)
    run.config = _of_type(untrusted.read_yaml(folder, ".hydra/config.yaml"), dict)
    run.overrides = [str(override) for override in _of_type(untrusted.read_yaml(folder, ".hydra/overrides.yaml"), list)]
    run.choices = _choices(folder)
    run.results = _of_type(untrusted.read_json(folder, "results.json"), dict)
    run.status = status.read(folder) or {}
    best = [key for key in run.results if key.startswith("best/val/")]
    run.state = run.status.get("state") or ("finished" if best else "unknown")
    run.monitor = run.status.get("monitor") or (best[0].removeprefix("best/") if best else None)
    if run.monitor:
        guessed = "max" if LARGER_IS_BETTER.search(run.monitor.removeprefix("val/")) else "min"
        run.mode = run.status.get("mode") or guessed
    for found in (run.status.get("score"), run.results.get(f"best/{run.monitor}")):
        if run.score is None and is_number(found):
            run.score = float(found)
    return run


def find(folder: str | Path) -> list[Run]:
    """All runs in and below a folder, by path; each is named by its path from there."""
    root = Path(folder)
    found = []
    for here, below, _ in os.walk(root):
        if is_run(here):
            run = read(here)
            relative = str(Path(here).relative_to(root))
            run.name = run.name if relative == "." else relative
            found.append(run)
            below.clear()
        below[:] = sorted(name for name in below if not name.startswith("."))
    return sorted(found, key=lambda run: natural_key(run.name))


def is_run(folder: str | Path) -> bool:
    return any(os.path.isfile(os.path.join(folder, mark)) for mark in MARKS)


def flatten(config: dict[str, Any], prefix: str = "", *, joint: str = ".") -> dict[str, Any]:
    """Dotted keys of a nested dict, or with another joint; lists and empty dicts are values."""
    flat = {}
    for key, value in config.items():
        within = flatten(value, f"{prefix}{key}{joint}", joint=joint) if isinstance(value, dict) and value else None
        flat |= {f"{prefix}{key}": value} if within is None else within
    return flat


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def clock(seconds: float | None) -> str:
    """Seconds as h:mm:ss or m:ss."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plain(value: Any) -> str:
    """A setting in a table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _time(text: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        return time if time.tzinfo else time.astimezone()
    except (TypeError, ValueError, OverflowError):
        return None


def _of_type(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) else kind()


def _choices(folder: Path) -> dict[str, str | None]:
    """The choice of each of our config groups; without Hydra's own."""
    found = untrusted.read_yaml(folder, ".hydra/hydra.yaml")
    for key in ("hydra", "runtime", "choices"):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return {}
    groups = {str(key).split("@")[-1] if "@" in str(key) else str(key): value for key, value in found.items()}
    return {key: value for key, value in groups.items() if not key.startswith("hydra/") and key not in PLACE}
