"""How fast ONNX Runtime is beside PyTorch on the CPU: the same generator, pictures and threads, taking turns.

    python benchmarks/export.py RUN [--size 256] [--batch 1] [--threads 2] [--rounds 20]

RUN is exported by `ganforge export` to a temporary folder. Printed are the median milliseconds a batch of each, the
median of the ratios of neighbouring rounds (above 1: ONNX Runtime is faster) with the middle half of them, and how far
the results are apart. PyTorch computes as `ganforge predict` does, without gradients, in float32.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # of both, before they are loaded

    import numpy as np
    import torch

    from ganforge.commands.export import export
    from ganforge.runs.generators import load_generator
    from ganforge.runs.onnx_model import load_onnx

    torch.set_num_threads(options.threads)
    generator = load_generator(options.run)
    generator.network.cpu()
    with tempfile.TemporaryDirectory() as folder:
        file = export(options.run, Path(folder) / "model.onnx", format="onnx")
        ours = generator.engine("running", tta=False)
        theirs = load_onnx(file).engine("running", tta=False)
    shape = (options.batch, generator.channels, options.size, options.size)
    pictures = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    apart = float(np.abs(ours.draw(pictures) - theirs.draw(pictures)).max())

    def timed(draw: Callable[[np.ndarray], np.ndarray]) -> float:
        begin = time.perf_counter()
        draw(pictures)
        return time.perf_counter() - begin

    for _ in range(3):
        timed(ours.draw), timed(theirs.draw)
    torch_s, onnx_s = [], []
    for number in range(options.rounds):
        turns = [(ours.draw, torch_s), (theirs.draw, onnx_s)]
        for draw, seconds in turns if number % 2 else turns[::-1]:
            seconds.append(timed(draw))
    ratios = [a / b for a, b in zip(torch_s, onnx_s, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    print(f"{shape}, {options.threads} threads, {options.rounds} rounds; at most {apart:.2g} apart")
    print(f"PyTorch {1000 * statistics.median(torch_s):.1f} ms, ONNX Runtime {1000 * statistics.median(onnx_s):.1f} ms")
    print(f"PyTorch / ONNX Runtime: {statistics.median(ratios):.2f} (middle half {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
