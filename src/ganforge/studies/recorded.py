"""What the ledger of results says of a study: the figures of its arms, the primary comparison, the verdict."""

import fnmatch
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ganforge import CONF
from ganforge.errors import UserError, require
from ganforge.files import untrusted
from ganforge.runs import git, ledger, machine, status
from ganforge.runs.folder import Run, flatten, is_number
from ganforge.studies.records import SETTINGS

RESULTS = "study.json"
_WORDS = re.compile(r"[\w .,:;()+\-]+")  # of a verdict and of the names of arms: nothing that Markdown would take


def is_study(folder: str | Path) -> bool:
    return untrusted.is_file(folder, SETTINGS)


def of_study(folder: str | Path, patterns: Sequence[str] = (), note: str | None = None) -> dict[str, Any]:
    """What the ledger says of a study, in the form of `ledger.of_run`, with `seeds`, `primary` and `verdict` beside.

    Its numbers are shots-N/ARM/FIGURE (shares, with /low and /high), shots-N/ARM/gain (above the reference of the
    primary comparison) and /p (adjusted by Holm's method), primary/gain and primary/p, shots-N/gan/NAME. patterns: of
    those that are kept, as shells have them; default: all. Raises UserError for a study that has not finished.
    """
    folder = Path(folder)
    settings, results = untrusted.read_yaml(folder, SETTINGS), untrusted.read_json(folder, RESULTS)
    require(isinstance(settings, dict), f"{folder / SETTINGS}: is not what a study writes")
    require(
        results is not None,
        f"{folder}: this study has not finished (there is no {RESULTS}); type its command again, and it goes on",
    )
    try:
        seeds = list(results["seeds"])
        wanted = list(range(settings["first_seed"], settings["first_seed"] + settings["seeds"]))
        require(
            seeds == wanted,
            f"{folder}: this study has not finished ({len(wanted)} seeds were asked for, its results are of "
            f"{len(seeds)}); type its command again, and it goes on",
        )
        primary = {name: results["primary"][name] for name in ("arm", "against", "figure", "shots")}
        found = {
            "command": _command(settings),
            **_jobs(folder),
            "seeds": seeds,
            "note": note,
            "verdict": results["verdict"],
            "primary": primary,
            "numbers": {
                key: value
                for key, value in _numbers(results).items()
                if not patterns or any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)
            },
        }
        said = [found["verdict"], *map(str, primary.values()), *found["numbers"]]
        require(all(_WORDS.fullmatch(text.replace("/", "")) for text in said), "a name or a verdict of other letters")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{folder / RESULTS}: is not what a study writes ({type(error).__name__}: {error})") from error
    ledger.refuse_paths(found)
    return {key: value for key, value in found.items() if value is not None}


def _numbers(results: dict[str, Any]) -> dict[str, float]:
    found: dict[str, Any] = {}

    def put(key: str, value: Any, interval: Sequence[Any] = (None, None)) -> None:
        found.update(zip((key, f"{key}/low", f"{key}/high"), (value, *interval), strict=True))

    for row in results["table"]:
        for figure in ("macro_f1", "accuracy"):
            put(f"shots-{row['shots']}/{row['arm']}/{figure}", row[figure]["mean"], row[figure]["interval"])
        put(f"shots-{row['shots']}/{row['arm']}/worst_class", row["worst_class"][1])
    for row in results["comparisons"]:
        put(f"shots-{row['shots']}/{row['arm']}/gain", row["mean"], row["interval"])
        put(f"shots-{row['shots']}/{row['arm']}/p", row["p_holm"])
    primary = results["primary"]
    put("primary/gain", primary["mean"], primary["interval"])
    put("primary/p", primary["p"])
    put("primary/smallest_effect", primary["smallest_effect"])
    for name, values in results["gan"].items():
        for shots, value in values.items():
            put(f"shots-{shots}/gan/{name}", value)
    return {key: ledger.rounded(value) for key, value in found.items() if is_number(value)}


def _command(settings: dict[str, Any]) -> str:
    """The command that runs this study: what differs from conf/study/augmentation.yaml, and what its GANs are told."""
    defaults = flatten(untrusted.read_yaml(CONF / "study", "augmentation.yaml"))
    if settings["primary"]["shots"] == settings["shots"][0]:
        defaults["primary.shots"] = settings["shots"][0]
    own = {key: value for key, value in flatten(settings).items() if key not in ("overrides", "data_fingerprint")}
    given = [
        f"{_setting(key, defaults)}={_value(value)}"
        for key, value in own.items()
        if key not in defaults or value != defaults[key]
    ]
    others = [one for one in settings["overrides"] if one != "debug=true"]  # which the study has handed on
    return ledger.command(["data.root=FOLDER", *given, *others], "ganforge study augmentation")


def _setting(key: str, defaults: dict[str, Any]) -> str:
    if key == "classes":
        return "data.classes"
    return key if key in defaults else f"+{key}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_value, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    return text if re.fullmatch(r"[\w.\-+]*", text) else "'" + text.replace("'", r"\'") + "'"


def _jobs(folder: Path) -> dict[str, Any]:
    """Of the study's GANs and classifiers: commit, machine, the date of the first, the seconds of all together."""
    places = [place for pattern in ("gans/*/*", "classifiers/*") for place in sorted(folder.glob(pattern))]
    jobs = []
    for place in places:
        results, state = untrusted.read_json(place, "results.json"), status.read(place)
        if isinstance(results, dict) and state:
            jobs.append(Run(folder=place, name=place.name, results=results, status=state))
    commits = [one.results["git_commit"] for one in jobs if "git_commit" in one.results]
    began = sorted(date for one in jobs if (date := _day(one)))
    return {
        "commit": " and ".join(dict.fromkeys(map(untrusted.printable, commits))) or git.UNKNOWN,
        "machine": " and ".join(dict.fromkeys(filter(None, map(machine.of_run, jobs)))) or None,
        "date": began[0] if began else None,
        "seconds": round(sum(one.duration or 0 for one in jobs)),
    }


def _day(job: Run) -> str | None:
    try:
        return datetime.fromisoformat(str(job.status.get("began"))).date().isoformat()
    except ValueError:
        return None
