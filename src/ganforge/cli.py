"""The command `ganforge`: each of its commands is a function of `ganforge.commands`, loaded when it is called."""

import argparse
import importlib
import sys
from collections.abc import Sequence

import ganforge
from ganforge import cli_app, cli_latent, cli_record, extensions
from ganforge.cli_latent import run_argument
from ganforge.errors import UserError
from ganforge.files.untrusted import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; a user's mistake is one sentence on standard error and exit status 1."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    while "--package" in arguments[: 1 if "train" in arguments else -1]:  # after train it is an option of Hydra's
        place = arguments.index("--package")
        extensions.name_on_command_line(*arguments[place + 1 : place + 2])
        del arguments[place : place + 2]
    if arguments[:1] in (["train"], ["-sc"], ["--shell-completion"]):  # the rest is Hydra's
        from ganforge.commands import train

        train.called(arguments[1:]) if arguments[0] == "train" else train.complete(arguments)
        return 0
    if "--sort" in arguments[:-1]:  # a key that begins with - is no option
        place = arguments.index("--sort")
        arguments[place : place + 2] = [f"--sort={arguments[place + 1]}"]
    command = ""
    try:
        options = vars(_parser().parse_args(arguments))
        command, (module, function) = options.pop("command"), options.pop("run").split(":")
        del options["package"]
        getattr(importlib.import_module(f"ganforge.commands.{module}"), function)(**options)
    except UserError as error:
        print(f"error: {printable(error, lines=True)}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a name that is too long, a folder that is gone
        print(f"error: {error.filename or command}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; what was written is complete", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ganforge", description="Train GANs, and what one does afterwards.")
    parser.add_argument("--version", action="version", version=f"ganforge {ganforge.__version__}")
    parser.add_argument(
        "--package", metavar="NAME", action="append",
        help="a package of your own, whose models, data and networks stand beside ganforge's; see ganforge new",
    )  # fmt: skip
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")

    commands.add_parser("train", help="train a GAN: ganforge train --help")

    new = commands.add_parser(
        "new",
        help="begin a project with models, data and networks of your own",
        description="Write a small project into DIR: a package with a GAN, a generator and a data set that compose "
        "with ganforge's, their configs, a test and a README. The package is called as DIR is.",
    )
    new.add_argument("folder", metavar="DIR", help="made if missing; not one that holds something")
    new.set_defaults(run="new:new")

    predict = commands.add_parser(
        "predict",
        help="translate pictures with a trained model",
        description="Translate pictures with a trained model. Each is written under its own name at its own size; for "
        "a model of mechanical networks also the network that was read from it (.json, .graphml). Such a model is "
        "shown the sites of a picture alone, redrawn as in its training, in overlapping windows where they are many, "
        "and takes lists of sites too (.csv, .json, .graphml); NAME_sites.png shows what was found. A model that was "
        "trained on pictures resized to one size sees each picture resized to it, unless --tile or --full-size is "
        "given; one that was trained on pictures of their own scale (rasters, data.crop) sees each at its own scale, "
        "larger ones in tiles of the trained size. Rasters keep their place, size and nodata, and get the bands, the "
        "unit and the type of the training's targets. Tiles of a network with instance norm, or with batch statistics, "
        "are given the statistics of the whole picture (of 16 tiles all over it), and no dropout: with those of their "
        "own they differ two to four times as much from the picture in one piece.",
    )
    run_argument(predict)
    predict.add_argument("pictures", metavar="PICTURES", nargs="+", help="pictures or folders of pictures")
    predict.add_argument("--output", "-o", required=True, metavar="DIR", help="folder to write to; made if missing")
    predict.add_argument("--direction", metavar="NAME", help="of a model that translates both ways: AtoB, BtoA")
    predict.add_argument(
        "--to", metavar="DOMAIN", help="of a model of many domains: to which (all: to each, as NAME_DOMAIN)"
    )
    predict.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="NAME=1",
        help="of a model of attributes: to have it (NAME=1) or not (NAME=0); several times. Those not set stay as the "
        "model itself sees them in each picture",
    )  # fmt: skip
    predict.add_argument(
        "--as-drawn", action="store_true", help="networks: give pictures as they are, not their sites redrawn"
    )
    predict.add_argument("--norm-mode", choices=["running", "batch"], help="instead of what the checkpoint says")
    predict.add_argument(
        "--tta", action="store_true", help="the mean over the picture's 8 turns and mirrors (8 times the time)"
    )
    predict.add_argument(
        "--full-size", action="store_true", help="translate at each picture's own size, not at the one trained with"
    )
    predict.add_argument("--tile", type=int, metavar="N", help="translate at each picture's own size in tiles of N px")
    predict.add_argument(
        "--overlap", type=float, metavar="F", help="share of a tile that the next has too (default 0.5)"
    )
    predict.add_argument("--dtype", metavar="D", help="uint8, uint16, int16 or float32; default: that of the targets")
    predict.add_argument(
        "--whiten", action="store_true", help="drawings that were scanned or photographed get white paper first"
    )
    predict.add_argument("--recursive", action="store_true", help="also the pictures in folders of the folders")
    predict.add_argument("--skip-broken", action="store_true", help="leave out what does not decode, and say so")
    predict.add_argument("--overwrite", action="store_true", help="replace files that are already in DIR")
    predict.set_defaults(run="predict:predict")

    tiles = commands.add_parser(
        "tiles",
        help="cut large pictures into pairs of tiles to train on",
        description="Cut co-registered scenes into pairs of tiles: DIR/a, DIR/b, and DIR/tiles.csv with the window and "
        "the split of each. Blocks of the ground go whole to training, validation or test. Two SCENEs are source and "
        "target (files, or folders of files of the same names); one alone holds both as bands (data.layout=bands).",
    )
    tiles.add_argument("scenes", metavar="SCENE", nargs="+", help="pictures or folders of pictures")
    tiles.add_argument(
        "--target", dest="targets", nargs="+", default=[], metavar="SCENE", help="of more than one source, by name"
    )
    tiles.add_argument("--output", "-o", required=True, metavar="DIR", help="an empty folder; made if missing")
    tiles.add_argument("--size", type=int, default=256, metavar="N", help="of a tile, in px (default %(default)s)")
    tiles.add_argument("--overlap", type=float, default=0.5, metavar="F", help="a share of it (default %(default)s)")
    tiles.add_argument(
        "--valid",
        dest="least_valid",
        type=float,
        default=0.5,
        metavar="F",
        help="leave out tiles of which less is valid",
    )
    tiles.add_argument("--block", type=int, metavar="N", help="side of the blocks in px; default: 4 tiles or fewer")
    tiles.add_argument("--val-fraction", type=float, default=0.1, metavar="F", help="default %(default)s")
    tiles.add_argument("--test-fraction", type=float, default=0.1, metavar="F", help="default %(default)s")
    tiles.add_argument("--split-seed", type=int, default=0, metavar="S", help="which blocks (default %(default)s)")
    tiles.set_defaults(run="tiles:tiles")

    cli_latent.add(commands)

    export = commands.add_parser(
        "export",
        help="the generator for other runtimes: ONNX, torch.export, safetensors",
        description="Write the generator that users get. onnx, pt2: one file for any number and size of pictures, "
        "compared with PyTorch at three shapes before it is written; ganforge predict opens the .onnx file without "
        "PyTorch. safetensors: a folder as the Hugging Face Hub expects it, which ganforge.load and predict open.",
    )
    run_argument(export)
    export.add_argument("--format", required=True, choices=["onnx", "pt2", "safetensors"], help="see above")
    export.add_argument("--output", "-o", required=True, metavar="FILE_OR_FOLDER", help="a folder for safetensors")
    export.add_argument("--direction", metavar="NAME", help="of a model that translates both ways: AtoB, BtoA")
    export.add_argument(
        "--norm-mode", choices=["running", "batch"], help="running: freeze a model that uses each batch's statistics"
    )
    export.add_argument("--license", default="unknown", metavar="NAME", help="of the weights, such as mit; is written")
    export.add_argument("--push", metavar="NAME", help="upload the folder to this repository of the Hub (USER/NAME)")
    export.add_argument("--overwrite", action="store_true", help="replace what is already there")
    export.set_defaults(run="export:export")

    judge = commands.add_parser(
        "evaluate",
        help="the table of a run again, or of two folders of pictures",
        description="Print the numbers of a run's model again, or of a folder of pictures against another one.",
    )
    judge.add_argument("subject", metavar="RUN_OR_FOLDER", help="a run, a .ckpt, or with --against a folder")
    judge.add_argument("--against", metavar="FOLDER", help="compare the two folders of pictures")
    judge.add_argument(
        "--images", dest="pictures", metavar="FOLDER", help="judge these pictures in place of what the run generates"
    )
    judge.add_argument(
        "--metrics",
        type=_words,
        metavar="M,...",
        help="of fid, kid, is, precision, recall; of swd, diversity, duplicates, which need no weights; default: "
        "the run's",
    )
    judge.add_argument("--extractor", metavar="FILE", help="of ganforge extractor, in place of Inception")
    judge.add_argument("--weights", metavar="FILE", help="of Inception; default: torch-fidelity's download")
    judge.add_argument("-n", type=int, metavar="N", help="how many are generated; default: as at the end of the run")
    judge.add_argument("--norm-mode", choices=["running", "batch"], help="instead of what the checkpoint says")
    judge.add_argument("--output", "-o", metavar="FILE", help="write the numbers as JSON")
    judge.add_argument("--overwrite", action="store_true", help="replace FILE")
    judge.set_defaults(run="evaluate:evaluate")

    check = commands.add_parser(
        "check",
        help="look at a data set before anything is trained",
        description="Look at every picture of a data set: broken files, pairs that do not line up, halves that are "
        "swapped, the same picture in two splits, grey among colour, nearly empty pictures. Prints a table, draws what "
        "it found, and ends with status 1 where training would be wrong. DATA are overrides as for training, such as "
        "data=pairs data.root=FOLDER.",
    )
    check.add_argument("overrides", metavar="DATA", nargs="+", help="data=... and data.NAME=VALUE")
    check.add_argument("--output", "-o", metavar="FILE", help="the PNG; default: lightning_logs/checks/FOLDER.png")
    check.add_argument("--overwrite", action="store_true", help="replace FILE")
    check.set_defaults(run="check:check")

    extractor = commands.add_parser(
        "extractor",
        help="train a classifier of your own classes for evaluation=domain",
        description="Train a small classifier on a labelled data set; evaluation=domain compares pictures by its "
        "features. DATA are overrides as for training, such as data=mnist or data=image_folder data.root=FOLDER.",
    )
    extractor.add_argument("overrides", metavar="DATA", nargs="+", help="data=... and data.NAME=VALUE")
    extractor.add_argument("--name", metavar="NAME", help="stands in the names of its numbers (default: DATA_cnn)")
    extractor.add_argument(
        "--output", "-o", metavar="FILE", help="default: lightning_logs/extractors/NAME.pt in this folder"
    )
    extractor.add_argument("--epochs", type=int, metavar="N", help="default: 4, or more for small data sets")
    extractor.add_argument("--seed", type=int, default=0, metavar="S", help="default %(default)s")
    extractor.add_argument(
        "--least-accuracy", type=float, default=0.8, metavar="SHARE", help="warn below it (default %(default)s)"
    )
    extractor.add_argument("--overwrite", action="store_true", help="replace FILE")
    extractor.set_defaults(run="extract:train")

    study = commands.add_parser(
        "study",
        help="do generated training pictures help a classifier?",
        description="augmentation: trains GANs on a few pictures a class and classifiers with and without what they "
        "generate, several times, and says whether it helps, with an interval. SETTINGS are those of "
        "conf/study/augmentation.yaml (shots=[5,20] seeds=10 arms=...) and, for the GANs, those of ganforge train. The "
        "same command goes on with a study that was stopped. debug=true: in minutes, to see whether it runs.",
    )
    study.add_argument("name", metavar="augmentation", help="the study")
    study.add_argument("overrides", metavar="SETTINGS", nargs="+", help="data.root=FOLDER, with a folder a class, ...")
    study.add_argument("--output", "-o", required=True, metavar="DIR", help="the study's folder; made if missing")
    study.set_defaults(run="study:study")

    material = commands.add_parser(
        "mechanics",
        help="zero modes, self stresses and vibrations of networks",
        description="Read networks from drawn pictures, or from the .json and .graphml files of ganforge predict, and "
        "write their mechanics as networks of unit springs: NAME.json, NAME.png with the softest mode as arrows, and "
        "mechanics.csv with a row for each.",
    )
    material.add_argument("given", metavar="PICTURES|NETWORKS", nargs="+", help="files, or folders of them")
    material.add_argument("--output", "-o", required=True, metavar="DIR", help="folder to write to; made if missing")
    material.add_argument("--pinned", action="store_true", help="sites on the rim do not move; else all are free")
    material.add_argument("--accuracy", type=float, metavar="PX", help="rms distance of the sites (default 0.06)")
    material.add_argument("--modes", type=int, default=8, metavar="N", help="softest modes (default %(default)s)")
    material.add_argument("--bins", type=int, default=40, metavar="N", help="of the density of states; 0 for none")
    material.add_argument("--matrix", action="store_true", help="also the rigidity matrix, NAME.mtx")
    material.add_argument("--overwrite", action="store_true", help="replace files that are already in DIR")
    material.set_defaults(run="mechanics:mechanics")

    lattices = commands.add_parser(
        "classify",
        help="which lattices networks are",
        description="Print which lattice each network is, by its coordination and rings, with the margin to the second "
        "nearest; unknown where none fits.",
    )
    lattices.add_argument(
        "given", metavar="PICTURES", nargs="+", help="drawn pictures, .json, .graphml, or folders of them"
    )
    lattices.add_argument("--output", "-o", metavar="FILE", help="write the numbers as JSON")
    lattices.add_argument("--overwrite", action="store_true", help="replace FILE")
    lattices.set_defaults(run="classify:classify")

    listed = commands.add_parser(
        "runs",
        help="a ranked table of runs, or what differs between two",
        description="A table of all runs below a folder, the best first, with the settings in which they differ.",
    )
    listed.add_argument(
        "folder", metavar="FOLDER", nargs="?", default="lightning_logs", help="a sweep's, or any (default %(default)s)"
    )
    listed.add_argument(
        "--sort", dest="sort_by", metavar="KEY", help="a column, a setting, a number of results.json; -KEY: down"
    )
    listed.add_argument(
        "--filter",
        dest="filters",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="also != < >: state=failed, score>0.9",
    )
    listed.add_argument("--diff", nargs=2, metavar="RUN", help="the settings in which two runs differ")
    form = listed.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", dest="output", const="json", default="table", help="print JSON")
    form.add_argument("--csv", action="store_const", dest="output", const="csv", help="print CSV")
    listed.set_defaults(run="runs:show")

    report = commands.add_parser(
        "report",
        help="a run, a sweep or several runs as one HTML page",
        description="Write one HTML file with the numbers, pictures, curves and settings of a run, or of all runs "
        "below one or more folders, ranked and compared. It is read in a browser without a network, and printed.",
    )
    report.add_argument(
        "folder", nargs="+", metavar="RUN_OR_SWEEP", help="run folders, or folders with runs below them"
    )
    report.add_argument(
        "--output", "-o", metavar="FILE", help="default: report.html in that folder; of several folders, here"
    )
    report.add_argument("--overwrite", action="store_true", help="replace FILE")
    report.set_defaults(run="report:report")
    cli_record.add(commands)
    cli_app.add(commands)
    return parser


def _words(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    sys.exit(main())
