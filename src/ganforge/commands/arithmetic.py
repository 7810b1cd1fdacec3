"""Calculating with the pictures of a trained generator: smiling women minus women plus men (Radford et al. 2016)."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ganforge.commands.interpolate import one_class, shown
from ganforge.commands.latent_files import numbers, targets
from ganforge.commands.sample import check_truncation, load_sampler
from ganforge.errors import require
from ganforge.files import untrusted
from ganforge.game.latents import combined, latents, mean_latent
from ganforge.pictures.grids import save, table
from ganforge.runs.generators import Generator

MOST_TERMS, MOST_MEMBERS = 16, 32

Term = tuple[int, str, list[int]]  # its sign, what it is called, the numbers of its pictures


def arithmetic(
    checkpoint: str | Path,
    formula: str,
    output: str | Path | None = None,
    *,
    groups: Sequence[str] = (),
    class_name: str | None = None,
    truncation: float = 1.0,
    seed: int = 0,
    overwrite: bool = False,
) -> list[Path]:
    """Draw the sum of the mean latents of groups of images, such as "smiling - plain + other", on one sheet.

    formula: names of groups, or picture numbers (as `sample` writes them) such as "3,5 - 1,2 + 4". groups: what the
    names mean, "smiling=3,5" each, or a JSON file, {"smiling": [3, 5], ...}. Writes arithmetic.png into `output` (None:
    the folder latent of the run): a column a group with its images above the image of their mean, and the result in
    the last one. For the lengths of latents see `combined`. Raises UserError for what is not there.
    """
    generator = load_sampler(checkpoint)
    known: dict[str, list[int]] = {}
    for text in groups:
        known |= _group(text) if "=" in text else read_groups(Path(text))
    terms = parse(formula, known)
    label = one_class(generator, class_name)
    members, means, result = calculated(generator, terms, truncation, seed)
    (sheet,) = targets(generator, output, ["arithmetic.png"], overwrite)
    z = torch.cat([*members, means, result[None]])
    save(_sheet(shown(generator, z, label, len(terms) ** 2), terms), sheet)
    print(f"{formula.strip()} of the images of seed {seed}: {sheet}")
    return [sheet]


def calculated(
    generator: Generator, terms: Sequence[Term], truncation: float, seed: int
) -> tuple[list[Tensor], Tensor, Tensor]:
    """The latents of each group (N, D), their means (groups, D), and what the formula gives (D,)."""
    require(seed >= 0, f"--seed {seed}: 0 or more")
    check_truncation(generator, truncation)
    members = [latents(numbers, generator.network.latent_dim, seed, truncation) for *_, numbers in terms]
    return members, torch.stack(list(map(mean_latent, members))), combined([sign for sign, *_ in terms], members)


def parse(formula: str, groups: Mapping[str, Sequence[int]]) -> list[Term]:
    """ "smiling - 1,2" -> [(1, "smiling", [3, 5]), (-1, "1,2", [1, 2])]; raises UserError for what is no formula."""
    said = f"formula {formula!r:.200}"
    name = r"[^\W\d]\w*|[0-9]+(?:\s*,\s*[0-9]+)*"
    require(
        re.fullmatch(rf"\s*[+-]?\s*(?:{name})(\s*[+-]\s*(?:{name}))*\s*", formula) is not None,
        f"{said}: names of groups or picture numbers, joined by + and -, such as 'smiling - plain + 4,9'",
    )
    terms = []
    for sign, text in re.findall(rf"([+-]?)\s*({name})", formula):
        if not text[0].isdecimal():
            known = ", ".join(groups) or "none is given"
            require(text in groups, f"{said}: {text} is no group ({known}); add --groups {text}=3,7,12, its numbers")
        members = numbers(text, said) if text[0].isdecimal() else list(groups[text])
        require(
            len(members) <= MOST_MEMBERS, f"{said}: {text:.40} has more than {MOST_MEMBERS} pictures; leave some out"
        )
        terms.append((-1 if sign == "-" else 1, text.replace(" ", ""), members))
    require(len(terms) <= MOST_TERMS, f"{said}: more than {MOST_TERMS} groups; leave some out")
    return terms


def read_groups(path: Path) -> dict[str, list[int]]:
    """The groups of a JSON file; raises UserError where it holds anything else."""
    found = untrusted.read_json(path.parent, path.name)
    fits = isinstance(found, dict) and all(
        name.isidentifier() and isinstance(members, list) and members and all(map(_is_number, members))
        for name, members in found.items()
    )
    require(
        fits, f'--groups {path}: expected a JSON file with picture numbers by name, such as {{"smiling": [3, 7, 12]}}'
    )
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15


def _group(text: str) -> dict[str, list[int]]:
    name, _, members = text.partition("=")
    require(name.isidentifier(), f"--groups {text}: a name, = and picture numbers are expected, as in smiling=3,7,12")
    return {name: numbers(members, f"--groups {text}")}


def _sheet(drawn: Tensor, terms: Sequence[Term]) -> Tensor:
    """Images of all members, then of the means, then of the result -> columns of members above their mean."""
    height = max(len(members) for *_, members in terms)
    page = drawn.new_full((height + 1, len(terms) + 1, *drawn.shape[1:]), torch.nan)
    begin = 0
    for column, (*_, members) in enumerate(terms):
        page[height - len(members) : height, column] = drawn[begin : begin + len(members)]
        begin += len(members)
    page[height] = drawn[begin:]
    names = [
        f"{'-' if sign < 0 else '+' if place else ''} {name}".strip() for place, (sign, name, _) in enumerate(terms)
    ]
    return table(page, [*names, "= result"], [*[""] * height, "mean"])
