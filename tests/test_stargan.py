"""StarGAN: its game against a plain loop, its networks, what is resumed and measured, and what a user gets of it."""

import copy
import json
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

import ganforge
import killing
from conftest import Rows
from ganforge.commands.evaluate import of_run
from ganforge.commands.extract import train as train_extractor
from ganforge.commands.predict import predict
from ganforge.data.domains import Labelled, Translations
from ganforge.data.module import DataModule, RealPictures
from ganforge.data.pictures import Augmentation
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.game.domains import Domains
from ganforge.game.objectives import wasserstein
from ganforge.game.schedules import ConstantThenLinear
from ganforge.networks import StarGANCritic, StarGANGenerator
from ganforge.pictures import images
from ganforge.runs import checkpoint
from ganforge.runs.asking import asked
from ganforge.runs.generators import load_generator
from ganforge.systems import StarGAN

ADAM = partial(torch.optim.Adam, lr=1e-3, betas=(0.5, 0.999))
KINDS = Domains(("dark", "bright", "green"), one_of_many=True)
LOOKS = Domains(("round", "red", "blue"), one_of_many=False, exclusive=(("red", "blue"),))


class TinyDomains(DataModule):
    """Random pictures: n_train for training, six for validation and test."""

    provides = frozenset({"domains"})

    def __init__(self, *, n_train: int = 8, size: int = 16, batch_size: int = 4, domains: Domains = KINDS):
        super().__init__(size=size, batch_size=batch_size, num_workers=0, seed=0, channels=3)
        self.n_train, self.domains, self.class_names = n_train, domains, domains.names

    def pictures(self, split):
        n = self.n_train if split == "train" else 6
        return np.random.default_rng(n).integers(0, 256, (n, 3, self.size, self.size), dtype=np.uint8)

    def labels(self, split):
        n, count = len(self.pictures(split)), len(self.domains.names)
        if self.domains.one_of_many:
            return np.eye(count, dtype=np.float32)[np.arange(n) % count]
        return np.random.default_rng(1).integers(0, 2, (n, count)).astype(np.float32)

    def datasets(self):
        flip = Augmentation(flip=True)
        judged = {s: Translations(self.pictures(s), self.labels(s), self.domains) for s in ("val", "test")}
        return {"train": Labelled(self.pictures("train"), self.labels("train"), seed=0, augment=flip), **judged}

    def real(self, split):
        return RealPictures(len(self.pictures(split)), self.pictures(split).__getitem__)

    def fingerprint(self):
        return f"{self.n_train}"


def stargan(*, norm: bool = True, **options) -> StarGAN:
    """norm: False takes the instance norm out of the generator, which lets rounding errors grow."""
    torch.manual_seed(0)
    networks = {
        "generator": StarGANGenerator(in_channels=3, out_channels=3, size=16, n_domains=3, base_channels=4, depth=1),
        "discriminator": StarGANCritic(in_channels=3, size=16, n_domains=3, base_channels=4),
    }
    for part in () if norm else [*networks["generator"].modules()]:
        for name, layer in part.named_children():
            if isinstance(layer, nn.InstanceNorm2d):
                setattr(part, name, nn.Identity())
    settings = {"objective": wasserstein, "optimizer_g": ADAM, "optimizer_d": ADAM, "d_steps": 2}
    schedules = dict.fromkeys(("schedule_g", "schedule_d"), ConstantThenLinear(decay_from=None))
    return StarGAN(**networks, **{**settings, **schedules, **options})


@pytest.mark.parametrize("domains", [KINDS, LOOKS])
def test_every_step_equals_a_plain_loop(fit, domains):
    sgd = partial(torch.optim.SGD, lr=1e-2, momentum=0.5)  # Adam makes whole steps of rounding errors
    system = stargan(optimizer_g=sgd, optimizer_d=sgd)
    g, d = (copy.deepcopy(getattr(system, name)) for name in system.network_names)
    logged, seen = Rows(system), []
    system.on_train_batch_start = lambda batch, index: seen.append((copy.deepcopy(batch), system.images_seen))
    data = TinyDomains(n_train=24, domains=domains)
    fit(system, data)
    assert len(seen) == 6
    known = torch.from_numpy(data.labels("train"))
    g_moves, d_moves = sgd(g.parameters()), sgd(d.parameters())

    def named(logits, labels):
        if domains.one_of_many:
            return nn.CrossEntropyLoss()(logits, labels.argmax(1))
        return functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(1).mean()

    for step, ((batch, images_seen), row) in enumerate(zip(seen, logged.rows, strict=True)):
        x, own = batch["source"], batch["labels"]
        drawn = np.random.default_rng([system.seed, images_seen, 1]).random((4, 2), dtype=np.float32)
        target = known[(drawn[:, 0] * 24).astype(int)]
        fake = g(x, target)
        (real_logits, real_named), (fake_logits, _) = d(x), d(fake.detach())
        mixed = (x + torch.from_numpy(drawn[:, 1])[:, None, None, None] * (fake.detach() - x)).requires_grad_()
        (slope,) = torch.autograd.grad(d(mixed)[0].sum(), mixed, create_graph=True)
        terms = {
            "d/adv": fake_logits.mean() - real_logits.mean(),
            "d/class": named(real_named, own),
            "d/wgan_gp": 10 * (slope.flatten(1).norm(dim=1) - 1).square().mean(),
        }
        d_moves.zero_grad()
        sum(terms.values()).backward()
        d_moves.step()
        if step % 2:  # the second of two turns is the generator's as well
            judged, as_named = d(fake)
            moved = {
                "g/adv": -judged.mean(),
                "g/class": named(as_named, target),
                "g/reconstruction": 10 * nn.L1Loss()(g(fake, own), x),
            }
            g_moves.zero_grad()
            sum(moved.values()).backward()
            g_moves.step()
            terms |= moved
        assert {name for name in row if name.startswith("train/g/")} == (
            {"train/g/adv", "train/g/class", "train/g/reconstruction", "train/g/grad_norm"} if step % 2 else set()
        )
        for name, value in terms.items():
            assert row[f"train/{name}"] == pytest.approx(value.item(), rel=1e-6, abs=1e-6), (step, name)
    for network, plain in ((system.generator, g), (system.discriminator, d)):
        for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_the_networks_are_those_of_the_paper():
    generator = StarGANGenerator(in_channels=3, out_channels=3, size=128, n_domains=5)
    critic = StarGANCritic(in_channels=3, size=128, n_domains=5)
    count = lambda network: sum(parameter.numel() for parameter in network.parameters())  # noqa: E731
    assert (count(generator), count(critic)) == (8_430_528, 44_762_048)  # of the authors' code
    logits, named = critic(torch.zeros(2, 3, 128, 128))
    assert logits.shape == (2, 1, 2, 2) and named.shape == (2, 5)
    assert generator(torch.zeros(1, 3, 30, 45), torch.zeros(1, 5)).shape == (1, 3, 30, 45)


def test_labels_are_seen_through_zero_padding_and_would_not_be_through_reflection():
    """A plane of one value goes through a reflecting convolution as one number, and instance norm takes it away."""
    torch.manual_seed(0)
    generator = StarGANGenerator(in_channels=3, out_channels=3, size=16, n_domains=2, base_channels=4, depth=1)
    picture = torch.rand(1, 3, 16, 16)
    first, second = (generator(picture, torch.tensor([labels])) for labels in ([1.0, 0.0], [0.0, 1.0]))
    assert (first - second).abs().max() > 0.01
    for module in generator.modules():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = "reflect"
            module._reversed_padding_repeated_twice = [p for p in reversed(module.padding) for _ in range(2)]
    first, second = (generator(picture, torch.tensor([labels])) for labels in ([1.0, 0.0], [0.0, 1.0]))
    assert (first - second).abs().max() < 1e-4


def test_targets_are_drawn_as_training_labels_are_distributed(fit):
    system, drawn = stargan(), []
    losses = system.d_losses
    system.d_losses = lambda batch, images: drawn.append(batch["target_labels"]) or losses(batch, images)
    data = TinyDomains(n_train=40)
    data.labels = lambda split: np.eye(3, dtype=np.float32)[([0] * 30 + [1] * 10)[: len(data.pictures(split))]]
    fit(system, data, max_epochs=10)
    share = torch.cat(drawn).mean(0)
    assert len(torch.cat(drawn)) == 400
    assert 0.65 < share[0] < 0.85 and 0.15 < share[1] < 0.35 and share[2] == 0


def test_it_is_resumed_bit_for_bit(fit, tmp_path):
    options = {"ema_half_life": 20, "accumulate": 2}
    whole, stopped, resumed = (stargan(**options) for _ in range(3))
    rows = [Rows(system) for system in (whole, stopped, resumed)]
    data = partial(TinyDomains, n_train=20)
    fit(whole, data(), max_epochs=3, every=3)
    stopped.on_train_batch_end = lambda outputs, batch, index: (
        stopped.trainer.save_checkpoint(tmp_path / "x.ckpt") if stopped.images_seen == 28 else None
    )
    fit(stopped, data(), max_epochs=3, every=3)
    fit(resumed, data(), max_epochs=3, every=3, ckpt_path=tmp_path / "x.ckpt")
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    assert rows[2].rows == rows[0].rows[-len(rows[2].rows) :]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gp_weight": -1.0}, r"model\.gp_weight=-1\.0: 0 or more"),
        ({"class_weight": -1.0}, r"model\.class_weight"),
        ({"d_steps": 0}, r"model\.d_steps=0"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(UserError, match=message):
        stargan(**options)


def test_wrong_networks():
    with pytest.raises(UserError, match=r"data\.size=30 is not a multiple of 4"):
        StarGANGenerator(in_channels=3, out_channels=3, size=30, n_domains=2)
    with pytest.raises(UserError, match=r"model\.discriminator\.depth=6: 1 to 5 halvings of data\.size=32"):
        StarGANCritic(in_channels=3, size=32, n_domains=2, depth=6)


# Labels


def test_what_is_asked_of_domains_and_attributes():
    labels = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert KINDS.asked(labels, 1).tolist() == [[0, 1, 0], [0, 1, 0]]
    assert LOOKS.asked(labels, 0).tolist() == [[0, 0, 0], [1, 0, 1]]  # turned round
    assert LOOKS.asked(labels, 1).tolist() == [[1, 1, 0], [0, 1, 0]]  # put in the place of blue
    unknown = torch.full((3,), torch.nan)
    assert KINDS.with_label(unknown, 2).tolist() == [0, 0, 1]
    assert LOOKS.with_label(unknown, 1).nan_to_num(-1).tolist() == [-1, 1, 0]
    assert LOOKS.with_label(unknown, 1, 0.0).nan_to_num(-1).tolist() == [-1, 0, -1]


def test_every_picture_is_asked_for_all_other_domains_different_pictures_first():
    data = TinyDomains(domains=KINDS)
    items = data.sets["test"]
    assert len(items) == 6 * 2
    batch = items.__getitems__(list(range(12)))
    assert batch["asked"].tolist() != batch["labels"].argmax(1).tolist()
    assert bool((batch["target_labels"] != batch["labels"]).any(dim=1).all())
    assert len(set(items.rows[:4].tolist())) == 4
    pairs = set(zip(items.rows.tolist(), items.asked.tolist(), strict=True))
    assert len(pairs) == 12 and all(row % 3 != asked for row, asked in pairs)


@pytest.mark.parametrize(
    "card",
    [
        {"names": ["a"], "one_of_many": True, "exclusive": []},
        {"names": ["a", "a"], "one_of_many": True, "exclusive": []},
        {"names": ["a", "b\n"], "one_of_many": True, "exclusive": []},
        {"names": ["a", "b"], "one_of_many": 1, "exclusive": []},
        {"names": ["a", "b"], "one_of_many": False, "exclusive": [["c"]]},
        {"names": ["a", "b"], "one_of_many": False, "exclusive": [["a", "b"], ["a"]]},
        {"names": ["a", "b"], "one_of_many": False, "exclusive": "ab"},
        {"names": [str(i) for i in range(2000)], "one_of_many": True, "exclusive": []},
        {"names": ["a" * 101, "b"], "one_of_many": True, "exclusive": []},
        {"names": ["a", "b"], "one_of_many": True},
        ["a", "b"],
    ],
)
def test_a_card_of_someone_else_that_names_no_domains_is_refused(card):
    assert not Domains.is_card(card)
    assert Domains.is_card(KINDS.to_card()) and Domains.is_card(LOOKS.to_card()) and Domains.is_card(None)


# From a folder to a translation


SMALL = [
    "model=stargan",
    "data=domains",
    "data.size=16",
    "data.batch_size=4",
    "data.val_fraction=0.2",
    "data.test_fraction=0.2",
    "model.generator.base_channels=4",
    "model.generator.depth=1",
    "model.discriminator.base_channels=4",
    "model.d_steps=2",
    "trainer.accelerator=cpu",
    "trainer.precision=32",
    "trainer.max_epochs=2",
]


@pytest.fixture
def kinds(tmp_path):
    """Ten pictures of each of three domains that a classifier tells apart at once."""
    rng = np.random.default_rng(0)
    for name, low, high in (("dark", 0, 60), ("bright", 190, 256), ("noisy", 0, 256)):
        folder = tmp_path / "kinds" / name
        folder.mkdir(parents=True)
        for index in range(10):
            Image.fromarray(rng.integers(low, high, (20, 24, 3), dtype=np.uint8)).save(folder / f"{name}{index}.png")
    return tmp_path / "kinds"


@pytest.fixture
def faces(tmp_path):
    """Ten pictures and a table with two colours and one shape."""
    folder, rng = tmp_path / "faces", np.random.default_rng(0)
    folder.mkdir()
    rows = ["file,red,blue,round"]
    for index in range(20):
        picture = rng.integers(0, 120, (20, 20, 3), dtype=np.uint8)
        picture[:, :, 0 if index % 2 else 2] += 120
        Image.fromarray(picture).save(folder / f"{index}.png")
        rows.append(f"{index}.png,{index % 2},{(index + 1) % 2},{index // 2 % 2}")
    (tmp_path / "faces.csv").write_text("\n".join(rows))
    return [f"data.root={folder}", f"data.table={tmp_path / 'faces.csv'}", "data.exclusive=[[red,blue]]"]


def test_a_run_measures_what_a_classifier_sees_between_floor_and_ceiling(configured, kinds, tmp_path):
    chosen = ["data=domains", f"data.root={kinds}", "data.size=16", "data.val_fraction=0.2", "data.test_fraction=0.2"]
    train_extractor(chosen, name="kinds_cnn", output=tmp_path / "kinds.pt", epochs=60)
    extractor = f"evaluation.metrics.fidelity.extractor={tmp_path / 'kinds.pt'}"
    returned = run(configured([*SMALL, f"data.root={kinds}", "evaluation=domain", extractor]))
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert returned == results["best/val/recognised"]
    assert results["floor/recognised"] == 0 and results["ceiling/recognised"] == 1  # of such pictures
    for name in ("dark", "bright", "noisy"):
        assert results[f"ceiling/recognised/{name}"] == 1 and 0 <= results[f"test/recognised/{name}"] <= 1
        assert results[f"test/recognised/{name}/low"] <= results[f"test/recognised/{name}"]
    assert results["ceiling/swd"] < results["floor/swd"] and results["test/swd"] > 0
    assert results["test/reconstruction/l1"] > 0 and "floor/reconstruction/l1" not in results
    grid = Image.open(results["grid"])
    assert grid.width == 4 + 4 * (16 + 4)  # the source and three domains
    assert (tmp_path / "run/samples/evolution.gif").is_file() and (tmp_path / "run/samples/test").is_dir()


def test_numbers_of_translations_by_hand(monkeypatch):
    """Sources as translations, and the very pictures of the domain as translations."""
    from ganforge.evaluation import DomainMetrics

    data = TinyDomains()
    metric = DomainMetrics()
    metric.prepare(data)
    assert metric.monitor == ("swd", "min")
    batch = data.sets["test"].__getitems__(list(range(12)))
    batch["back"] = batch["source"] + 0.1
    metric.update(batch, batch["source"] + 0.5, data.sets["test"])
    values = metric.compute()
    assert values["reconstruction/l1"] == pytest.approx(0.05) and values["changed/l1"] == pytest.approx(0.25)
    assert values["generated_images"] == 12 and "recognised" not in values


@pytest.fixture
def of_kinds(configured, kinds, tmp_path):
    run(configured([*SMALL, f"data.root={kinds}", "evaluation=pixels", "model.ema_half_life=20"]))
    return tmp_path / "run"


def test_predict_to_a_domain_to_all_and_from_python(of_kinds, kinds, tmp_path):
    picture = kinds / "dark" / "dark0.png"
    card = checkpoint.load(of_kinds)["ganforge"]
    assert card["domains"] == {"names": ["bright", "dark", "noisy"], "one_of_many": True, "exclusive": []}
    (written,) = predict(of_kinds, [picture], tmp_path / "out", to="noisy")
    assert written.name == "dark0.png" and images.read(written, 3).shape == (20, 24, 3)
    several = predict(of_kinds, [picture], tmp_path / "out", to="all")
    assert [file.name for file in several] == ["dark0_bright.png", "dark0_dark.png", "dark0_noisy.png"]
    assert several[2].read_bytes() == written.read_bytes() != several[0].read_bytes()
    model = ganforge.load(of_kinds)
    assert np.array_equal(model.translate(picture, to="noisy"), images.read(written, 3))

    generator = load_generator(of_kinds)
    labels = torch.tensor([[0.0, 0.0, 1.0]])
    source = torch.rand(1, 3, 16, 16) * 2 - 1
    plain = generator.network.eval()(source, labels)
    assert torch.equal(asked(generator, "noisy").network.eval()(source), plain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "translates to bright, dark, noisy: say to which, by --to DOMAIN, or --to all"),
        ({"to": "grey"}, "--to grey: no such domain; choose one of bright, dark, noisy"),
        ({"settings": ["dark=1"]}, "--set dark=1: .* has domains, not attributes; give --to of bright, dark, noisy"),
        ({"settings": ["dark"]}, "--set dark: give NAME=1 or NAME=0"),
        ({"to": "all", "settings": ["dark=1"]}, "--to all and --set: give one of them"),
    ],
)
def test_what_cannot_be_asked_of_domains(of_kinds, kinds, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        predict(of_kinds, [kinds / "dark"], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_attributes_that_are_not_set_stay_as_the_critic_sees_them(configured, faces, tmp_path):
    run(configured([*SMALL, *faces, "evaluation=pixels"]))
    generator = load_generator(tmp_path / "run")
    source = torch.rand(2, 3, 16, 16) * 2 - 1
    seen = (generator.reader.eval()(source)[1] > 0).float()
    wanted = seen.clone()
    wanted[:, 0], wanted[:, 1] = 1, 0  # red is not blue
    network = asked(generator, settings={"red": True}).network.eval()
    assert torch.equal(network(source), generator.network(source, wanted))
    every = asked(generator, settings={"red": False, "blue": True, "round": False})
    assert every.network.critic is None
    assert torch.equal(every.network.eval()(source), generator.network(source, torch.tensor([[0.0, 1.0, 0.0]] * 2)))
    picture = tmp_path / "faces" / "3.png"
    (written,) = predict(tmp_path / "run", [picture], tmp_path / "out", settings=["blue=1", "round=0"])
    again = ganforge.load(tmp_path / "run").translate(picture, attributes={"blue": True, "round": False})
    assert np.array_equal(images.read(written, 3), again)
    for options, message in (
        ({"settings": ["Smiling=1"]}, "--set Smiling=1: no such attribute; choose one of red, blue, round"),
        ({"settings": ["red=1", "blue=1"]}, "--set red=1 --set blue=1: of red and blue one at most is possible"),
        ({"settings": ["red=1", "red=0"]}, "--set red=0: contradicts another one"),
        ({"to": "red", "settings": ["red=0"]}, "contradict each other"),
        ({}, "translates to red, blue, round: say to which, by --set ATTRIBUTE=1 or =0, --to ATTRIBUTE, or --to all"),
    ):
        with pytest.raises(UserError, match=message):
            predict(tmp_path / "run", [picture], tmp_path / "other", **options)


def test_other_models_are_asked_for_no_domain(configured, folders, tmp_path):
    from conftest import overrides_for, overrides_for_model

    run(configured([*overrides_for("pairs", folders), *overrides_for_model("pix2pix")]))
    with pytest.raises(UserError, match=r"--to sketch: .* translates in one way, without a choice of domains"):
        predict(tmp_path / "run", [folders / "pairs"], tmp_path / "out", to="sketch")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card["domains"].update(names=["a", "b"]), "2 domains but generator.n_domains=3"),
        (lambda card: card["domains"].update(names=["a", "b", "../c\n"]), "does not say its domains"),
        (lambda card: card.update(domains=None), "0 domains but generator.n_domains=3"),
        (lambda card: card["networks"].pop("discriminator"), "does not say what its 'discriminator' is"),
        (lambda card: card["outputs"]["translate"].update(reader=3), "does not say its outputs"),
        (lambda card: card.update(channels=1), "channels=1 but"),
    ],
)
def test_a_changed_card_is_refused(of_kinds, change, message):
    file = checkpoint.find(of_kinds)
    contents = torch.load(file, weights_only=True)
    change(contents["ganforge"])
    torch.save(contents, file)
    with pytest.raises(UserError, match=message):
        load_generator(file)


@pytest.mark.slow
def test_a_run_that_is_stopped_again_and_again_ends_where_the_whole_one_does(kinds, tmp_path):
    overrides = [*SMALL, f"data.root={kinds}", "evaluation=pixels", "model.ema_half_life=40", "trainer.max_epochs=9"]
    overrides += ["trainer.log_every_n_steps=3"]  # and the default number of workers
    stops, seconds = killing.stopped_until_it_ends(tmp_path / "whole", overrides)
    assert not stops
    for seed in range(4):
        stops += killing.stopped_until_it_ends(tmp_path / f"{seed}", overrides, seed, longest=0.6 * seconds)[0]
        killing.same(tmp_path / "whole", tmp_path / f"{seed}")
        if stops.total() >= 3:
            break
    assert stops.total() >= 3


def test_a_run_is_evaluated_again(of_kinds):
    results = json.loads((of_kinds / "results.json").read_text())
    again = of_run(of_kinds, None, None, None)
    for name in ("test/swd", "floor/swd", "ceiling/swd", "test/reconstruction/l1", "test/changed/l1"):
        assert again[name] == pytest.approx(results[name], rel=1e-5)


def test_the_recipe_of_celeba_says_what_was_published(configured):
    config = configured(["experiment=stargan_celeba", "data.root=x", "data.table=y"])
    data, model = config.data, config.model
    assert list(data.attributes) == ["Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young"]
    assert (data.size, data.batch_size, data.flip, data.crop) == (128, 16, True, True)
    assert (model.d_steps, model.gp_weight, model.class_weight, model.reconstruction_weight) == (5, 10, 1, 10)
    for optimizer in (model.optimizer_g, model.optimizer_d):
        assert (optimizer.lr, list(optimizer.betas)) == (1e-4, [0.5, 0.999])
    assert (model.generator.base_channels, model.generator.depth, model.discriminator.base_channels) == (64, 6, 64)
    assert model.discriminator.depth is None and model.schedule_g.decay_from == model.schedule_d.decay_from == 0.5
    assert round(200_000 * 16 / 202_599) == config.trainer.max_epochs
