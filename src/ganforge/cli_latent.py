"""The commands of models that draw pictures from noise, as arguments of `ganforge`."""

import argparse


def add(commands: argparse._SubParsersAction) -> None:
    """Add sample, and the commands of the latent space."""
    sample = commands.add_parser(
        "sample",
        help="draw new pictures with a trained model",
        description="Draw new pictures with a model trained on pictures: numbered PNGs in DIR and a grid of the first "
        "64 beside it. Equal seeds give equal files.",
    )
    run_argument(sample)
    sample.add_argument("-n", type=int, default=64, metavar="N", help="how many (default %(default)s)")
    sample.add_argument("--output", "-o", required=True, metavar="DIR", help="folder to write to; made if missing")
    sample.add_argument("--class", dest="class_name", metavar="NAME", help="all of one class; else they take turns")
    _truncation_argument(sample)
    sample.add_argument("--seed", type=int, default=0, metavar="S", help="default %(default)s")
    sample.add_argument("--batch-size", type=int, default=64, metavar="B", help="how many are drawn at a time")
    sample.add_argument("--overwrite", action="store_true", help="replace files that are already in DIR")
    sample.set_defaults(run="sample:sample")

    walk = commands.add_parser(
        "interpolate",
        help="walk between the pictures of a trained model",
        description="Walk between pictures that `ganforge sample` numbered, on a sphere of their latents: walk.png, "
        "and the film walk.gif (walk.mp4 too where ffmpeg is installed), which returns to the start. Of a conditional "
        "model all classes walk beside each other, unless --class is given.",
    )
    run_argument(walk)
    walk.add_argument(
        "--walk",
        default="0,1,2,3",
        metavar="I,J,...",
        help="picture numbers (default %(default)s)",
    )
    walk.add_argument("--steps", type=int, default=8, metavar="N", help="from one to the next (default %(default)s)")
    walk.add_argument("--class", dest="class_name", metavar="NAME", help="of a conditional model; else all")
    _truncation_argument(walk)
    _latent_arguments(walk)
    walk.set_defaults(run="interpolate:interpolate")

    calculation = commands.add_parser(
        "arithmetic",
        help="calculate with the pictures of a trained model",
        description="Add and subtract the mean latents of groups of pictures that `ganforge sample` numbered: "
        "arithmetic.png shows each group, its mean and the result. For example: ganforge arithmetic RUN 'smiling - "
        "plain + other' --groups smiling=3,7,12 plain=4,5,20 other=9,11,13; or by numbers alone: '3,7 - 4,5 + 9'.",
    )
    run_argument(calculation)
    calculation.add_argument("formula", metavar="FORMULA", help="names of groups or picture numbers, with + and -")
    calculation.add_argument(
        "--groups",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=I,J,...",
        help='the picture numbers of each group, or a JSON file of them: {"smiling": [3, 7, 12], ...}',
    )
    calculation.add_argument(
        "--class", dest="class_name", metavar="NAME", help="of a conditional model; else the first"
    )
    _truncation_argument(calculation)
    _latent_arguments(calculation)
    calculation.set_defaults(run="arithmetic:arithmetic")

    projection = commands.add_parser(
        "project",
        help="the pictures of a trained model that are nearest to real ones",
        description="Seek the latent whose picture is nearest to each of PICTURES: projection.png shows them side by "
        "side, projection.json has the distances and latents. How far a model can come to pictures that it was not "
        "trained on says what it can draw, and whether it knows the training pictures by heart.",
    )
    run_argument(projection)
    projection.add_argument("pictures", metavar="PICTURES", nargs="+", help="pictures or folders of pictures")
    projection.add_argument("--steps", type=int, default=200, metavar="N", help="of the search (default %(default)s)")
    projection.add_argument(
        "--restarts", type=int, default=4, metavar="N", help="searches, of which the best is kept (default %(default)s)"
    )
    projection.add_argument(
        "--class", dest="class_name", metavar="NAME", help="of a conditional model; else the nearest"
    )
    projection.add_argument(
        "--weights", metavar="FILE", help="SqueezeNet 1.1's: distance of its features, in place of that of pixels"
    )
    projection.add_argument("--heads", metavar="FILE", help="LPIPS's weights of SqueezeNet's channels, .npz")
    projection.add_argument("--skip-broken", action="store_true", help="leave out what does not decode, and say so")
    _latent_arguments(projection)
    projection.set_defaults(run="project:project")

    moved = commands.add_parser(
        "directions",
        help="the directions in which the pictures of a trained model change most",
        description="Principal components of the first layer's activations, as directions of the latents: "
        "directions.png moves one picture along each, and so does the film directions.gif; directions.json has them, "
        "with the share of the variance that each explains.",
    )
    run_argument(moved)
    moved.add_argument("--count", type=int, metavar="N", help="default: 8")
    moved.add_argument(
        "--strength", type=float, default=3.0, metavar="S", help="in standard deviations (default %(default)s)"
    )
    moved.add_argument(
        "--picture", type=int, default=0, metavar="I", help="the number of the one that is moved (default %(default)s)"
    )
    moved.add_argument("--class", dest="class_name", metavar="NAME", help="of a conditional model; else the first")
    _latent_arguments(moved)
    moved.set_defaults(run="latent_directions:directions")


def run_argument(parser: argparse.ArgumentParser) -> None:
    """What is trained."""
    parser.add_argument(
        "checkpoint", metavar="RUN_OR_CHECKPOINT", help="a run folder (its best checkpoint), a .ckpt, or an export"
    )


def _truncation_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--truncation", type=float, default=1.0, metavar="T",
        help="latents so much nearer to their mean, 0 to 1: less varied pictures (default %(default)s)",
    )  # fmt: skip


def _latent_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the pictures (default %(default)s)")
    parser.add_argument(
        "--output", "-o", metavar="DIR", help="folder to write to; default: latent in the run's, shown in its report"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are already in DIR")
