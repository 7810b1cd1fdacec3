"""How far a model is that is fetched by its URL."""

import logging

import streamlit as st

from ganforge.app import shared
from ganforge.errors import UserError
from ganforge.runs.from_url import Fetching

_EVERY = 1.0  # s; Streamlit collects garbage each time


@st.fragment(run_every=_EVERY)
def show(fetching: Fetching) -> None:
    """A bar until the model is there; then the page is drawn again, with the model."""
    if fetching.path is not None:
        st.rerun()
    st.header("A model is on its way")
    name = shared.escaped(fetching.name)
    if fetching.error is not None:
        if not isinstance(fetching.error, UserError):
            logging.getLogger(__name__).error("ganforge app", exc_info=fetching.error)
        st.error(f"{name} could not be fetched: {shared.sentence(fetching.sentence)}")
        st.button("Try again", on_click=fetching.again)
        return
    st.progress(_share(fetching), f"Fetching {name}: {_said(fetching)}")
    st.caption("It is kept for the next time. The page goes on by itself.")


def _share(fetching: Fetching) -> float:
    return min(fetching.have / fetching.total, 1.0) if fetching.total else 0.0


def _said(fetching: Fetching) -> str:
    if not fetching.have:
        return "looking for it …"
    if fetching.total is None:
        return f"{fetching.have / 1e6:,.1f} MB"
    if fetching.have >= fetching.total:
        return f"{fetching.total / 1e6:,.1f} MB, checking its SHA-256 …"
    return f"{fetching.have / 1e6:,.1f} MB of {fetching.total / 1e6:,.1f} MB"
