"""Which lattice is it: from the bonds that are read in drawn pictures, and as a baseline from the sites alone.

python benchmarks/lattice_classes.py [-n NETWORKS] [--disorder LOW HIGH]: a confusion table each, over all lattices.

The baseline joins the sites by a geometric graph and takes the nearest of the lattices' mean numbers under the same
graph, as found on as many other networks (rings on both sides of the bonds, coordination, psi4, psi6).
"""

import argparse
from collections import Counter

import numpy as np

from ganforge.lattice import BASELINES, LATTICES, Distribution, Network, draw, read, sample
from ganforge.lattice.classify import classify, distance, numbers
from ganforge.lattice.rings import rings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=600, help="networks (default %(default)s)")
    parser.add_argument("--disorder", type=float, nargs=2, default=(0.0, 0.1), metavar=("LOW", "HIGH"))
    parser.add_argument("--size", type=int, default=256, help="px (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the networks (default %(default)s)")
    options = parser.parse_args()
    distribution = Distribution(disorder=tuple(options.disorder))
    drawings = [drawn(distribution, options.size, [options.seed, i]) for i in range(options.n)]
    seen = [drawn(distribution, options.size, [options.seed, options.n + i]) for i in range(options.n)]
    show("read bonds", drawings, [classify(read(one.target)).lattice for one in drawings])
    for name in BASELINES:
        means = centroids(name, [one.network for one in seen])
        show(f"sites alone, {name}", drawings, [nearest(features(name, one.network), means) for one in drawings])


def drawn(distribution: Distribution, size: int, seed: list[int]):
    network, style = sample(distribution, size, np.random.default_rng(seed))
    return draw(network, size, style)


def features(graph: str, network: Network) -> tuple[dict, dict, np.ndarray]:
    """Shares of bonds and of sites as `classify` compares them, and (psi4, psi6), under a geometric graph."""
    joined = Network(network.sites, BASELINES[graph](network.sites))
    found = classify(joined)
    return *numbers(joined, rings(joined)), np.array([found.psi4, found.psi6])


def centroids(graph: str, networks: list[Network]) -> dict[str, tuple[dict, dict, np.ndarray]]:
    means = {}
    for name in LATTICES:
        its = [features(graph, network) for network in networks if network.lattice == name]
        bonds, sites = ({key: np.mean([one[k].get(key, 0) for one in its]) for key in keys(its, k)} for k in (0, 1))
        means[name] = (bonds, sites, np.mean([one[2] for one in its], axis=0))
    return means


def keys(found: list, which: int) -> set:
    return set().union(*(one[which] for one in found))


def nearest(own: tuple, means: dict[str, tuple]) -> str:
    def away(name: str) -> float:
        bonds, sites, order = means[name]
        return distance(own[0], bonds) + distance(own[1], sites) + float(np.abs(own[2] - order).sum())

    return min(means, key=away)


def show(title: str, drawings: list, found: list[str]) -> None:
    pairs = Counter((one.network.lattice, name) for one, name in zip(drawings, found, strict=True))
    right = sum(number for (true, name), number in pairs.items() if true == name)
    print(f"\n{title}: {right} of {len(found)} right ({100 * right / len(found):.1f} %)")
    columns = [*LATTICES, "unknown"]
    print(f"{'true':22}" + "".join(f"{name[:12]:>13}" for name in columns))
    for true in LATTICES:
        print(f"{true:22}" + "".join(f"{pairs[true, name]:13}" for name in columns), flush=True)


if __name__ == "__main__":
    main()
