"""The settings of a run, with what differs from the defaults of its choices, and what computed it."""

import json
import re
import shlex
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ganforge.errors import UserError
from ganforge.files import untrusted
from ganforge.runs.folder import PLACE, Run, flatten, plain

# Whose choices are compared with what they give by default: all else follows from these.
LEADING = ("experiment", "model", "data", "trainer", "evaluation", "callbacks")
MOST_SETTINGS = 2000  # that are shown
LONGEST_VALUE = 400  # characters
# What results.json says of a run elsewhere than under "environment".
ELSEWHERE = {
    "evaluation", "images_seen", "best_checkpoint_images_seen", "images_per_second", "duration_s", "best_checkpoint",
    "last_checkpoint", "grid", "warnings", "run_dir",
}  # fmt: skip


def of_run(run: Run) -> dict[str, Any] | None:
    """overrides, command, choices; changed: (key, value, default, whether it was given) of what differs.

    rows: (key, value, whether it differs) of everything; defaults: whether these are known. None without settings.
    """
    text = untrusted.read_text(run.folder, ".hydra/config.yaml")
    if not (run.overrides or run.config or run.choices or text):
        return None
    flat = {key: value for key, value in flatten(run.config).items() if key.split(".")[0] not in PLACE}
    flat = dict(list(flat.items())[:MOST_SETTINGS])
    leading = tuple((group, run.choices[group]) for group in LEADING if run.choices.get(group))
    default, choices = defaults(leading) or (None, {})
    given = {override.split("=")[0].lstrip("+~") for override in run.overrides}
    changed = []
    if default is not None:
        shown = {**{key: value for key, value in run.choices.items() if key in choices}, **flat}
        usual = {**choices, **default}
        changed = [
            (key, _value(value), _usual(usual, key), key in given)
            for key, value in shown.items()
            if key not in usual or not _equal(value, usual[key])
        ]
    differ = {key for key, *_ in changed}
    return {
        "overrides": run.overrides,
        "command": command(run.overrides),
        "known": default is not None,
        "changed": changed,
        "choices": {group: choice for group, choice in run.choices.items() if choice is not None},
        "rows": [(key, _value(value), key in differ) for key, value in flat.items()],
        "text": None if flat else text,
    }


def _value(value: Any) -> str:
    return untrusted.shortened(plain(value) if value is not None else "null", LONGEST_VALUE)


def _usual(usual: dict[str, Any], key: str) -> str:
    """A default in words."""
    if key not in usual:
        return "not there"
    return "must be given" if usual[key] == "???" else _value(usual[key])


def _equal(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True, default=str) == json.dumps(other, sort_keys=True, default=str)


@lru_cache(maxsize=64)
def defaults(leading: tuple[tuple[str, str], ...]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What choices such as (("model", "pix2pix"), ...) give by default: settings by dotted key, choices by group.

    Interpolations as written. None where a choice is not of this project, or no longer fits the others.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    import ganforge.settings  # noqa: F401  resolvers that the configs choose by
    from ganforge import CONF

    for group, choice in leading:
        # A name from a file: nothing but a choice of ours.
        if not re.fullmatch(r"[\w-]{1,100}", str(choice), re.ASCII) or not (CONF / group / f"{choice}.yaml").is_file():
            return None
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            overrides = [f"{group}={choice}" for group, choice in leading]
            config = compose("train", overrides=overrides, return_hydra_config=True)
            chosen = OmegaConf.to_container(config.hydra.runtime.choices)
            found = OmegaConf.to_container(config, resolve=False)
    except Exception:  # choices that do not go together, or of another version
        return None
    finally:
        GlobalHydra.instance().hydra = before
    found.pop("hydra")
    groups = {str(key).split("@")[-1]: choice for key, choice in chosen.items() if not str(key).startswith("hydra/")}
    return flatten(found), {key: choice for key, choice in groups.items() if key not in PLACE}


def command(overrides: Sequence[str], *own: str) -> str:
    """To be typed; nothing that would run other code than this project's, should the overrides be someone else's."""
    odd = next((override for override in overrides if not _is_safe(override)), None)
    if odd is not None:
        return f"(no command: read first what this one does: {untrusted.shortened(odd)})"
    return " ".join(("python train.py", *(shlex.quote(override) for override in (*overrides, *own))))


def _is_safe(override: str) -> bool:
    """Whether it is no option, names no class from outside and changes no folder that configs come from."""
    named = re.fullmatch(r"[\w.+~/@]*\._target_=ganforge\.[\w.]+", override)
    foreign = "_target_" in override or "${" in override or re.match(r"[-+~]*(-|hydra)", override)
    return override.isprintable() and (named is not None or not foreign)


def environment(run: Run) -> dict[str, str]:
    """What computed a run, of its results; of one that did not finish, of its last checkpoint and its settings."""
    said = {
        key: value
        for key, value in run.results.items()
        if "/" not in key and key not in ELSEWHERE and isinstance(value, str | int | float)
    }
    if not said:
        said = _card(run)
    for key in ("seed", "trainer.precision", "trainer.accelerator", "trainer.devices", "trainer.num_nodes"):
        value = flatten(run.config).get(key)
        if value is not None and key not in said:
            said[key] = plain(value)
    said |= {key: run.status[key] for key in ("host", "began", "ended") if run.status.get(key)}
    return {key: str(value) for key, value in said.items()}


def _card(run: Run) -> dict[str, Any]:
    """What the last checkpoint of a run says of versions and data; nothing where there is none."""
    if not untrusted.is_file(run.folder, "checkpoints/last.ckpt"):
        return {}
    from ganforge.runs import checkpoint

    try:
        card = checkpoint.load(run.folder / "checkpoints/last.ckpt")["ganforge"]
        versions = card.get("versions")
    except (UserError, AttributeError):
        return {}
    said = {"data_fingerprint": card.get("data_fingerprint"), **(versions if isinstance(versions, dict) else {})}
    return {key: value for key, value in said.items() if value is not None}
