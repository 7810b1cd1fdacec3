"""`ganforge study NAME`: many trainings that answer one question."""

import json
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.table import Table

from ganforge import CONF
from ganforge.commands.chosen_data import chosen_data
from ganforge.errors import UserError, require
from ganforge.files.folders import make_writable, replace
from ganforge.files.untrusted import printable, read_json
from ganforge.report import study as report
from ganforge.studies.analysis import Analysis
from ganforge.studies.augmentation import Study
from ganforge.words import sentence

STUDIES = ("augmentation",)
_DATA = ("root", "classes", "size", "channels", "crop", "background", "cache_bytes", "cache_dir")


def study(name: str, overrides: Sequence[str], output: str | Path) -> None:
    """Run a study to its end, or go on with it, print its table and verdict, and write study.json and report.html."""
    require(name in STUDIES, f"study {name}: choose one of {', '.join(STUDIES)}")
    folder = Path(output)
    require(not folder.exists() or folder.is_dir(), f"--output {folder}: is a file; give a folder")
    make_writable(folder, f"--output {folder}")
    own, others = split_overrides(name, overrides)
    config = _compose(f"study/{name}", own)
    if config.debug:
        config.seeds, config.shots = min(2, config.seeds), config.shots[:1]
        others = ["debug=true", *others]
    described = [one for one in others if one.startswith(tuple(f"data.{key}=" for key in _DATA))]
    root = [one for one in described if one.startswith("data.root=")]
    require(len(root) == 1, "data.root=FOLDER: give the folder with one folder of pictures a class")
    data = chosen_data(["data=image_folder", *described])
    gans = [one for one in others if one not in root and not one.startswith("data.classes=")]
    running = Study(config=config, data=data, folder=folder, overrides=gans)
    _compose("train", [*running.gan_settings(1), *gans, *root])  # a wrong name is an error before anything is trained
    running.run()
    _, _, class_names = running.records.pictures()
    analysis = Analysis(
        results=running.records.classifiers(),
        class_names=class_names,
        arms=[arm.name for arm in running.arms],
        shots=running.shots,
        seeds=running.seeds,
        primary=dict(config.primary),
        gans=gan_numbers(running),
    )
    numbers = analysis.as_json()
    with replace(folder / "study.json") as file:
        file.write(json.dumps(numbers, indent=2, allow_nan=False).encode())
    running.draw_examples()
    show(analysis)
    print(f"numbers: {folder / 'study.json'}")
    print(f"report: {report.write(folder, numbers, {arm.name: arm.said for arm in running.arms})}")


def split_overrides(name: str, overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of the study itself, and those of its GANs."""
    keys = tuple(_compose(f"study/{name}", []))
    own = [one for one in overrides if one.lstrip("+~").split("=")[0].split(".")[0] in keys]
    return own, [one for one in overrides if one not in own]


def gan_numbers(running: Study) -> dict[tuple[int, int], dict[str, float]]:
    """Of each GAN the share of pictures that are memorized and its minutes; and what a classifier says of it."""
    numbers: dict[tuple[int, int], dict[str, float]] = {}
    for shots in running.shots:
        for seed in running.seeds:
            own: dict[str, float] = {}
            jobs = sorted((running.records.folder / "gans" / f"shots-{shots}").glob(f"seed-{seed}*"))
            found = [result for job in jobs if isinstance(result := read_json(job, "results.json"), dict)]
            if found:
                own["minutes"] = sum(float(result["duration_s"]) for result in found) / 60
                shares = [value for result in found for key, value in result.items() if key == "test/memorized/pixels"]
                own |= {"memorized": sum(shares) / len(shares)} if shares else {}
                numbers[shots, seed] = own
    for one in running.records.classifiers():
        if one["arm"] == "classic":
            judged = {name: one[name] for name in ("fd", "gan_test") if name in one}
            numbers.setdefault((one["shots"], one["seed"]), {}).update(judged)
    return numbers


def show(analysis: Analysis) -> None:
    """The table of arms, the comparisons and the verdict, in the terminal."""
    console = Console()
    table = Table(title="Test figures, means over the seeds", box=None)
    for column in ("shots", "trained on", "macro-F1", "95 %", "accuracy", "worst class"):
        left = column in ("trained on", "worst class")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for row in analysis.table():
        (worst, recall), f1 = row["worst_class"], row["macro_f1"]
        table.add_row(
            str(row["shots"]), row["arm"], f"{100 * f1['mean']:.1f}", _interval(f1["interval"]),
            f"{100 * row['accuracy']['mean']:.1f}", f"{100 * recall:.0f} % {printable(worst)}",
        )  # fmt: skip
    console.print(table)
    against = analysis.primary["against"]
    table = Table(title=f"Points of {analysis.said_figure} above {against}, paired by seed", box=None)
    for column in ("shots", "arm", "points", "", "p (Holm)"):
        table.add_column(column, justify="left" if column == "arm" else "right", no_wrap=True)
    for shots, one, p in analysis.others():
        table.add_row(str(shots), one.arm, f"{100 * one.mean:+.1f}", _interval([one.low, one.high], "+"), f"{p:.3f}")
    console.print(table)
    for shots in analysis.shots:
        found = analysis.equivalent(shots)
        if found is not None:
            count, word = found
            worth = " ".join(filter(None, [word, f"{count:.1f} real pictures a class"]))
            print(f"{analysis.primary['arm']} at {shots} shots is worth {worth}")
    for name, value in analysis.correlations().items():
        if value is not None:
            print(f"rank correlation of the GANs' {name} with the gain: {value:+.2f}")
    console.print(f"\n{analysis.verdict}", markup=False, highlight=False)


def _interval(ends: Sequence[float | None], sign: str = "") -> str:
    low, high = ends
    return "" if low is None or abs(low) > 1e9 else f"{100 * low:{sign}.1f} to {100 * high:{sign}.1f}"


def _compose(config: str, overrides: Sequence[str]) -> DictConfig:
    """A config of conf/. Raises UserError for what Hydra does not accept."""
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(config, overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(sentence(error, overrides)) from error
