"""The health of a game in words, from its alarms and from how its curves end."""

from collections.abc import Mapping, Sequence

from ganforge.files.untrusted import shortened
from ganforge.report import opening
from ganforge.report.curves import Curves
from ganforge.runs.folder import Run, is_number

_LAST = 0.1  # share of a curve that is its end
_LATE = 0.9  # share of the training after which the best weights came while it still got better
_WORSE = 0.05  # share by which a number may have got worse since its best
MOST_SENTENCES = 40


def of_run(run: Run, found: Curves) -> list[tuple[str, str]]:
    """(kind, sentence), the verdict first; kind: good, warning or note. Nothing where there is nothing to say."""
    said = [*_alarms(run), *_discriminator(found.points), *_diversity(found.points), *_gradient(found.points)]
    said += [*_progress(run, found), *_floor(run)]
    return said[:MOST_SENTENCES]


def _alarms(run: Run) -> list[tuple[str, str]]:
    warned = run.results.get("warnings")
    if not isinstance(warned, list):
        return [] if run.results else [("note", "Alarms are written at the end of a run, which it did not reach.")]
    if warned:
        count = "1 alarm" if len(warned) == 1 else f"{len(warned)} alarms and all-clears"
        return [("warning", f"{count} during the training:"), *(("warning", str(text)) for text in warned)]
    callbacks = run.config.get("callbacks")
    if isinstance(callbacks, dict) and callbacks.get("health") is None:
        return [("note", "The checks of the game were switched off (callbacks.health).")]
    checked = "no collapse of the generator, no discriminator that has won, no number that is none"
    return [("good", f"No alarm was raised: {checked}, as far as the model logs them.")]


def _end(points: Sequence[tuple[float, float]]) -> float:
    """The mean of the last tenth of a curve."""
    last = [y for _, y in points[-max(1, round(_LAST * len(points))) :]]
    return sum(last) / len(last)


def _discriminator(points: Mapping[str, Sequence[tuple[float, float]]]) -> list[tuple[str, str]]:
    said = []
    for name in points:
        which = name.removeprefix("train/d/accuracy_real")
        fake = f"train/d/accuracy_fake{which}"
        if not name.startswith("train/d/accuracy_real") or fake not in points:
            continue
        shares = _end(points[name]), _end(points[fake])
        judged = "a draw" if max(shares) < 0.6 else "ahead" if min(shares) > 0.9 else "neither lost nor won"
        own = f" {shortened(which[1:], 40)}" if which else ""
        told = f"{100 * shares[0]:.0f} % of the real and {100 * shares[1]:.0f} % of the generated images right"
        scale = "50 % is guessing, and an alarm is raised above 99 % for both"
        said.append(("note", f"At the end the discriminator{own} told {told}: {judged} ({scale})."))
    return said


def _diversity(points: Mapping[str, Sequence[tuple[float, float]]]) -> list[tuple[str, str]]:
    if not points.get("train/g/batch_diversity"):
        return []
    last = _end(points["train/g/batch_diversity"])
    kind = "good" if last > 0.5 else "warning"
    told = "as they should" if last > 0.5 else "so it draws too much of the same"
    return [(kind, f"At the end generated images of a batch differed {last:.2f} times as much as real ones, {told}.")]


def _gradient(points: Mapping[str, Sequence[tuple[float, float]]]) -> list[tuple[str, str]]:
    norms = points.get("train/g/grad_norm")
    if not norms:
        return []
    last, largest = _end(norms), max(y for _, y in norms)
    if largest <= 0 or last < 0.01 * largest:
        return [
            (
                "warning",
                f"The generator's gradient has vanished: a norm of {opening.said(last)}, once {opening.said(largest)}.",
            )
        ]
    numbers = f"{opening.said(last)} at the end, and {opening.said(largest)} at its largest"
    return [("note", f"The generator's gradient norm was {numbers}.")]


def _progress(run: Run, found: Curves) -> list[tuple[str, str]]:
    """Whether the best weights came at the end, before, or long before."""
    points, best = found.points.get(run.monitor or ""), run.results.get("best_checkpoint_images_seen")
    if not points or found.axis != "images" or not is_number(best) or not run.images or run.mode not in ("min", "max"):
        return []
    when = f"after {best:,} of {run.images:,} images"
    if best >= _LATE * run.images:
        return [("note", f"The best weights came {when}: a longer training may still help.")]
    value = max(y for _, y in points) if run.mode == "max" else min(y for _, y in points)
    last = points[-1][1]
    worse = (value - last if run.mode == "max" else last - value) / max(abs(value), 1e-12)
    if worse > _WORSE:
        text = f"since then {run.monitor} has got worse, from {opening.said(value)} to {opening.said(last)}"
        return [("warning", f"The best weights came {when}; {text}. A shorter training would have done.")]
    return [("note", f"The best weights came {when}; it has not got better since.")]


def _floor(run: Run) -> list[tuple[str, str]]:
    """Whether the compared number is better than that of the sources as they are."""
    between = run.between
    if "floor" not in between or "test" not in between or run.mode not in ("min", "max"):
        return []
    ahead = between["test"] - between["floor"] if run.mode == "max" else between["floor"] - between["test"]
    numbers = f"({opening.said(between['test'])} against {opening.said(between['floor'])})"
    if ahead > 0:
        return [("good", f"On unseen pictures the result is better than the sources as they are {numbers}.")]
    return [("warning", f"On unseen pictures the result is no better than the sources as they are {numbers}.")]
