"""ganforge mechanics and ganforge classify: from files of networks and pictures to numbers; hostile files."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from scipy.io import mmread

from ganforge.cli import main
from ganforge.commands import bonds, networks
from ganforge.commands.networks import load_one
from ganforge.errors import UserError
from ganforge.lattice import Network, Style, draw, patch
from ganforge.lattice.mechanics import periodic_patch


@pytest.fixture
def drawn(tmp_path):
    """A picture of 5 x 5 squares, and what ganforge predict writes of the same network."""
    drawing = draw(patch("square", (5, 5)), 128, Style(dot_radius=4, line_width=2.5))
    (tmp_path / "in").mkdir()
    Image.fromarray(drawing.target).save(tmp_path / "in/drawn.png")
    bonds.write(drawing.network, tmp_path / "in/plain.json", tmp_path / "in/graph.graphml")
    return tmp_path / "in"


def test_pictures_json_and_graphml_of_a_network_say_the_same(drawn, tmp_path, capsys):
    out = tmp_path / "out"
    files = [str(drawn / name) for name in ("drawn.png", "plain.json", "graph.graphml")]
    assert main(["mechanics", *files, "--output", str(out), "--matrix"]) == 0
    assert capsys.readouterr().out.count("zero modes beyond the 3 rigid motions: 7, states of self stress: 0") == 3
    rows = list(csv.DictReader((out / "mechanics.csv").open()))
    assert [row["file"] for row in rows] == ["drawn.png", "plain.json", "graph.graphml"]
    for row in rows:
        assert (row["sites"], row["bonds"], row["zero_modes"], row["self_stresses"]) == ("25", "40", "7", "0")
        assert (row["lattice"], row["maxwell_count"], row["coordination_inside"]) == ("square", "7", "4.0")
    record = json.loads((out / "plain.json").read_text())
    assert sum(record["density_of_states"]["modes"]) == len(record["softest_modes"][0]) * 2 == 50
    assert record["coordination_shares"] == {"2": 4 / 25, "3": 12 / 25, "4": 9 / 25}
    values = np.linalg.svd(mmread(out / "plain.mtx").toarray(), compute_uv=False)
    assert record["singular_values"] == pytest.approx(values.tolist())
    picture = np.asarray(Image.open(out / "graph.png")).astype(int)
    red = (picture[..., 0] > 180) & (picture[..., 1] < 80)
    assert red.sum() > 500  # arrows


def test_the_arrows_point_where_the_softest_mode_goes(tmp_path):
    """Two lower sites of a square pinned by nothing but a brace: in a chain of two squares the free one shears."""
    sites, pairs = [[0, 0], [40, 0], [40, 40], [0, 40], [80, 0], [80, 40]], [[0, 1], [1, 2], [2, 3], [0, 3], [0, 2]]
    network = {"sites": sites, "bonds": [*pairs, [1, 4], [4, 5], [2, 5]]}
    (tmp_path / "a.json").write_text(json.dumps(network))
    assert main(["mechanics", str(tmp_path / "a.json"), "-o", str(tmp_path / "out"), "--bins", "0"]) == 0
    record = json.loads((tmp_path / "out/a.json").read_text())
    assert record["zero_modes"] == 1 and "density_of_states" not in record
    mode = np.array(record["softest_modes"][0])
    along = np.array(sites)[:, None] - np.array(sites)
    longer = [along[i, j] @ (mode[i] - mode[j]) for i, j in network["bonds"]]
    assert np.abs(longer).max() < 1e-3
    assert abs(mode[4] @ [0, 1] - mode[1] @ [0, 1]) > 0.3  # the right one moves along the braced one's side


def test_pinned_and_periodic_networks(drawn, tmp_path):
    assert main(["mechanics", str(drawn / "plain.json"), "-o", str(tmp_path / "pinned"), "--pinned"]) == 0
    pinned = json.loads((tmp_path / "pinned/plain.json").read_text())
    assert (pinned["boundary"], pinned["pinned_sites"]) == ("pinned", 16)
    assert (pinned["freedoms"], pinned["bonds"], pinned["zero_modes"], pinned["self_stresses"]) == (18, 24, 0, 6)
    network, cell = periodic_patch("kagome", (4, 4))
    around = {"sites": network.sites.tolist(), "bonds": network.bonds.tolist(), "cell": cell.tolist()}
    (tmp_path / "around.json").write_text(json.dumps(around))
    assert main(["mechanics", str(tmp_path / "around.json"), "-o", str(tmp_path / "periodic")]) == 0
    found = json.loads((tmp_path / "periodic/around.json").read_text())
    assert (found["zero_modes"] + 2, found["self_stresses"], found["coordination_inside"]) == (12, 12, 4)
    assert found["bulk_modulus"] == pytest.approx(3**0.5 / 4)
    assert main(["mechanics", str(tmp_path / "around.json"), "-o", str(tmp_path / "no"), "--pinned"]) == 1


def test_nothing_is_overwritten_unasked(drawn, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["mechanics", str(drawn / "plain.json"), "-o", str(out), "--bins", "0"]
    assert main(command) == 0
    before = (out / "plain.png").stat().st_mtime_ns
    assert main(command) == 1
    assert "already holds plain.json, plain.png, mechanics.csv" in capsys.readouterr().err
    assert (out / "plain.png").stat().st_mtime_ns == before
    assert main([*command, "--overwrite"]) == 0
    given = (drawn / "plain.json").read_bytes()
    assert main(["mechanics", str(drawn / "plain.json"), "-o", str(drawn), "--overwrite"]) == 1
    assert "would replace what it is made from" in capsys.readouterr().err
    assert (drawn / "plain.json").read_bytes() == given
    assert main(["mechanics", str(drawn / "plain.json"), str(out / "plain.json"), "-o", str(tmp_path / "b")]) == 1


def test_of_a_folder_its_networks_are_taken_once(drawn):
    assert [one.file.name for one in networks.load([drawn])] == ["plain.json", "graph.graphml"]
    (drawn / "graph.json").write_bytes((drawn / "plain.json").read_bytes())
    assert [one.file.name for one in networks.load([drawn])] == ["graph.json", "plain.json"]
    for file in (*drawn.glob("*.json"), *drawn.glob("*.graphml")):
        file.unlink()
    assert [one.file.name for one in networks.load([drawn])] == ["drawn.png"]


SITES = '"sites": [[0, 0], [9, 0], [0, 9]]'
BOMB = '<!DOCTYPE g [<!ENTITY a "aaaa">' + "".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
NODES = (
    '<graphml><key id="d0" for="node" attr.name="x"/><key id="d1" for="node" attr.name="y"/><graph>'
    '<node id="a"><data key="d0">0</data><data key="d1">0</data></node>'
)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", "", "is no JSON"),
        ("a.json", "[" * 100_000, "is no JSON"),
        ("a.json", "1" * 10_000, "is no JSON"),
        ("a.json", "[1, 2]", "is no network; accepted is"),
        ("a.json", '{"sites": 3, "bonds": []}', "is no network"),
        ("a.json", f'{{{SITES}, "bonds": []}}', "has no bonds"),
        ("a.json", f'{{{SITES}, "bonds": [[0, 3]]}}', r"bonds\[0\] is \[0, 3\]; accepted are .* 0 to 2"),
        ("a.json", f'{{{SITES}, "bonds": [[0, -1]]}}', r"bonds\[0\]"),
        ("a.json", f'{{{SITES}, "bonds": [[1, 1]]}}', r"bonds\[0\]"),
        ("a.json", f'{{{SITES}, "bonds": [[0, 0.5]]}}', r"bonds\[0\]"),
        ("a.json", f'{{{SITES}, "bonds": [[0, true]]}}', r"bonds\[0\] is \[0, True\]"),
        ("a.json", f'{{{SITES}, "bonds": [[0, 1, 2]]}}', r"bonds\[0\]"),
        ("a.json", f'{{{SITES}, "bonds": [[0, 1]], "cell": [[1, 0], [2, 0]]}}', "not parallel"),
        ("a.json", f'{{{SITES}, "bonds": [[0, 1]], "cell": "x"}}', "cell is no list"),
        ("a.json", '{"sites": [[0, NaN], [1, 0]], "bonds": [[0, 1]]}', r"sites\[0\]"),
        ("a.json", '{"sites": [[0, 1e999], [1, 0]], "bonds": [[0, 1]]}', r"sites\[0\]"),
        ("a.json", f'{{"sites": [[0, {"9" * 400}], [1, 0]], "bonds": [[0, 1]]}}', r"sites\[0\]"),
        ("a.json", '{"sites": [["0", 1], [1, 0]], "bonds": [[0, 1]]}', r"sites\[0\]"),
        ("a.graphml", "", "is no GraphML"),
        ("a.graphml", "<graphml><graph><node", "is no GraphML"),
        ("a.graphml", f"{BOMB}]><g>&i;</g>", "document type declaration"),
        ("a.graphml", '<!DOCTYPE g [<!ENTITY x SYSTEM "secret.txt">]><g>&x;</g>', "document type declaration"),
        ("a.graphml", '<?xml version="1.0" encoding="no-such"?><graphml/>', "is no GraphML"),
        ("a.graphml", "<a>" * 1000, "inside each other"),
        ("a.graphml", "<graphml/>", "has no bonds"),
        ("a.graphml", NODES + '<edge source="a" target="b"/></graph></graphml>', "names the node 'b'"),
        ("a.graphml", NODES + '<edge source="a" target="a"/></graph></graphml>', "two different"),
        ("a.graphml", NODES + '<node id="a"/></graph></graphml>', "two nodes a"),
        ("a.graphml", NODES + '<node id="b"/></graph></graphml>', "node b has no x and y"),
        ("a.graphml", NODES.replace(">0<", ">nan<") + "</graph></graphml>", "node a has x='nan'"),
        ("a.graphml", NODES.replace(">0<", f">{'1' * 5000}<") + "</graph></graphml>", "too long"),
        ("a.txt", "", "networks are read from"),
        ("a.png", "", "does not decode"),
    ],
)
def test_files_of_others_are_data(tmp_path, name, content, said):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=f"{name}: .*{said}"):
        load_one(tmp_path / name)


def test_utf16_declarations_and_too_large_files_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a.graphml").write_bytes('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE g><g/>'.encode("utf-16"))
    with pytest.raises(UserError, match="document type declaration"):
        load_one(tmp_path / "a.graphml")
    monkeypatch.setattr(networks, "MOST_BYTES", 50)
    (tmp_path / "a.json").write_text(f'{{{SITES}, "bonds": [[0, 1]]}}')
    with pytest.raises(UserError, match="more than 0 MiB"):
        load_one(tmp_path / "a.json")
    monkeypatch.setattr(networks, "MOST_BYTES", 5000)
    monkeypatch.setattr(networks, "MOST_SITES", 2)
    with pytest.raises(UserError, match="at most 2 pairs"):
        load_one(tmp_path / "a.json")


def test_empty_pictures_and_sites_at_one_place_are_said(tmp_path, capsys):
    Image.new("L", (64, 64), 255).save(tmp_path / "empty.png")
    assert main(["mechanics", str(tmp_path / "empty.png"), "-o", str(tmp_path / "out")]) == 1
    assert "shows no bonds between dots" in capsys.readouterr().err
    (tmp_path / "a.json").write_text('{"sites": [[1, 1], [1, 1]], "bonds": [[0, 1]]}')
    assert main(["mechanics", str(tmp_path / "a.json"), "-o", str(tmp_path / "out")]) == 1
    assert "a.json: bond [0, 1] has length 0" in capsys.readouterr().err
    (tmp_path / "a.json").write_text('{"sites": [[0, 0], [1e-200, 0], [9, 9]], "bonds": [[0, 1], [1, 2]]}')
    assert main(["mechanics", str(tmp_path / "a.json"), "-o", str(tmp_path / "out")]) == 1
    assert "a.json: bond [0, 1] has length 0" in capsys.readouterr().err
    (tmp_path / "a.json").write_text('{"sites": [[0, 0], [5, 0]], "bonds": [[0, 1]]}')
    for accuracy in ("nan", "inf", "-1", "5"):
        command = ["mechanics", str(tmp_path / "a.json"), "-o", str(tmp_path / "out")]
        assert main([*command, f"--accuracy={accuracy}"]) == 1
        assert "accepted is 0 to below the mean bond, 5," in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["mechanics", str(tmp_path / "none"), "-o", str(tmp_path / "out")]) == 1


def test_classify_prints_and_writes_the_lattice(drawn, tmp_path, capsys):
    kagome = patch("kagome", (4, 4))
    bonds.write(Network(kagome.sites * 20, kagome.bonds), drawn / "k.json", drawn / "k.graphml")
    line = {"sites": [[0, 0], [10, 0], [20, 0]], "bonds": [[0, 1], [1, 2]]}
    (drawn / "line.json").write_text(json.dumps(line))
    command = ["classify", *(str(drawn / name) for name in ("drawn.png", "k.json", "line.json"))]
    assert main([*command, "--output", str(tmp_path / "found.json")]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["network", "lattice", "margin"]
    assert [row.split()[:2] for row in rows] == [
        ["drawn.png", "square"],
        ["k.json", "kagome"],
        ["line.json", "unknown"],
    ]
    found = json.loads((tmp_path / "found.json").read_text())
    assert [one["lattice"] for one in found] == ["square", "kagome", "unknown"]
    assert found[1]["rings"] == {"3": pytest.approx(25 / 34, abs=0.2), "6": pytest.approx(9 / 34, abs=0.2)}
    assert main([*command, "--output", str(tmp_path / "found.json")]) == 1


def test_what_predict_writes_names_the_lattice(drawn):
    said = json.loads((drawn / "plain.json").read_text())
    assert list(said)[:2] == ["sites", "bonds"]
    assert said["lattice"] == "square" and said["lattice_margin"] == 0.5
