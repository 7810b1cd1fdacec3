"""The page: which run or model, and what to do with it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from ganforge.app import compare, run, samples, shared, translate
from ganforge.errors import UserError
from ganforge.runs import folder
from ganforge.runs.entries import Entry, entries, score_of

MOST_THUMBNAILS = 100
_TRANSLATE, _COLOUR, _SAMPLES = "Translate", "Colourise", "Draw samples"
_LOOK, _COMPARE, _RUNS = "Look at the run", "Compare runs", "All runs"


def show(paths: Sequence[str], is_local: bool) -> None:
    """paths: of runs, folders of them, models. is_local: whether visitors sit at this machine, and may name files."""
    st.set_page_config(page_title="ganforge", page_icon="🖼️", layout="wide")
    st.html("<style>.stMainBlockContainer {padding-top: 3rem} [data-testid='stImage'] img {max-height: 85vh}</style>")
    shared.loading()
    with st.sidebar:
        st.title("ganforge")
        known = _known(paths, is_local)
        if known:
            entry = _chosen(known)
            pages = _pages(entry, known)
            names = list(pages)
            page = st.radio("What to do", names, key=f"page of {entry.name}", index=_first(names, known))
    if not known:
        st.info("There is no run yet. When a training has begun, it is listed here: ganforge train model=… data=…")
        return
    with shared.errors_said():
        pages[page]()


def _known(paths: Sequence[str], is_local: bool) -> list[Entry]:
    """The runs and models to choose from; those that a visitor opened come first."""
    found: list[Entry] = []
    opened = st.session_state.setdefault("opened", [])
    if is_local:
        with st.expander("Open a run or checkpoint"):
            path = st.text_input("Its path on this machine", placeholder="lightning_logs/… or best.ckpt", key="path")
            if path and path not in opened:
                with shared.errors_said():
                    entries([Path(path).expanduser()])
                    opened.insert(0, path)
    for path in [*opened, *paths]:
        try:
            found += entries([Path(path).expanduser()])
        except UserError:  # an empty folder, or one that is gone
            continue
    return list({entry.path.resolve(): entry for entry in reversed(found)}.values())[::-1]


def _chosen(known: Sequence[Entry]) -> Entry:
    by_name = {(entry.name if not _is_twice(entry, known) else str(entry.path)): entry for entry in known}
    name = st.selectbox(
        "Run or model", list(by_name), format_func=lambda name: by_name[name].title, key="run", bind="query-params"
    )
    return by_name[name]


def _is_twice(entry: Entry, known: Sequence[Entry]) -> bool:
    return sum(other.name == entry.name for other in known) > 1


def _pages(entry: Entry, known: Sequence[Entry]) -> dict[str, Callable[[], None]]:
    """What can be done with an entry, by its title."""
    pages: dict[str, Callable[[], None]] = {}
    with shared.errors_said(st):
        generator = shared.generator(entry.path)
        if generator.output.fed == "latent":
            pages[_SAMPLES] = lambda: samples.show(entry)
        elif generator.card.get("colour_space") is not None:
            pages[_COLOUR] = lambda: translate.show(entry, colours=True)
        else:
            pages[_TRANSLATE] = lambda: translate.show(entry)
    if entry.run is not None:
        pages[_LOOK] = lambda: run.show(entry.run)
    runs = [other.run for other in known if other.run is not None]
    if entry.run is not None and len(runs) > 1:
        pages[_COMPARE] = lambda: compare.show(entry.run, runs)
    pages[_RUNS] = lambda: _list(known)
    return pages


def _first(names: Sequence[str], known: Sequence[Entry]) -> int:
    """The page that is shown first: the one asked for in the address, such as ?page=Translate, or the first."""
    asked = st.query_params.get("page")
    return names.index(asked) if asked in names else 0


def _list(known: Sequence[Entry]) -> None:
    """All runs with a picture, their model and best number."""
    st.header("All runs")
    st.caption("Choose one in the list on the left.")
    rows = []
    for place, entry in enumerate(known):
        own = entry.run
        if own is None:
            rows.append({"name": entry.name, "model": "a model alone", "path": str(entry.path)})
            continue
        rows.append({
            "picture": _thumbnail(str(own.folder), _changed(own)) if place < MOST_THUMBNAILS else None,
            "name": entry.name,
            "model": own.choices.get("model"),
            "data": own.choices.get("data"),
            "state": own.state,
            "best": "" if own.score is None else score_of(own),
            "images": own.images,
            "time": folder.clock(own.duration),
            "path": str(own.folder),
        })  # fmt: skip
    configuration = {"picture": st.column_config.ImageColumn("", width="small")}
    st.dataframe(rows, hide_index=True, row_height=64, column_config=configuration, width="stretch")


def _changed(own: folder.Run) -> float:
    samples_folder = own.folder / "samples"
    return samples_folder.stat().st_mtime if samples_folder.is_dir() else 0.0


@st.cache_data(max_entries=1000, show_spinner=False)
def _thumbnail(path: str, changed: float) -> str | None:
    """The newest grid of a run, as an address that holds it."""
    from ganforge.report import pictures

    found = pictures.thumbnail(folder.Run(folder=Path(path), name=""))
    return None if found is None else f"data:{found['kind']};base64,{found['content']}"
