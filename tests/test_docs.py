"""README and docs: their commands exist, their numbers are those of the ledger, the site builds without a warning."""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from itertools import accumulate
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from conftest import ROOT, TINY_PIX2PIX
from ganforge import cli
from ganforge.runs.folder import flatten

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Between them these have every setting that a page names alone, in a table.
WITH = (
    [
        "model=pix2pix",
        "data=pairs",
        "model/generator=unet",
        "model/terms=[perceptual]",
        "sweep=optuna",
        "logger=[wandb]",
    ],
    ["model=dcgan", "data=image_folder", "model/discriminator=projected", "evaluation=domain"],
    ["model=cyclegan", "data=unpaired", "evaluation=perceptual"],
    ["model=stargan", "data=domains"],
    ["model=sgan", "data=mnist"],
    ["model=wgan", "data=lattice"],
    ["model=progan", "data=image_folder"],
)
STUDY = {key for name in ("augmentation", "classifier") for key in OmegaConf.load(ROOT / f"conf/study/{name}.yaml")}
TOP = {"seed", "init_from", "debug", "resume", "ckpt_path", "hydra", *os.listdir(ROOT / "conf")} - {"train.yaml"}


def typed(page: Path) -> list[str]:
    """What a page says can be typed: its indented lines, and its code in a line."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    if page.name == "coming_from.md":  # of each row what stands here, not there
        text = re.sub(r"^\|[^|]*\|", "|", text, flags=re.MULTILINE)
    lines = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^    .*$", "", text, flags=re.MULTILINE))
    pieces = [piece for line in [*lines, *spans] for piece in re.split(r" && |;\s|  +#", line)]
    return list(dict.fromkeys(piece.split(" # ")[0].strip() for piece in pieces))


def words_of(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return []


def overrides_in(words: list[str]) -> list[str]:
    """Without options and what stands for more; of values to try the first."""
    kept = [word for word in words if "=" in word and not word.startswith("-") and not re.search(r"[<…]|\.\.\.", word)]
    for place, parsed in enumerate(OverridesParser.create().parse_overrides(kept)):
        if parsed.is_sweep_override():
            first = next(iter(parsed.sweep_string_iterator())) if parsed.is_choice_sweep() else "1"
            kept[place] = f"{parsed.get_key_element()}={first}"
    return kept


@cache
def composes(overrides: tuple[str, ...]) -> str | None:
    """None, or why Hydra refuses them."""
    try:
        composed(overrides)
    except HydraException as error:
        return str(error)
    return None


def composed(overrides: tuple[str, ...]) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", overrides=list(overrides), return_hydra_config=True)


@cache
def known() -> set[str]:
    """Every setting of the configs in WITH by its dotted key."""
    found = set()
    for overrides in WITH:
        config = OmegaConf.to_container(composed(tuple(overrides)), resolve=False)
        found |= {
            key.removesuffix(".")
            for full in flatten(config)
            for key in accumulate(f"{part}." for part in full.split("."))
        }
    return found


def unknown(override: str) -> bool:
    """Whether a setting, or a choice of a group, is none of ours."""
    key, _, value = override.lstrip("+~").partition("=")
    group = ROOT / "conf" / key.partition("@")[0]
    if not group.is_dir():
        return key not in known()
    return any(not (group / f"{choice}.yaml").is_file() for choice in value.strip("[]").split(",") if choice)


def is_settings(words: list[str]) -> bool:
    heads = [re.match(r"^[+~]?(\w+)[\w./@]*=", word) for word in words]
    return bool(words) and all(head and head[1] in TOP for head in heads)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_can_be_typed(page):
    refused = {}
    for command in typed(page):
        words = words_of(command)
        while words and re.fullmatch(r"[A-Z_]+=\w+", words[0]):  # of the environment
            del words[0]
        if words[:2] in (["python", "train.py"], ["ganforge", "train"]):
            if "moment_gan" not in command and "-sc" not in words and (why := composes(tuple(overrides_in(words[2:])))):
                refused[command] = why
        elif words[:2] == ["ganforge", "study"]:
            strange = [word for word in words if "=" in word and not is_settings([word]) and not of_study(word)]
            refused |= {command: f"unknown: {strange}"} if strange else {}
        elif words[:1] == ["ganforge"] and len(words) > 1:
            if why := parsed(words[1:]):
                refused[command] = why
        elif is_settings(words):
            chosen = overrides_in(words)
            strange = [override for override in chosen if unknown(override) and not of_page(page, chosen)]
            refused |= {command: f"unknown: {strange}"} if strange else {}
    assert refused == {}


def of_page(page: Path, chosen: list[str]) -> bool:
    """Whether settings are those of a study."""
    return page.name == "study.md" and all(map(of_study, chosen))


def of_study(override: str) -> bool:
    return override.partition("=")[0].partition(".")[0] in STUDY


def parsed(words: list[str]) -> str | None:
    """None, or why the command line is refused; of words that stand for one or for nothing what is meant."""
    if words[0] in ("COMMAND", "--package") or any(word == "..." for word in words):
        return None
    words = ["DIR" if word == "PICTURES..." else word for word in words]
    words = shlex.split(re.sub(r"--sort (\S+)", r"--sort=\1", shlex.join(words)))  # as main does it
    known = next(a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    if words[0] not in known:
        is_extra = words[0] == "app"  # of an extra
        return None if words[0].startswith("-") or is_extra else f"no command {words[0]}"
    if len(words) == 1:
        return None  # named in a sentence
    try:
        with open(os.devnull, "w") as nothing:
            error, sys.stderr = sys.stderr, nothing
            try:
                cli._parser().parse_args(words)
            finally:
                sys.stderr = error
    except SystemExit as left:
        options = {option for action in known[words[0]]._actions for option in action.option_strings}
        strange = [word for word in words[1:] if word.startswith("--") and word not in options]
        alone = not any(re.fullmatch(r"[A-Z_|.]+", word) for word in words)  # `ganforge predict --direction BtoA`
        return None if left.code == 0 or (alone and not strange) else f"refused: {strange or words}"
    return None


def test_the_pages_say_what_the_ledger_says():
    told = subprocess.run(
        [sys.executable, "-m", "ganforge.cli", "record", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr


def test_the_readme_quotes_no_number_that_is_not_of_the_ledger():
    text = re.sub(r"<!-- results: .*?<!-- end -->", "", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    text = re.sub(r"`[^`]*`|Apache-2.0|Python 3\.\d+", "", text)
    assert re.findall(r"\d+[.,]\d+|\d+ %", text) == []


def test_no_page_names_a_file_that_is_not_there():
    """Links of README and docs as they are on the disk; those within the site are mkdocs's to check."""
    missing = []
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            generated = link in ("reference.md", "contributing.md")
            if "://" not in link and not generated and not (page.parent / link).exists():
                missing.append(f"{page.name}: {link}")
    assert missing == []


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("material", reason='the site needs pip install -e ".[docs]"')
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[-3000:]
    return folder


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"?(?:https?:)?//[^\s>]*", page.read_text())
        assert loaded == [], page.name


def test_the_reference_knows_every_choice_and_what_its_settings_mean(site):
    text = (site / "reference.html").read_text()
    for file in (ROOT / "conf").glob("*/*.yaml"):
        if file.parent.name != "hydra":
            assert f"{file.parent.name}={file.stem}</code>" in text, file
    assert "of black pixels in the L1 term" in text  # a comment of conf/model/pix2pix.yaml
    assert "Pairs of pictures from a folder" in text  # the docstring of ganforge.data.pairs.PairsData


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    """With settings of seconds in place of those of its first cell."""
    nbclient = pytest.importorskip("nbclient", reason='notebooks need pip install -e ".[notebook]"')
    pytest.importorskip("ipykernel", reason='notebooks need pip install -e ".[notebook]"')
    import nbformat

    notebook = nbformat.read(ROOT / "docs/first_steps.ipynb", as_version=4)
    (settings,) = [cell for cell in notebook.cells if "settings" in cell.metadata.get("tags", [])]
    seconds = [*TINY_PIX2PIX, "data.size=64", "data.shifted=null", "data.n_calibration=0", "callbacks.grid.pictures=2"]
    settings.source = f"import ganforge\n\nSETTINGS = {seconds!r}"
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    numbers = next(cell for cell in notebook.cells if "test/bond_f1" in cell.source)
    assert "'test/networks': 2" in numbers.outputs[0]["data"]["text/plain"]
    pictures = [out for cell in notebook.cells for out in cell.get("outputs", []) if "image/png" in out.get("data", {})]
    assert len(pictures) == 2
    assert all(not cell.get("outputs") for cell in nbformat.read(ROOT / "docs/first_steps.ipynb", 4).cells)


def test_the_gallery_shows_what_is_there_and_is_small():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import gallery
    finally:
        sys.path.pop(0)
    shown = json.loads((ROOT / "docs/gallery/index.json").read_text())
    told, page = (
        text.split("## Not here yet")[0] for text in (gallery.page(shown), (ROOT / "docs/gallery.md").read_text())
    )
    assert told == page  # else: python benchmarks/gallery.py
    assert {file.stem for file in (ROOT / "docs/gallery").glob("*.webp")} == set(shown)
    pictures = [*(ROOT / "docs").rglob("*.png"), *(ROOT / "docs").rglob("*.jpg"), *(ROOT / "docs").rglob("*.webp")]
    assert 0 < sum(file.stat().st_size for file in pictures) < 1_000_000
