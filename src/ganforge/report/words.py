"""Text that may be broken into lines between the parts of a name, and nowhere else in it."""

import re
from typing import Any

from ganforge.files.untrusted import printable

SHORT = 12  # characters of a name that is not broken at all
MOST = 20  # characters of a part; a longer one is broken where the line ends
_HAS_PARTS = re.compile(r"[-_./=]")
_ENDS = re.compile(r"(?<=_)(?!_)")  # within a part that is too long
# Behind __, /, = and commas, and behind the dots of a setting, but not in a number.
_PLACES = re.compile(r"(?<=__)(?!_)|(?<=[/=,])|(?<=[A-Za-z_]\.)(?=[A-Za-z_])")


def whole(text: Any) -> Any:
    """Markup of a text: names of settings, options and runs keep their parts whole. See `.whole` in style.css.

    A browser would break `--csv` behind its first hyphens, `seed-0` behind its only one, and anything in a narrow cell.
    """
    from markupsafe import Markup, escape

    def word(found: re.Match) -> str:
        short = len(found[0]) <= SHORT
        if not _HAS_PARTS.search(found[0]) or (short and "-" not in found[0]):
            return str(escape(found[0]))
        parts = [found[0]] if short else _PLACES.split(found[0])
        parts = [end for part in parts for end in ([part] if len(part) <= MOST else _ENDS.split(part)) if end]
        kept = (f'<span class="whole">{escape(part)}</span>' if len(part) <= MOST else escape(part) for part in parts)
        return "<wbr>".join(map(str, kept))

    return Markup(re.sub(r"\S+", word, printable(text, lines=True)))
