"""Which kind of translator a trained model is."""

from typing import Any

from ganforge.commands.colour import ColourTranslator
from ganforge.commands.translator import Translator
from ganforge.runs.engine import Generator


def translator(generator: Generator, **options: Any) -> Translator:
    """The translator of a checkpoint, chosen by its card. options: see `Translator`."""
    kind = Translator if generator.card.get("colour_space") is None else ColourTranslator
    return kind(generator, **options)
