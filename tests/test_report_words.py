"""How the report writes names and intervals."""

import json
import re

import pytest

from ganforge.report import opening, words
from ganforge.runs import summary
from test_report import make, page  # noqa: F401


def test_names_are_broken_between_their_parts_and_options_nowhere():
    def kept(text):
        return re.findall(r'<span class="whole">(.*?)</span>', words.whole(text))

    assert kept("give --csv or --overwrite") == ["--csv", "--overwrite"]
    name = "seed-0__model.optimizer_g.lr-0.0002"
    assert kept(name) == ["seed-0__", "model.", "optimizer_g.", "lr-0.0002"]
    assert words.whole(name).striptags() == name and words.whole(name).count("<wbr>") == 3
    assert kept("data.root=/home/me/pictures") == ["data.", "root=", "/", "home/", "me/", "pictures"]
    assert kept("lr.a_name_of_a_setting_that_is_very_long-0")[1:] == [
        "a_", "name_", "of_", "a_", "setting_", "that_", "is_", "very_", "long-0"
    ]  # fmt: skip
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


def test_a_number_that_is_far_too_large_takes_one_line():
    (numbers,) = summary.of({"test/kid": 1e308, "test/kid/low": -1e308, "test/kid/high": 2e9, "test/x": 12.5}, ["test"])
    assert [row[1] for row in numbers.rows] == ["1e+308 [-1e+308, 2e+09]", "12.5000"]


def test_results_beyond_what_is_read_are_said_to_be_so(tmp_path, page):  # noqa: F811
    run = make(tmp_path / "run")
    (run / "results.json").write_text(json.dumps({f"test/n{number}": number for number in range(50_000)}))
    assert "results.json cannot be read: it is broken, empty, or has more than 1,000,000 bytes" in page(run).text


def test_runs_that_failed_alike_are_said_once(tmp_path, page):  # noqa: F811
    for number in range(6):
        run = make(tmp_path / f"run{number}")
        if number % 2:
            status = json.loads((run / "status.json").read_text())
            error = "CUDA out of memory. " + "more " * 200 if number < 5 else "No space left"
            (run / "status.json").write_text(json.dumps(status | {"state": "failed", "score": None, "error": error}))
            (run / "results.json").unlink()
    text = page(tmp_path).text
    assert "6 runs: 3 finished, 3 failed." in text
    assert text.count("run1 and 1 other: CUDA out of memory.") == 1 and "run5: No space left" in text
    assert text.count("more more") < 250  # the whole of it in each of the two runs alone
