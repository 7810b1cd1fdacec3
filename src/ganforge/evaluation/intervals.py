"""95 % intervals of the numbers of `fidelity`, from the features behind them.

Replicates are bootstrap resamples (Efron 1979) of the generated images, for recall random halves of them; the reference
is held fixed. The distances of resamples are biased upward, so replicates give the spread alone: the interval is
estimate ± 1.96 standard deviations. Resamples are counts (R, n): how often each of n generated images is in each of R.
"""

import math

import torch
from scipy.stats import t as student
from torch import Tensor

Z = 1.959964  # 97.5 % quantile of the normal distribution
ROWS = 1024  # of a matrix of pairs that are in memory at once
LISTED = 32  # neighbours that are kept of an image: of half of them, three are present but for one image in ten million


def resamples(n: int, replicates: int, seed: int) -> Tensor:
    """float64 (R, n): how often each of n images is in each resample of n."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(n, (replicates, n), generator=generator)
    return torch.stack([torch.bincount(row, minlength=n) for row in drawn]).double()


def frechet(generated: Tensor, real: Tensor, counts: Tensor) -> Tensor:
    """The Fréchet distance of each resample, float64 (R,); features are (n, D) and (m, D).

    tr sqrt(C_g C_r) is the sum of the square roots of the eigenvalues of S C_g S, S the root of the reference's
    covariance, which is taken once; S C_g S is the covariance of the generated features times S. With fewer images
    than dimensions the eigenvalues are those of the images' products instead.
    """
    generated, real = generated.double(), real.double()
    n, centre = len(generated), real.mean(dim=0)
    values, vectors = torch.linalg.eigh(torch.cov(real.T).reshape(real.shape[1], -1))
    kept = values > 1e-12 * values[-1].clamp(min=1e-300)
    reference_trace = values.clamp(min=0).sum()
    moved = generated - centre
    rooted = (moved @ vectors[:, kept]) * values[kept].sqrt()
    squares = moved.square().sum(dim=1)
    gram = rooted @ rooted.T if n <= rooted.shape[1] else None

    counts = counts.to(generated)
    shift, mean = counts @ moved / n, counts @ rooted / n
    trace = (counts @ squares - n * shift.square().sum(dim=1)) / (n - 1)
    overlap = []
    for weights, own_mean in zip(counts, mean, strict=True):
        if gram is None:
            product = (rooted * weights[:, None]).T @ rooted - n * own_mean.outer(own_mean)
        else:
            here = weights > 0
            row, root = gram @ weights / n, weights[here].sqrt()
            product = gram[here][:, here] - row[here, None] - row[here] + weights @ row / n
            product = product * root.outer(root)
        overlap.append((torch.linalg.eigvalsh(product).clamp(min=0) / (n - 1)).sqrt().sum())
    return shift.square().sum(dim=1) + trace + reference_trace - 2 * torch.stack(overlap)


def kernel(generated: Tensor, real: Tensor, counts: Tensor) -> Tensor:
    """The kernel distance (MMD², kernel (x·y / D + 1)³) of each resample over all images, float64 (R,).

    Without the term of the reference alone, the same for every resample. An image is not paired with its own copies.
    """
    n = len(generated)
    counts = counts.to(generated.device)
    within = torch.zeros(len(counts), dtype=torch.float64, device=generated.device)
    across = torch.zeros_like(within)
    for rows in torch.arange(n).split(ROWS):
        begin, end = int(rows[0]), int(rows[-1]) + 1
        own = counts[:, begin:end]
        pairs = _cubic(generated[begin:end], generated)
        local = torch.arange(end - begin, device=pairs.device)
        pairs[local, local + begin] = 0
        within += (own * (counts @ pairs.T)).sum(dim=1)
        for part in real.split(ROWS):
            across += own @ _cubic(generated[begin:end], part).sum(dim=1) / len(real)
    return within / (n**2 - counts.square().sum(dim=1)) - 2 * across / n


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T).double().div_(x.shape[1]).add_(1).pow_(3)


def precision(generated: Tensor, real: Tensor, counts: Tensor, neighbours: int) -> Tensor:
    """Precision (Kynkäänniemi et al. 2019) of each resample, float64 (R,): the share inside the real images' balls."""
    balls = [torch.cdist(rows, real).topk(neighbours + 1, largest=False).values[:, -1] for rows in real.split(ROWS)]
    radii = torch.cat(balls)
    inside = torch.cat([(torch.cdist(rows, real) <= radii).any(dim=1) for rows in generated.split(ROWS)])
    return counts.to(generated.device) @ inside.double() / len(generated)


def halves(n: int, replicates: int, seed: int) -> Tensor:
    """bool (R, n): n // 2 of n images, drawn without replacement."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(n, generator=generator) for _ in range(replicates)])
    return order < n // 2


def recall(generated: Tensor, real: Tensor, present: Tensor, neighbours: int) -> Tensor:
    """Recall (Kynkäänniemi et al. 2019) of subsamples of the generated images, float64 (R,).

    present: bool (R, n), which of the n images are in each. A bootstrap will not do: an image's copies at distance 0
    shrink its ball. The spread of halves is that of the whole (Politis and Romano 1994).
    """
    n, count = len(generated), min(LISTED, len(generated) - 1)
    lists = []
    for rows in torch.arange(n, device=generated.device).split(ROWS):
        distances = torch.cdist(generated[rows], generated)
        distances[torch.arange(len(rows), device=rows.device), rows] = torch.inf
        lists.append(distances.topk(count, largest=False))
    distances = torch.cat([part.values for part in lists])
    nearest = torch.cat([part.indices for part in lists])
    radii = []
    for here in present.to(generated.device):
        found = here[nearest].cumsum(dim=1)
        which = (found < neighbours).sum(dim=1, keepdim=True).clamp(max=count - 1)
        radii.append(distances.gather(1, which)[:, 0].masked_fill(~here, -1))
    covered = torch.zeros(len(radii), dtype=torch.float64, device=generated.device)
    for rows in real.split(ROWS):
        apart = torch.cdist(rows, generated)
        row, column = (apart <= distances[:, -1]).nonzero(as_tuple=True)
        apart = apart[row, column]
        for replicate, radius in enumerate(radii):
            hit = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
            hit[row[apart <= radius[column]]] = True
            covered[replicate] += hit.sum()
    return covered / len(real)


def spread(replicates: Tensor) -> float:
    """The standard deviation of replicates (R,)."""
    return float(replicates.std())


def normal(estimate: float, deviation: float) -> tuple[float, float]:
    """estimate ± 1.96 standard deviations."""
    return estimate - Z * deviation, estimate + Z * deviation


def of_splits(mean: float, deviation: float, splits: int) -> tuple[float, float]:
    """mean ± the t quantile times the standard error of `splits` values; deviation: over splits, not splits - 1."""
    half = float(student.ppf(0.975, splits - 1)) * deviation / math.sqrt(splits - 1)
    return mean - half, mean + half


def of_share(share: float, n: int) -> tuple[float, float]:
    """The interval of Wilson (1927) for a share in [0, 1] of n images; never of width 0."""
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
