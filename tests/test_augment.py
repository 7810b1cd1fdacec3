"""Augmentations: exact effects of single transformations, how often they happen, how p adapts, derivatives."""

import math

import pytest
import torch
from torch.nn import functional

from ganforge.errors import UserError
from ganforge.game import augment
from ganforge.game.augment import GEOMETRIC, TRANSFORMATIONS, AdaptiveAugment, DiffAugment

MODULES = {
    **{policy: lambda policy=policy: DiffAugment(policy=policy) for policy in (*augment.POLICIES, "color,cutout")},
    "all of DiffAugment": DiffAugment,
    **{name: lambda name=name: only(name) for name in TRANSFORMATIONS},
    "all of ADA": lambda: AdaptiveAugment(p=1.0, max_p=1.0),
}


def only(*names: str, p: float = 1.0) -> AdaptiveAugment:
    return AdaptiveAugment(p=p, max_p=1.0, transformations=list(names))


def pictures(n: int = 4, channels: int = 3, size: tuple[int, int] = (8, 8), seed: int = 0, **options) -> torch.Tensor:
    """Random in [-1, 1], no two pixels equal."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(n, channels, *size, generator=generator, dtype=torch.float64) * 2 - 1).to(**options)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (28, 28)])
def test_shape_and_type_stay_and_every_image_is_changed_on_its_own(name, size):
    torch.manual_seed(0)
    for channels in (1, 3, 4):
        for dtype in (torch.float32, torch.bfloat16, torch.float64):
            images = pictures(1, channels, size).to(dtype).expand(16, -1, -1, -1)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                changed = MODULES[name]()(images)
            assert changed.shape == images.shape and changed.dtype == dtype
            assert changed.isfinite().all()
            if not (name == "saturation" and channels == 1):
                assert len({tuple(image.flatten().tolist()) for image in changed}) > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_derivatives_are_those_of_finite_differences_twice(name):
    module = MODULES[name]()

    def seeded(images: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return module(images)

    images = pictures(2, 2, (4, 5)).requires_grad_()
    assert torch.autograd.gradcheck(seeded, images)
    # Squared, so that there is a second derivative to compare.
    assert torch.autograd.gradgradcheck(lambda images: seeded(images).square(), images)


def test_autocast_changes_no_coordinate():
    images = pictures(4, 1, (64, 64)).float()
    module = only(*GEOMETRIC)
    torch.manual_seed(0)
    expected = module(images)
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(module(images), expected)


# DiffAugment


def test_diffaugment_color_is_brightness_saturation_and_contrast_of_each_image():
    torch.manual_seed(0)
    images = pictures(500)
    changed = DiffAugment(policy="color")(images)
    # Saturation and contrast keep the mean of an image, so its shift is the brightness: uniform in [-0.5, 0.5].
    shift = (changed - images).mean((1, 2, 3))
    assert -0.5 <= shift.min() < -0.45 and 0.45 < shift.max() <= 0.5
    # Contrast alone acts on the grey value of a pixel, with both on its colour.
    grey, grey_changed = (x.mean(1) - x.mean((1, 2, 3))[:, None, None] for x in (images, changed))
    contrast = (grey_changed / grey)[:, 0, 0]
    torch.testing.assert_close(grey_changed, grey * contrast[:, None, None])
    assert 0.5 <= contrast.min() < 0.55 and 1.45 < contrast.max() <= 1.5
    colour, colour_changed = (x - x.mean(1, keepdim=True) for x in (images, changed))
    saturation = (colour_changed / colour)[:, 0, 0, 0] / contrast
    torch.testing.assert_close(colour_changed, colour * (contrast * saturation)[:, None, None, None])
    assert 0 <= saturation.min() < 0.05 and 1.95 < saturation.max() <= 2


def test_diffaugment_translates_by_up_to_an_eighth_and_fills_with_0():
    torch.manual_seed(0)
    images = pictures(500, 2, (16, 24))
    padded = functional.pad(images, (3, 3, 2, 2))
    shifts = set()
    for before, after in zip(padded, DiffAugment(policy="translation")(images), strict=True):
        here = [(y, x) for y in range(5) for x in range(7) if torch.equal(before[:, y : y + 16, x : x + 24], after)]
        assert len(here) == 1
        shifts.add(here[0])
    assert len(shifts) == 5 * 7  # each of them happened


@pytest.mark.parametrize("size", [(8, 12), (9, 13)])
def test_diffaugment_cuts_out_half_of_each_side_around_a_random_pixel(size):
    torch.manual_seed(0)
    images = pictures(2000, 2, size)
    changed = DiffAugment(policy="cutout")(images)
    cut = changed == 0
    assert torch.equal(changed[~cut], images[~cut])
    assert torch.equal(cut[:, 0], cut[:, 1])
    rows, columns = cut[:, 0].any(2), cut[:, 0].any(1)
    assert torch.equal(cut[:, 0], rows[:, :, None] & columns[:, None, :])  # a rectangle
    for lines, side in ((rows, size[0]), (columns, size[1])):
        assert lines.sum(1).max() == (side + 1) // 2
        assert lines.sum(1).min() == ((side + 1) // 2 + 1) // 2  # the other half lies outside
        assert (lines.diff(dim=1).sum(1) <= 2).all()  # in one piece
        assert lines.any(0).all()  # every pixel has its turn


def test_diffaugment_has_nothing_to_adapt():
    module = DiffAugment()
    module.observe(torch.ones(4))
    assert module.state_dict() == {}


@pytest.mark.parametrize("policy", ["colour", "color;cutout", "", "color,,cutout"])
def test_an_unknown_policy_is_refused(policy):
    with pytest.raises(
        UserError, match=r"model\.augment\.policy=.* is unknown; give one or more of color, translation"
    ):
        DiffAugment(policy=policy)


# AdaptiveAugment: what the transformations do


def test_without_probability_the_images_stay():
    images = pictures()
    torch.testing.assert_close(AdaptiveAugment()(images), images, rtol=0, atol=1e-12)


def test_flips_and_quarter_turns_are_exact():
    torch.manual_seed(0)
    images = pictures(100)
    for name, possible in (
        ("flip", [images, images.flip(3)]),
        ("quarter_turn", [torch.rot90(images, k, (2, 3)) for k in range(4)]),
    ):
        changed = only(name)(images)
        matches = torch.stack([(changed == each).all(3).all(2).all(1) for each in possible])
        assert (matches.sum(0) == 1).all()
        # A count of a binomial distribution: within 4 standard deviations.
        expected = 100 / len(possible)
        assert ((matches.sum(1) - expected).abs() < 4 * math.sqrt(expected)).all()


def test_translation_is_by_whole_pixels_and_reflects():
    torch.manual_seed(0)
    images = pictures(500, 2, (16, 24))
    padded = functional.pad(images, (3, 3, 2, 2), mode="reflect")
    shifts = set()
    for before, after in zip(padded, only("translation")(images), strict=True):
        here = [(y, x) for y in range(5) for x in range(7) if torch.equal(before[:, y : y + 16, x : x + 24], after)]
        assert len(here) == 1
        shifts.add(here[0])
    assert len(shifts) == 5 * 7


def test_scaling_and_rotation_are_the_affine_map_that_torch_samples(monkeypatch):
    # Against grid_sample, which reflects alike with align_corners=True.
    torch.manual_seed(0)
    images = pictures(3, 2, (12, 12))
    normal = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)[:, None]
    uniform = torch.tensor([0.1, 0.6, 0.9], dtype=torch.float64)[:, None]
    monkeypatch.setattr(torch, "randn", lambda *shape, **options: normal)
    monkeypatch.setattr(torch, "rand", lambda *shape, **options: uniform)
    scale, angle = 2 ** (0.2 * normal[:, 0]), (2 * uniform[:, 0] - 1) * math.pi
    for names, zoom, turn in (
        (["scaling"], scale, 0 * angle),
        (["rotation"], 1 + 0 * scale, angle),
        (["scaling", "rotation"], scale, angle),
    ):
        rows = [zoom * turn.cos(), -zoom * turn.sin(), 0 * zoom, zoom * turn.sin(), zoom * turn.cos(), 0 * zoom]
        theta = torch.stack(rows, dim=1).reshape(3, 2, 3)
        grid = functional.affine_grid(theta, list(images.shape), align_corners=True)
        expected = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=True)
        changed = only(*names)._move(images)
        torch.testing.assert_close(changed, expected)


def test_all_geometric_transformations_are_one_after_the_other(monkeypatch):
    # With whole pixels each step is exact: flip, then a quarter turn, then the translation.
    images = pictures(1, 1, (16, 16))
    integers = iter([torch.tensor([[1.0]], dtype=torch.float64), torch.tensor([[1]])])
    monkeypatch.setattr(torch, "randint", lambda *shape, **options: next(integers))
    monkeypatch.setattr(
        torch, "rand", lambda *shape, **o: torch.tensor([[0.9, 0.25]], dtype=torch.float64)[:, : shape[1]]
    )
    changed = AdaptiveAugment(p=1.0, max_p=1.0, transformations=["flip", "quarter_turn", "translation"])._move(images)
    turned = torch.rot90(images.flip(3), 1, (2, 3))
    # What was 0.8 * 2 = 2 pixels (rounded) to the right and 0.5 * 2 = 1 pixel above.
    moved = functional.pad(turned, (2, 2, 2, 2), mode="reflect")[:, :, 2 - 1 : 18 - 1, 2 + 2 : 18 + 2]
    assert torch.equal(changed, moved)


def test_colours_change_as_their_names_say():
    torch.manual_seed(0)
    images = pictures(2000)
    brightness = only("brightness")(images) - images
    torch.testing.assert_close(brightness, brightness[:, :1, :1, :1].expand_as(images))
    assert brightness[:, 0, 0, 0].std().item() == pytest.approx(0.2, rel=0.1)
    contrast = only("contrast")(images) / images
    torch.testing.assert_close(contrast, contrast[:, :1, :1, :1].expand_as(images))
    assert contrast[:, 0, 0, 0].log2().std().item() == pytest.approx(0.5, rel=0.1)
    changed = only("saturation")(images)
    torch.testing.assert_close(changed.mean(1), images.mean(1))
    ratio = (changed - changed.mean(1, keepdim=True)) / (images - images.mean(1, keepdim=True))
    torch.testing.assert_close(ratio, ratio[:, :1, :1, :1].expand_as(images))
    assert ratio[:, 0, 0, 0].log2().std().item() == pytest.approx(1, rel=0.1)
    grey = pictures(8, 1)
    assert torch.equal(only("saturation")(grey), grey)


# Half of the flips and a quarter of the turns change nothing, nor do translations of 16 px by less than half a pixel of
# the 2 that are possible, in both directions: (1/4)^2.
@pytest.mark.parametrize(
    ("name", "share"),
    [(name, 1) for name in TRANSFORMATIONS[3:]] + [("flip", 1 / 2), ("quarter_turn", 3 / 4), ("translation", 15 / 16)],
)
def test_a_transformation_happens_with_probability_p(name, share):
    torch.manual_seed(0)
    images = pictures(2000, 3, (16, 16))
    for p in (0.5, 0.1):
        changed = (only(name, p=p)(images) != images).flatten(1).any(1).double().mean().item()
        expected = p * share
        assert changed == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 2000))


def test_transformations_happen_independently():
    torch.manual_seed(0)
    images = pictures(2000)
    unchanged = (AdaptiveAugment(p=0.3)(images) == images).flatten(1).all(1).double().mean().item()
    # At 8 px the translations are less than 1 pixel, below half a pixel in both directions with (1/2)^2.
    expected = (1 - 0.3 / 2) * (1 - 0.3 * 3 / 4) ** 2 * 0.7**5
    assert unchanged == pytest.approx(expected, abs=4 * math.sqrt(expected / 2000))


# AdaptiveAugment: how p adapts


def test_p_rises_while_real_images_are_recognized_and_falls_while_not():
    module = AdaptiveAugment(target=0.6, speed_images=1000)
    for _ in range(3):
        module.observe(torch.full((10, 1, 2, 2), 5.0))  # ten images of four logits
    assert module.p.item() == pytest.approx(3 * 10 / 1000)
    module.observe(torch.full((10,), -1.0))  # mean sign of the last four: (3 - 1) / 4 = 0.5, below 0.6
    assert module.p.item() == pytest.approx(2 * 10 / 1000)
    for _ in range(5):
        module.observe(torch.full((10,), -1.0))
    assert module.p.item() == 0


def test_p_follows_the_mean_sign_of_the_last_four_observations():
    module = AdaptiveAugment(target=0.6, speed_images=1000, p=0.5)
    module.observe(torch.tensor([3.0, 4.0, 5.0, 6.0, -0.1]))  # 3/5 = 0.6: on target
    assert module.p.item() == pytest.approx(0.5)
    steps = []
    for sign in (1, 1, 1, -1, 1, 1, 1, 1):  # means 0.8, 0.87, 0.9, then of four: 0.5, 0.5, 0.5, 0.5, 1
        before = module.p.item()
        module.observe(torch.full((5,), float(sign)))
        steps.append(round((module.p.item() - before) * 1000))
    assert steps == [5, 5, 5, -5, -5, -5, -5, 5]


def test_p_stays_below_its_maximum():
    module = AdaptiveAugment(speed_images=10, p=0.8, max_p=0.85)
    module.observe(torch.ones(5))
    assert module.p.item() == pytest.approx(0.85)


def test_the_state_is_saved():
    module, other = (AdaptiveAugment(speed_images=1000) for _ in range(2))
    for sign in (1, 1, -1):
        module.observe(torch.full((10,), float(sign)))
    other.load_state_dict(module.state_dict())
    assert other.p.item() == pytest.approx(0.01)
    for each in (module, other):  # (1 + 1 - 1 + 1) / 4 = 0.5, below the target, though the newest sign is 1
        each.observe(torch.ones(10))
        assert each.p.item() == 0


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"transformations": ["flip", "hue"]},
            r"model\.augment\.transformations=\['flip', 'hue'\]: give one or more of",
        ),
        ({"transformations": []}, r"model\.augment\.transformations=\[\]"),
        ({"target": 1.0}, r"model\.augment\.target=1.0"),
        ({"speed_images": 0}, r"model\.augment\.speed_images=0"),
        ({"p": 0.9}, r"model\.augment\.p=0.9: from 0 to model\.augment\.max_p=0.85"),
        ({"p": -0.1}, r"model\.augment\.p=-0.1"),
        ({"max_p": 1.5}, r"model\.augment\.max_p=1.5"),
    ],
)
def test_wrong_values_are_refused(wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        AdaptiveAugment(**wrong)
