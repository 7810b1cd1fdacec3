"""New pictures from a model that draws from noise, and walks between them."""

import io
import zipfile
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from ganforge.app import shared, views
from ganforge.runs.entries import Entry
from ganforge.runs.opened import is_onnx

MOST = 256  # pictures on a page
STEPS = 8  # from one picture to the next
_IN_TURN = "in turn"


def show(entry: Entry) -> None:
    st.header("Draw samples")
    if is_onnx(entry.path):
        st.info("An .onnx file that draws from noise is for other programs; choose the run or its checkpoint.")
        return
    card = shared.card(entry.path)
    told = next(iter(card["outputs"].values()))["told"]
    st.caption(shared.escaped(f"With {entry.title}. The same seed gives the same pictures, as ganforge sample does."))
    names = card.get("class_names", []) if told == "label" else []
    first, second, third, fourth = st.columns(4)
    count = first.number_input("Number", 1, MOST, 16, key="count")
    seed = second.number_input("Seed", 0, 2**31 - 1, 0, key="seed")
    chosen = third.selectbox("Class", [_IN_TURN, *names], key="class") if names else None
    truncation = fourth.slider(
        "Truncation", 0.1, 1.0, 1.0, 0.05, key="truncation", help="Less: more alike and more usual pictures"
    )
    class_name = None if chosen in (None, _IN_TURN) else chosen
    shared.generator(entry.path)
    model = str(entry.path), shared.stamp(entry.path)
    with shared.errors_said():
        pictures = _drawn(*model, count, seed, class_name, truncation)
        st.download_button(
            "Download (ZIP)", lambda: _archive(pictures), f"seed_{seed}.zip", "application/zip", on_click="ignore"
        )
        views.gallery(pictures, [str(number) for number in range(count)])
    st.subheader("Walk between pictures", divider="gray")
    with shared.errors_said():
        from ganforge.commands.latent_files import numbers  # with PyTorch

        text = st.text_input("Numbers of pictures", "0,1,2,3", key="walk")
        walk = numbers(text, "Numbers of pictures")
        frames = _walked(*model, tuple(walk), seed, class_name, truncation)
        place = st.slider("From the first to the last", 0, len(frames) - 1, 0, key="place")
        before, share = divmod(place, STEPS)
        on_the_way = f"{walk[before]}" if share == 0 else f"{walk[before]} → {walk[before + 1]}, {share / STEPS:.0%}"
        st.image(views.with_size(frames[place], views.SMALLEST), caption=on_the_way)


@st.cache_data(max_entries=8, show_spinner="Drawing …")
def _drawn(
    path: str, stamp: tuple, count: int, seed: int, class_name: str | None, truncation: float
) -> list[np.ndarray]:
    from ganforge.commands import sample

    with shared.WORKING:
        drawn = sample.pictures(
            shared.sampler(Path(path)), count, class_name=class_name, truncation=truncation, seed=seed
        )
        return list(drawn)


@st.cache_data(max_entries=8, show_spinner="Walking …")
def _walked(
    path: str, stamp: tuple, walk: tuple[int, ...], seed: int, class_name: str | None, truncation: float
) -> np.ndarray:
    from ganforge.commands import interpolate

    with shared.WORKING:
        generator = shared.sampler(Path(path))
        return interpolate.drawn(generator, interpolate.walked(generator, walk, STEPS, truncation, seed), class_name)


def _archive(pictures: list[np.ndarray]) -> bytes:
    """A ZIP of the files that `ganforge sample` writes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as file:
        for number, picture in enumerate(pictures):
            written = io.BytesIO()
            Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(written, "PNG")
            file.writestr(f"{number:06d}.png", written.getvalue())
    return content.getvalue()
