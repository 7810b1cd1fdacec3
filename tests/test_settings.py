"""Settings as a user types them: seeds, exact repetition, debug, profilers, completion, and words that do not exist."""

import json
import logging
import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from hydra.core.utils import configure_log
from omegaconf import OmegaConf

from conftest import ROOT, TINY_PIX2PIX, TinyImages, overrides_for, overrides_for_model
from ganforge.errors import UserError
from ganforge.experiment import run, start
from ganforge.networks.resampling import reflected
from ganforge.settings import FirstSteps, profiler, verbose
from ganforge.words import choices, nearest

LATTICE = ["data.size=64", "data.cells=[2,3]", "model.generator.depth=3", "data.shifted=null"]


def train(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=cwd, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("model.l1_wieght=3", r"model\.l1_wieght: .* did you mean model\.l1_weight\?"),
        ("trainer.max_epoch=3", r"trainer\.max_epoch: .* did you mean trainer\.max_epochs\?"),
        ("trainr=gpu", r"trainr: .* did you mean trainer\?"),
        ("model/augmnt=ada", r"model/augmnt: .* did you mean model/augment\?"),
        ("model=dcgan model.augment=ada", r"model\.augment=ada: .*: model/augment=ada"),
        ("model/generator=unett", r"model/generator=unett: .* did you mean unet\? Choices: biggan, dcgan, mlp, .*"),
        (
            "model.objective.path=ganforge.objectives.hinge",
            r"model\.objective\.path=.*: .* written model/objective=hinge",
        ),
        ("model=pix2pixx", r"model=pix2pixx: .* did you mean pix2pix\? Choices: acgan, biggan, cgan, .*"),
        ("-m model=gan,dcgann", r"model=dcgann: .* did you mean dcgan\? Choices: .*"),
        ("logger=[csvv]", r"logger=csvv: .* did you mean csv\? Choices: csv, tensorboard, wandb"),
        ("model.base_channels=8", r".* model\.generator\.base_channels or model\.discriminator\.base_channels\?.*"),
        ("hydra.run.dri=x", r"hydra\.run\.dri: .* did you mean hydra\.run\.dir\?.*"),
        ("~data.shiftd", r"~data\.shiftd: .* did you mean data\.shifted\?"),
        ("dcgan", r"dcgan: .* NAME=VALUE; did you mean model=dcgan\?"),
        ("ckpt_path=runs/epoch=3.ckpt", r"ckpt_path=runs/epoch=3\.ckpt: .* 'ckpt_path=\"runs/epoch=3\.ckpt\"'"),
        (
            "data.lattices=kagome,square",
            r".* -m runs one after another.*\[kagome,square\]'.* 'data\.lattices=\"kag.*\"'",
        ),
        ("--hlep", r"--hlep: no such option; did you mean --help\?"),
        ("--model=dcgan", r"--model=dcgan: .* without dashes: model=dcgan"),
        ("--model dcgan", r"--model dcgan: .* without dashes: model=dcgan"),
        ("--epochs 3", r"--epochs 3: .* without dashes: trainer\.max_epochs=3"),
        ("--epochs=3", r"--epochs=3: .* without dashes: trainer\.max_epochs=3"),
        ("--batch-size 4", r"--batch-size 4: .* without dashes: data\.batch_size=4 or .*"),
        ("--resume", r"--resume: .* without dashes: resume=true"),
        ("--xyzzy 3", r"--xyzzy 3: .* are written NAME=VALUE, and python \S+train\.py --help lists them"),
        ("model=dcgan -m seed=0,1", r"seed=0,1: options such as -m stand before all settings: python \S+ -m NAME=.*"),
        ("model=dcgan data=image_folder", r"data\.root: is not given; add data\.root=FOLDER"),
        ("data=pairs", r"data\.root: is not given; add data\.root=FOLDER"),
        ("data=pairs data.root=~/x", r'data\.root=~/x: .*; write data\.root="\$HOME/x"'),
        ("data=pairs data.root=a[b", r"data\.root=a\[b: cannot be read; .* 'data\.root=\"a\[b\"'"),
        ("data.lattices=[kagome, square]", r".* without spaces, or quoted: 'data\.lattices=\[kagome,square\]'"),
        ("data.lattices=[kagome", r".* a bracket is not closed; .* 'data\.lattices=\[kagome\]'"),
        ("model=gan data=mnist ~model.generator.nix", r"~model\.generator\.nix: no .*; what there is: .*, widths, .*"),
        ("model=dcgan data=mnist ~model.generator.hidden", r"~model\.generator\.hidden: is null as it is; .*"),
        ("-m launcher=ray seed=0", r"launcher=ray: its package is not installed: pip install hydra-ray-launcher"),
    ],
)
def test_a_wrong_word_is_one_sentence_with_the_nearest_right_one(tmp_path, arguments, sentence):
    result = train(*arguments.split(), cwd=tmp_path)
    assert result.returncode == 1
    assert re.fullmatch(f"error: {sentence}( \\(.* would add it\\))?\n", result.stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("typed", ["a,b", "a[b", 'it\'s "ü" {'])
def test_a_folder_with_special_characters_is_found_as_the_hint_says(tmp_path, typed):
    (tmp_path / typed).mkdir()
    pictures = ["model=dcgan", "data=image_folder", "evaluation=pixels"]
    refused = train(*pictures, f"data.root={typed}", cwd=tmp_path).stderr
    hint = refused[refused.rindex("'data.root=") :].strip()
    said = train(*pictures, *shlex.split(hint), cwd=tmp_path).stderr
    assert said.startswith(f"error: {typed} holds no pictures")


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        ["data.root=none"],
        ["data.root=none", "hydra.run.dir=a/b"],
        ["model.latent_dim=-1", "evaluation=pixels"],
        ["-m", "model.nothing=1,2"],
        ["-m", "model.nothing=1,2", "hydra.sweep.dir=a/b"],
    ],
)
def test_what_is_refused_leaves_no_new_folder(tmp_path, folders, wrong):
    before = sorted(tmp_path.rglob("*"))
    refused = train(*wrong, "model=dcgan", "data=image_folder", f"data.root={folders / 'image_folder'}", cwd=tmp_path)
    assert refused.returncode == 1 and refused.stderr.startswith("error: "), refused.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_what_is_refused_leaves_the_folders_that_were_there(tmp_path, folders):
    """An empty one, a run, the other runs beside a new one, and the jobs of a sweep, which say what failed."""
    pictures = ["model=dcgan", *overrides_for_model("dcgan"), *overrides_for("image_folder", folders)]
    assert train(*pictures, "hydra.run.dir=runs/one", "logger=csv", cwd=tmp_path).returncode == 0
    (tmp_path / "runs/empty").mkdir()
    written = {file: file.read_bytes() for file in (tmp_path / "runs").rglob("*") if file.is_file()}
    state = tmp_path / "runs/one/status.json"
    del written[state]  # says why it did not go on
    state.write_text(state.read_text().replace("finished", "interrupted"))
    wrong = "model.latent_dim=-1"
    for more in (["one"], ["one", "resume=true"], ["one", "resume=force"], ["two"], ["empty"]):
        refused = train(*pictures, wrong, f"hydra.run.dir=runs/{more[0]}", *more[1:], cwd=tmp_path)
        assert refused.returncode == 1 and refused.stderr.startswith("error: "), refused.stderr
        assert all(file.read_bytes() == before for file, before in written.items())
    assert json.loads(state.read_text())["state"] == "interrupted"
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["empty", "one"]
    assert train("-m", *pictures, "model.latent_dim=-1,-2", "hydra.sweep.dir=sweep", cwd=tmp_path).returncode == 1
    for job in ("model.latent_dim--1", "model.latent_dim--2"):
        assert json.loads((tmp_path / "sweep" / job / "status.json").read_text())["state"] == "failed"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "model.objective.path=ganforge.game.objectives.hing",
            "ganforge.game.objectives has no hing; did you mean hinge?",
        ),
        (
            "model.generator._target_=ganforge.networks.UNett",
            "names 'ganforge.networks.UNett', did you mean ganforge.networks.UNet?",
        ),
        (
            "+model.l1_wieght=3",
            "model.l1_wieght: ganforge.systems.pix2pix.Pix2Pix has no such setting; did you mean l1_",
        ),
    ],
)
def test_what_a_class_refuses_is_one_sentence(configured, override, sentence):
    with pytest.raises(SystemExit) as stopped:
        start(configured([*TINY_PIX2PIX, *LATTICE, override]))
    assert sentence in stopped.value.code and "\n" not in stopped.value.code


def test_the_nearest_name_beside_comes_before_the_same_name_elsewhere():
    known = ["model", "model.l1_weight", "model.d_weight", "data.size", "trainer.max_epochs", "other.l1_weigth"]
    assert nearest("model.l1_weigth", known) == ["model.l1_weight"]
    assert nearest("l1_weight", known) == ["model.l1_weight"]
    assert nearest("epochs", known) == ["trainer.max_epochs"]
    assert nearest("nothing.like.it", known) == []
    assert choices()["model/augment"] == ["ada", "diff", "none", "translation"]


@pytest.mark.slow
def test_hydras_own_options_answer(tmp_path):
    shown = train("--cfg", "job", "model=dcgan", "data=mnist", cwd=tmp_path)
    assert shown.returncode == 0 and "_target_: ganforge.systems.LatentGAN" in shown.stdout
    assert "debug: false" in shown.stdout and "${data.channels}" in shown.stdout
    resolved = train("--cfg", "job", "--resolve", "-p", "model.discriminator", cwd=tmp_path)
    assert "in_channels: 2" in resolved.stdout  # source and target, added
    assert "model/augment" in train("--info", "defaults", "model=dcgan", cwd=tmp_path).stdout
    assert train("--version", cwd=tmp_path).stdout.startswith("ganforge ")
    both = train("--cfg", "job", "-m", cwd=tmp_path)
    assert (both.returncode, both.stderr.count("\n")) == (1, 1)
    full = train("model=pix2pixx", cwd=tmp_path, HYDRA_FULL_ERROR="1")
    assert "Traceback" in full.stderr  # where someone asks for it
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mod", {"model", "model."}),
        ("trainer=c", {"trainer=cpu"}),
        (
            "model=dcgan model/augment=",
            {f"model/augment={choice}" for choice in ("ada", "diff", "none", "translation")},
        ),
        ("model=dcgan model.label_", {"model.label_flip=", "model.label_smoothing="}),
        ("trainer.prof", {"trainer.profiler="}),
        ("model/obj", {"model/objective="}),
        ("model/generator=r", {"model/generator=r3gan", "model/generator=resnet", "model/generator=resnet_dilated"}),
    ],
)
def test_tab_completes_groups_choices_and_settings(tmp_path, typed, offered):
    line = f"python train.py {typed}"
    shown = train("-sc", "query=bash", cwd=tmp_path, COMP_LINE=line, COMP_POINT=str(len(line)))
    assert set(shown.stdout.split()) == offered


def test_tab_completion_is_installed_in_bash(tmp_path):
    script = f"""PATH={Path(sys.executable).parent}:$PATH; cd {ROOT}; eval "$(python train.py -sc install=bash)"
        COMP_LINE="python train.py model=r3" COMP_POINT=24 COMP_CWORD=2
        hydra_bash_completion; echo "${{COMPREPLY[@]}}"; complete -p python"""
    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert shown.stdout.splitlines()[0] == "model=r3gan"
    assert "hydra_bash_completion python" in shown.stdout


class Draws(TinyImages):
    """Instead of pictures what the three generators of a worker give; `rows` of what arrived."""

    def __init__(self, num_workers: int):
        super().__init__(n_train=8, batch_size=2)
        self.num_workers = num_workers

    def datasets(self) -> dict:
        return {name: DrawnSet() for name in ("train", "val", "test")}


class DrawnSet(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([random.random(), np.random.random(), torch.rand(()).item()])


def test_the_seed_covers_the_generators_of_workers(monkeypatch):
    def draws(seed: int, rank: int = 0) -> torch.Tensor:
        monkeypatch.setattr(pl.utilities.rank_zero.rank_zero_only, "rank", rank)
        data = Draws(num_workers=2)
        data.seed = seed
        return torch.cat(list(data._loader(data.sets["train"], sampler=range(8), batch_size=data.batch_size)))

    first = draws(0)
    assert torch.equal(first, draws(0))
    for other in (draws(1), draws(0, rank=1)):
        assert not (first == other).any()
    assert len(first.unique()) == first.numel()  # no two workers, and no two generators, give the same


@pytest.mark.slow
def test_deterministic_runs_give_equal_bits_for_any_number_of_workers(tmp_path):
    """The main job's first 20 steps, in fresh processes."""
    settings = [*TINY_PIX2PIX, *LATTICE, "data.n_train=40", "trainer.log_every_n_steps=1", "trainer.deterministic=true"]
    found = []
    for name, workers in (("a", 0), ("b", 0), ("c", 2)):
        folder = tmp_path / name
        result = train(*settings, f"data.num_workers={workers}", f"hydra.run.dir={folder}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        checkpoints = (torch.load(folder / f"checkpoints/{n}.ckpt", weights_only=True) for n in ("last", "best"))
        tensors = {
            key: value
            for which, checkpoint in enumerate(checkpoints)
            for key, value in flat(
                {k: checkpoint[k] for k in ("state_dict", "optimizer_states") if k in checkpoint}, str(which)
            )
        }
        found.append(((folder / "metrics.csv").read_bytes(), tensors))
    (rows, weights), *others = found
    assert rows.count(b"\n") == 22  # titles, 20 steps, a validation
    assert sum(torch.is_tensor(value) for value in weights.values()) > 300
    for other_rows, other_weights in others:
        assert other_rows == rows
        assert other_weights.keys() == weights.keys()
        for key, value in weights.items():
            assert torch.equal(value, other_weights[key]) if torch.is_tensor(value) else value == other_weights[key]


def flat(node, path):
    """Everything in a checkpoint, with where it stands."""
    if isinstance(node, dict | list | tuple):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from flat(value, f"{path}/{key}")
    else:
        yield path, node


def test_deterministic_switches_off_what_chooses_kernels_by_the_clock(configured):
    config = configured([*TINY_PIX2PIX, *LATTICE, "trainer.deterministic=true", "debug=true", "data.n_test=2"])
    try:
        run(config)
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("width", [1, 3])
def test_the_deterministic_padding_is_torchs(width):
    mine, theirs = (torch.rand(2, 3, 5, 8, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    padded, expected = reflected(mine.requires_grad_(), width), F.pad(theirs.requires_grad_(), [width] * 4, "reflect")
    assert torch.equal(padded, expected)
    for image in (padded, expected):
        (image * torch.arange(image.numel()).view_as(image)).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


@pytest.mark.parametrize(("model", "batches"), [("dcgan", 2), ("wgan", 5)])
def test_debug_is_two_batches_of_everything(configured, folders, tmp_path, monkeypatch, model, batches):
    seen = {}
    fit = pl.Trainer.fit

    def spied(trainer, *arguments, **options):
        fit(trainer, *arguments, **options)
        seen.update(anomalies=trainer._detect_anomaly, workers=trainer.train_dataloader.num_workers)
        seen.update(training=trainer.num_training_batches, validation=trainer.num_val_batches)

    monkeypatch.setattr(pl.Trainer, "fit", spied)
    settings = [*overrides_for("mnist", folders), f"model={model}", *overrides_for_model(model, 28), "debug=true"]
    run(configured([*settings, "data.n_train=40", "data.n_val=20", "data.num_workers=2", "trainer.max_epochs=9"]))
    assert seen == {"anomalies": True, "workers": 0, "training": batches, "validation": [2]}
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["images_seen"] == 2 * batches
    assert "train/g/grad_norm" in (tmp_path / "run/metrics.csv").read_text()  # the generator moved
    assert Path(results["best_checkpoint"]).is_file()


@pytest.mark.slow
def test_debug_of_the_main_job_says_how_good_it_is(configured, tmp_path):
    run(configured([*TINY_PIX2PIX, *LATTICE, "data.n_train=40", "data.n_val=9", "data.n_test=9", "debug=true"]))
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert (results["images_seen"], results["test/networks"]) == (4, 4)
    with pytest.raises(UserError, match="debug=perhaps: true or false"):
        run(configured(["debug=perhaps"], "other"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "row"), [("simple", "run_training_batch"), ("advanced", "function calls"), ("pytorch", "aten::conv")]
)
def test_a_profilers_table_is_in_the_runs_folder(configured, tmp_path, capsys, name, row):
    run(configured([*TINY_PIX2PIX, *LATTICE, f"trainer.profiler={name}", "debug=true"]))
    table = tmp_path / "run" / "fit-profile.txt"
    assert row in table.read_text()
    assert f"profile: {table}" in capsys.readouterr().out


def test_profilers_are_limited_and_known():
    steps = FirstSteps()
    actions = [steps(step).name for step in range(12)]
    assert actions == ["RECORD"] * 10 + ["RECORD_AND_SAVE", "NONE"]
    with pytest.raises(UserError, match=r"trainer\.profiler=simpel: .*simple, advanced, pytorch.* did you mean simple"):
        profiler("simpel", Path())


@pytest.mark.slow
def test_verbose_shows_what_hydra_and_others_say(tmp_path, capsys):
    (tmp_path / "file").touch()
    shown = train("hydra.verbose=true", f"hydra.run.dir={tmp_path / 'file/run'}", cwd=tmp_path)  # ends before a job
    assert "[HYDRA] Installed Hydra Plugins" in shown.stderr

    around = {"runtime": {"output_dir": str(tmp_path)}, "job": {"name": "train"}}
    loaded = OmegaConf.load(ROOT / "conf/hydra/job_logging/warnings.yaml")
    config = OmegaConf.create({"hydra": {**around, "job_logging": loaded}})
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    try:
        configure_log(config.hydra.job_logging, "ganforge.asked")
        for name in ("ganforge.asked", "ganforge.other"):
            logging.getLogger(name).debug("a detail")
            logging.getLogger(name).warning("a warning")
    finally:
        root.handlers[:] = before
    said = [line.split("[", 2)[2] for line in (tmp_path / "train.log").read_text().splitlines()]
    titles = [f"ganforge.{words}" for words in ("asked][DEBUG] a detail", "asked][WARNING] a warning")]
    titles.append("ganforge.other][WARNING] a warning")
    assert said == titles
    assert [line.split("[", 2)[2] for line in capsys.readouterr().err.splitlines()] == titles

    for asked, level in ((False, "WARNING"), (["pytorch_lightning"], "DEBUG"), ("other", "WARNING"), (True, "DEBUG")):
        verbose(asked)  # after its import, which sets a level of its own
        assert logging.getLevelName(logging.getLogger("pytorch_lightning").level) == level
    verbose(False)
