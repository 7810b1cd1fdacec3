"""Pictures are dropped on the page and come back translated, or coloured."""

from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import Any

import streamlit as st

from ganforge.app import shared, uploads, views
from ganforge.app.uploads import Result
from ganforge.errors import UserError
from ganforge.game.domains import Domains
from ganforge.pictures import images
from ganforge.runs.entries import Entry

MOST_PICTURES = 500  # at a time, of which the results are kept in memory
MOST_SHOWN = 50  # of these, which a browser draws before and after
MOST_BYTES = 400 * 2**20  # of all of them together
_SIZES = {"As it is": None, "512 px": 512, "1024 px": 1024, "2048 px": 2048}
_EACH = "each of them"
_EVERY = 0.3  # s


def show(entry: Entry) -> None:
    card = shared.card(entry.path)
    colours = card.get("colour_space") is not None
    reads_networks = "networks" in card["provides"]
    st.header("Colour for black and white" if colours else "Translate pictures")
    st.caption(shared.escaped(f"With {entry.title}. Pictures are not kept on the server."))
    output, options, longest = _options(card, colours, reads_networks)
    suffixes = images.SUFFIXES
    if reads_networks:
        from ganforge.commands import site_lists  # with SciPy

        suffixes += site_lists.SUFFIXES
    kinds = [suffix.removeprefix(".") for suffix in suffixes]
    said = "Drop pictures here, or lists of sites" if reads_networks else "Drop pictures here"
    given = st.file_uploader(said, type=kinds, accept_multiple_files=True, key=f"pictures of {entry.path}")
    if not given or options is None:
        _wait(shared.begin(entry.path, output))
        return
    if len(given) > MOST_PICTURES or sum(one.size for one in given) > MOST_BYTES:
        st.error(
            f"{len(given)} pictures of {sum(one.size for one in given) / 2**20:,.0f} MB: {MOST_PICTURES} pictures of "
            f"{MOST_BYTES // 2**20} MB together are translated at a time; ganforge predict translates whole folders."
        )
        return
    results = _translated(entry, shared.generator(entry.path, output), given, options, longest)
    _downloads(results)
    if len(results) > MOST_SHOWN:
        st.info(f"The first {MOST_SHOWN} of {len(results)} pictures are shown; the ZIP has all.")
    for place, result in enumerate(results[:MOST_SHOWN]):
        st.subheader(shared.escaped(result.name), divider="gray")
        with shared.errors_said():
            _show(result, place, reads_networks)


def _wait(loading: Future) -> None:
    """Until the model is there, or what is wrong with it is known.

    Whatever a visitor does ends this where something is written to the page. A page that asked again and again would
    slow the loading down: Streamlit collects garbage at the end of each.
    """
    place = st.empty()
    while not loading.done():
        place.caption("The model is being loaded; pictures can be dropped already.")
        wait([loading], _EVERY)
    place.empty()
    loading.result()


def _options(
    card: dict[str, Any], colours: bool, reads_networks: bool
) -> tuple[str | None, dict[str, Any] | None, int | None]:
    """The output of this model and the options that a visitor chose; None for options that are not complete."""
    options: dict[str, Any] = {}
    longest = output = None
    outputs = list(card["outputs"])
    if len(outputs) > 1:
        output = st.segmented_control("Direction", outputs, default=outputs[0], required=True, key="direction")
    is_told = card["outputs"][output or outputs[0]]["told"] == "labels"
    domains = Domains.from_card(card["domains"]) if is_told and card.get("domains") else None
    if domains is not None and domains.one_of_many:
        chosen = st.selectbox("Translate to", [*domains.names, _EACH], key="to")
        options["to"] = "all" if chosen == _EACH else chosen
    elif domains is not None:
        left, right = st.columns(2)
        wanted = left.multiselect("To have", domains.names, key="to have")
        unwanted = right.multiselect("Not to have", [name for name in domains.names if name not in wanted], key="not")
        if not wanted and not unwanted:
            st.info("Choose what the pictures are to have, or not to have.")
            return output, None, None
        options["settings"] = tuple([*(f"{name}=1" for name in wanted), *(f"{name}=0" for name in unwanted)])
    if colours:
        size = st.segmented_control("Longer side, at most", list(_SIZES), default="As it is", required=True, key="size")
        longest = _SIZES[size]
    with st.expander("More choices"):
        if st.checkbox("Mean over 8 turns and mirrors (8 times the time)", key="tta"):
            options["tta"] = True
        if reads_networks:
            if st.checkbox("Show the model the pictures as they are, not their sites redrawn", key="as drawn"):
                options["as_drawn"] = True
        elif st.checkbox("Whole pictures at their own size, not at the size of the training", key="full size"):
            options["full_size"] = True
    return output, options, longest


def _translated(
    entry: Entry, generator: Any, given: Sequence[Any], options: dict[str, Any], longest: int | None
) -> list[Result]:
    """What became of each; those that were translated before with the same options are kept."""
    key = (shared.stamp(entry.path), repr(generator.output), repr(sorted(options.items())), longest)
    before = st.session_state.get("translated", {})
    kept: dict[Any, Result | UserError] = {}
    bar = st.empty()
    for place, one in enumerate(given):
        mine = (*key, one.file_id)
        if mine not in before:

            def tell(share: float, name: str = one.name, place: int = place) -> None:
                bar.progress(min((place + share) / len(given), 1.0), shared.escaped(name))

            tell(0.0)
            with shared.errors_said():
                try:
                    content, is_shown = one.getvalue(), place < MOST_SHOWN
                    kept[mine] = uploads.translated(generator, one.name, content, options, longest, tell, is_shown)
                except UserError as error:
                    kept[mine] = error
        else:
            kept[mine] = before[mine]
        if isinstance(kept.get(mine), UserError):
            st.error(shared.sentence(kept[mine]))
    bar.empty()
    st.session_state["translated"] = kept
    return [result for result in kept.values() if isinstance(result, Result)]


def _downloads(results: Sequence[Result]) -> None:
    if len(results) > 1 or (results and len(results[0].files) > 1):
        st.download_button(
            f"Download all ({sum(len(result.files) for result in results)} files, ZIP)",
            lambda: uploads.archive(results), "translated.zip", "application/zip", on_click="ignore", type="primary",
        )  # fmt: skip


def _show(result: Result, place: int, reads_networks: bool) -> None:
    names = result.pictures
    name = names[0] if len(names) == 1 else st.segmented_control(
        "Result", names, default=names[0], required=True, key=f"which {place}"
    )  # fmt: skip
    left, right = st.columns([1, 3])
    left.download_button(
        f"Download {shared.escaped(name)}", result.files[name], name, on_click="ignore", key=f"download {place}"
    )
    said = [f"{result.seconds:.1f} s", *result.notes]
    right.caption("  \n".join(shared.sentence(note) for note in said))
    band = None
    if result.bands:
        colours = "as colours"
        band = st.selectbox("Bands shown", [colours, *result.bands], key=f"band {place}")
        band = None if band == colours else band
    picture = result.view(name, band)
    if result.before is None:
        st.image(picture)
    else:
        views.beside(result.before, picture)
    if reads_networks:
        from ganforge.app import networks

        networks.show(result, place)
