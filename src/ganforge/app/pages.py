"""The page: which run or model, and what to do with it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st

from ganforge.app import compare, fetching, run, samples, shared, translate
from ganforge.commands.app import is_local as is_local_address
from ganforge.errors import UserError
from ganforge.runs import folder, from_url
from ganforge.runs.entries import Entry, entries, score_of, told_apart
from ganforge.runs.opened import is_onnx

_OF_PROXIES = ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via")  # headers
MOST_THUMBNAILS = 100  # of a list
MOST_KEPT = 1000  # thumbnails in memory
_FEW = 8  # rows that are seen at once
_SECONDS = 15  # after which a folder is searched for new runs
_PATIENCE = 0.5  # s, after which the list is shown with the pictures that there are
_USE, _LOOK, _COMPARE, _RUNS = "Use the model", "Look at the run", "Compare runs", "All runs"


def show(paths: Sequence[str], is_local: bool, model: str | None = None) -> None:
    """paths: of runs, folders of them, models. is_local: whether visitors sit at this machine, and may name files.

    model: the URL of one that is being fetched, in `ganforge.runs.from_url.under_way`.
    """
    is_local = is_local and _is_asked_here()
    st.set_page_config(page_title="ganforge", page_icon="🖼️", layout="wide")
    st.html("<style>.stMainBlockContainer {padding-top: 3rem} [data-testid='stImage'] img {max-height: 85vh}</style>")
    on_its_way = None if model is None else from_url.under_way[model]
    if on_its_way is not None and on_its_way.path is not None:
        paths = [*paths, str(on_its_way.path)]
    elif on_its_way is not None:
        fetching.show(on_its_way)
    with st.sidebar:
        st.title("ganforge")
        known = _known(paths, is_local)
        if known:
            entry = _chosen(known)
            pages = _pages(entry, known, is_local)
            names = list(pages)
            # Of several runs one is chosen first.
            first = names.index(_RUNS) if len(known) > 1 and not st.session_state.get("chosen") else 0
            page = st.radio("What to do", names, _asked("page", names, first), key=_key(entry))
            st.query_params["page"] = page
    if not known and model is not None:
        return
    if not known:
        st.info("There is no run yet. When a training has begun, it is listed here: ganforge train model=… data=…")
        return
    if not entry.path.exists() and page != _RUNS:
        _entries.clear()
        st.warning(f"{shared.escaped(entry.name)} is no longer there; choose another one.")
        return
    with shared.errors_said(without="" if is_local else f"{entry.path.parent}/"):
        pages[page]()
    if any(not is_onnx(one.path) for one in known):
        shared.load_pytorch()


def _is_asked_here() -> bool:
    """Whether this machine is asked by its own name, and not through a proxy, or by a page that took another's name."""
    headers = st.context.headers
    host = urlsplit(f"//{headers.get('Host') or 'localhost'}").hostname or ""
    return is_local_address(host) and not any(headers.get(name) for name in _OF_PROXIES)


def _key(entry: Entry) -> str:
    return f"page of {entry.path}"


def _known(paths: Sequence[str], is_local: bool) -> list[Entry]:
    """The runs and models to choose from; those that a visitor opened come first."""
    found: list[Entry] = []
    opened = st.session_state.setdefault("opened", [])
    if is_local:
        with st.expander("Open a run or checkpoint"):
            given = st.text_input("Its path on this machine", placeholder="lightning_logs/… or best.ckpt", key="path")
            path = _path(given)
            if path and path not in opened:
                with shared.errors_said():
                    entries([path])
                    opened.insert(0, path)
    for path in [*opened, *paths]:
        try:
            found += _entries(path)
        except UserError:  # an empty folder, or one that is gone
            continue
    return told_apart(found)


@st.cache_resource(ttl=_SECONDS, show_spinner=False)
def _entries(path: str) -> list[Entry]:
    return entries([path])


def _path(given: str) -> str:
    """A path as people copy it: in quotes, from the address of a file, or with ~ for their home."""
    path = given.strip().strip("\"'").removeprefix("file://")
    try:
        return str(Path(path).expanduser()) if path else ""
    except RuntimeError:  # ~ of a user who is not there
        return path


def _chosen(known: Sequence[Entry]) -> Entry:
    by_name = {entry.name: entry for entry in known}
    names = list(by_name)

    def choose() -> None:
        _open(by_name[st.session_state["run"]])

    index = _asked("run", names, 0)
    name = st.selectbox("Run or model", names, index, lambda name: by_name[name].title, key="run", on_change=choose)
    st.query_params["run"] = name
    return by_name[name]


def _open(entry: Entry) -> None:
    """From the list of all runs to what can be done with one of them."""
    st.session_state["chosen"] = True
    if st.query_params.get("page") == _RUNS:
        del st.query_params["page"]
        st.session_state.pop(_key(entry), None)


def _pages(entry: Entry, known: Sequence[Entry], is_local: bool) -> dict[str, Callable[[], None]]:
    """What can be done with an entry, by its title."""
    pages: dict[str, Callable[[], None]] = {_USE: lambda: _use(entry)}
    runs = [other.run for other in known if other.run is not None]
    if entry.run is not None:
        pages[_LOOK] = lambda: run.show(entry.run)
        if len(runs) > 1:
            pages[_COMPARE] = lambda: compare.show(entry.run, runs)
    return {**pages, _RUNS: lambda: _list(known, is_local)}


def _use(entry: Entry) -> None:
    """What the model is for: to draw, or to translate."""
    if next(iter(shared.card(entry.path)["outputs"].values()))["fed"] == "latent":
        samples.show(entry)
    else:
        translate.show(entry)


def _asked(what: str, names: Sequence[str], default: int) -> int:
    """The place of what the address asks for, such as ?page=All runs."""
    name = st.query_params.get(what)
    return names.index(name) if name in names else default


def _list(known: Sequence[Entry], is_local: bool) -> None:
    """All runs with a picture, their model and best number; a click opens one."""
    st.header("All runs")
    st.caption("Click at the left of a row to open it.")
    rows, missing, until = [], False, time.monotonic() + _PATIENCE
    for place, entry in enumerate(known):
        own, place_of = entry.run, {"path": str(entry.path)} if is_local else {}
        if own is None:
            rows.append({"name": entry.name, "model": "a model alone", **place_of})
            continue
        picture = str(own.folder), _changed(own)
        if place < MOST_THUMBNAILS and picture not in _thumbnails:
            if time.monotonic() < until:
                _thumbnails[picture] = _thumbnail(own)
            else:
                missing = True
        rows.append({
            "picture": _thumbnails.get(picture),
            "name": entry.name,
            "model": own.choices.get("model"),
            "data": own.choices.get("data"),
            "state": own.state,
            "best": "" if own.score is None else score_of(own),
            "images": own.images,
            "time": folder.clock(own.duration),
            **place_of,
        })  # fmt: skip

    def choose() -> None:
        places = st.session_state["runs"]["selection"]["rows"]
        if places:
            st.session_state["run"] = known[places[0]].name
            _open(known[places[0]])

    configuration = {"picture": st.column_config.ImageColumn("", width="small")}
    st.dataframe(
        rows, hide_index=True, row_height=96, column_config=configuration, key="runs", on_select=choose,
        selection_mode="single-row", placeholder="", height="content" if len(rows) <= _FEW else 800,
    )  # fmt: skip
    if missing:
        st.rerun()


def _changed(own: folder.Run) -> float:
    samples_folder = own.folder / "samples"
    return samples_folder.stat().st_mtime if samples_folder.is_dir() else 0.0


# Of all visitors: (folder, when its samples changed) -> the newest grid of a run, as an address that holds it.
_thumbnails: dict[tuple[str, float], str | None] = {}


def _thumbnail(own: folder.Run) -> str | None:
    from ganforge.report import pictures

    while len(_thumbnails) >= MOST_KEPT:
        _thumbnails.pop(next(iter(_thumbnails)))
    found = pictures.thumbnail(own)
    return None if found is None else f"data:{found['kind']};base64,{found['content']}"
