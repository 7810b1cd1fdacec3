"""A package of one's own beside ganforge: begun with `ganforge new`, used in a folder that is no clone."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganforge import extensions, words
from ganforge.cli import main
from ganforge.errors import UserError

TINY = [
    "data.n_train=8", "data.n_val=4", "data.n_test=4", "data.batch_size=4", "evaluation=pixels",
    "trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.log_every_n_steps=1",
]  # fmt: skip
TRANSLATOR = """
import torch
from torch import nn


class Inverter(nn.Module):
    def __init__(self, *, in_channels, out_channels):
        super().__init__()
        self.layer = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, picture):
        return torch.tanh(self.layer(picture))
"""
INVERTER = """
_target_: my_rings.inverter.Inverter
in_channels: ${data.source_channels}
out_channels: ${data.target_channels}
"""


def call(folder: Path, *arguments, **variables) -> subprocess.CompletedProcess:
    """`ganforge ARGUMENTS`, called in a folder."""
    return subprocess.run(
        [Path(sys.executable).parent / "ganforge", *map(str, arguments)], cwd=folder,
        env={**os.environ, "PYTHONSAFEPATH": "1", **variables}, capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip


def done(folder: Path, *arguments, **variables) -> str:
    finished = call(folder, *arguments, **variables)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """What `ganforge new` writes, with a network for pairs of pictures that a user added, and a run of each."""
    folder = tmp_path_factory.mktemp("projects")
    said = done(folder, "new", "my-rings")
    project = folder / "my-rings"
    assert "my-rings/README.md" in said and "ganforge train model=moment_gan data=rings" in said
    (project / "my_rings/inverter.py").write_text(TRANSLATOR)
    (project / "my_rings/conf/model/generator/inverter.yaml").write_text(INVERTER)
    done(project, "train", "model=moment_gan", "data=rings", *TINY, "hydra.run.dir=run")
    pairs = [*TINY, "data.size=64", "data.num_workers=0", "evaluation=default", "tuned=none"]
    done(project, "train", "model=pix2pix", "model/generator=inverter", "data=lattice", *pairs, "hydra.run.dir=pairs")
    return project


@pytest.mark.slow
def test_a_new_project_passes_its_own_test(project):
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=project, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout


@pytest.mark.slow
def test_its_commands_work_where_the_project_is(project):
    assert "moment_gan" in done(project, "train", "--help") and "rings" in done(project, "train", "--help")
    again = done(project, "train", "model=moment_gan", "data=rings", *TINY, "hydra.run.dir=run", "resume=true")
    assert "has finished" in again
    longer = [override for override in TINY if "max_epochs" not in override] + ["trainer.max_epochs=2"]
    done(project, "train", "model=moment_gan", "data=rings", *longer, "hydra.run.dir=longer", "ckpt_path=run")
    assert json.loads((project / "longer/results.json").read_text())["images_seen"] == 16
    done(
        project,
        "train",
        "-m",
        "model=moment_gan",
        "data=rings",
        *TINY,
        "model.moment_weight=0,1",
        "hydra.sweep.dir=sweep",
    )
    assert len(list((project / "sweep").glob("*/results.json"))) == 2
    done(project, "sample", "run", "-n", "2", "-o", "drawn")
    assert len(list((project / "drawn").glob("*.png"))) == 2
    stored = json.loads((project / "run/results.json").read_text())
    done(project, "evaluate", "run", "-o", "again.json")
    evaluated = json.loads((project / "again.json").read_text())
    assert evaluated["test/swd"] == pytest.approx(stored["test/swd"], rel=1e-3)
    Image.fromarray(np.full((20, 30, 3), 255, dtype=np.uint8)).save(project / "white.png")
    done(project, "predict", "pairs", "white.png", "-o", "translated")
    assert Image.open(project / "translated/white.png").size == (30, 20)
    done(project, "report", "run")
    assert (project / "run/report.html").is_file()


@pytest.mark.slow
def test_a_checkpoint_alone_brings_no_package_in(project, tmp_path):
    elsewhere = {"PYTHONPATH": str(project)}  # where it could be imported
    for arguments in (["sample", project / "run", "-o", "a"], ["predict", project / "pairs", project, "-o", "b"]):
        refused = call(tmp_path, *arguments, **elsewhere)
        assert refused.returncode == 1
        assert "where ganforge --package NAME, ganforge.yaml or an entry point names it" in refused.stderr
    first = done(tmp_path, "--package", "my_rings", "sample", project / "run", "-n", "2", "-o", "c", **elsewhere)
    after = done(tmp_path, "sample", "--package", "my_rings", project / "run", "-n", "2", "-o", "d", **elsewhere)
    assert "2 images of" in first and "2 images of" in after
    done(
        tmp_path,
        "--package",
        "my_rings",
        "train",
        "model=moment_gan",
        "data=rings",
        *TINY,
        "hydra.run.dir=r",
        **elsewhere,
    )
    resumed = done(tmp_path, "--package", "my_rings", "evaluate", "r", **elsewhere)
    assert "swd" in resumed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("packages: my_rings", "names the packages of this project, as in: packages: [my_package]"),
        ("", "names the packages of this project, as in: packages: [my_package]"),
        (
            "packages: [no_such_package_here]",
            "ganforge.yaml: there is no package no_such_package_here; call ganforge in",
        ),
        ("packages: ['../evil']", "ganforge.yaml: '../evil' is no name of a package"),
    ],
)
def test_a_project_file_that_names_no_package_is_said(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    Path("ganforge.yaml").write_text(text)
    with pytest.raises(UserError) as refused:
        extensions.folders()
    assert said in str(refused.value)


def test_a_run_of_someone_else_names_no_package(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("ganforge.yaml").write_text("packages: [hostile]")
    Path("hostile").mkdir()
    Path("hostile/__init__.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    Path("checkpoints").mkdir()
    with pytest.raises(UserError, match="lies in the folder of a run, which may come from someone else"):
        extensions.modules()
    assert main(["sample", ".", "-o", "drawn"]) == 1
    assert not Path("ran").exists()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """package("conf/model/own.yaml") writes a package `beside_ganforge` with such a config; it is not installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write(config: str) -> Path:
        path = tmp_path / "beside_ganforge" / config
        path.parent.mkdir(parents=True)
        path.write_text("_target_: beside_ganforge.Own\n")
        (tmp_path / "beside_ganforge/__init__.py").write_text("raise RuntimeError('loaded')\n")
        return path

    return write


def test_a_choice_that_ganforge_has_is_refused(package):
    package("conf/model/dcgan.yaml")
    Path("ganforge.yaml").write_text("packages: [beside_ganforge]")
    with pytest.raises(UserError, match=r"dcgan.yaml: ganforge has model=dcgan itself; give yours another name$"):
        extensions.folders()


@pytest.mark.parametrize("how", ["ganforge.yaml", "--package", "entry point"])
def test_each_way_of_naming_a_package_shows_its_choices_and_loads_nothing(package, monkeypatch, tmp_path, how):
    folder = package("conf/model/own.yaml").parents[1]
    assert "own" not in words.choices()["model"]
    if how == "ganforge.yaml":
        Path("ganforge.yaml").write_text("packages: [beside_ganforge]")
    elif how == "--package":
        monkeypatch.setenv(extensions.VARIABLE, "beside_ganforge")
    else:
        point = EntryPoint("own", "beside_ganforge", extensions.ENTRY_POINTS)
        monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point] if "ganforge" in group else [])
        monkeypatch.syspath_prepend(tmp_path)
        extensions._installed.cache_clear()
        monkeypatch.chdir("/")
    try:
        assert extensions.folders() == [folder]
        assert "own" in words.choices()["model"]
        assert "beside_ganforge" not in sys.modules
    finally:
        monkeypatch.undo()
        extensions._installed.cache_clear()


def test_a_project_is_written_only_into_an_empty_folder_under_a_free_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("held").mkdir()
    Path("held/file").touch()
    for name, said in (("held", "is already there, and not empty"), ("numpy", "there is a package numpy already"),
                       ("2d", "'2d' is no name of one"), ("class", "'class' is no name of one")):  # fmt: skip
        assert main(["new", name]) == 1
        assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["held"]


@pytest.fixture
def ganforge_in(tmp_path, monkeypatch):
    """ganforge, called in an empty folder."""
    import ganforge

    monkeypatch.chdir(tmp_path)
    return ganforge


def test_the_python_surface_loads_nothing_heavy():
    code = (
        "import sys, ganforge; assert set(ganforge.__all__) <= set(dir(ganforge)); ganforge.train, ganforge.load; "
        "print(*[name for name in ('torch', 'hydra', 'numpy', 'pytorch_lightning') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


LATTICE = [
    "model.generator.base_channels=4", "model.discriminator.base_channels=4", "data.size=64", "data.num_workers=0",
    "data.n_train=8", "data.n_val=4", "data.n_test=4", "data.batch_size=4", "trainer.accelerator=cpu",
    "trainer.max_epochs=1", "model.generator.depth=1", "data.cells=[2,3]", "data.shifted=null",
]  # fmt: skip


@pytest.mark.slow
def test_train_and_load_give_what_the_commands_give(ganforge_in, tmp_path, capfd):
    run = ganforge_in.train(*LATTICE, "model.norm_mode=batch", folder=tmp_path / "a run, with a comma")
    assert "epoch 1 of 1" in capfd.readouterr().out
    assert run.folder == tmp_path / "a run, with a comma" and run.outputs == ("translate",)
    assert run.results["images_seen"] == 8 and "test/bond_f1" in run.results
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(picture).save("picture.png")
    assert main(["predict", str(run.folder), "picture.png", "-o", "out"]) == 0
    written = np.asarray(Image.open("out/picture.png"))[..., None]
    assert written.std() > 1
    again = ganforge_in.load(run.checkpoint)
    assert np.array_equal(run.translate(picture), written) and np.array_equal(again.translate("picture.png"), written)
    assert not run.network().training
    with pytest.raises(UserError, match="this model translates pictures; use ganforge predict"):
        run.sample(2)
    second = ganforge_in.train(*LATTICE)  # a folder of its own
    assert second.folder.parent == tmp_path / "lightning_logs/pix2pix_lattice"


@pytest.mark.slow
def test_a_mistake_is_raised_as_one_sentence(ganforge_in, capfd):
    with pytest.raises(UserError, match=r"^model=dcgann: no such choice; did you mean dcgan\?"):
        ganforge_in.train("model=dcgann")
    with pytest.raises(UserError, match="sweeps are run by ganforge train -m"):
        ganforge_in.train("-m", "seed=0,1")
    with pytest.raises(UserError, match="no_such_run"):
        ganforge_in.load("no_such_run")
    with pytest.raises(UserError, match=r"^model=dcgann: no such choice"):
        ganforge_in.compose("model=dcgann")


@pytest.mark.slow
def test_an_interrupt_ends_a_training_with_a_checkpoint_to_go_on_from(tmp_path):
    # A shell starts what runs in its background deaf to SIGINT, and its children inherit that.
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{hears}; import ganforge; ganforge.train(*{LATTICE!r}, 'trainer.max_epochs=3000', folder='run')"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    ended = time.monotonic() + 120
    while not (tmp_path / "run/checkpoints/last.ckpt").is_file() and time.monotonic() < ended:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert b"KeyboardInterrupt: the training in" in errors and process.returncode != 0
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "interrupted"
    assert (tmp_path / "run/checkpoints/last.ckpt").is_file()


@pytest.mark.slow
def test_compose_leaves_nothing_behind_and_gives_what_a_training_gives(ganforge_in, tmp_path):
    import pytorch_lightning as pl
    import torch
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    before = torch.get_rng_state()
    parts = [ganforge_in.compose(*LATTICE, "seed=3", folder=tmp_path / "own") for _ in range(2)]
    assert torch.equal(before, torch.get_rng_state())
    assert not HydraConfig.initialized() and not GlobalHydra.instance().is_initialized()
    assert list(tmp_path.iterdir()) == []
    first, second = (part.system.state_dict() for part in parts)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    ours = parts[0]
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, callbacks=ours.callbacks, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(ours.system, ours.data)
    assert ours.system.images_seen == 8
    assert any(not torch.equal(first[name], value) for name, value in ours.system.state_dict().items())
