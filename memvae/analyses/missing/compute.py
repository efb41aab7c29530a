"""Missing pixels inferred by several chains, and the log-likelihood of the true missing pixels.

A model is given by two functions: `encode` maps x [N, D] to q(z|x), which also knows p(z); `decode` maps z [N, Z] to
p(x|z).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memvae.analyses.imputation.classifier import load_classifier
from memvae.analyses.job import Job
from memvae.analyses.missing import CHAINS, ESTIMATES, EXACT, LONG, PAPER, PSEUDO_GIBBS, SAMPLED, lengths
from memvae.data import corruption
from memvae.model.densities import (
    bernoulli_log_density,
    gaussian_log_density,
    log_mean_exp,
)
from memvae.model.network import Likelihood, Posterior, sample_posterior
from memvae.progress import Progress
from memvae.random import keyed

Encode = Callable[[Tensor], Posterior]
Decode = Callable[[Tensor], Likelihood]
Key = tuple[int | str, ...]

BATCH = 1000  # at most, images at a time: the batch whose statistics the paper's chain uses (C)
PROPOSALS = 10  # states of a chain whose q(z|x) propose z for the log-likelihood
ROWS = 1000  # decoded at a time for it


@dataclass(frozen=True)
class Chain:
    """What a chain of T iterations found for N images."""

    estimates: dict[str, Tensor]  # `last`, `average` -> [N, D]: the decoder's mean, of missing pixels alone
    curves: dict[str, Tensor]  # the same -> float64 [T, N]: squared error per missing pixel after each iteration
    log_score: Tensor  # [N], nats: log of the average of p(x_missing|z) over the z after burn-in
    accepted: Tensor  # bool [T, N]
    states: list[Posterior]  # q(z|x) of some states after burn-in


def compute(job: Job) -> dict[str, np.ndarray]:
    """Errors, recovered classes and log-likelihoods of the first test images for every noise; arrays as in
    docs/files.md."""
    settings, image, model = job.settings, job.data.image, job.model
    assert job.classifier is not None  # the declaration asks for it
    judge = load_classifier(job.classifier, job.device)
    grey, binary = (
        job.tensor(array[: settings["images"]]) for array in (job.data.pixels("test"), job.data.test_binary)
    )
    count, labels = len(grey), job.data.labels("test")[: settings["images"]]
    arrays = {"labels": labels}
    noises = corruption.noises(settings)
    for noise in noises:
        missing = job.tensor(corruption.missing(noise, count, image, job.seed))
        start = job.tensor(corruption.starting_values(noise, count, image, job.seed))
        found: dict[str, list[Tensor]] = {}
        for number, rows in enumerate(torch.arange(count, device=job.device).tensor_split(math.ceil(count / BATCH))):
            x, gone, truth = binary[rows], missing[rows], grey[rows]
            key = (job.seed, "missing values", noise.name, number)
            states: dict[str, list[Posterior]] = {}
            for name in CHAINS:
                model.use_statistics("batch" if name == PAPER else "collected")
                steps = lengths(settings, name)
                ran = chain(name, model.encode, model.decode, x, gone, start[rows], truth, *steps, key)
                model.use_statistics("collected")
                states[name] = ran.states
                for estimate in ESTIMATES:
                    place = f"{noise.name}/{name}/{estimate}"
                    right = judge.model.predict(torch.where(gone, ran.estimates[estimate], truth)) == labels[rows.cpu()]
                    found.setdefault(f"{place}/recovered", []).append(torch.from_numpy(right))
                    found.setdefault(f"{place}/error", []).append(ran.curves[estimate][-1])
                    found.setdefault(f"{place}/curve", []).append(ran.curves[estimate].T)
                found.setdefault(f"{noise.name}/{name}/log_score", []).append(ran.log_score)
                found.setdefault(f"{noise.name}/{name}/accepted", []).append(ran.accepted.double().T)
            proposals, samples = [*states[PSEUDO_GIBBS], *states[LONG]], settings["samples"]
            value = log_likelihood(model.encode, model.decode, x, gone, proposals, samples, (*key, "log-likelihood"))
            found.setdefault(f"{noise.name}/log_likelihood", []).append(value)
        for place, parts in found.items():
            whole = torch.cat(parts).cpu().numpy()
            over_images = place.endswith(("/curve", "/accepted"))
            arrays[place] = whole.mean(axis=0) if over_images else whole
    job.attributes |= {"noises": [noise.name for noise in noises], **judge.attributes}
    return arrays


@torch.no_grad()
def chain(
    name: str,
    encode: Encode,
    decode: Decode,
    x: Tensor,
    missing: Tensor,
    start: Tensor,
    truth: Tensor,
    iterations: int,
    burn_in: int,
    key: Key,
) -> Chain:
    """Runs one of CHAINS. x: [N, D], as the likelihood sees it; missing: bool [N, D]; start: [N, D], what missing
    pixels hold at first; truth: [N, D], what errors are measured against; burn_in: iterations that averages leave out.

    An iteration is one pass through the encoder and one through the decoder: z ~ q(z|x), then the missing pixels become
    the decoder's mean (`paper`, `plug_in`: the authors' code) or a draw from p(x|z) (`pseudo_gibbs`: Rezende et al.
    2014). `metropolis` and `metropolis_long` (Mattei and Frellsen 2018) keep the old z unless the new one z' is
    accepted, with probability min(1, p(x|z') p(z') q(z|x) / (p(x|z) p(z) q(z'|x))), x the completed image; their
    stationary distribution is p(z, x_missing | x_observed), whatever q is. During burn-in they accept every z, as
    pseudo-Gibbs, for from noise they would hardly move. All chains use the same random numbers.
    """
    completed = torch.where(missing, start, x)
    pixels = missing.sum(1).clamp(min=1).double()  # [N]
    state: tuple[Tensor, Likelihood] | None = None  # z and p(x|z)
    total, log_sum, states = torch.zeros_like(x), x.new_full((len(x),), -math.inf, dtype=torch.float64), []
    curves: dict[str, list[Tensor]] = {estimate: [] for estimate in ESTIMATES}
    accepted = []
    kept = {burn_in + (iterations - burn_in) * part // PROPOSALS for part in range(PROPOSALS)}
    progress = Progress(f"{key[-2]} {name}", iterations)
    for iteration in range(iterations):
        generator = keyed(*key, iteration)
        q = encode(completed)
        z = sample_posterior(q, torch.randn(q.mean.shape, generator=generator, dtype=q.mean.dtype).to(x.device))
        likelihood = decode(z)
        accept = torch.ones(len(x), dtype=torch.bool, device=x.device)
        chance = torch.rand(len(x), generator=generator, dtype=torch.float64).to(x.device)
        if name in EXACT and state is not None and iteration >= burn_in:
            weights = [_log_weight(completed, one, q, at) for at, one in ((z, likelihood), state)]
            accept = chance.log() < weights[0] - weights[1]
            z, likelihood = torch.where(accept[:, None], z, state[0]), _chosen(accept, likelihood, state[1])
        state = z, likelihood
        accepted.append(accept)
        filling = likelihood.draw(generator) if name in SAMPLED else likelihood.mean
        completed = torch.where(missing, filling, x)
        average = likelihood.mean
        if iteration >= burn_in:
            total += likelihood.mean
            average = total / (iteration + 1 - burn_in)
            log_sum = torch.logaddexp(log_sum, (log_densities(likelihood, x)[0] * missing).sum(-1).double())
            if iteration in kept:
                states.append(q)
        for estimate, value in zip(ESTIMATES, (likelihood.mean, average), strict=True):
            curves[estimate].append((((value - truth) ** 2) * missing).sum(1, dtype=torch.float64) / pixels)
        progress.step(f"error {curves['average'][-1].mean():.4f}, accepted {accept.double().mean():.2f}")
    return Chain(
        {"last": likelihood.mean, "average": average},
        {estimate: torch.stack(values) for estimate, values in curves.items()},
        log_sum - math.log(iterations - burn_in),
        torch.stack(accepted),
        states,
    )


@torch.no_grad()
def log_likelihood(
    encode: Encode, decode: Decode, x: Tensor, missing: Tensor, states: list[Posterior], samples: int, key: Key
) -> Tensor:
    """log p(x_missing | x_observed) of each image, a property of the model: float64 [N], nats.

    log p(x) - log p(x_observed), both by importance sampling with the same `samples` draws of z: one half from q(z|x)
    of the true image, the other from q(z|x) of states of a chain. With g(z) the mixture of those proposals the two are
    log mean p(x, z) / g(z) and log mean p(x_observed, z) / g(z).
    Each is below its logarithm in expectation, and exact as the samples grow. The second has the wider posterior and
    misses more, so the difference is more likely too high than too low.
    """
    values, generator = [], keyed(*key)
    sources = torch.tensor([0 if k % 2 else 1 + k // 2 % len(states) for k in range(samples)])
    shares = sources.bincount(minlength=1 + len(states)).double() / samples
    for rows in torch.arange(len(x), device=x.device).split(max(ROWS // samples, 1)):
        own = encode(x[rows])
        proposals = [(own.mean, own.log_variance), *((q.mean[rows], q.log_variance[rows]) for q in states)]
        noise = torch.randn(samples, *own.mean.shape, generator=generator, dtype=x.dtype).to(x.device)
        mean, log_variance = (torch.stack(of_all)[sources] for of_all in zip(*proposals, strict=True))  # [K, B, Z]
        z = torch.addcmul(mean, torch.exp(0.5 * log_variance), noise)
        log_g = torch.stack(
            [gaussian_log_density(z, *q) + share.log() for q, share in zip(proposals, shares, strict=True)]
        )
        terms = log_densities(decode(z.flatten(0, 1)), x[rows])  # [K, B, D]
        observed = (terms * ~missing[rows]).sum(-1) + own.log_prior(z) - log_g.logsumexp(0)  # [K, B]
        both = observed + (terms * missing[rows]).sum(-1)
        values.append(log_mean_exp(both.double()) - log_mean_exp(observed.double()))
    return torch.cat(values)


def log_densities(likelihood: Likelihood, x: Tensor) -> Tensor:
    """log p(x_d|z) of every pixel. x: [B, D]; the K B rows of the likelihood are [K, B, D], as the result."""
    out = likelihood.out.view(-1, *x.shape, 1)
    if likelihood.log_variance is None:
        return bernoulli_log_density(x[..., None], out)
    return gaussian_log_density(x[..., None], out, likelihood.log_variance.view(out.shape))


def _log_weight(x: Tensor, likelihood: Likelihood, q: Posterior, z: Tensor) -> Tensor:
    """log p(x|z) p(z) / q(z|x): float64 [N]."""
    log_q = gaussian_log_density(z, q.mean, q.log_variance)
    return (likelihood.log_density(x)[0] + q.log_prior(z) - log_q).double()


def _chosen(accept: Tensor, new: Likelihood, old: Likelihood) -> Likelihood:
    """For each image the new p(x|z) where it is accepted, else the old one."""
    out = torch.where(accept[:, None], new.out, old.out)
    if new.log_variance is None or old.log_variance is None:
        return Likelihood(out, None, [])
    return Likelihood(out, torch.where(accept[:, None], new.log_variance, old.log_variance), [])
