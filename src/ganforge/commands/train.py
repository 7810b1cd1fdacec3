"""`ganforge train`, and `python train.py` of a clone: Hydra's command over the configs of `ganforge/conf`.

The processes that a run starts (jobs of a sweep, further devices) are started as this file.
"""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.pop(0)  # this folder: its modules are ganforge's

import hydra
from omegaconf import DictConfig

from ganforge import CONF
from ganforge.hardware import processes
from ganforge.runs.preflight import leaving_nothing
from ganforge.words import one_sentence

SCRIPT = Path(__file__).resolve()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def _train(config: DictConfig) -> float:
    if "job" in config:  # other work than a GAN's, which is a function of the config too
        return hydra.utils.get_method(config.job._target_)(config)
    from ganforge.experiment import start  # after Hydra: --help and wrong names answer without loading torch

    return start(config)


def main() -> None:
    """Train as the command line says."""
    try:
        with leaving_nothing(), one_sentence(sys.argv[1:]):
            _train()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            processes.answer(error=ended.code)
        raise


def called(arguments: list[str]) -> None:
    """`ganforge train ARGUMENTS`."""
    completes = arguments[:1] in (["-sc"], ["--shell-completion"])  # for the command that was typed
    sys.argv = ["ganforge" if completes else str(SCRIPT), *arguments]
    main()


def complete(arguments: list[str]) -> None:
    """What the shell asks for when Tab is pressed in `ganforge ...`; of `ganforge train` Hydra knows the rest."""
    command, _, rest = os.environ.get("COMP_LINE", "").partition(" ")
    word, _, typed = rest.partition(" ")
    if word == "train" and typed.strip() != rest.strip():
        os.environ["COMP_LINE"] = f"{command} {typed}"
        called(arguments)


if __name__ == "__main__":
    main()
