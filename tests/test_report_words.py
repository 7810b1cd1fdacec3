"""How the report writes names and intervals."""

import re

import pytest

from ganforge.report import opening, words


def test_names_are_broken_between_their_parts_and_options_nowhere():
    def kept(text):
        return re.findall(r'<span class="whole">(.*?)</span>', words.whole(text))

    assert kept("give --csv or --overwrite") == ["--csv", "--overwrite"]
    name = "seed-0__model.optimizer_g.lr-0.0002"
    assert kept(name) == ["seed-0__", "model.", "optimizer_g.", "lr-0.0002"]
    assert words.whole(name).striptags() == name and words.whole(name).count("<wbr>") == 3
    assert kept("data.root=/home/me/pictures") == ["data.", "root=", "/", "home/", "me/", "pictures"]
    assert words.whole("two plain\nwords") == "two plain\nwords"
    assert words.whole("x-" * 40) == "x-" * 40  # too long to be kept whole
    assert words.whole('<b onclick="x-y">\u202e') == '&lt;b <span class="whole">onclick=</span><wbr>' + (
        '<span class="whole">&#34;x-y&#34;&gt;\\u202e</span>'
    )


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.99971, 0.999973, "0.99971 to 0.99997"), (0.9631, 1, "0.963 to 1.000"), (30.3743, 31.0924, "30.37 to 31.09"),
        (1234567, 1300000, "1.235e+06 to 1.3e+06"), (123456, 130000, "123,456 to 130,000"),
        (-0.01, 0.02, "-0.010 to 0.020"),
        (0.5, 0.5, "0.5 to 0.5"), (0, 1e-9, "0 to 1e-09"),
    ],
)  # fmt: skip
def test_both_ends_of_an_interval_have_as_many_decimals(low, high, text):
    assert opening.between(low, high) == text
