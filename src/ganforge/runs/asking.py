"""What a model of many domains is asked for."""

from collections.abc import Mapping

import numpy as np

from ganforge.errors import require
from ganforge.runs.engine import Generator


def asked(generator: Generator, to: str | None = None, settings: Mapping[str, bool] | None = None) -> Generator:
    """A generator of pictures alone: one that is told labels with those that are asked for, others as they are.

    to: a domain, or of attributes one that a picture is to have. settings: attributes by name; those that are not given
    stay as the reader of the model sees them in each picture. Raises UserError for a model that is told none, for names
    that are not there (listing those that are), for settings that exclude each other, and where nothing is asked.
    """
    settings, domains, path = dict(settings or {}), generator.domains, generator.path
    said = {name: f"--set {name}={value:d}" for name, value in settings.items()}
    if to is not None:
        said = {to: f"--to {to}", **{name: text for name, text in said.items() if name != to}}
    typed = " ".join(said.values())
    if domains is None:
        require(not said, f"{typed}: {path} translates in one way, without a choice of domains")
        return generator
    names = ", ".join(domains.names)
    how = "--to DOMAIN, or --to all" if domains.one_of_many else "--set ATTRIBUTE=1 or =0, --to ATTRIBUTE, or --to all"
    require(bool(said), f"{path} translates to {names}: say to which, by {how}")
    require(
        not (domains.one_of_many and settings), f"{typed}: {path} has domains, not attributes; give --to of {names}"
    )
    require(settings.get(to, True), f"{typed}: contradict each other")
    wanted = {**({} if to is None else {to: True}), **settings}
    labels = np.full(len(domains.names), np.nan, np.float32)
    for name, value in wanted.items():
        index = domains.index(name, said[name])
        excluded = domains.excluded(index)
        others = [other for other in excluded if wanted.get(domains.names[other])]
        require(
            not (value and others),
            f"{typed}: of {name} and {domains.names[(others or [0])[0]]} one at most is possible",
        )
        labels[index] = value
        if value:
            labels[excluded] = 0
    return generator.asked(labels)
