"""`ganforge record`: results into the ledger, and from there into the pages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganforge.errors import UserError, require
from ganforge.files.folders import replace
from ganforge.files.untrusted import printable
from ganforge.runs import folder as run_folder
from ganforge.runs import git, ledger, ledger_tables
from ganforge.studies import recorded

FILE = "docs/results.yaml"


def record(
    folders: Sequence[str | Path] = (),
    *,
    file: str | Path = FILE,
    name: str | None = None,
    patterns: Sequence[str] = (),
    note: str | None = None,
    typed: str | None = None,
    anew: bool = False,
    render: bool = False,
    check: bool = False,
) -> None:
    """Write runs and studies into the ledger `file`; render: then the tables of its pages; check: that these agree.

    The pages are README.md beside the ledger's folder and all .md in it. patterns: of the numbers that are kept; see
    `ganforge.runs.ledger`. typed: the command that measured the numbers of a JSON file, given in place of a folder.
    Raises UserError for runs without results, and where a page or the ledger is not as it should be: one sentence with
    the file and line.
    """
    file = Path(file)
    require(bool(folders) or render or check, "give a RUN to record, --render or --check")
    entries = ledger.read(file)
    for number, folder in enumerate(folders):
        entry, said = _said(folder, patterns, note, typed)
        entry = name or entry
        how = ledger.add(entries, entry, said, anew=anew and number == 0)
        commit = f"commit {said['commit']}, {len(said['numbers'])} numbers"
        print(f"{printable(file)}: {entry}, `{printable(said['command'])}`, {commit} ({how})")
        if git.UNKNOWN in said["commit"] or git.DIRTY in said["commit"]:
            print("note: nobody can go back to that commit; train from a clean checkout for numbers that last")
    if folders:
        ledger.write(entries, file)
    if render:
        _render(entries, file)
    if check:
        _check(entries, file)


def _said(
    folder: str | Path, patterns: Sequence[str], note: str | None, typed: str | None
) -> tuple[str, dict[str, Any]]:
    """The name of an entry where none is given, and what the ledger says of a run, a study or a script's numbers."""
    if Path(folder).is_file():
        return Path(folder).stem, ledger.of_script(folder, typed, note)
    require(typed is None, f"--command {typed!r}: is of a script's numbers; runs and studies know their own")
    if recorded.is_study(folder):
        return "study_augmentation", recorded.of_study(folder, patterns, note)
    require(run_folder.is_run(folder), f"{folder}: no run there; give the folder of a run or of a study")
    run = run_folder.read(folder)
    entry = run.choices.get("experiment") or "_".join(filter(None, map(run.choices.get, ("model", "data"))))
    return entry, ledger.of_run(run, patterns, note)


def _render(entries: dict, file: Path) -> None:
    root = file.absolute().parent.parent
    texts = {page: page.read_text() for page in ledger_tables.pages(file)}
    new = {page: ledger_tables.rendered(text, entries, str(page.relative_to(root))) for page, text in texts.items()}
    for page in [page for page in texts if new[page] != texts[page]]:
        with replace(page) as written:
            written.write(new[page].encode())
        print(f"rendered: {printable(page.relative_to(root))}")


def _check(entries: dict, file: Path) -> None:
    root = file.absolute().parent.parent
    paths = [text for text in ledger.texts(entries) if ledger.is_path(text)]
    if paths:
        lines = file.read_text().splitlines()
        line = next((number for number, said in enumerate(lines, 1) if paths[0].split("\n")[0] in said), 0)
        raise UserError(f"{file} line {line}: {paths[0]!r} looks like a path of a machine; write FOLDER there")
    pages = ledger_tables.pages(file)
    for page in pages:
        different = ledger_tables.difference(page.read_text(), entries, str(page.relative_to(root)))
        require(different is None, str(different))
    print(f"{printable(file)}: {len(entries)} entries agree with {len(pages)} pages")
