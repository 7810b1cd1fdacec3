"""Answers to words that do not exist: one sentence with the nearest ones that do. Imports nothing heavy."""

import importlib
import inspect
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from hydra.main import get_args_parser
from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import ganforge
from ganforge import CONF, extensions
from ganforge.errors import UserError, require
from ganforge.files.untrusted import printable


@contextmanager
def one_sentence(arguments: Sequence[str]) -> Iterator[None]:
    """Around Hydra's main(): what a user can mend ends in one sentence on standard error and exit status 1.

    arguments: of the command line. Other errors keep their traceback; HYDRA_FULL_ERROR=1 shows it for all.
    """
    if "--version" in arguments:
        print(f"ganforge {ganforge.__version__} (Hydra {hydra.__version__}, Python {sys.version.split()[0]})")
        sys.exit()
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        yield
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then hands its errors on instead of printing them
    try:
        check_arguments(arguments)
        yield
    except (UserError, HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {sentence(error, arguments)}")
    except BrokenPipeError:  # of `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes what is left when it ends
        sys.exit(1)
    except ValueError as error:
        if not str(error).startswith(("Only one of --", "The --")):  # options of Hydra that exclude each other
            raise
        sys.exit(f"error: {error}")


def command() -> str:
    """How this training was called: what is typed before its settings."""
    script = Path(sys.argv[0])
    if is_installed_command():
        named = filter(None, os.environ.get(extensions.VARIABLE, "").split(","))
        return " ".join(["ganforge", *(f"--package {name}" for name in named), "train"])
    return f"python {shlex.quote(str(script))}" if script.suffix == ".py" else "python train.py"


def is_installed_command() -> bool:
    """Whether a training was called as `ganforge train`, from whatever folder."""
    return Path(sys.argv[0]).parts[-3:] == ("ganforge", "commands", "train.py")


def sentence(error: BaseException, arguments: Sequence[str] = ()) -> str:
    """What a user did wrong, in one line, with the nearest names that would be accepted; safe to print.

    arguments: of the command line, where the error is of them.
    """
    return printable(_sentence(error, arguments), lines=True)


def _sentence(error: BaseException, arguments: Sequence[str]) -> str:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UserError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        return str(cause)
    lines = _lines(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing_choice(error.missing_cfg_file, error.options)
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override, arguments)
    if match := re.search(r"Missing mandatory value: (\S+?)[.;]?(\s|$)", str(error)):
        value = "FOLDER" if _split(match[1])[1] == "root" else "VALUE"
        return f"{match[1]}: is not given; add {match[1]}={value}"
    if isinstance(error, InstantiationException):
        return _refused_by_class(str(error)) or _joined(lines)
    if match := re.match(r"In '.*': Could not load '(.+)'", lines[0]):
        return _missing_choice(match[1], None)
    if match := re.match(r"Could not override '(.+)'\.$", lines[0]):
        if "@" in match[1]:  # Hydra's own suggestion is good
            return _joined(lines)
        return _unknown_setting(match[1], _tree(error.__cause__), lines[-1])
    if match := re.match(r"Could not delete from config. '(.+)' does not exist", lines[0]):
        tree = _composed(arguments)
        if match[1] in _settings(tree):
            return f"~{match[1]}: is null as it is; nothing is left to take away"
        return _unknown_setting(f"~{match[1]}", tree)
    if match := re.match(r"Error merging override (.+)", lines[0]):
        return f"{match[1]}: {_lines(error.__cause__)[0]}" if error.__cause__ else match[1]
    if match := re.match(r"Ambiguous value for argument '(.+)'$", lines[0]):
        key, _, values = match[1].partition("=")
        return (
            f"{match[1]}: several values; -m runs one after another, a list is written '{key}=[{values}]', and a text "
            f"with a comma {_quoted(key, values)}"
        )
    return _joined(lines)


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """ "; did you mean A or B?", or an empty string where no known name resembles `name`."""
    return _meant(nearest(name, known)[:most])


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The known names that `name` may stand for, the nearest first.

    Names are paths: parts between dots or slashes. First those that differ in the last part alone, by a slip of the
    keyboard; then those in other places with the same last part, or nearly the same.
    """
    known = list(dict.fromkeys(known))
    place, last = _split(name)
    beside = {_split(other)[1]: other for other in known if _split(other)[0] == place}
    if near := get_close_matches(last, beside, n=3, cutoff=0.6):
        best = SequenceMatcher(None, near[0], last).ratio()
        return [beside[other] for other in near if SequenceMatcher(None, other, last).ratio() > best - 0.1]
    lasts = {_split(other)[1] for other in known}
    found = [last] if last in lasts else get_close_matches(last, lasts, n=1, cutoff=0.7)
    elsewhere = [other for other in known if _split(other)[1] in found]
    return sorted(elsewhere, key=lambda other: (-SequenceMatcher(None, other, name).ratio(), other))


def choices(*folders: Path) -> dict[str, list[str]]:
    """The choices of every group of folders of configs: {"model": ["cgan", ...], "model/augment": [...], ...}.

    Without folders: of ganforge's and of the packages that the user named.
    """
    found: dict[str, list[str]] = {}
    for folder in folders or (CONF, *extensions.folders()):
        for path in sorted(folder.rglob("*.yaml")):
            group = path.parent.relative_to(folder).as_posix()
            if group != ".":
                found.setdefault(group, []).append(path.stem)
    return found


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise UserError for an option that train.py does not have or that stands between settings, and for a choice where
    a single setting is written.
    """
    options = re.findall(r"(?<!\w)--[a-z-]+", get_args_parser().format_usage())
    groups = choices()
    for place, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        group = name.replace(".", "/")
        if group != name and group in groups and value and not value.startswith(("{", "$", "null")):
            raise UserError(f"{argument}: a choice is written with a slash: {group}={value}")
        if name in groups and value == "null":  # Hydra takes it in files alone
            none = f"{name}=none" if "none" in groups[name] else f"~{name}"
            raise UserError(f"{argument}: none of a group is written {none}")
        if spelling := _as_choice(name, value):
            raise UserError(f"{argument}: a choice of ganforge is written {spelling}")
        if not name.startswith("--") or any(option.startswith(name) for option in options):
            continue
        if near := get_close_matches(name, options, n=1, cutoff=0.75):
            raise UserError(f"{name}: no such option; did you mean {near[0]}?")
        raise UserError(_no_option(argument, arguments[place + 1 :], arguments))

    if any(argument.startswith("-") for argument in arguments[1:-1]):
        unread = [part for part in get_args_parser().parse_known_args(list(arguments))[1] if "=" in part]
        require(
            not unread,
            f"{' '.join(unread)}: options such as -m stand before all settings: {command()} -m NAME=VALUE ...",
        )


def _no_option(argument: str, following: Sequence[str], arguments: Sequence[str]) -> str:
    """Of a setting that was written as an option: --epochs 3, --epochs=3."""
    name, equals, value = argument.partition("=")
    if not equals and following and "=" not in following[0] and not following[0].startswith(("-", "~", "+")):
        argument, value = f"{argument} {following[0]}", following[0]
    name, tree = name.lstrip("-").replace("-", "_"), _composed(arguments)
    known = [*choices(), *_settings(tree)]
    near = [name] if name in known else nearest(name, known)[:3]
    if not near:
        return f"{argument}: no such option; settings are written NAME=VALUE, and {command()} --help lists them"
    written = []
    for key in near:
        switch = OmegaConf.select(tree, key) in (True, False) if key not in choices() else False
        written.append(f"{key}={value or ('true' if switch else 'VALUE')}")
    return f"{argument}: no such option; settings are written without dashes: {' or '.join(written)}"


def _as_choice(name: str, value: str) -> str | None:
    """GROUP=CHOICE for an override of a path, such as model.objective.path, that names classes or functions of ours."""
    group, _, key = name.lstrip("+").replace(".", "/").rpartition("/")
    named = re.findall(r"ganforge(?:\.\w+)*\.(\w+)", value)
    if key not in ("_target_", "path") or not named:
        return None
    known: dict[str, str] = {}
    for choice in choices(CONF).get(group, []):
        node = OmegaConf.load(CONF / group / f"{choice}.yaml")
        path = str(node.get("path") or node.get("_target_")).rpartition(".")[2]
        known[path] = choice if path not in known else ""
    near = [known.get(name) or known.get("".join(get_close_matches(name, known, n=1))) for name in named]
    return f"{group}={','.join(near)}" if all(near) else None


def _missing_choice(path: str, options: Sequence[str] | None) -> str:
    group, _, name = path.rpartition("/")
    if not group:
        return f"{name}: no such config; run without --config-name, or give a folder with --config-dir"
    if group == "hydra/launcher" and (extra := name.split("_")[0]) in ("joblib", "submitit", "ray"):
        return f"launcher={extra}: its package is not installed: pip install hydra-{extra}-launcher"
    options = options or choices().get(group, [])
    suggestion = did_you_mean(name, options)
    listed = f"{' C' if suggestion else '; c'}hoices: {', '.join(options)}" if options else ""
    return f"{group}={name}: no such choice{suggestion}{listed}"


def _unreadable(override: str, arguments: Sequence[str]) -> str:
    key, equals, value = override.partition("=")
    if not equals:
        return f"{override}: a setting is written NAME=VALUE" + _meant(_choices_called(override))
    if value.startswith("~"):
        home, slash, rest = value.partition("/")
        if home == "~":
            return f'{override}: a shell does not replace ~ within a word; write {key}="$HOME{slash}{rest}"'
    if value.startswith(("[", "{")) and (whole := _closed(override, arguments)):
        return f"{override}: a bracket is not closed; a list is written without spaces, or quoted: '{whole}'"
    return f"{override}: cannot be read; a text with special characters is quoted: {_quoted(key, value)}"


def _closed(override: str, arguments: Sequence[str]) -> str | None:
    """The list that a shell took apart at its spaces, else with its bracket; None where that is not what is wrong."""
    pairs = {"[": "]", "{": "}"}
    place = arguments.index(override) if override in arguments else len(arguments)
    for end in range(place + 1, len(arguments) + 1):
        joined = "".join(arguments[place:end])
        if end > place + 1 and all(joined.count(begin) == joined.count(close) for begin, close in pairs.items()):
            return joined
    missing = [pairs[letter] for letter in reversed(override) if letter in pairs]
    closed = [letter for letter in override if letter in "]}"]
    return None if closed or not missing else f"{override.rstrip(', ')}{''.join(missing)}"


def _quoted(key: str, value: str) -> str:
    """KEY=VALUE as one types a text with special characters: quoted for Hydra, and then for the shell."""
    text = value.replace("\\", "\\\\").replace('"', '\\"')
    return shlex.quote(f'{key}="{text}"')


def _unknown_setting(name: str, tree: DictConfig | None, hint: str = "") -> str:
    """hint: how Hydra says that a setting can be added."""
    plain = name.lstrip("~+")
    settings = [] if tree is None else list(_settings(tree, with_hydra=plain.startswith("hydra")))
    known = [*choices(), *settings]
    place, last = _split(plain)
    said = did_you_mean(plain, known) or _meant(_choices_called(last))
    if not said:
        beside = dict.fromkeys(_split(other)[1] for other in settings if _split(other)[0] == place)
        said = f"; what there is: {', '.join(beside)}" if beside else ""
    added = re.search(r"use (\+\S+)$", hint)
    return f"{name}: no such setting{said}" + (f" ({added[1]} would add it)" if added and "." in plain else "")


def _choices_called(name: str) -> list[str]:
    """Such as model=dcgan for dcgan; parts of a model only where nothing whole has this name."""
    groups = [group for group, names in choices().items() if name in names and not group.endswith("base")]
    return [f"{group}={name}" for group in [group for group in groups if "/" not in group] or groups]


def _meant(names: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(names)}?" if names else ""


def _refused_by_class(message: str) -> str | None:
    """A setting that a class does not take, or a class that does not exist."""
    if match := re.search(r"Error in call to target '(.+?)':.*unexpected keyword argument '(\w+)'", message, re.DOTALL):
        taken = [name for name in inspect.signature(_found(match[1])).parameters if name != "self"]
        key = re.search(r"full_key: (\S+)", message)
        name = f"{key[1]}.{match[2]}" if key else match[2]
        return (
            f"{name}: {match[1]} has no such setting{did_you_mean(match[2], taken) or '; it has ' + ', '.join(taken)}"
        )
    if match := re.search(r"Error (?:locating target|loading) \\*'([\w.]+)", message):
        module, _, name = match[1].rpartition(".")
        try:
            public = [other for other in vars(importlib.import_module(module)) if not other.startswith("_")]
        except ImportError:
            return f"{match[1]}: there is no module {module}"
        return f"{match[1]}: {module} has no {name}" + did_you_mean(name, public)
    return None


def _found(path: str) -> Any:
    target = hydra.utils.get_object(path)
    return target.__init__ if inspect.isclass(target) else target


def _composed(arguments: Sequence[str]) -> DictConfig:
    """The config of a command line, without what it takes away and what Hydra refuses."""
    given = [part for part in arguments if "=" in part and not part.startswith(("-", "~", "hydra"))]
    folder = get_args_parser().parse_known_args(list(arguments))[0].config_dir
    added = [f"hydra.searchpath=[{Path(folder).absolute().as_uri()}]"] if folder else []
    for overrides in ([*given, *added], [part for part in given if "/" not in part and "." not in part], []):
        GlobalHydra.instance().clear()
        with suppress(Exception), hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            return hydra.compose("train", overrides=overrides)
    raise AssertionError  # conf/ composes


def _tree(error: BaseException | None) -> DictConfig | None:
    """The whole config in which OmegaConf did not find a key."""
    node = getattr(error, "parent_node", None)
    while isinstance(node, Container) and node._get_parent() is not None:
        node = node._get_parent()
    return node if isinstance(node, DictConfig) else None


def _settings(node: Mapping[str, Any], prefix: str = "", with_hydra: bool = False) -> Iterator[str]:
    """Dotted names of everything in a config."""
    for key in node:
        if key == "hydra" and not prefix and not with_hydra:
            continue
        yield f"{prefix}{key}"
        child = node._get_node(key) if isinstance(node, DictConfig) else None
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation():
            yield from _settings(child, f"{prefix}{key}.", with_hydra)


def _split(name: str) -> tuple[str, str]:
    *place, last = re.split(r"[./]", name)
    return "/".join(place), last


def _joined(lines: Sequence[str]) -> str:
    return "; ".join(line.rstrip(".:") for line in lines)


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
