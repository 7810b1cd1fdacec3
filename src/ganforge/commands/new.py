"""`ganforge new`: a small project of one's own that composes with ganforge's groups."""

import importlib.util
import keyword
import re
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from ganforge.errors import require
from ganforge.files.folders import make_writable, replace

_SUFFIX = ".jinja"


def new(folder: str | Path) -> list[Path]:
    """Write a project into `folder`, which is made or empty; its package is called as the folder is.

    Returns the files. Raises UserError for a folder that holds something, and for a name that is taken.
    """
    folder = Path(folder)
    package = re.sub(r"\W+", "_", folder.resolve().name, flags=re.ASCII).strip("_").lower()
    require(
        package.isidentifier() and not keyword.iskeyword(package),
        f"{folder}: the package is called as its folder is, and {package!r} is no name of one; use letters, digits, _",
    )
    require(
        importlib.util.find_spec(package) is None,
        f"{folder}: there is a package {package} already, which this one would hide; choose another name",
    )
    require(
        not folder.exists() or (folder.is_dir() and not any(folder.iterdir())),
        f"{folder}: is already there, and not empty; choose another folder",
    )
    make_writable(folder, str(folder))
    environment = Environment(
        loader=PackageLoader("ganforge.commands", "template"), keep_trailing_newline=True, undefined=StrictUndefined
    )
    written = []
    for name in environment.list_templates(extensions=[_SUFFIX[1:]]):
        place = re.sub(r"^package(?=/)", package, name.removesuffix(_SUFFIX))
        path = folder / place
        with replace(path) as file:
            file.write(environment.get_template(name).render(package=package).encode())
        written.append(path)
    print(
        *written,
        f"\na project with the package {package}; its README.md says what can be typed, first of all:",
        f"  cd {folder}\n  ganforge train model=moment_gan data=rings evaluation=pixels",
        sep="\n",
    )
    return written
