"""The network that was read from a translated picture: its bonds, how sure they are, and its mechanics."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from ganforge.app import shared, views
from ganforge.app.uploads import Result
from ganforge.commands import bonds, mechanics
from ganforge.commands.networks import Given, from_json
from ganforge.lattice import Network
from ganforge.lattice.draw import line_ink
from ganforge.lattice.show import picture

_BOND = (20, 140, 60)  # over the picture that was given
_PALE = 0.45
MOST_BONDS = 4000  # for which the mechanics are computed on a page

_OVER, _SURE, _MODES = "Over the picture", "Probabilities", "Softest modes"
_ROWS = {
    "lattice": "Lattice", "sites": "Sites", "bonds": "Bonds", "coordination": "Mean coordination",
    "coordination_inside": "Mean coordination inside", "maxwell_count": "Maxwell count",
    "zero_modes": "Zero modes beyond rigid motions", 
    "zero_modes_within_accuracy_only": "Of these, within accuracy only",
    "self_stresses": "States of self stress", "accuracy": "Accuracy of the sites, px",
}  # fmt: skip


def show(result: Result, place: int) -> None:
    """The network files of a result as pictures and tables."""
    name = next((name for name in result.files if name.endswith(".json")), None)
    if name is None:
        return
    content = result.files[name]
    network, _ = from_json(content)
    st.markdown("**The network**")
    if not len(network.bonds):
        st.info("No bonds were read from this picture.")
        return
    if len(network.bonds) > MOST_BONDS:
        st.info(f"{len(network.bonds):,} bonds: for so many, download the JSON and use ganforge mechanics.")
        return
    said = json.loads(content)
    candidates = bonds.candidates_of(said)
    given = Given(Path(name), network)
    if result.mechanics is None:
        with st.spinner("Computing the mechanics …"):
            springs = mechanics.springs_of_one(given)
            result.mechanics = springs, *mechanics.analysed(given, springs, bins=0)
    springs, found, record = result.mechanics
    left, right = st.columns([3, 2])
    kinds = [*([_OVER] if result.before is not None else []), *([_SURE] if candidates else []), _MODES]
    with left:
        kind = st.segmented_control("Show", kinds, default=kinds[0], required=True, key=f"network {place}")
        if kind == _OVER:
            st.image(_over(result, network))
            st.caption("Green: the bonds that were read.")
        elif kind == _SURE:
            st.image(np.asarray(picture(springs, None, candidates)))
            st.caption("Orange: a doubtful bond. Blue: no bond, though it may be one. With their probabilities.")
        elif not len(found.modes):
            st.info("It is rigid: there are no soft modes.")
        else:
            modes = range(1, len(found.modes) + 1)
            number = st.select_slider("Mode, the softest first", modes, key=f"mode {place}") if len(modes) > 1 else 1
            st.image(np.asarray(picture(springs, found.modes[number - 1])))
            st.caption(f"Frequency {found.frequencies[number - 1]:.3g}, of unit springs between unit masses.")
    with right:
        st.markdown("**Mechanics**")
        rows = {title: _text(record.get(key)) for key, title in _ROWS.items() if record.get(key) is not None}
        st.table({"": list(rows), "value": list(rows.values())}, border="horizontal")
        st.caption(shared.escaped(mechanics.sentence(found)))
    with st.expander(f"All {len(network.bonds)} bonds"):
        rows = {
            "from": network.bonds[:, 0], "to": network.bonds[:, 1],
            "length, px": np.linalg.norm(np.diff(network.sites[network.bonds], axis=1)[:, 0], axis=1).round(2),
        }  # fmt: skip
        if "probabilities" in said:
            rows["probability"] = said["probabilities"]
        st.dataframe(rows, width="content")


def _over(result: Result, network: Network) -> np.ndarray:
    """The picture that was given, paled, with the bonds; uint8 (H, W, 3)."""
    page = views.with_size(result.before, 2 * views.SMALLEST)
    factor = np.divide(page.shape[:2], result.size)
    shown = 255 - _PALE * (255 - page.astype(np.float32))
    placed = Network(network.sites * factor[::-1], network.bonds)
    ink = line_ink(placed, max(1.5, max(page.shape[:2]) / 300), page.shape[:2])[..., None]
    return (shown * (1 - ink) + np.array(_BOND) * ink + 0.5).astype(np.uint8)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
