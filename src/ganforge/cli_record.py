"""The command that keeps the ledger of results, as arguments of `ganforge`."""

import argparse


def add(commands: argparse._SubParsersAction) -> None:
    """Add record."""
    record = commands.add_parser(
        "record",
        help="write a run's numbers into the ledger that the pages quote",
        description="Write what finished runs came to (command, commit, machine, seed, date, numbers with intervals) "
        "into docs/results.yaml. Runs of one command with several seeds are one entry; a seed that is there is "
        "replaced. A study (ganforge study) is one entry with its arms, the primary comparison and the verdict. "
        "Numbers of a script come as a JSON file, with --command. "
        "Tables between <!-- results: NAME ... --> and <!-- end --> in README.md and docs/*.md are rendered from it; "
        "--check ends with status 1 where a page says something else.",
    )
    record.add_argument(
        "folders",
        metavar="FOLDER",
        nargs="*",
        help="folders of runs, or of studies, that have finished; or a JSON file of numbers",
    )
    record.add_argument("--name", metavar="NAME", help="of the entry; default: the experiment, or MODEL_DATA")
    record.add_argument(
        "--numbers", dest="patterns", action="extend", nargs="+", default=[], metavar="KEY",
        help="which are kept, * for any text; default: of the test sets, their floors, ceilings and baselines",
    )  # fmt: skip
    record.add_argument(
        "--command", dest="typed", metavar="LINE", help="that measured the numbers of a JSON file, just now"
    )
    record.add_argument("--note", metavar="TEXT", help="what a reader must know of these runs")
    record.add_argument("--anew", action="store_true", help="begin the entry again, without its former runs")
    record.add_argument("--file", metavar="FILE", default="docs/results.yaml", help="default %(default)s")
    record.add_argument("--render", action="store_true", help="write the pages' tables from it")
    record.add_argument("--check", action="store_true", help="say where a page differs from it")
    record.set_defaults(run="record:record")
