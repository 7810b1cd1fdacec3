"""The sweeper of `python train.py -m`. Hydra imports every module of `hydra_plugins` when it starts."""

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

import ganforge.settings  # noqa: F401  the resolvers of conf/, before anything is composed


class GanforgeSweeper(Sweeper):
    """Every combination of the values given (`seed=0,1,2`), or with `sweep=NAME` an Optuna search: `ganforge.sweeps`.

    max_batch_size: how many jobs are handed to the launcher at a time, null for all; params: key -> values, as if they
    were on the command line; job_timeout: minutes that a job may take until it is stopped, null for no limit.
    """

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: dict[str, Any] | None = None,
        job_timeout: float | None = None,
    ):
        self.max_batch_size = max_batch_size
        self.params = params or {}
        self.job_timeout = job_timeout

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from ganforge.sweeps import jobs
        from ganforge.sweeps import sweep as sweeps

        jobs.check_timeout(self.job_timeout)
        self.config = sweeps.settled(config)
        self.config_loader = hydra_context.config_loader
        resume = "force" if config.get("resume") == "force" else "true"
        job = jobs.JobProcess(resume=resume, timeout=self.job_timeout)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=job, config=self.config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from ganforge.sweeps import sweep as sweeps

        given = [f"{key}={value}" for key, value in self.params.items()]
        sweep = sweeps.Sweep(
            config=self.config,
            config_loader=self.config_loader,
            launcher=self.launcher,
            overrides=[*given, *arguments],
            max_batch_size=self.max_batch_size,
        )
        if OmegaConf.select(self.config, "sweep") is None:
            return sweep.run(sweeps.grid)
        from ganforge.sweeps.search import search

        return sweep.run(search)
