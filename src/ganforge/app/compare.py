"""Two runs beside each other."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from ganforge.app import run as pages
from ganforge.app import shared
from ganforge.runs import compare, summary
from ganforge.runs.folder import Run, is_number, plain


def show(run: Run, runs: Sequence[Run]) -> None:
    st.header("Compare runs")
    others = {str(other.folder): other for other in compare.rank(runs) if other.folder != run.folder}
    chosen = st.selectbox(
        f"{shared.escaped(run.name)} with", list(others), format_func=lambda path: others[path].name, key="other"
    )
    both = [pages.read(run), pages.read(others[chosen])]
    if both[0].name == both[1].name:
        both[1].name = str(both[1].folder)
    for column, one in zip(st.columns(2), both, strict=True):
        with column:
            st.subheader(shared.escaped(one.name), divider="gray")
            pages.facts_in_a_line(one)
            pages.health(one)
    with shared.errors_said():
        st.markdown("**Numbers**")
        _table(_numbers(*both), both, "number", "no numbers of a test")
        st.markdown("**Settings in which they differ**")
        differing = compare.difference(*both)
        _table({key: tuple(map(plain, values)) for key, values in differing.items()}, both, "setting", "no settings")
        st.markdown("**Curves**")
        pages.compared(both)
        st.markdown("**Pictures**")
        for column, one in zip(st.columns(2), both, strict=True):
            with column:
                pages.over_time(one, "compared")


def _numbers(one: Run, other: Run) -> dict[str, tuple[str, str, str]]:
    """The numbers of the tests of both, and which way is better."""
    found = {}
    for name in summary.test_names(one.results):
        for key, value in one.results.items():
            theirs = other.results.get(key)
            ends = ("/low", "/high", "/std", "/images")
            if key.startswith(f"{name}/") and is_number(value) and is_number(theirs) and not key.endswith(ends):
                better = summary.better(key.removeprefix(f"{name}/"))
                found[key] = (_cell(one.results, key), _cell(other.results, key), better)
    return found


def _cell(results: dict[str, Any], key: str) -> str:
    """A number with its interval."""
    low, high = results.get(f"{key}/low"), results.get(f"{key}/high")
    between = f" [{low:.4g}, {high:.4g}]" if is_number(low) and is_number(high) else ""
    return f"{results[key]:.4g}{between}"


def _table(rows: dict[str, tuple], both: Sequence[Run], what: str, nothing: str) -> None:
    if not rows:
        st.info(f"There are {nothing} that both have." if what == "number" else f"There are {nothing} of that kind.")
        return
    columns = {what: list(rows), both[0].name: [row[0] for row in rows.values()],
               both[1].name: [row[1] for row in rows.values()]}  # fmt: skip
    if what == "number":
        columns["better"] = [row[2] for row in rows.values()]
    st.dataframe(columns, hide_index=True, width="content")
