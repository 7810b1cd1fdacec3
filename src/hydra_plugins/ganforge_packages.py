"""The configs of one's own packages beside ganforge's. Hydra imports every module of `hydra_plugins` when it starts."""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from ganforge import CONF, extensions


class GanforgePackages(SearchPathPlugin):
    """Adds the folders of `ganforge.extensions.folders`, to ganforge alone."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        main = next((entry.path for entry in search_path.get_path() if entry.provider == "main"), None)
        if main is None or Path(main.removeprefix("file://")).resolve() != CONF.resolve():
            return
        for folder in extensions.folders():
            search_path.append("ganforge-package", f"file://{folder}")
