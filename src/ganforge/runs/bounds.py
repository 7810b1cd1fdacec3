"""95 % intervals of a run's numbers, wherever its results.json has them. Imports nothing heavy."""

from typing import Any

from ganforge.runs.folder import is_number


def of(results: dict[str, Any], key: str) -> tuple[float, float] | None:
    """Of a number by its whole name, such as test/psnr or final/test/kid; None where it is not known.

    A metric writes KEY/low and KEY/high beside its number, or `intervals` of its numbers under `evaluation`.
    """
    ends = [results.get(f"{key}/{end}") for end in ("low", "high")]
    if not all(map(is_number, ends)):
        ends = _described(results, key)
    well = isinstance(ends, list | tuple) and len(ends) == 2 and all(map(is_number, ends)) and ends[0] <= ends[1]
    return (float(ends[0]), float(ends[1])) if well else None


def _described(results: dict[str, Any], key: str) -> Any:
    evaluation = results.get("evaluation")
    for name, said in evaluation.items() if isinstance(evaluation, dict) else ():
        start = f"{name.rpartition('/')[0]}/"  # of test/paired, what its numbers begin with
        own = said.get("intervals") if isinstance(said, dict) and key.startswith(start) else None
        if isinstance(own, dict) and key.removeprefix(start) in own:
            return own[key.removeprefix(start)]
    return None
