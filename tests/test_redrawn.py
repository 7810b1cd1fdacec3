"""Prediction of networks from sites alone, whatever shows them: pictures of any look, lists, large ones."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import cKDTree
from torch import nn

import ganforge
from conftest import TINY_PIX2PIX
from ganforge import cli
from ganforge.commands import bonds, redrawn, site_lists
from ganforge.commands.translator import Translator
from ganforge.commands.translators import translator
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.lattice import Network, Style, bond_array, disorder, draw, find_sites, match_sites, patch
from ganforge.lattice.canonical import pages, spacing
from ganforge.lattice.draw import draw_at
from ganforge.runs.generators import load_generator


@pytest.fixture
def tiny(configured, tmp_path):
    """A run whose generator has learned nothing."""
    run(
        configured([*TINY_PIX2PIX, "data.size=128", "data.cells=[3,8]", "data.shifted=null", "model.generator.depth=3"])
    )
    return tmp_path / "run"


@pytest.fixture
def trained(tiny, monkeypatch):
    """A run whose generator joins neighbours: the bonds of a square lattice with little disorder."""

    def joined(picture):
        sites = find_sites(picture[..., 0])
        pairs = cKDTree(sites).query_pairs(1.25 * spacing(sites), output_type="ndarray")
        return draw_at(Network(sites, bond_array(pairs)), picture.shape[:2], 1.9, 1.5)[..., None]

    monkeypatch.setattr(bonds, "calibration_of", lambda card: None)  # of another generator
    monkeypatch.setattr(Translator, "pictures", lambda translator, pictures: [joined(one) for one in pictures])
    return tiny


def network_in(file, true):
    written = json.loads(file.read_text())
    match = match_sites(np.array(written["sites"]), true.sites, 1.0)
    assert match.recall == match.precision == 1 and match.shift < 0.2
    true_of = dict(match.pairs.tolist())
    return sorted(sorted(true_of[site] for site in bond) for bond in written["bonds"])


@pytest.mark.slow
@pytest.mark.parametrize("radius", [1.7, 2.8, 4.4, 7.0])
def test_the_size_of_the_dots_does_not_matter(trained, tmp_path, radius, capsys):
    network = disorder(patch("square", (6, 5)), 0.05, np.random.default_rng(0))
    drawing = draw(network, 256, Style(dot_radius=radius, line_width=1.0, margin=4, scale=0.8, position=(0.1, 0.9)))
    Image.fromarray(drawing.source[:, :230]).save(tmp_path / "a.png")
    assert cli.main(["predict", str(trained), str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]) == 0
    assert "a.png: 30 sites" in capsys.readouterr().out
    assert network_in(tmp_path / "out/a.json", drawing.network) == drawing.network.bonds.tolist()
    written, shown = (Image.open(tmp_path / f"out/{name}") for name in ("a.png", "a_sites.png"))
    assert written.size == shown.size == (230, 256) and (written.mode, shown.mode) == ("L", "RGB")
    assert match_sites(find_sites(np.array(written)), drawing.network.sites, 0.5).recall == 1
    as_array = ganforge.load(trained).translate(drawing.source[:, :230, None])
    assert np.array_equal(as_array[..., 0], np.array(written))


@pytest.mark.slow
def test_a_network_larger_than_a_page_has_no_seam(trained, tmp_path):
    network = disorder(patch("square", (30, 12)), 0.02, np.random.default_rng(0))
    drawing = draw(network, 700, Style(dot_radius=1.0, line_width=0.5))
    Image.fromarray(drawing.source).save(tmp_path / "a.png")
    assert cli.main(["predict", str(trained), str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]) == 0
    assert network_in(tmp_path / "out/a.json", drawing.network) == drawing.network.bonds.tolist()


@pytest.mark.slow
def test_with_the_average_over_symmetries_a_network_in_windows_may_be_turned(tiny, monkeypatch):
    monkeypatch.setattr(bonds, "calibration_of", lambda card: None)  # of another generator
    torch.manual_seed(0)
    draws = nn.Conv2d(1, 1, 9, padding=4)  # what no turn leaves as it is
    sites = disorder(patch("square", (20, 20)), 0.05, np.random.default_rng(0)).sites
    given = [redrawn.of_list(sites), redrawn.of_list(sites[:, ::-1] * [1, -1])]
    apart = {}
    for tta in (False, True):
        asked = translator(replace(load_generator(tiny), network=draws), tta=tta)
        look = redrawn.look_of(asked)
        assert len(pages(sites, look, asked.size)) > 1
        upright, turned = (
            dict(zip(map(tuple, found.pairs.tolist()), found.probabilities.tolist(), strict=True))
            for _, found in redrawn.networks(asked, look, given)
        )
        apart[tta] = np.mean([abs(upright[pair] - turned[pair]) for pair in upright.keys() & turned.keys()])
    assert apart[True] < 1e-4 < 0.01 < apart[False]


@pytest.mark.slow
def test_lists_of_sites_give_the_network_in_their_own_unit(trained, tmp_path, capsys):
    network = disorder(patch("square", (6, 5)), 0.05, np.random.default_rng(0))
    sites = 3.7e-6 * network.sites - 1e-5
    (tmp_path / "lists").mkdir()
    text = "\n".join(f"{x!r},{y!r}" for x, y in sites.tolist())
    (tmp_path / "lists/a.csv").write_text("x,y\n" + text)
    (tmp_path / "lists/b.json").write_text(json.dumps({"sites": sites.tolist()}))
    (tmp_path / "lists/c.txt").write_text(text.replace(",", "  ") + "\n" + text.split("\n")[3].replace(",", " "))
    assert cli.main(["predict", str(trained), str(tmp_path / "lists"), "-o", str(tmp_path / "out")]) == 0
    assert "c.txt: 1 sites are given more than once" in capsys.readouterr().out
    for name in "abc":
        written = json.loads((tmp_path / f"out/{name}.json").read_text())
        assert written["bonds"] == network.bonds.tolist() and np.allclose(written["sites"], sites, rtol=1e-12, atol=0)
        assert len(find_sites(np.array(Image.open(tmp_path / f"out/{name}.png")))) == 30
    again = ["predict", str(trained), str(tmp_path / "out/a.graphml"), "-o", str(tmp_path / "again")]
    assert cli.main(again) == 0
    assert json.loads((tmp_path / "again/a.json").read_text())["bonds"] == network.bonds.tolist()
    assert ganforge.load(trained).translate(sites).ndim == 3


@pytest.mark.slow
def test_a_page_without_sites_has_no_network_and_that_is_said(trained, tmp_path, capsys):
    Image.new("L", (100, 80), 255).save(tmp_path / "a.png")
    assert cli.main(["predict", str(trained), str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]) == 0
    assert "fewer than two sites: a.png" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/a.json").read_text())["sites"] == []


@pytest.mark.slow
def test_as_drawn_the_picture_itself_is_translated(trained, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Translator, "pictures", lambda translator, pictures: seen.extend(pictures) or pictures)
    picture = np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert cli.main(["predict", str(trained), str(tmp_path / "a.png"), "-o", str(tmp_path / "o"), "--as-drawn"]) == 0
    assert np.array_equal(seen[0][..., 0], picture)
    assert np.array_equal(np.array(Image.open(tmp_path / "o/a.png")), picture)


@pytest.mark.parametrize(
    "text",
    ["1,2\n3,4.5\n", "x,y\n1,2\n3,4.5", "# points\nid;y;x\r\n7;2,0;1,0\r\n8;4,5;3,0\r\n", "1 2\n3 4.5",
     "1\t2\n3\t4.5\n", '"X (mm)","Y (mm)"\n1,2\n"3","4.5"\n', "y,x,label\n2,1,a\n4.5,3,b"],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_tables_are_read_as_spreadsheets_write_them(tmp_path, text, encoding):
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    sites, notes = site_lists.read(tmp_path / "a.csv")
    assert sites.tolist() == [[1, 2], [3, 4.5]] and notes == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"x,y\n1,2\n3,nan\n", "row 3 has y='nan'"),
        ("a.csv", b"1,2\n3,inf\n5,6", "row 2 has y='inf'"),
        ("a.csv", b"nan,2\n3,4", "row 1 has x='nan'"),
        ("a.csv", b"1,2\n3\n5,6", "row 2 has 1 columns and no y"),
        ("a.csv", b"1,2,3\n4,5,6", "no heading that says which are x and y"),
        ("a.csv", b"a,b,c\n4,5,6", "none are x and y"),
        ("a.csv", b"1,1e300\n4,5", "row 1 has y='1e300'"),
        ("a.csv", b"x,y\n", "holds a heading and no sites"),
        ("a.csv", b"", "holds no sites"),
        ("a.csv", b"\x00\x01\x02", "is no text"),
        ("a.csv", b"\xff\xfe\x31", "is no text of utf-16"),
        ("a.csv", b"1," + b"1" * 20_000, "more than 10,000 characters"),
        ("a.csv", b"1,2\n" * 100_002, "more than 100,000 rows"),
        ("a.json", b"[[1, 2], [3, NaN]]", "site 1 is"),
        ("a.json", b'[{"x": 1, "y": 2}, {"x": 1}]', "site 1 is"),
        ("a.json", b'{"points": []}', "is no list of sites"),
        ("a.json", b"[" * 100_000, "is no JSON"),
        ("a.json", b"[[1, true]]", "site 0 is"),
        ("a.graphml", b"<graphml/>", "holds no sites"),
    ],
)
def test_what_are_no_sites_is_refused_with_its_row(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        site_lists.read(tmp_path / name)
    assert (
        said in str(error.value) and str(error.value).startswith(str(tmp_path / name)) and "\n" not in str(error.value)
    )


@pytest.mark.slow
def test_an_older_checkpoint_is_given_pictures_as_they_are_and_says_so(trained, tmp_path, capsys, monkeypatch):
    from ganforge.commands import redrawn

    monkeypatch.setattr(redrawn, "look_of", lambda translator: None)
    Image.fromarray(draw(patch("square", (3, 3)), 128, Style()).source).save(tmp_path / "a.png")
    assert cli.main(["predict", str(trained), str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]) == 0
    assert "does not say how its sites were drawn" in capsys.readouterr().out
