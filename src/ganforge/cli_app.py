"""The page in a browser, as an argument of `ganforge`."""

import argparse


def add(commands: argparse._SubParsersAction) -> None:
    page = commands.add_parser(
        "app",
        help="a page in the browser: drop pictures on a model, look at runs",
        description="Serve a page on this machine: translate or colour pictures that are dropped on it, draw samples, "
        "look at runs and compare them. Uploaded pictures are not kept. Only with --host do others reach it; they can "
        "then open the runs that are given here (or those in lightning_logs) and no other files.",
    )
    page.add_argument("runs", metavar="RUN", nargs="*", help="runs, folders of runs, checkpoints, .onnx files")
    page.add_argument(
        "--model", metavar="URL", help="fetch a model: .ckpt, .onnx, or model.safetensors with config.json beside it"
    )
    page.add_argument("--sha256", metavar="HEX", help="of the file at URL; without it URL.sha256 is read")
    page.add_argument("--cache", metavar="DIR", help="where fetched models are kept (default ~/.cache/ganforge/models)")
    page.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default %(default)s; 0.0.0.0 for all")
    page.add_argument("--port", type=int, default=8501, metavar="N", help="default %(default)s")
    page.set_defaults(run="app:app")
