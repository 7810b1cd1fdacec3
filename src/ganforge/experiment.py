"""From a config to a trained and tested model: config -> objects -> fit -> test -> summary."""

import logging
import shlex
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import ganforge
from ganforge import checkpoint, summary
from ganforge.callbacks import Evaluation, Interrupted
from ganforge.data.module import DataModule
from ganforge.errors import UserError, require
from ganforge.systems import Adversarial

CONF = Path(__file__).parents[2] / "conf"

# What a user can do where data lack something that they could provide.
REMEDIES = {
    "label": "labels come from one folder a class, and data.n_labels must be null",
    "some_labels": "labels come from one folder a class",
}

OmegaConf.register_new_resolver("add", lambda *numbers: sum(numbers), replace=True)


def start(config: DictConfig) -> float:
    """`run`, with a user's mistake as one sentence and exit status 1; within a sweep the error goes to the sweeper."""
    try:
        return run(config)
    except Interrupted as error:
        again = [*_overrides(), f"ckpt_path={shlex.quote(str(error.checkpoint))}"]
        print(f"\n{error}\nto go on: python train.py {' '.join(again)}")
        sys.exit(130)
    except (
        UserError,
        HydraException,
        OmegaConfBaseException,
        pl.utilities.exceptions.MisconfigurationException,
    ) as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        sys.exit(f"error: {_sentence(error)}")


def run(config: DictConfig) -> float:
    """Train, test, write results.json, print the summary; returns the best validation number, for a sweep."""
    begun = time.perf_counter()
    quiet()
    check_trainer(config.trainer)
    require(isinstance(config.seed, int) and config.seed >= 0, f"seed={config.seed}: a whole number, 0 or more")
    run_dir = Path(config.run_dir)
    pl.seed_everything(config.seed, workers=True, verbose=False)

    data: DataModule = hydra.utils.instantiate(config.data, _convert_="all")
    check_match(config, data)
    if "n_classes" in config.data:
        config.data.n_classes = len(data.class_names) or None
    resumed = None if config.ckpt_path is None else checkpoint.find(config.ckpt_path, prefer="last")
    card = describe(config, data)
    if resumed is not None:
        checkpoint.check_resumable(resumed, card)
    data.sets  # noqa: B018  everything that is wrong with the data is said here
    model = build_model(config.model, card)
    evaluation: Evaluation = hydra.utils.instantiate(config.evaluation)
    evaluation.choose(data)
    monitor, mode = evaluation.monitor
    compared = {"best": {"monitor": monitor, "mode": mode}}
    callbacks = {
        name: hydra.utils.instantiate(node, **compared.get(name, {})) for name, node in config.callbacks.items()
    }
    loggers = [hydra.utils.instantiate(node) for node in config.logger.values()]
    trainer: pl.Trainer = hydra.utils.instantiate(
        config.trainer,
        precision=precision(config.trainer),
        strategy="auto" if config.trainer.devices in (1, "1") else "ddp_find_unused_parameters_true",
        # Evaluation first: the checkpoints compare its numbers.
        callbacks=[evaluation, *callbacks.values()],
        logger=loggers,
    )
    summary.opening(model, data, trainer, run_dir)
    trainer.fit(model, datamodule=data, ckpt_path=resumed, weights_only=True)
    # Asked now: loading a checkpoint for the test takes the callbacks back to when it was written.
    best, last = (callbacks[name].best_model_path for name in ("best", "last"))
    images_seen = model.images_seen
    if best:
        score = float(callbacks["best"].best_model_score)
    else:  # the training was ended before its first validation
        trainer.validate(model, datamodule=data, verbose=False)
        best = last = str(run_dir / "checkpoints/last.ckpt")
        trainer.save_checkpoint(best)
        score = float(evaluation.results[monitor])
    # The networks as they are now, unless they are those of the best validation; then these.
    best_is_final = checkpoint.load(best)["ganforge"]["images_seen"] == images_seen
    if not best_is_final:
        evaluation.prefix = "final/"
        trainer.test(model, datamodule=data, verbose=False)
        evaluation.prefix = ""
    trainer.test(model, datamodule=data, ckpt_path=best, weights_only=True, verbose=False)
    if best_is_final:
        evaluation.repeat_as("final/", data.test_names)

    results = {
        **evaluation.results,
        "evaluation": evaluation.descriptions,
        f"best/{monitor}": score,
        "images_seen": images_seen,
        "best_checkpoint_images_seen": model.images_seen,
        "images_per_second": callbacks["progress"].images_per_second,
        "duration_s": time.perf_counter() - begun,
        "best_checkpoint": best,
        "last_checkpoint": last,
        "grid": str(callbacks["grid"].last_grid) if "grid" in callbacks else None,
        "warnings": callbacks["health"].warnings if "health" in callbacks else [],
        "run_dir": str(run_dir),
        "precision": str(trainer.precision),
        "seed": config.seed,
        "data_fingerprint": data.fingerprint(),
        **card["versions"],
    }
    if trainer.is_global_zero:
        summary.write(results, run_dir / "results.json")
        summary.closing(results, data.test_names)
    return score


def build_model(config: DictConfig, card: dict[str, Any]) -> Adversarial:
    """The system, with its card for the checkpoints; raises UserError for settings that its optimizers refuse."""
    model: Adversarial = hydra.utils.instantiate(config, _convert_="all")  # plain lists: checkpoints hold no configs
    model.card = card
    try:
        model.configure_optimizers()
    except (TypeError, ValueError) as error:
        raise UserError(f"model.optimizer_g or model.optimizer_d: {error}") from error
    return model


def check_trainer(trainer: DictConfig) -> None:
    """Numbers and devices that the Trainer would misunderstand or refuse late."""
    epochs = trainer.max_epochs
    require(isinstance(epochs, int) and epochs >= 1, f"trainer.max_epochs={epochs}: a whole number, 1 or more")
    every = trainer.check_val_every_n_epoch
    require(
        isinstance(every, int) and 1 <= every <= epochs,
        f"trainer.check_val_every_n_epoch={every}: 1 to trainer.max_epochs={epochs}, or nothing would be evaluated",
    )
    devices = trainer.devices
    require(isinstance(devices, int) and devices >= 1, f"trainer.devices={devices}: a number of devices, 1 or more")
    available = torch.cuda.device_count()
    if trainer.accelerator in ("gpu", "cuda") or (trainer.accelerator == "auto" and available):
        require(
            devices <= available,
            f"trainer.devices={devices} with trainer.accelerator={trainer.accelerator}, but this machine has "
            f"{available} GPU{'s' * (available != 1)}; use "
            + (f"trainer.devices={available}" if available else "trainer=cpu"),
        )


def precision(trainer: DictConfig) -> str:
    """trainer.precision, with "auto" as bf16-mixed where the hardware multiplies bf16 matrices, else 32."""
    if trainer.precision != "auto":
        return str(trainer.precision)
    if trainer.accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    # Older versions of torch do not tell.
    features = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16-mixed" if features.get("amx_bf16") or features.get("avx512_bf16") else "32-true"


def check_match(config: DictConfig, data: DataModule) -> None:
    """Raise UserError where the data does not provide what the model needs, with the choices of data that do."""
    needs = hydra.utils.get_class(config.model._target_).needs
    if needs <= data.provides:
        return
    chosen = HydraConfig.get().runtime.choices
    fitting = [path.stem for path in sorted((CONF / "data").glob("*.yaml")) if needs <= _provides(path)]
    remedies = "".join(f"{REMEDIES[name]}; " for name in sorted(needs - data.provides) if name in REMEDIES)
    raise UserError(
        f"model={chosen['model']} needs {', '.join(sorted(needs))} data, but data={chosen['data']} provides "
        f"{', '.join(sorted(data.provides))}; {remedies}use data={' or data='.join(fitting)}"
    )


def _provides(path: Path) -> frozenset[str]:
    return hydra.utils.get_class(OmegaConf.load(path)["_target_"]).provides


def describe(config: DictConfig, data: DataModule) -> dict[str, Any]:
    """What a checkpoint says of itself: enough to rebuild the generator and use it, and what it came from."""
    resolved = OmegaConf.to_container(config, resolve=True)
    return {
        "generator": resolved["model"]["generator"],
        "norm_mode": resolved["model"].get("norm_mode", "running"),
        "source_channels": resolved["data"].get("source_channels"),
        "target_channels": resolved["data"].get("target_channels"),
        "channels": resolved["data"].get("channels"),
        "class_names": list(data.class_names),
        "size": data.size,
        "fit_to_size": data.fit_to_size,
        "provides": sorted(data.provides),
        "config": resolved,
        "data_fingerprint": data.fingerprint(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of what computed the result, and the git commit of the working folder, where there is one."""
    found = {"ganforge": ganforge.__version__, "torch": str(torch.__version__), "pytorch_lightning": pl.__version__}
    found["python"] = sys.version.split()[0]
    git = ["git", "-C", str(CONF.parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(git, capture_output=True, text=True, timeout=10, check=False)
        found["git_commit"] = answer.stdout.strip() if answer.returncode == 0 else "unknown"
    except OSError:
        found["git_commit"] = "unknown"
    return found


def _overrides() -> list[str]:
    """This job's overrides as one types them in a shell, without the checkpoint it began from."""
    overrides = HydraConfig.get().overrides.task
    return [shlex.quote(override) for override in overrides if not override.startswith("ckpt_path=")]


def _sentence(error: BaseException) -> str:
    """The user's mistake behind the error (Hydra wraps what a constructor raises), or else the error itself."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UserError):
        cause = cause.__cause__ or cause.__context__
    return str(cause or error)


def quiet() -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",  # drawn on the fly or cached
        ".*smaller than the logging interval.*",
        ".*exists and is not empty.*",
        ".*in eval mode at the start of training.*",  # the moving average of the generator
        ".*treespec, LeafSpec.*",
        ".*dirpath has changed.*",  # a run is resumed in a folder of its own
        ".*dataloader is not resumable.*",  # the sampler goes on where it was: EpochSampler.resume_at
    ):
        warnings.filterwarnings("ignore", message=message)
