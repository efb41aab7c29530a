"""The paper's equations in plain numpy and float64, written from the facts of the paper alone.

Nothing here imports memvae, so a mistake would have to be made twice to stay unseen; `parameters_of`, at the end,
reads a model's weights under the names used here. Parameters are nested dictionaries of arrays; a weight matrix is
[out, in], so that a layer is `W h + b`. Every random number is an argument: `noise` is standard normal, [K, B, Z]
wherever samples are drawn.

    {"encoder": [{"W", "b", "gamma", "beta"}, ...],            first layer next to the data
     "mean": {"W", "b"}, "log_variance": {"W", "b"},
     "decoder": [{"W", "b", "gamma", "beta"[, "memory"]}, ...], first layer next to z
     "output": {"W", "b"}[, "output_log_variance": {"W", "b"}]}

    memory = {"C": [H, S], "c": [S], "M": [S, H], "attention": "sigmoid" or "softmax"[, "a1" ... "c4": [H]]}

A memory without composition vectors is read as a sum. Statistics are one (mean, variance) per normalised layer:
{"encoder": [...], "decoder": [...]}; None stands for the batch's own.
"""

import numpy as np

NORM_EPSILON = 1e-10
CLIP = 1e-6


def sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def relu(x):
    return np.maximum(x, 0)


def dense(layer, h):
    return h @ layer["W"].T + layer["b"]


def moments(x):
    """Mean and biased variance of each unit, over every leading axis: the batch, or batch and samples."""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes)
    return mean, ((x - mean) ** 2).mean(axis=axes)


def normalise(x, statistics=None):
    mean, variance = moments(x) if statistics is None else statistics
    return (x - mean) / np.sqrt(variance + NORM_EPSILON)


# ---- the two networks ------------------------------------------------------------------------------------------------


def encode(p, x, statistics=None):
    """Mean and log-variance of q(z|x), the normalised pre-activations, the activations, the statistics used."""
    h, normalised, activations, used = x, [], [], []
    for i, layer in enumerate(p["encoder"]):
        e = dense(layer, h)
        used.append(moments(e) if statistics is None else statistics["encoder"][i])
        n = normalise(e, used[-1])
        h = relu(layer["gamma"] * n + layer["beta"])
        normalised.append(n)
        activations.append(h)
    return {
        "mean": dense(p["mean"], h),
        "log_variance": dense(p["log_variance"], h),
        "normalised": normalised,
        "activations": activations,
        "statistics": used,
    }


def attention(memory, h_g):
    scores = h_g @ memory["C"] + memory["c"]
    return sigmoid(scores) if memory["attention"] == "sigmoid" else softmax(scores)


def compose(memory, h_g, h_m):
    if "a1" not in memory:
        return relu(h_g + h_m)
    v = memory
    inner = v["c1"] + v["c2"] * h_g + v["c3"] * h_m + v["c4"] * h_g * h_m
    return relu(v["a1"] + v["a2"] * h_g + v["a3"] * h_m + v["a4"] * h_g * h_m + v["b1"] * sigmoid(inner))


def decode(p, z, statistics=None, disabled=()):
    """The output's parameters and what every layer holds; `disabled` layers (0 is next to z) read ones as h_m."""
    h, outputs, attentions, used = z, [], [], []
    for i, layer in enumerate(p["decoder"]):
        e = dense(layer, h)
        used.append(moments(e) if statistics is None else statistics["decoder"][i])
        h = relu(layer["gamma"] * normalise(e, used[-1]) + layer["beta"])
        if "memory" in layer:
            memory = layer["memory"]
            h_a = attention(memory, h)
            h_m = np.ones_like(h) if i in disabled else h_a @ memory["M"]
            h = compose(memory, h, h_m)
            attentions.append(h_a)
        else:
            attentions.append(None)
        outputs.append(h)
    return {"output": output(p, h), "outputs": outputs, "attentions": attentions, "statistics": used}


def output(p, h):
    """Bernoulli: {"mean"}, unclipped. Gaussian: {"mean", "log_variance"}."""
    if "output_log_variance" in p:
        return {"mean": dense(p["output"], h), "log_variance": dense(p["output_log_variance"], h)}
    return {"mean": sigmoid(dense(p["output"], h))}


def sample_posterior(mean, log_variance, noise):
    return mean + np.exp(log_variance / 2) * noise


def collected_statistics(p, x, noise):
    """Of the whole set, layer by layer: the set run as one single batch with one z each, [1, N, Z] noise."""
    q = encode(p, x)
    g = decode(p, sample_posterior(q["mean"], q["log_variance"], noise))
    return {"encoder": q["statistics"], "decoder": g["statistics"]}


# ---- densities and the objective -------------------------------------------------------------------------------------


def log_bernoulli(x, mean):
    mean = np.clip(mean, CLIP, 1 - CLIP)
    return (x * np.log(mean) + (1 - x) * np.log(1 - mean)).sum(axis=-1)


def log_gaussian(x, mean, log_variance):
    return (-0.5 * (np.log(2 * np.pi) + log_variance + (x - mean) ** 2 / np.exp(log_variance))).sum(axis=-1)


def log_likelihood_of_pixels(x, out):
    if "log_variance" in out:
        return log_gaussian(x, out["mean"], out["log_variance"])
    return log_bernoulli(x, out["mean"])


def log_mean_exp(w):
    """Over the first axis."""
    top = w.max(axis=0)
    return top + np.log(np.exp(w - top).mean(axis=0))


def log_weights(p, x, noise, statistics=None, disabled=()):
    """log p(x, z_k) / q(z_k | x), [K, B]; `disabled` as in `decode`."""
    q = encode(p, x, statistics)
    z = sample_posterior(q["mean"], q["log_variance"], noise)
    g = decode(p, z, statistics, disabled)
    return (
        log_likelihood_of_pixels(x, g["output"])
        + log_gaussian(z, 0.0, np.zeros(()))
        - log_gaussian(z, q["mean"], q["log_variance"])
    )


def bound(p, x, noise, statistics=None, disabled=()):
    """L_K of every image from the given draws, [B]. Its test-set mean at K = 5,000 is the log-likelihood."""
    return log_mean_exp(log_weights(p, x, noise, statistics, disabled))


def bound_parts(p, x, noise, statistics=None):
    """Mean log p(x|z) and mean sampled KL of the draws; their difference is L_1."""
    q = encode(p, x, statistics)
    z = sample_posterior(q["mean"], q["log_variance"], noise)
    g = decode(p, z, statistics)
    pixels = log_likelihood_of_pixels(x, g["output"])
    kl = log_gaussian(z, q["mean"], q["log_variance"]) - log_gaussian(z, 0.0, np.zeros(()))
    return pixels, kl


def local_error(p, x, noise, weight=0.1):
    """weight * mean (n_l - d_l)^2, summed over levels: encoder layer l meets the decoder layer of its own size."""
    q = encode(p, x)
    g = decode(p, sample_posterior(q["mean"], q["log_variance"], noise))
    total = 0.0
    for n, h_out in zip(q["normalised"], reversed(g["outputs"]), strict=True):
        d = normalise(h_out).mean(axis=0)  # statistics over batch and samples, then the mean of the K samples
        total += weight * ((n - d) ** 2).mean()
    return total


def loss(p, x, noise, local_weight=0.0, second_noise=None):
    """-mean L_K + local error; the local error takes `second_noise` when a second z is drawn for it."""
    value = -bound(p, x, noise).mean()
    if local_weight:
        value += local_error(p, x, noise if second_noise is None else second_noise, local_weight)
    return value


# ---- training --------------------------------------------------------------------------------------------------------


def adam(parameter, gradients, rates, b1=0.9, b2=0.999, epsilon=1e-4):
    """The parameter after every step; epsilon is added to the uncorrected root, as Lasagne does."""
    m, v, trace = np.zeros_like(parameter), np.zeros_like(parameter), []
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        parameter = parameter - rate * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + epsilon)
        trace.append(parameter)
    return trace


def clip_gradients(gradients, norm=5.0, element=1.0):
    total = np.sqrt(sum((g**2).sum() for g in gradients))
    return [np.clip(g * min(1.0, norm / total), -element, element) for g in gradients]


def learning_rate(epoch, epochs, own_epochs=3000, rate=1e-3, decay=0.998, constant=1000):
    """In epoch 1, 2, ...; a run shorter than the model's own number gets the schedule compressed."""
    decaying = max(own_epochs - constant, 0)
    if epochs >= own_epochs or not decaying:
        return rate * decay ** max(epoch - constant, 0)
    start = round(epochs / 3)  # a whole number of epochs
    return rate * decay ** (decaying * max(epoch - start, 0) / (epochs - start))


# ---- what the appendix shows -----------------------------------------------------------------------------------------


def preference(p, x, noise, statistics, level):
    """h_a of every image, [B, S], of decoder layer `level` (-1: next to the data); sigmoid ones sum to 1 too."""
    q = encode(p, x, statistics)
    g = decode(p, sample_posterior(q["mean"], q["log_variance"], noise), statistics)
    h_a = g["attentions"][level][0]
    if p["decoder"][level]["memory"]["attention"] == "sigmoid":
        h_a = h_a / h_a.sum(axis=-1, keepdims=True)
    return h_a


def class_average(h_a, labels, classes=10):
    return np.stack([h_a[labels == c].mean(axis=0) for c in range(classes)])


def perplexity(distribution):
    return np.exp(-sum(q * np.log(q) for q in distribution if q > 0))


def slot_images(p, slots):
    """The output layer's mean when the layer next to the data has h_g = 0 and h_m = each of the slots."""
    memory = p["decoder"][-1]["memory"]
    h_m = memory["M"][slots]
    return output(p, compose(memory, np.zeros_like(h_m), h_m))["mean"]


def impute(p, x, missing, start, noise):
    """Images and error per missing pixel after every iteration: one z each, the batch's own statistics."""
    current = np.where(missing, start, x)
    images, errors = [], []
    for step in noise:  # [B, Z] each
        q = encode(p, current)
        g = decode(p, sample_posterior(q["mean"], q["log_variance"], step)[None])
        current = np.where(missing, g["output"]["mean"][0], x)
        images.append(current)
        errors.append(((current - x) ** 2)[missing].sum() / missing.sum())
    return images, errors


def crammer_singer(w, x, labels, penalty=1e-4):
    """Mean of the largest margin violation + (penalty / 2) ||w||^2, with its gradient; w is [classes, H]."""
    scores = x @ w.T
    rows = np.arange(len(x))
    margins = 1 + scores - scores[rows, labels][:, None]
    margins[rows, labels] = 0
    worst = margins.argmax(axis=1)
    violation = margins[rows, worst]
    gradient = penalty * w
    for i in rows[violation > 0]:
        gradient[worst[i]] += x[i] / len(x)
        gradient[labels[i]] -= x[i] / len(x)
    return violation.mean() + penalty / 2 * (w**2).sum(), gradient


def adagrad(w, x, labels, steps, batch=100, rate=0.1, epsilon=1e-4, penalty=1e-4):
    """Batches in order, again from the first when the set is through. As in Lasagne, epsilon is under the root."""
    total, batches = np.zeros_like(w), len(x) // batch
    for step in range(steps):
        rows = slice(step % batches * batch, (step % batches + 1) * batch)
        _, g = crammer_singer(w, x[rows], labels[rows], penalty)
        total = total + g**2
        w = w - rate * g / np.sqrt(total + epsilon)
    return w


# ---- small networks, and the weights of a model under test -----------------------------------------------------------
NETWORKS = {  # every variant of the paper and its neighbours; fields of memvae.settings.spec.Network
    "vae": {"hidden": (7, 5), "slots": (0, 0)},
    "mem_vae": {"hidden": (7, 5), "slots": (4, 3)},
    "vis_mem_vae": {"hidden": (7, 5), "slots": (4, 3), "attention": "softmax", "composition": "sum"},
    "softmax_mlp": {"hidden": (7, 5), "slots": (4, 3), "attention": "softmax"},
    "sigmoid_sum": {"hidden": (7, 5), "slots": (4, 3), "composition": "sum"},
    "one_memory": {"hidden": (7, 5), "slots": (4, 0)},
    "one_layer": {"hidden": (6,), "slots": (4,)},
    "three_layers": {"hidden": (8, 6, 5), "slots": (4, 3, 2)},
    "gaussian": {"hidden": (6,), "slots": (0,), "likelihood": "gaussian"},
    "gaussian_memory": {"hidden": (6,), "slots": (4,), "likelihood": "gaussian"},
}
NETWORKS = {name: {"image": (3, 4), "latent": 3} | fields for name, fields in NETWORKS.items()}
COMPOSITION = ("a1", "a2", "a3", "a4", "b1", "c1", "c2", "c3", "c4")


def parameters_of(model):
    """The parameters of a MemVAE, copied into the dictionaries of this module."""
    network, w = model.network, {name: value.detach().double().numpy() for name, value in model.state_dict().items()}
    w = {name: value.copy() for name, value in w.items()}

    def linear(name):
        return {"W": w[f"{name}.weight"], "b": w[f"{name}.bias"]}

    def layer(name):
        return linear(f"{name}.dense") | {"gamma": w[f"{name}.gamma"], "beta": w[f"{name}.beta"]}

    levels = range(len(network.hidden))
    p = {
        "encoder": [layer(f"encoder.{level}") for level in levels],
        "mean": linear("posterior_mean"),
        "log_variance": linear("posterior_log_variance"),
        "decoder": [layer(f"decoder.{level}") for level in reversed(levels)],
        "output": linear("output"),
    }
    if network.likelihood == "gaussian":
        p["output_log_variance"] = linear("output_log_variance")
    for level in levels:
        if network.slots[level]:
            memory = {name: w[f"memory.{level}.{name}"] for name in ("C", "c", "M")} | {"attention": network.attention}
            if network.composition == "mlp":
                memory |= {name: w[f"memory.{level}.compose.{name}"] for name in COMPOSITION}
            p["decoder"][len(network.hidden) - 1 - level]["memory"] = memory
    return p


def statistics_of(model):
    """The collected statistics of a MemVAE, in the order of this module."""

    def of(layers):
        return [
            tuple(x.double().numpy().copy() for x in (layer.normalise.mean, layer.normalise.variance))
            for layer in layers
        ]

    return {"encoder": of(model.encoder), "decoder": of(reversed(model.decoder))}


def randomise(model, generator):
    """Fills every parameter and statistic with values far from the initial ones, so that each of them matters."""
    for name, value in model.state_dict().items():
        value.normal_(0, 0.4, generator=generator)
        if name.endswith(("gamma", "a2", "c2")):
            value.add_(1.0)
        if name.endswith("variance"):
            value.exp_()
    return model
