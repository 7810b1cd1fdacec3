"""What mkdocs adds to the pages: the reference of all settings, made from conf/ and docstrings, and CONTRIBUTING.md.

`python docs/reference.py` prints the reference.
"""

import ast
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
CONF, SOURCE = ROOT / "conf", ROOT / "src"
OUTSIDE = {"../CONTRIBUTING.md": "contributing.md", "../README.md": "index.md"}  # links of pages that GitHub shows too
FIRST = ("train", "experiment", "model", "data", "trainer", "evaluation", "callbacks", "logger", "sweep", "launcher")


def on_files(files, config):
    from mkdocs.structure.files import File

    files.append(File.generated(config, "reference.md", content=reference()))
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    files.append(File.generated(config, "contributing.md", content=contributing))
    return files


def on_page_markdown(markdown, page, config, files):
    for link, page_here in OUTSIDE.items():
        markdown = markdown.replace(f"]({link}", f"]({page_here}")
    return markdown


def reference() -> str:
    """Markdown: a section a group of conf/, a part a choice, with its comments as they stand there."""
    groups: dict[str, list[Path]] = {}
    for file in sorted(CONF.rglob("*.yaml")):
        group = file.parent.relative_to(CONF).as_posix()
        if not {"base", "hydra"} & set(file.relative_to(CONF).parts):
            groups.setdefault("train" if group == "." else group, []).append(file)
    order = sorted(groups, key=lambda group: (place(group), group))
    said = [
        "# Reference of settings",
        "Made from the files in `conf/`. A choice is typed `GROUP=CHOICE` (`model=dcgan`; a part of a model "
        "`model/generator=resnet`), a setting `GROUP.NAME=VALUE` (`data.size=128`). What a class says of its settings "
        "stands below its name. `python train.py --cfg job` prints all values of a command without running it.",
    ]
    for group in order:
        said.append(f"## {group}")
        said += [choice(group, file) for file in groups[group]]
    return "\n\n".join(said) + "\n"


def place(group: str) -> int:
    head = group.split("/")[0]
    return FIRST.index(head) if head in FIRST else len(FIRST)


def choice(group: str, file: Path) -> str:
    """A file as a table of settings: name, value, comment; what it is built on; what its class says."""
    text = file.read_text()
    values = yaml.safe_load(text) or {}
    typed = "python train.py" if group == "train" else f"{group}={file.stem}"
    head = " ".join(line.lstrip("# ") for line in opening(text))
    parts = [f"### `{typed}`", escaped(head)]
    target = values.get("_target_")
    if isinstance(target, str) and (docstring := first_paragraph(target)):
        parts.append(f"`{target}`: {escaped(docstring)}")
    if values.get("defaults"):
        entries = [named(entry) for entry in values["defaults"] if entry != "_self_"]
        built = ", ".join(f"`{entry}`" for entry in entries if entry)
        parts.append(f"Built on: {built}" if built else "")
    prefix = "" if "# @package" in text or group == "train" or "/" in group else f"{group}."
    rows = [row for row in settings(text) if any(row[1:]) and not row[0].startswith("hydra")]
    if rows:
        lines = [
            f"| `{prefix}{name}` | {f'`{value}`' if value else ''} | {escaped(comment)} |"
            for name, value, comment in rows
        ]
        parts.append("\n".join(["| setting | value | what it is |", "|---|---|---|", *lines]))
    return "\n\n".join(part for part in parts if part)


def named(entry) -> str:
    """An entry of a defaults list as one would type it; "" for Hydra's own and for what is not chosen."""
    if not isinstance(entry, dict):
        return str(entry)
    ((key, value),) = entry.items()
    key = key.removeprefix("override ").lstrip("/")
    if value is None or key.startswith("hydra/"):
        return ""
    return f"{key}={str(value).replace(chr(39), '')}"


def opening(text: str) -> list[str]:
    """The comment at the top of a file, without Hydra's header."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line)
    return lines


def settings(text: str):
    """(dotted name, value, comment) of every line that sets something, in the file's order."""
    above: list[tuple[int, str]] = []  # indentation and name of what a line is below
    waiting: list[str] = []  # comments of their own lines, which belong to what follows
    last = None
    in_defaults = False
    lines = text.splitlines()
    while lines and lines[0].startswith("#"):
        del lines[0]
    for line in lines:
        found = re.match(r"^(?P<indent> *)(?P<name>[\w.@/~+-]+):(?P<rest>\s.*|)$", line)
        if line.strip().startswith("#"):
            if last is not None and len(line) - len(line.lstrip()) > last[3] + 4:  # goes on beside the line above
                last[2] += "\n" + line.strip().lstrip("# ")
            elif not in_defaults:
                waiting.append(line.strip().lstrip("# "))
            continue
        if not found:
            continue
        indent, name = len(found["indent"]), found["name"]
        if indent == 0:
            in_defaults = name == "defaults"
        if in_defaults:
            continue
        above = [entry for entry in above if entry[0] < indent]
        value, _, comment = re.match(
            r"^((?:'[^']*'|\"[^\"]*\"|[^#'\"]|#(?<! #))*)( #\s*(.*))?$", found["rest"]
        ).groups()
        dotted = ".".join([*(own for _, own in above), name])
        above.append((indent, name))
        if last is not None:
            yield tuple(last[:3])
        last = [dotted, value.strip(), " ".join([*waiting, comment or ""]).strip(), indent]
        waiting = []
        if name.endswith("_target_"):
            last = None
    if last is not None:
        yield tuple(last[:3])


def first_paragraph(target: str) -> str:
    """What the docstring of a class or function of ours says first, read without importing it."""
    module, _, name = target.rpartition(".")
    file = SOURCE / Path(*module.split(".")).with_suffix(".py")
    found = in_file(file, name) if file.is_file() else ""
    package = SOURCE / Path(*module.split("."))
    if not found and package.is_dir():  # taken from a module of a package
        found = next((text for one in sorted(package.glob("*.py")) if (text := in_file(one, name))), "")
    return " ".join(found.split("\n\n")[0].split())


def in_file(file: Path, name: str) -> str:
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return ast.get_docstring(node) or ""
    return ""


def escaped(text: str) -> str:
    """For a cell of a table."""
    return (
        text.replace("|", "&#124;")
        .replace("<", "&lt;")
        .replace("[", "\\[")
        .replace("*", "\\*")
        .replace("_", "\\_")
        .replace("\n", "<br>")
    )


if __name__ == "__main__":
    print(reference())
