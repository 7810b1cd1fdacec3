"""The command `ganforge`: what one does after training. Nothing heavy is imported before it is needed."""

import argparse
import sys
from collections.abc import Sequence

import ganforge
from ganforge.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; a user's mistake is one sentence on standard error and exit status 1."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; what was written is complete", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ganforge", description="What one does after training. To train: python train.py --help"
    )
    parser.add_argument("--version", action="version", version=f"ganforge {ganforge.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    predict = commands.add_parser(
        "predict",
        help="translate pictures with a trained model",
        description="Translate pictures with a trained model. Each is written under its own name at its own size; for "
        "a model of mechanical networks also the network that was read from it (.json, .graphml).",
    )
    predict.add_argument(
        "checkpoint", metavar="RUN_OR_CHECKPOINT", help="a run folder (its best checkpoint) or a .ckpt"
    )
    predict.add_argument("pictures", metavar="PICTURES", nargs="+", help="pictures or folders of pictures")
    predict.add_argument("--output", "-o", required=True, metavar="DIR", help="folder to write to; made if missing")
    predict.add_argument("--norm-mode", choices=["running", "batch"], help="instead of what the checkpoint says")
    predict.add_argument(
        "--full-size", action="store_true", help="translate at each picture's own size, not at the one trained with"
    )
    predict.add_argument("--overwrite", action="store_true", help="replace files that are already in DIR")
    predict.set_defaults(run=_predict)
    return parser


def _predict(options: argparse.Namespace) -> None:
    from ganforge.predict import predict

    predict(
        options.checkpoint,
        options.pictures,
        options.output,
        norm_mode=options.norm_mode,
        full_size=options.full_size,
        overwrite=options.overwrite,
    )


if __name__ == "__main__":
    sys.exit(main())
