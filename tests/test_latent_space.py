"""What one does with the latents of a trained generator: walks, sums, truncation, projection, directions."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ganforge
from ganforge import cli
from ganforge.commands import latent_directions
from ganforge.commands.arithmetic import parse
from ganforge.commands.sample import draw, load_sampler
from ganforge.errors import UserError
from ganforge.game.latents import combined, latents, mean_latent, slerp
from ganforge.networks.squeezenet import SqueezeNet
from ganforge.pictures import films
from ganforge.pictures.images import from_unit
from ganforge.runs import checkpoint
from ganforge.runs.generators import build_network

DIM, SIZE = 6, 16
NETWORKS = {
    "dcgan": {"_target_": "ganforge.networks.DCGANGenerator", "base_channels": 4},
    "mlp": {"_target_": "ganforge.networks.MLPGenerator", "widths": [16, 32]},
    "progan": {"_target_": "ganforge.networks.ProGANGenerator", "base_channels": 4},
    "r3gan": {"_target_": "ganforge.networks.R3GANGenerator", "widths": [16, 16, 16], "blocks": 1},
}


@pytest.fixture
def trained(tmp_path):
    """trained(network, channels, classes) -> the folder of a run with a generator of large random weights."""

    def written(network: str, channels: int = 3, classes: tuple[str, ...] = ()):
        config = {**NETWORKS[network], "latent_dim": DIM, "out_channels": channels, "size": SIZE}
        config |= {"n_classes": len(classes)} if classes else {}
        torch.manual_seed(0)
        built = build_network(config, "")
        for name, weight in built.named_parameters():
            if weight.ndim == 4 and network in ("dcgan", "r3gan"):
                nn.init.normal_(weight, 0.0, 0.3)
            elif "embedding" in name:
                weight.data *= 20
        output = {"network": "generator", "fed": "latent", "told": "label" if classes else None, "averaged": False}
        card = {"networks": {"generator": config}, "outputs": {"sample": output}, "norm_mode": "running", "size": SIZE}
        card |= {"channels": channels, "class_names": list(classes), "fit_to_size": "squash", "provides": ["image"]}
        contents = {"ganforge": {**card, "config": {}}, "state_dict": {}}
        contents["state_dict"] = {f"generator.{name}": value for name, value in built.state_dict().items()}
        folder = tmp_path / f"{network}_{channels}_{len(classes)}"
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "status.json").write_text('{"state": "finished"}')
        torch.save(contents, folder / "checkpoints/best.ckpt")
        return folder

    return written


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_a_walk_ends_exactly_where_it_should():
    start, end = latents([3, 4], 50, seed=0)
    assert torch.equal(slerp(start, end, 0.0), start) and torch.equal(slerp(start, end, 1.0), end)
    between = torch.stack([slerp(start, end, step / 10) for step in range(11)]).norm(dim=1)
    assert between.min() >= min(start.norm(), end.norm()) - 1e-4  # a straight line would be shorter in the middle
    assert torch.lerp(start, end, 0.5).norm() < 0.9 * between.min()


@pytest.mark.parametrize(("network", "channels"), [("dcgan", 3), ("mlp", 1), ("progan", 3), ("r3gan", 1)])
def test_every_sheet_of_every_generator(trained, network, channels, tmp_path):
    folder = trained(network, channels)
    picture = tmp_path / "wide.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30), dtype=np.uint8)).save(picture)
    for command in (
        ["interpolate", folder, "--walk", "2,5,7", "--steps", "4"],
        ["arithmetic", folder, "a - 2 + b", "--groups", "a=0,1", "b=4,7"],
        ["directions", folder, "--count", "3"],
        ["project", folder, picture, "--steps", "3", "--restarts", "2"],
    ):
        assert cli.main([str(word) for word in command]) == 0
    found = {file.name for file in (folder / "latent").iterdir()} - {"walk.mp4", "directions.mp4"}
    sheets = {"walk.png", "arithmetic.png", "directions.png", "projection.png"}
    assert found == sheets | {"walk.gif", "directions.gif", "directions.json", "projection.json"}
    walk = pixels(folder / "latent/walk.png")
    rows, columns = 2 * 36, 5 * 36  # two legs of 4 steps and the end, 16 px enlarged to 32, and frames of 4
    assert rows < walk.shape[0] < rows + 36 and columns < walk.shape[1] < columns + 80
    walk = walk[-rows:, -columns:]
    expected = draw(load_sampler(folder), latents([2, 5, 7], DIM, seed=0), None)
    for (row, column), number in {(0, 0): 0, (0, 4): 1, (1, 0): 1, (1, 4): 2}.items():
        shown = walk[36 * row :][:32:2, 36 * column :][:, :32:2]
        assert np.abs(shown - from_unit(expected[number].numpy())).max() <= 1
    assert Image.open(folder / "latent/walk.gif").n_frames == 72  # three legs of 24, back to the start
    page = ganforge_report(folder)
    assert (
        page.count('<img loading="lazy"') == 6 and "by spherical interpolation" in page and "Latent space</h2>" in page
    )


def ganforge_report(folder) -> str:
    assert cli.main(["report", str(folder), "--overwrite"]) == 0
    return (folder / "report.html").read_text()


def test_all_classes_walk_beside_each_other(trained):
    folder = trained("dcgan", 1, ("plain", "striped", "dotted"))
    assert cli.main(["interpolate", str(folder), "--walk", "1,3", "--steps", "2"]) == 0
    assert cli.main(["interpolate", str(folder), "--walk", "1,3", "--class", "dotted", "-o", str(folder / "one")]) == 0
    sheet = pixels(folder / "latent/walk.png")
    generator = load_sampler(folder)
    for row in range(3):
        picture = draw(generator, latents([3], DIM, seed=0), torch.tensor([row]))[0]
        expected = from_unit(picture.numpy())[..., 0].repeat(2, 0).repeat(2, 1)  # enlarged to 32 px
        bottom = sheet.shape[0] - 36 * (3 - row)
        assert np.abs(sheet[bottom : bottom + 32, -36:-4, 0] - expected).max() <= 1
    assert pixels(folder / "one/walk.png").shape[1] > 9 * 36  # 8 steps and the end


def test_truncation_takes_variance_and_diversity_away(trained, capsys):
    free, near = (latents(range(2000), 8, seed=1, truncation=share) for share in (1.0, 0.5))
    assert torch.equal(free, latents(range(2000), 8, seed=1))
    assert near.var().item() == pytest.approx(0.25 * free.var().item(), rel=1e-5)
    run = ganforge.load(trained("dcgan"))
    spread = [run.sample(64, truncation=share).astype(float).std(axis=0).mean() for share in (1.0, 0.7, 0.3)]
    assert spread[0] > 1.1 * spread[1] > 1.5 * spread[2] > 0
    ends = run.interpolate((2, 5), steps=2, truncation=0.5)[[0, -1]]
    assert np.abs(ends.astype(int) - run.sample(6, truncation=0.5)[[2, 5]]).max() <= 1
    for share in (0.0, -1.0, 1.01, float("nan")):
        with pytest.raises(UserError, match=r"--truncation .*: above 0 .* at most 1"):
            run.sample(2, truncation=share)
    grown = trained("progan")
    assert cli.main(["sample", str(grown), "-o", str(grown / "out"), "--truncation", "0.7"]) == 1
    assert "draws the same whatever the length of its latents" in capsys.readouterr().err


def test_sums_of_groups():
    a, b, c = latents(range(3), 20, seed=0), latents(range(3, 6), 20, seed=0), latents([9], 20, seed=0)
    assert torch.allclose(mean_latent(c), c[0])
    result = combined([1, -1, 1], [a, b, c])
    plain = a.mean(0) - b.mean(0) + c[0]
    assert torch.nn.functional.cosine_similarity(result, plain, dim=0).item() == pytest.approx(1)
    assert result.norm().item() == pytest.approx(torch.cat([a, b, c]).norm(dim=1).mean().item(), rel=1e-5)
    assert combined([1, -1], [a, a]).norm() == 0  # of nothing nothing is made


def test_arithmetic_takes_named_groups(trained, tmp_path, capsys):
    folder = trained("dcgan", 1, ("plain", "striped"))
    (tmp_path / "groups.json").write_text('{"thick": [3, 7, 12], "thin": [4, 5]}')
    command = ["arithmetic", str(folder), "thick - thin + 9", "--class", "striped"]
    assert cli.main([*command, "--groups", str(tmp_path / "groups.json")]) == 0
    by_hand = (folder / "latent/arithmetic.png").read_bytes()
    assert cli.main([*command, "--groups", "thick=3,7,12", "thin=4, 5", "--overwrite"]) == 0
    assert (folder / "latent/arithmetic.png").read_bytes() == by_hand
    sheet = pixels(folder / "latent/arithmetic.png")
    assert sheet.shape[0] > 4 * 36 and sheet.shape[1] > 4 * 36  # three members and their mean; three groups and the sum
    run = ganforge.load(folder)
    result = run.arithmetic("9", class_name="striped")
    assert np.abs(result.astype(int) - run.sample(10, class_name="striped")[9]).max() <= 1
    sum_ = run.arithmetic("thick - thin + 9", {"thick": [3, 7, 12], "thin": [4, 5]}, class_name="striped")
    shown = sheet[-36:-4, -36:-4, 0][::2, ::2]
    assert np.abs(shown - sum_[..., 0]).max() <= 1
    assert parse("3,5-1, 2+4", {}) == [(1, "3,5", [3, 5]), (-1, "1,2", [1, 2]), (1, "4", [4])]
    for words, message in (
        (["thick - fat", "--groups", "thick=1"], "fat is no group (thick); add --groups fat=3,7,12"),
        (["thick -", "--groups", "thick=1"], "formula 'thick -': names of groups or picture numbers"),
        (["thick", "--groups", "thick=1,x"], "thick=1,x: picture numbers, such as 0,5,7"),
        (["thick", "--groups", "3=7"], "3=7: a name, = and picture numbers are expected"),
        (["3", "--groups", str(folder / "status.json")], "expected a JSON file with picture numbers by name"),
        (["3", "--groups", str(folder / "none.json")], "expected a JSON file with picture numbers by name"),
        (["3", "--class", "dotted"], "--class dotted: no such class"),
        (["+".join(["3"] * 17)], "more than 16 groups"),
    ):
        capsys.readouterr()
        assert cli.main(["arithmetic", str(folder), *words, "-o", str(tmp_path / "out")]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("classes", [(), ("plain", "striped")])
def test_what_a_model_draws_is_found_again(trained, classes, tmp_path, capsys):
    folder = trained("dcgan", 3, classes)
    run = ganforge.load(folder)
    wanted = run.sample(300, class_name=classes[1] if classes else None)[299]  # none of the random ones tried first
    Image.fromarray(wanted).save(tmp_path / "one.png")
    found = run.project(tmp_path / "one.png", steps=150)
    assert found.distance < 0.2 * found.nearest < found.typical
    assert found.class_name == (classes[1] if classes else None)
    assert np.abs(found.drawn.astype(int) - wanted).mean() < 12
    assert np.linalg.norm(found.latent) <= DIM**0.5 + 2.01
    again = run.project(wanted, steps=150)
    assert np.array_equal(again.latent, found.latent) and again.distance == found.distance
    drawn = run.draw(found.latent[None], class_name=found.class_name)[0]
    assert np.abs(drawn.astype(int) - found.drawn).max() <= 1
    assert cli.main(["project", str(folder), str(tmp_path / "one.png"), "--steps", "2", "--restarts", "1"]) == 0
    shown = capsys.readouterr().out
    assert "distance: mean absolute difference of pixels" in shown and "one.png: 0." in shown
    said = json.loads((folder / "latent/projection.json").read_text())["pictures"][0]
    assert said["distance"] <= said["nearest_random"] <= said["mean_random"] and len(said["latent"]) == DIM
    sheet = pixels(folder / "latent/projection.png")
    assert np.array_equal(sheet[-36:-4, -108:-76][::2, ::2], wanted)


def test_a_projection_by_features_says_so(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ganforge.commands.project.CANDIDATES", 8)
    folder = trained("dcgan", 1)
    torch.manual_seed(0)
    torch.save(SqueezeNet(bgr=False).state_dict(), tmp_path / "squeezenet.pth")
    picture = tmp_path / "one.png"
    Image.fromarray(ganforge.load(folder).sample(9)[8, ..., 0]).save(picture)
    command = ["project", str(folder), str(picture), "--steps", "3", "--restarts", "1"]
    assert cli.main([*command, "--weights", str(tmp_path / "squeezenet.pth")]) == 0
    assert "distance: LPIPS's formula on SqueezeNet's features" in capsys.readouterr().out
    said = json.loads((folder / "latent/projection.json").read_text())
    assert "squeezenet.pth" in said["distance"]
    assert 0 < said["pictures"][0]["distance"] <= said["pictures"][0]["nearest_random"]


def test_a_projection_that_cannot_be_made_is_refused(trained, tmp_path, capsys):
    folder = trained("dcgan")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for words, message in (
        ([tmp_path / "none.png"], "none.png: no such picture or folder"),
        ([tmp_path / "broken.png"], "1 of the pictures cannot be read, the first: "),
        ([tmp_path / "broken.png", "--skip-broken"], "none of the pictures can be read"),
        ([tmp_path / "broken.png", "--steps", "0"], "--steps 0: 1 to 100,000"),
        ([tmp_path / "broken.png", "--restarts", "65"], "--restarts 65: 1 to 64"),
        ([tmp_path / "broken.png", "--heads", "h.npz"], "--heads h.npz: are of --weights FILE"),
        ([tmp_path / "broken.png", "--weights", "w.pth"], "--weights=w.pth: no such file"),
        ([tmp_path / "broken.png", "--class", "plain"], "was not told classes"),
    ):
        assert cli.main(["project", str(folder), *map(str, words)]) == 1
        assert message in capsys.readouterr().err
    assert not (folder / "latent").exists()


class Linear(nn.Module):
    """A first layer of which the singular values and vectors are known."""

    latent_dim = 4

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        self.turn = torch.from_numpy(np.linalg.qr(rng.standard_normal((4, 4)))[0]).float()
        left = torch.from_numpy(np.linalg.qr(rng.standard_normal((9, 4)))[0]).float()
        self.first, self.last = nn.Linear(4, 9), nn.Linear(9, 16)
        self.first.weight.data = left @ torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.5])) @ self.turn.T

    def forward(self, z, label=None):
        return self.last(self.first(z)).reshape(-1, 1, 4, 4).tanh()


def test_directions_are_those_of_the_first_layer(trained):
    generator = replace(load_sampler(trained("dcgan")), network=Linear())
    found = latent_directions.find(generator, 4)
    alike = np.abs((found.vectors * generator.network.turn.T.numpy()).sum(1))
    assert alike[:3].min() > 0.99
    assert found.shares == pytest.approx(np.array([16, 4, 1, 0.25]) / 21.25, rel=0.15)
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(1)
    assert np.array_equal(found.vectors, latent_directions.find(generator, 4).vectors)


def test_a_sheet_of_directions_has_the_picture_in_its_middle(trained, tmp_path):
    folder = trained("dcgan", 1, ("plain", "striped"))
    command = ["directions", str(folder), "--count", "2", "--class", "striped", "--picture", "5"]
    assert cli.main(command) == 0
    run = ganforge.load(folder)
    said = json.loads((folder / "latent/directions.json").read_text())
    assert np.shape(said["directions"]) == (2, DIM) and said["class"] == "striped"
    found = run.directions(2, class_name="striped")
    assert said["shares"] == pytest.approx(found.shares.tolist(), abs=1e-5) and sum(said["shares"]) <= 1
    sheet = pixels(folder / "latent/directions.png")[-2 * 36 :, -7 * 36 :, 0]
    start = run.latents([5])
    for row in range(2):
        for column, strength in ((0, -3), (3, 0), (6, 3)):
            expected = run.draw(start + strength * found.vectors[row], class_name="striped")[0, ..., 0]
            assert np.abs(sheet[36 * row :][:32, 36 * column :][:, :32][::2, ::2] - expected).max() <= 1
    for words, message in ((["--count", "7"], "--count 7: 1 to 6"), (["--strength", "nan"], "--strength nan")):
        with pytest.raises(UserError, match=message):
            latent_directions.directions(
                folder, tmp_path / "out", **{words[0][2:]: json.loads(words[1].replace("nan", "NaN"))}
            )


def test_what_draws_nothing_finite_or_always_the_same_is_named(trained, capsys):
    folder, path = trained("mlp", 1), "checkpoints/best.ckpt"
    contents = checkpoint.load(folder)
    for factor, message in ((0.0, "does not depend on the latents"), (1e18, "draws a picture that is not finite")):
        state = {
            name: value * factor if value.is_floating_point() else value
            for name, value in contents["state_dict"].items()
        }
        torch.save({**contents, "state_dict": state}, folder / path)
        assert cli.main(["directions", str(folder), "--overwrite"]) == 1
        assert message in (said := capsys.readouterr().err) and said.count("\n") == 1
    (folder / "one.png").write_bytes(b"")
    Image.new("L", (16, 16)).save(folder / "one.png")
    for words in (["interpolate"], ["arithmetic", "1+2"], ["project", str(folder / "one.png"), "--steps", "1"]):
        assert cli.main([words[0], str(folder), *words[1:], "--overwrite"]) == 1
        assert "not finite" in (said := capsys.readouterr().err) and said.count("\n") == 1


FFMPEG = """#!/bin/sh
for last; do :; done
echo "$@" > "$(dirname "$0")/called"
wc -c > "$last"
"""


def test_films_are_written_as_mp4_where_ffmpeg_is(tmp_path, monkeypatch, capsys):
    frames = [films.frame(torch.full((1, 1, 15, 15), shade)) for shade in (-1.0, 0.0, 1.0)]
    height, width, _ = frames[0].shape
    assert height % 2 == width % 2 == 0 and height >= 15
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert films.write(frames, tmp_path / "none.gif") == [tmp_path / "none.gif"]
    assert "no ffmpeg is installed, so none.mp4 is left out" in capsys.readouterr().out
    program = tmp_path / "ffmpeg"
    program.write_text(FFMPEG)
    program.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(program))
    assert films.write(frames, tmp_path / "film.gif") == [tmp_path / "film.gif", tmp_path / "film.mp4"]
    assert int((tmp_path / "film.mp4").read_text()) == 3 * height * width * 3
    assert f"-s {width}x{height} -r 20" in (tmp_path / "called").read_text()
    program.write_text("#!/bin/sh\necho Unknown encoder >&2\nexit 1\n")
    assert films.write(frames, tmp_path / "failed.gif") == [tmp_path / "failed.gif"]
    assert "ffmpeg could not write failed.mp4 (Unknown encoder)" in capsys.readouterr().out
    assert not (tmp_path / "failed.mp4").exists()
    assert Image.open(tmp_path / "failed.gif").n_frames == 3


def test_nothing_is_overwritten_and_checkpoints_without_a_run_ask_where_to(trained, tmp_path, capsys):
    folder = trained("mlp", 1)
    assert cli.main(["interpolate", str(folder), "--walk", "0,1", "--steps", "2"]) == 0
    assert cli.main(["interpolate", str(folder), "--walk", "0,1", "--steps", "2"]) == 1
    assert "walk.png" in (said := capsys.readouterr().err) and "is already there" in said
    (tmp_path / "lone").mkdir()
    alone = tmp_path / "lone/best.ckpt"
    alone.write_bytes((folder / "checkpoints/best.ckpt").read_bytes())
    assert cli.main(["directions", str(alone)]) == 1
    assert "lies in no run's folder; say where to, by --output DIR" in capsys.readouterr().err


def test_models_that_translate_refuse_in_one_sentence(trained, tmp_path, capsys):
    folder = trained("dcgan")
    contents = checkpoint.load(folder)
    config = {"_target_": "ganforge.networks.ResNetGenerator", "in_channels": 3, "out_channels": 3, "size": SIZE}
    config |= {"base_channels": 2, "depth": 1}
    output = {"network": "generator", "fed": "picture", "told": None, "averaged": False}
    card = contents["ganforge"] | {"networks": {"generator": config}, "outputs": {"translate": output}}
    state = {f"generator.{name}": value for name, value in build_network(config, "").state_dict().items()}
    card |= {"source_channels": 3, "target_channels": 3}
    torch.save({"ganforge": card, "state_dict": state}, folder / "checkpoints/best.ckpt")
    for words in (["interpolate"], ["arithmetic", "1+2"], ["directions"], ["project", str(tmp_path)]):
        assert cli.main([words[0], str(folder), *words[1:]]) == 1
        said = capsys.readouterr().err
        assert "this model translates pictures; use ganforge predict" in said and said.count("\n") == 1
