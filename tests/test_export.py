"""ganforge export: what other runtimes compute is what PyTorch does, and what they are given is checked as data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganforge
from ganforge import cli
from ganforge.commands import export as exporting
from ganforge.commands import graphs
from ganforge.commands.predict import predict
from ganforge.errors import UserError
from ganforge.files import onnx_file
from ganforge.pictures import lab, rasters
from ganforge.pictures.rasters import Raster
from ganforge.runs import exported
from ganforge.runs.generators import build_network, load_generator

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before it is loaded
onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
runtime = pytest.importorskip("onnxruntime", reason="the extra export is not installed")
pytest.importorskip("onnxscript", reason="the extra export is not installed")
pytest.importorskip("safetensors", reason="the extra export is not installed")

SIZE = 16


def of_pictures(kind: str, **settings) -> dict:
    return {"_target_": f"ganforge.networks.{kind}", "in_channels": 3, "out_channels": 3, "size": SIZE, **settings}


def of_noise(kind: str, **settings) -> dict:
    return {"_target_": f"ganforge.networks.{kind}", "latent_dim": 5, "out_channels": 1, "size": SIZE, **settings}


def side(bands: int, low: float, high: float, name: str) -> dict:
    scale = {"kind": "minmax", "low": [low] * bands, "high": [high] * bands}
    names = [f"{name}{band}" for band in range(bands)]
    return {"bands": names, "dtype": "uint16", "nodata": None, "normalization": scale}


UNET = of_pictures("UNet", base_channels=4, depth=3, dropout=0.5)
RESNET = of_pictures("ResNetGenerator", base_channels=4, depth=1, norm="instance", dropout=0)
DOMAINS = {"names": ["plain", "striped", "dotted"], "one_of_many": True, "exclusive": []}
BANDS = {"source": side(2, 0, 5000, "B"), "target": side(4, 0, 4000, "T")}
# Name -> the configs of its networks by output, and what its card says beside.
MODELS = {
    "unet": ({"translate": UNET}, {}),
    "blurred": ({"translate": RESNET | {"upsample": "blur", "downsample": "blur"}}, {}),
    "cyclegan": ({"AtoB": RESNET | {"out_channels": 1}, "BtoA": RESNET | {"in_channels": 1}}, {"target_channels": 1}),
    "colorize": (
        {"translate": UNET | {"in_channels": 1, "out_channels": 2}},
        {"source_channels": 1, "target_channels": 2, "colour_space": lab.SPACE},
    ),
    "stargan": (
        {"translate": of_pictures("StarGANGenerator", n_domains=3, base_channels=4, depth=1)},
        {"domains": DOMAINS, "channels": 3, "told": "labels"},
    ),
    "bands": (
        {"translate": UNET | {"in_channels": 2, "out_channels": 4, "output": "linear"}},
        {"source_channels": 2, "target_channels": 4, "sides": BANDS, "fit_to_size": "crop"},
    ),
    "cgan": (
        {"sample": of_noise("DCGANGenerator", base_channels=4, n_classes=3)},
        {"class_names": ["a", "b", "c"], "told": "label"},
    ),
    "mlp": ({"sample": of_noise("MLPGenerator", widths=[8, 8])}, {}),
    "progan": ({"sample": of_noise("ProGANGenerator", base_channels=4)}, {}),
    "r3gan": ({"sample": of_noise("R3GANGenerator", blocks=1, widths=[16, 16, 16])}, {}),
}
TRANSLATORS = ["unet", "blurred", "cyclegan", "colorize", "stargan", "bands"]


def checkpoint_of(name: str, folder: Path, **changes) -> Path:
    """A run of random weights, such as a training leaves it."""
    configs, more = MODELS[name]
    more, state, networks, outputs = {**more, **changes}, {}, {}, {}
    told, torch_seed = more.pop("told", None), len(name)
    torch.manual_seed(torch_seed)
    for output, config in configs.items():
        part = f"generator_{output}"
        network = build_network(config, part)
        for parameter in network.parameters():
            parameter.data.normal_(0, 0.15)
        if name == "progan":
            network.grow(1, 0.5)
        state |= {f"{part}_ema.{key}": value for key, value in network.state_dict().items()}
        networks[part] = config
        fed = "picture" if "in_channels" in config else "latent"
        outputs[output] = {"network": part, "fed": fed, "told": told, "reader": None, "averaged": True}
    ends = {"source_channels": 3, "target_channels": 3} if fed == "picture" else {"channels": 1}
    data = {"_target_": "ganforge.data.pairs.PairsData", "root": "/home/someone/secret", "size": SIZE}
    config = {"name": name, "seed": 3, "model": {"_target_": "ganforge.systems.Pix2Pix"}, "data": data}
    card = {
        "networks": networks, "outputs": outputs, "norm_mode": "running", "size": SIZE, "fit_to_size": "squash",
        "provides": [], "config": config, "data_fingerprint": "abc", "images_seen": 10, **ends, **more,
    }  # fmt: skip
    file = folder / name / "checkpoints/best.ckpt"
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"ganforge": card, "state_dict": state}, file)
    return file


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """made(name) -> its checkpoint and its .onnx file, each exported once."""
    folder, found = tmp_path_factory.mktemp("exported"), {}

    def make(name: str) -> tuple[Path, Path]:
        if name not in found:
            file, direction = checkpoint_of(name, folder), ["--direction", "BtoA"] if name == "cyclegan" else []
            target = folder / f"{name}.onnx"
            arguments = ["export", str(file), "--format", "onnx", "--output", str(target), "--license", "mit"]
            assert cli.main([*arguments, *direction]) == 0
            found[name] = file, target
        return found[name]

    return make


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures of a size that is no multiple of any step, and a scene of two bands."""
    folder, drawn = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    coarse = Image.fromarray(drawn.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    coarse.resize((45, 37)).save(folder / "a.png")
    coarse.convert("L").resize((20, 20)).save(folder / "b.png")
    values = np.linspace(100, 4000, 37 * 45 * 2).reshape(37, 45, 2).astype(np.uint16)
    (folder / "bands").mkdir()
    rasters.write(folder / "bands/scene.tif", Raster(values, ("B0", "B1")))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_file_says_what_it_is_and_how_far_it_is_from_pytorch(name, made):
    proto = onnx.load(made(name)[1])
    onnx.checker.check_model(proto)
    said = {pair.key: pair.value for pair in proto.metadata_props}
    assert said["model"] == name and said["license"] == "mit" and said["data_fingerprint"] == "abc"
    parity = json.loads(said["parity"])
    assert len(parity) == 3 and len({tuple(one["shape"]) for one in parity}) == 3
    assert all(0 <= one["largest_difference"] <= 1e-4 and one["grey_levels"] <= 1 for one in parity)
    assert "secret" not in str(said)
    assert str(Path(ganforge.__file__).parent).encode() not in made(name)[1].read_bytes()
    shapes = [
        [side.dim_param or side.dim_value for side in one.type.tensor_type.shape.dim] for one in proto.graph.input
    ]
    assert all(shape[0] == "batch" for shape in shapes)
    if name in TRANSLATORS:
        step = 8 if name in ("unet", "colorize", "bands") else 4
        assert shapes[0][2:] == [f"{step}*height", f"{step}*width"]


@pytest.mark.parametrize("name", ["cgan", "mlp", "progan", "r3gan"])
def test_pictures_from_noise_are_those_of_the_checkpoint(name, made):
    checkpoint, file = made(name)
    z, labels = torch.randn(7, 5), torch.arange(7) % 3
    told = (labels,) if name == "cgan" else ()
    session = runtime.InferenceSession(file)
    feed = dict(zip(("z", "label"), (z.numpy(), labels.numpy()), strict=False))
    drawn = session.run(["images"], {one.name: feed[one.name] for one in session.get_inputs()})[0]
    with torch.no_grad():
        expected = load_generator(checkpoint).network(z, *told).numpy()
    np.testing.assert_allclose(drawn, expected, atol=1e-4)
    assert np.ptp(drawn[0] - drawn[1]) > 1e-3


PROGRAM = """
import json, sys
from ganforge.commands.predict import predict
for file, given, output, options in json.loads(sys.argv[1]):
    predict(file, given, output, **options)
from ganforge import cli
assert cli.main(["predict", file, *given, "--output", output]) == 1  # is there already
print("loaded:", *[name for name in ("torch", "torchvision", "pytorch_lightning") if name in sys.modules])
"""


def test_prediction_without_torch_gives_the_checkpoints_pictures(made, pictures, tmp_path):
    jobs, whole = [], [("tta", {"tta": True}), ("whole", {"full_size": True}), ("tiles", {"tile": 16})]
    for name in TRANSLATORS:
        given = [str(pictures / "bands")] if name == "bands" else [str(pictures)]
        for way, options in [("", {}), *(whole if name == "unet" else [])]:
            options = {**options, **({"to": "all"} if name == "stargan" else {})}
            jobs.append((name, way, given, options))
    sent = [[str(made(name)[1]), given, str(tmp_path / f"onnx_{name}{way}"), more] for name, way, given, more in jobs]
    answer = subprocess.run([sys.executable, "-c", PROGRAM, json.dumps(sent)], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "loaded:"
    assert "is already there" in answer.stderr or "already holds" in answer.stderr
    for name, way, given, options in jobs:
        ours, theirs = tmp_path / f"{name}{way}", tmp_path / f"onnx_{name}{way}"
        predict(made(name)[0], given, ours, direction="BtoA" if name == "cyclegan" else None, **options)
        files = sorted(file.name for file in ours.iterdir())
        assert files == sorted(file.name for file in theirs.iterdir()) and files
        for file in files:
            first, second = (rasters.read(folder / file).values.astype(int) for folder in (ours, theirs))
            assert first.shape == second.shape and np.ptp(first) > 3
            assert np.abs(first - second).max() <= 1, (name, way, file)


def test_what_needs_the_checkpoint_says_so(made, pictures, tmp_path):
    for name, options, message in (
        ("unet", {"norm_mode": "batch"}, "give the checkpoint"),
        ("unet", {"direction": "AtoB"}, "has no output AtoB"),
        ("cyclegan", {"tile": 16}, "only a checkpoint can be given"),
        ("stargan", {}, "say to which"),
        ("cgan", {}, "ganforge sample"),
    ):
        with pytest.raises(UserError, match=message):
            predict(made(name)[1], [pictures / "a.png"], tmp_path / "out", **options)
    with pytest.raises(UserError, match="is a graph for other runtimes"):
        ganforge.load(made("unet")[1])


def changed_card(proto, change) -> None:
    """Change what a file says of itself."""
    (own,) = (pair for pair in proto.metadata_props if pair.key == exported.KEY)
    card = json.loads(own.value)
    change(card)
    own.value = json.dumps(card)


def with_node(proto, *operator, **attributes) -> None:
    node = onnx.helper.make_node(*operator, **attributes)
    proto.graph.node.append(node)


def outside(proto) -> None:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def outside_constant(proto) -> None:
    value = onnx.numpy_helper.from_array(np.zeros(2, np.float32))
    value.external_data.add(key="location", value="/etc/passwd")
    with_node(proto, "Constant", [], ["c"], value=value)


def loop(proto) -> None:
    with_node(proto, "Loop", ["", ""], [], body=onnx.helper.make_graph([], "body", [], []))


def function(proto) -> None:
    imports = [onnx.helper.make_opsetid("", 18)]
    proto.functions.append(onnx.helper.make_function("mine", "F", ["x"], ["y"], [], imports))


def huge(proto) -> None:
    shape = onnx.numpy_helper.from_array(np.array([10**6, 10**6], np.int64), "much")
    proto.graph.initializer.append(shape)
    node = onnx.helper.make_node("ConstantOfShape", ["much"], ["zeros"])
    proto.graph.node.insert(0, node)
    result = proto.graph.output[0].name
    proto.graph.node[-1].output[0] = "drawn"
    with_node(proto, "ReduceSum", ["zeros"], ["sum"], keepdims=0)
    with_node(proto, "Add", ["drawn", "sum"], [result])


def step(value):
    return lambda card: card[exported.SECTION].update(step=value)


HOSTILE = {
    "weights of another file": (outside, "another file"),
    "a constant of another file": (outside_constant, "another file"),
    "an operator of its own": (lambda p: with_node(p, "Run", ["source"], ["y"], domain="com.evil"), "com.evil"),
    "a loop": (loop, "loops"),
    "a function": (function, "functions of its own"),
    "noise": (lambda p: with_node(p, "RandomNormal", [], ["y"], shape=[9]), "draws at random"),
    "more memory than there is": (huge, "cannot take pictures|more memory|does not open"),
    "no card": (lambda p: p.ClearField("metadata_props"), "was not written by ganforge"),
    "a step of nothing": (lambda p: changed_card(p, step(0)), "was changed"),
    "a step without end": (lambda p: changed_card(p, step(2**40)), "was changed"),
    "a step of a word": (lambda p: changed_card(p, step("8")), "was changed"),
    "a size without end": (lambda p: changed_card(p, lambda card: card.update(size=10**9)), "was changed"),
    "an unknown mode": (lambda p: changed_card(p, lambda card: card.update(norm_mode="x")), "was changed"),
    "other channels": (
        lambda p: changed_card(p, lambda card: card["networks"]["generator_translate"].update(in_channels=1)),
        "was changed",
    ),
    "another result": (
        lambda p: changed_card(p, lambda card: card[exported.SECTION].update(out_channels=2)),
        "was changed",
    ),
    "sides of nothing": (lambda p: changed_card(p, lambda card: card.update(sides={"source": 1})), "was changed"),
    "no outputs": (lambda p: changed_card(p, lambda card: card.update(outputs={})), "was changed"),
    "a list in a list in a list": (
        lambda p: setattr(p.metadata_props[0], "value", "[" * 10**5),
        "no JSON",
    ),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_file_of_someone_else_is_data(fault, made, pictures, tmp_path):
    change, message = HOSTILE[fault]
    proto = onnx.load(made("unet")[1])
    change(proto)
    file = tmp_path / "hostile.onnx"
    file.write_bytes(proto.SerializeToString())
    with pytest.raises(UserError, match=message):
        predict(file, [pictures / "a.png"], tmp_path / "out")
    assert not any((tmp_path / "out").glob("*"))


def test_damaged_files_are_said_to_be(made, tmp_path):
    whole = made("unet")[1].read_bytes()
    drawn, file = np.random.default_rng(0), tmp_path / "x.onnx"
    for content in (b"", b"\xff" * 100, whole[: len(whole) // 2], drawn.bytes(5000)):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"no \.onnx file|was not written|cannot|does not open"):
            predict(file, [tmp_path], tmp_path / "out")
    for _ in range(200):  # whatever is changed: a sentence, or a file that is opened
        content = bytearray(whole)
        for place in drawn.integers(0, len(whole), 8):
            content[place] = drawn.integers(0, 256)
        file.write_bytes(content)
        try:
            onnx_file.read(file)
        except UserError as error:
            assert "x.onnx" in str(error)


@pytest.mark.parametrize("format", ["onnx", "pt2"])
def test_where_results_differ_nothing_is_left(format, tmp_path, monkeypatch):
    file = checkpoint_of("mlp", tmp_path)
    monkeypatch.setattr(graphs, "LARGEST_ABSOLUTE", -1.0)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"differs from PyTorch by .* nothing is written"):
        exporting.export(file, tmp_path / "out/model", format=format)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_what_cannot_be_exported_is_refused_or_frozen_and_said(tmp_path, capsys):
    file = checkpoint_of("unet", tmp_path, norm_mode="batch")
    with pytest.raises(UserError, match=r"norm_mode=batch.*--norm-mode running exports it frozen"):
        exporting.export(file, tmp_path / "x.onnx", format="onnx")
    assert not (tmp_path / "x.onnx").exists()
    exporting.export(file, tmp_path / "x.pt2", format="pt2", norm_mode="running")
    assert "frozen: the statistics of the training" in capsys.readouterr().out
    before = (tmp_path / "x.pt2").read_bytes()
    with pytest.raises(UserError, match="is already there"):
        exporting.export(file, tmp_path / "x.pt2", format="pt2", norm_mode="running")
    assert (tmp_path / "x.pt2").read_bytes() == before
    assert str(Path(ganforge.__file__).parent).encode() not in before
    # The graph is used without ganforge, at a size and number that it was not traced with.
    said = {"ganforge": ""}
    network = torch.export.load(tmp_path / "x.pt2", extra_files=said).module()
    assert json.loads(said["ganforge"])["norm_mode"] == "running"
    source = torch.rand(5, 3, 40, 24)
    with torch.no_grad():
        expected = load_generator(file).network(source)
    torch.testing.assert_close(network(source), expected, atol=1e-4, rtol=0)


def test_without_its_packages_export_is_one_sentence(tmp_path, monkeypatch, capsys):
    file = checkpoint_of("mlp", tmp_path)
    monkeypatch.setattr(exporting, "_version", lambda name: "missing" if name == "onnx" else "1")
    assert cli.main(["export", str(file), "--format", "onnx", "--output", str(tmp_path / "x.onnx")]) == 1
    assert "pip install" in capsys.readouterr().err
