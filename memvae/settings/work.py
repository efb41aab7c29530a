"""How much work a job is, computed only from its specification. Standard library only.

The work decides whether a job is compiled, and so the last bits of its results; therefore these numbers are fixed.
memvae/operations/cost.py estimates how long a job takes on a machine; this has no effect on results.
"""

from itertools import pairwise

from memvae.settings.spec import Network, RunSpec

FLOPS = 45e9  # per second: products of these sizes in float32 on the core that the rule was made for
STEP_OVERHEAD = 2.5e-3  # seconds of a training step outside its products, there
PAYS_BACK = 120.0  # seconds of work from which it is compiled


def training_seconds(spec: RunSpec, images: int) -> float:
    """Seconds of a training with so many images on that core, not compiled."""
    encoder, decoder = products(spec.network)
    training = spec.training
    rows = training.batch_size + spec.network.pseudo_inputs  # through the encoder
    per_step = 3 * (rows * encoder + training.batch_size * training.samples * decoder) / FLOPS + STEP_OVERHEAD
    return training.epochs * (images // training.batch_size) * per_step


def decoding_seconds(network: Network, rows: float) -> float:
    """Seconds of the decoder's passes over so many rows on that core, not compiled."""
    return rows * products(network)[1] / FLOPS


def passing_seconds(network: Network, rows: float) -> float:
    """Seconds of so many images' ways through encoder and decoder on that core, not compiled."""
    return rows * sum(products(network)) / FLOPS


def products(network: Network) -> tuple[float, float]:
    """Floating-point operations of one image's way through the encoder, and of a z's through the decoder and prior."""
    widths = (network.pixels, *network.hidden)
    hidden = sum(a * b for a, b in pairwise(widths))
    memory = sum(2 * units * slots for units, slots in zip(network.hidden, network.slots, strict=True))
    top = network.hidden[-1] * network.latent
    prior = 2 * network.pseudo_inputs * network.latent
    return 2.0 * (hidden + 2 * top), 2.0 * (hidden + top + memory + prior)


def parameters(network: Network) -> int:
    """Trainable numbers of a model: those that `analyses.parameters.compute:count_parameters` counts on the model."""
    widths = (network.pixels, *network.hidden)
    above = (*network.hidden[1:], network.latent)  # what feeds each decoder layer
    outputs = 2 if network.likelihood == "gaussian" else 1
    dense = sum(
        (a + 3) * b for a, b in (*pairwise(widths), *zip(above, network.hidden, strict=True))
    )  # W; b, gamma, beta
    vectors = 9 if network.composition == "mlp" else 0
    memory = sum(2 * h * s + s + vectors * h for h, s in zip(network.hidden, network.slots, strict=True) if s)
    heads = 2 * (network.hidden[-1] + 1) * network.latent + outputs * (network.hidden[0] + 1) * network.pixels
    return dense + memory + heads + network.pseudo_inputs * network.pixels
