"""The training loop: what one epoch does, and that an interrupted run ends as if it had never stopped."""

import errno
import functools
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import untrained
from scipy import stats

from memvae.errors import InputError, Unreadable
from memvae.files import store
from memvae.model import trained as models
from memvae.random import keyed
from memvae.settings.spec import Network, RunSpec
from memvae.training import loop
from memvae.training import state as training_state
from memvae.training.loop import Trained, TrainingData

CPU = torch.device("cpu")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(loop.__file__).parents[2])}  # of a second process
NETWORK = Network(image=(4, 4), hidden=(6,), latent=3, slots=(4,))
TWO_LAYERS = replace(NETWORK, hidden=(6, 5), slots=(4, 3))
TRAINING = replace(
    untrained.MNIST,
    epochs=4,
    full_epochs=4,
    constant_epochs=2,
    batch_size=8,
    learning_rate=1e-2,
    decay=0.9,
    curve_every=2,
)
BATCHES = 45 // 8  # of an epoch; five images are left over


def spec(network: Network = NETWORK, seed: int = 0, **training) -> RunSpec:
    k = training.get("samples", 1)
    run = f"tiny-mem_vae-k{k}-s{seed}"
    return RunSpec(run, "tiny", seed, network, replace(TRAINING, **training))


def data(train: int = 45, test: int = 20) -> TrainingData:
    """Grey images of two kinds, so that there is something to learn."""
    draw = np.random.default_rng(0)
    kind = draw.integers(0, 2, train)[:, None]
    pixels = np.where(np.arange(16) < 8, kind, 1 - kind) * 0.7 + 0.3 * draw.random((train, 16))
    test_x = np.repeat(draw.integers(0, 2, (test, 1)), 8, axis=1)
    return TrainingData(pixels.astype(np.float32), np.hstack([test_x, 1 - test_x]).astype(np.float32), "0" * 64)


def train(
    spec: RunSpec, state: Path, save_seconds: float | None = 1e9, material: TrainingData | None = None
) -> Trained:
    return loop.train(spec, material or data(), state, CPU, save_seconds)


def assert_equal(first: Trained, second: Trained) -> None:
    """Bit for bit: weights, collected statistics and curves."""
    assert first.curves == second.curves
    a, b = first.model.state_dict(), second.model.state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_subset_takes_as_many_steps_and_sees_its_own_images_alone(tmp_path, monkeypatch):
    """20 of 45 images are two batches of 8, so an epoch of five steps is two passes and a half."""
    seen, steps = [], []
    original = loop._train_epoch

    def noted(step, x, *arguments):
        seen.append(x)
        steps.append(arguments[-1])
        return original(step, x, *arguments)

    monkeypatch.setattr(loop, "_train_epoch", noted)
    some = spec(images=20, binarise="never")
    trained = train(some, tmp_path / "s.h5")
    assert steps == [2, 2, 1] * 4 and len(trained.curves.epoch) == 4
    assert store.read(tmp_path / "s.h5", "state").attributes["step"] == 4 * BATCHES
    rows = {row.tobytes() for row in data().train}
    assert all(len(x) == 20 and {row.numpy().tobytes() for row in x} < rows for x in seen)
    others = loop.chosen(data().train, spec(images=20, seed=1))
    assert not np.array_equal(seen[0].numpy(), others)  # the seed draws them
    np.testing.assert_array_equal(seen[0].numpy(), loop.chosen(data().train, some))


def test_a_subset_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"training\.images is 46, expected at most the 45 training images"):
        train(spec(images=46), tmp_path / "s.h5")
    with pytest.raises(InputError, match="images is 7, expected 0 or a batch"):
        spec(images=7)


def test_without_a_subset_or_a_validation_split_specification_and_state_are_those_of_before(tmp_path):
    assert not {"images", "validation"} & set(json.loads(spec().to_json())["training"])
    for some in (spec(), spec(images=20), spec(validation=0.2)):
        assert RunSpec.from_json(some.to_json()) == some
    trained = train(spec(), tmp_path / "s.h5")
    models.save(tmp_path / "m.h5", trained, spec(), "0" * 64, CPU)
    state, model = store.read(tmp_path / "s.h5", "state"), store.read(tmp_path / "m.h5", "model")
    assert not [name for name in (*state.arrays, *model.arrays) if "best" in name or "validation" in name]
    assert "epoch_kept" not in model.attributes


# ---- the best of a validation split ----------------------------------------------------------------------------------
OVERFITTING = {  # a large net and noise to learn by heart: the bound on other images soon turns down
    "network": replace(NETWORK, hidden=(40,)),
    "validation": 0.7,
    "epochs": 40,
    "full_epochs": 40,
    "constant_epochs": 40,
    "binarise": "never",
}


def noise_images() -> TrainingData:
    pixels = (np.random.default_rng(0).random((65, 16)) < 0.5).astype(np.float32)
    return TrainingData(pixels[:45], pixels[45:], "0" * 64)


def test_the_model_is_that_of_the_best_validation_bound(tmp_path, monkeypatch):
    some, weights = spec(**OVERFITTING), []
    original = loop.validation_bound

    def noted(model, *arguments):
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
        return original(model, *arguments)

    monkeypatch.setattr(loop, "validation_bound", noted)
    trained = train(some, tmp_path / "s.h5", material=noise_images())
    curves = trained.curves
    best = int(np.argmax(curves.validation_bound))
    assert len(weights) == len(curves.validation_bound) == len(curves.test_epoch) == 21
    assert curves.epoch[-1] == 40  # the schedule is not cut short
    assert curves.kept == curves.test_epoch[best] < 40
    assert curves.validation_bound[best] > curves.validation_bound[-1] + 1  # it turned down, by nats
    assert curves.train_bound_collected[-1] > curves.train_bound_collected[best] + 1  # while the training bound rose
    found = trained.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in weights[best].items())
    assert not all(torch.equal(found[name], value) for name, value in weights[-1].items())
    assert len(stored_best(tmp_path / "s.h5")) == len(found)
    models.save(tmp_path / "m.h5", trained, some, "0" * 64, CPU)
    loaded = models.load(tmp_path / "m.h5", CPU)
    assert loaded.provenance["epoch_kept"] == curves.kept and loaded.provenance["epoch"] == 40
    _, held = (torch.from_numpy(x) for x in loop.split(noise_images().train, some))
    assert original(loaded.model, held, some) == curves.validation_bound[best]


def stored_best(path: Path) -> dict[str, np.ndarray]:
    return store.read(path, "state").group("best")


def test_the_validation_bound_is_that_of_other_draws_within_their_error(tmp_path):
    """Against the mean over 2,000 draws of binarisation and z for each image."""
    some = spec(validation=0.4)
    model = train(some, tmp_path / "s.h5").model
    held = torch.from_numpy(loop.split(data().train, some)[1])
    generator = keyed(9, "other draws")
    many = held.repeat(2000, 1)
    expected = loop.mean_bound(model, loop.binarised(many, generator).float(), 1, generator)
    draws = [loop.mean_bound(model, loop.binarised(held, generator).float(), 1, generator) for _ in range(200)]
    assert abs(loop.validation_bound(model, held, some) - expected) < 4 * np.std(draws) / loop.VALIDATION_DRAWS**0.5


def test_validation_images_are_not_trained_on_and_an_epoch_has_as_many_steps(tmp_path, monkeypatch):
    """Of 20 images 5 are held out, and the others are one batch of 8: five passes of a step."""
    seen, steps, collected = [], [], []
    original, collect = loop._train_epoch, loop.collect_statistics

    def noted(step, x, *arguments):
        seen.append(x)
        steps.append(arguments[-1])
        return original(step, x, *arguments)

    monkeypatch.setattr(loop, "_train_epoch", noted)
    monkeypatch.setattr(loop, "collect_statistics", lambda model, x, g: (collected.append(x), collect(model, x, g)))
    some = spec(images=20, validation=0.25, binarise="never")
    train(some, tmp_path / "s.h5")
    assert steps == [1] * 4 * BATCHES
    rows, held = loop.split(data().train, some)
    both = {row.tobytes() for row in rows} | {row.tobytes() for row in held}
    assert (len(rows), len(held), len(both)) == (15, 5, 20)
    assert all(np.array_equal(x.numpy(), rows) for x in (*seen, *collected))
    whole = {row.tobytes() for row in loop.chosen(data().train, spec(images=20))}
    assert both == whole  # the subset is that of a run without validation
    assert not np.array_equal(held, loop.split(data().train, spec(images=20, validation=0.25, seed=1))[1])


@pytest.mark.parametrize("name", ["_train_epoch", "validation_bound", "_add_point"])
def test_a_run_with_a_validation_split_resumes(monkeypatch, tmp_path, name):
    """Stopped after the best epoch was passed, so that its weights are in the state alone."""
    monkeypatch.setattr(sys.modules[__name__], "data", noise_images)
    some = spec(**OVERFITTING)
    straight = train(some, tmp_path / "straight.state.h5")
    assert straight.curves.kept <= 14
    resumes_as_if_never_stopped(monkeypatch, tmp_path, some, loop, name, {"_train_epoch": 5 * 15}.get(name, 18))
    first, second = (store.read(tmp_path / f"{one}.state.h5", "state") for one in ("straight", "broken"))
    assert first.arrays.keys() == second.arrays.keys()
    assert all(np.array_equal(value, second.arrays[key]) for key, value in first.arrays.items())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"validation": 0.01}, "holds out 0 of 45 training images"),
        ({"validation": 0.9}, "holds out 40 of 45 training images; expected one or more, and at least a batch (8)"),
        ({"images": 10, "validation": 0.3}, "holds out 3 of 10 training images"),
    ],
)
def test_a_validation_split_that_leaves_too_little_is_refused(tmp_path, changes, words):
    with pytest.raises(InputError, match=re.escape(words)):
        train(spec(**changes), tmp_path / "s.h5")


class Stop(Exception):
    """A kill at a chosen place."""


def stop_at(monkeypatch: pytest.MonkeyPatch, place: object, name: str, call: int) -> None:
    """The `call`-th call of `place.name` raises; the name may have a dot."""
    *path, name = name.split(".")
    for part in path:
        place = getattr(place, part)
    function, calls = getattr(place, name), iter(range(1, 10**6))

    def counted(*arguments, **options):
        if next(calls) == call:
            raise Stop
        return function(*arguments, **options)

    monkeypatch.setattr(place, name, counted)


@functools.cache
def straight_run(spec: RunSpec) -> Trained:
    """The uninterrupted run that others are compared with."""
    with tempfile.TemporaryDirectory() as folder:
        return train(spec, Path(folder) / "s.h5")


def resumes_as_if_never_stopped(monkeypatch, tmp_path, spec, place, name, call, save_seconds=0.0):
    straight = straight_run(spec)
    state = tmp_path / "broken.state.h5"
    with monkeypatch.context() as patch, pytest.raises(Stop):
        stop_at(patch, place, name, call)
        train(spec, state, save_seconds)
    broken = train(spec, state, save_seconds)
    assert_equal(straight, broken)
    for file, trained in (("a.h5", straight), ("b.h5", broken)):
        models.save(tmp_path / file, trained, spec, "0" * 64, CPU)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


# ---- resume ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("Step.__call__", 1),  # the first step of all
        ("Step.__call__", BATCHES),  # the last step of epoch 1
        ("mean_bound", 1),  # the point of the learning curve after epoch 1
        ("Step.__call__", 2 * BATCHES + 3),  # inside epoch 3
        ("collect_statistics", 3),  # after epoch 4
        ("binarised", 3),
        ("_add_point", 3),  # after the last step
    ],
)
def test_resumed_run_equals_uninterrupted(monkeypatch, tmp_path, name, call):
    resumes_as_if_never_stopped(monkeypatch, tmp_path, spec(), loop, name, call)


@pytest.mark.parametrize(("place", "name"), [(training_state.store, "write"), (os, "replace"), (os, "fsync")])
@pytest.mark.parametrize("call", [1, 3])
def test_a_run_stopped_while_it_saves_loses_nothing(monkeypatch, tmp_path, place, name, call):
    resumes_as_if_never_stopped(monkeypatch, tmp_path, spec(), place, name, call)


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": 5},
        {"reconstruction_draw": "second"},
        {"binarise": "never"},
        {"precision": "bf16"},
        {"network": replace(NETWORK, attention="softmax", composition="sum")},
        {"network": replace(NETWORK, likelihood="gaussian"), "binarise": "never", "learning_rate": 1e-3},
        {"network": replace(NETWORK, slots=(0,))},
        {"network": TWO_LAYERS},
    ],
    ids=str,
)
def test_every_variant_resumes(monkeypatch, tmp_path, changes):
    resumes_as_if_never_stopped(monkeypatch, tmp_path, spec(**changes), loop, "_train_epoch", 3)


def test_how_often_the_state_is_saved_does_not_matter(monkeypatch, tmp_path):
    """Without a state the run starts again, and ends the same."""
    resumes_as_if_never_stopped(monkeypatch, tmp_path, spec(), loop, "_train_epoch", 3, save_seconds=1e9)


def test_a_run_killed_again_and_again_ends_with_the_same_file(tmp_path):
    """The command line, SIGKILL wherever it happens to be; MEMVAE_SAVE_SECONDS makes every epoch a state."""
    tiny = spec(epochs=100, full_epochs=100, curve_every=10)
    images = np.random.default_rng(1).integers(0, 256, (45, 16), dtype=np.uint8)
    arrays = {"train/images": images, "test/images": images[:20], "test/binary": (images[:20] > 127).astype(np.uint8)}
    facts = {"dataset": "tiny", "title": "tiny", "image": [4, 4], "maximum": 255, "likelihood": "bernoulli"}
    store.write(tmp_path / "tiny.h5", "dataset", arrays, facts)
    command = [sys.executable, "-m", "memvae", "train", tiny.run, "--spec", tiny.to_json(), "--data", "tiny.h5"]
    environment = ENVIRONMENT | {"MEMVAE_DEVICE": "cpu", "MEMVAE_SAVE_SECONDS": "0"}

    def run(output: str, kill_after: int | None = None) -> int:
        process = subprocess.Popen(
            [*command, "--output", output], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        )
        with process:
            for line in process.stderr:
                if kill_after and f"epoch {kill_after}/" in line:
                    process.send_signal(signal.SIGKILL)
        return process.returncode

    for epoch in (3, 30):
        assert run("killed.h5", kill_after=epoch) == -signal.SIGKILL
        assert not (tmp_path / "killed.h5").exists()
    assert run("killed.h5") == run("straight.h5") == 0
    assert json.loads((tmp_path / "killed.h5.run.json").read_text())["seconds"] > 0
    killed, straight = (store.read(tmp_path / name, "model") for name in ("killed.h5", "straight.h5"))
    assert all(np.array_equal(value, straight.arrays[name]) for name, value in killed.arrays.items())
    assert killed.attributes == straight.attributes  # differs where the package is edited meanwhile: code_version
    assert (tmp_path / "killed.h5").read_bytes() == (tmp_path / "straight.h5").read_bytes()


def test_a_finished_state_gives_the_model_without_another_step(monkeypatch, tmp_path):
    first = train(spec(), tmp_path / "s.h5")
    stop_at(monkeypatch, loop, "_train_epoch", 1)
    second = train(spec(), tmp_path / "s.h5")
    assert_equal(first, second)
    assert (first.earlier, second.earlier) == (0, spec().training.epochs)
    x = torch.from_numpy(data().test)
    assert torch.equal(first.model.encode(x).mean, second.model.encode(x).mean)  # both by collected statistics


def test_the_state_holds_weights_optimiser_epoch_generator_and_curves(tmp_path):
    trained = train(spec(), tmp_path / "s.h5")
    stored = store.read(tmp_path / "s.h5", "state")
    names = {name for name, _ in trained.model.named_parameters()}
    assert stored.group("adam/first").keys() == stored.group("adam/second").keys() == names
    assert stored.group("weights").keys() == trained.model.state_dict().keys()
    assert {"normalise.mean", "normalise.variance"} <= {k.split(".", 2)[-1] for k in stored.group("weights")}
    assert stored.arrays["generator"].shape == torch.Generator().get_state().shape
    assert stored.group("curves").keys() == vars(trained.curves).keys() - {"validation_bound"}
    expected = {"epoch": 4, "step": 4 * BATCHES, "data_sha256": "0" * 64, "spec": json.loads(spec().to_json())}
    assert expected.items() <= stored.attributes.items()


# ---- states that are not used ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"learning_rate": 2e-2},
        {"epochs": 5},
        {"network": replace(NETWORK, slots=(5,))},
    ],
    ids=str,
)
def test_a_state_of_other_settings_is_set_aside(tmp_path, capsys, changes):
    train(spec(), tmp_path / "s.h5")
    earlier = (tmp_path / "s.h5").read_bytes()
    assert_equal(train(spec(**changes), tmp_path / "s.h5"), straight_run(spec(**changes)))
    assert (tmp_path / "s.h5.aside-1").read_bytes() == earlier
    assert "set aside" in capsys.readouterr().err


def test_a_state_of_other_data_is_set_aside(tmp_path, capsys):
    train(spec(), tmp_path / "s.h5")
    other = replace(data(), train=data().train[::-1].copy(), sha256="1" * 64)
    assert_equal(train(spec(), tmp_path / "s.h5", material=other), train(spec(), tmp_path / "fresh.h5", material=other))
    assert (tmp_path / "s.h5.aside-1").exists() and "data_sha256" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign"])
def test_a_damaged_state_is_set_aside(tmp_path, capsys, damage):
    expected = train(spec(), tmp_path / "s.h5")
    content = (tmp_path / "s.h5").read_bytes()
    broken = {"truncated": content[:-1], "empty": b"", "foreign": b"not a state"}[damage]
    (tmp_path / "s.h5").write_bytes(broken)
    assert_equal(train(spec(), tmp_path / "s.h5"), expected)
    assert (tmp_path / "s.h5.aside-1").read_bytes() == broken
    assert "set aside" in capsys.readouterr().err


def test_states_set_aside_are_all_kept(tmp_path):
    for content in (b"first", b"second"):
        (tmp_path / "s.h5").write_bytes(content)
        train(spec(epochs=1), tmp_path / "s.h5")
    assert [(tmp_path / f"s.h5.aside-{n}").read_bytes() for n in (1, 2)] == [b"first", b"second"]


def test_a_second_process_cannot_train_into_one_state(tmp_path):
    """The lock is the system's: it is gone with the process that held it, however that ended."""
    state = tmp_path / "s.h5"
    holder = (
        "import sys, time, pathlib; from memvae.training.state import lock\n"
        "with lock(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(state)], stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="another process") as caught:
            train(spec(), state)
        assert "\n" not in str(caught.value) and not state.exists()
        process.kill()
    assert train(spec(), state).curves.epoch == [1, 2, 3, 4]


def test_without_locks_the_process_that_came_first_stops_at_its_next_state(tmp_path, monkeypatch, capsys):
    """As on a file system whose locks do not reach from node to node: the newer process goes on, never both."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(training_state.fcntl, "flock", no_locks)
    state = tmp_path / "s.h5"
    first_epochs, original = [], loop._train_epoch

    def second_comes_in(step, x, tiny, epoch, generator, steps):
        if epoch == 3 and not first_epochs:
            first_epochs.append(epoch)
            monkeypatch.setattr(loop, "_train_epoch", original)
            second.append(train(spec(), state, save_seconds=0))
        return original(step, x, tiny, epoch, generator, steps)

    second: list[Trained] = []
    monkeypatch.setattr(loop, "_train_epoch", second_comes_in)
    with pytest.raises(InputError, match="never two") as caught:
        train(spec(), state, save_seconds=0)
    assert "\n" not in str(caught.value) and "no locks here" in capsys.readouterr().err
    assert store.read(state, "state").attributes["epoch"] == 4  # the second's, to its end
    assert_equal(second[0], train(spec(), tmp_path / "alone.h5"))


# ---- a bound that is not finite --------------------------------------------------------------------------------------
def test_an_absurd_learning_rate_stops_with_one_line(tmp_path):
    with pytest.raises(InputError, match=r"expected a finite number.*learning_rate") as caught:
        train(spec(learning_rate=1e15), tmp_path / "s.h5")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("batch_size", [8, 45])  # 45: the weights are lost in the last, only, step of an epoch
def test_a_lost_run_keeps_its_last_good_state(monkeypatch, tmp_path, batch_size):
    tiny = spec(batch_size=batch_size)
    with monkeypatch.context() as patch, pytest.raises(InputError, match="expected a finite number"):
        patch.setattr(loop, "learning_rate", lambda _, epoch: 1e-2 if epoch < 3 else math.inf)
        train(tiny, tmp_path / "s.h5", save_seconds=0)
    stored = store.read(tmp_path / "s.h5", "state")
    assert stored.attributes["epoch"] == 2
    assert all(np.isfinite(value).all() for value in stored.arrays.values())
    assert train(tiny, tmp_path / "s.h5").curves.epoch == [1, 2, 3, 4]  # with a sensible rate it trains on


def test_a_model_lost_in_its_last_step_is_never_returned(monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "learning_rate", lambda _, epoch: 1e-2 if epoch < 4 else math.inf)
    with pytest.raises(InputError, match="expected a finite number"):
        train(spec(batch_size=45), tmp_path / "s.h5")


# ---- what an epoch does ----------------------------------------------------------------------------------------------
def batches_of(monkeypatch, tmp_path, spec: RunSpec, material: TrainingData) -> list[np.ndarray]:
    """The images of every training step."""
    seen, step = [], loop.Step.__call__

    def recorded(self, x, *others):
        seen.append(x.numpy().copy())
        return step(self, x, *others)

    monkeypatch.setattr(loop.Step, "__call__", recorded)
    train(spec, tmp_path / "s.h5", material=material)
    return seen


def test_order_is_new_every_epoch_and_the_incomplete_batch_is_dropped(monkeypatch, tmp_path):
    numbered = replace(data(), train=np.arange(45 * 16, dtype=np.float32).reshape(45, 16) / (45 * 16))
    seen = batches_of(monkeypatch, tmp_path, spec(binarise="never"), numbered)
    assert len(seen) == 4 * BATCHES and {len(x) for x in seen} == {8}
    orders = [tuple(np.round(np.concatenate(epoch)[:, 0] * 45).astype(int)) for epoch in np.array_split(seen, 4)]
    assert all(len(set(order)) == 40 for order in orders)  # no image twice in an epoch
    assert len(set(orders)) == 4
    assert len({frozenset(order) for order in orders}) > 1  # not always the same images are left out


def test_the_training_set_is_binarised_anew_every_epoch(monkeypatch, tmp_path):
    grey = replace(data(), train=np.full((40, 16), 0.3, dtype=np.float32))
    seen = batches_of(monkeypatch, tmp_path, spec(), grey)
    epochs = [np.concatenate(epoch) for epoch in np.array_split(seen, 4)]
    assert set(np.unique(epochs)) == {0.0, 1.0}
    assert len({np.sort(epoch.sum(1)).tobytes() for epoch in epochs}) == 4
    ones = int(np.sum(epochs))
    assert stats.binomtest(ones, 4 * 40 * 16, 0.3).pvalue > 1e-3  # the seed is fixed


def test_binarised_pixels_are_bernoulli_and_certain_where_the_pixel_is():
    pixels = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0]).expand(20000, 5)
    x = loop.binarised(pixels, keyed(0, "test"))
    assert x.dtype == torch.bool
    mean = x.double().mean(0)
    assert mean[0] == 0 and mean[-1] == 1
    # five standard errors of a proportion of 20,000
    torch.testing.assert_close(mean, pixels[0].double(), rtol=0, atol=5 * 0.5 / 20000**0.5)


def test_images_are_left_as_they_are_where_nothing_is_binarised(monkeypatch, tmp_path):
    seen = batches_of(monkeypatch, tmp_path, spec(binarise="never"), data())
    rows = {row.tobytes() for row in data().train}
    assert all(row.tobytes() in rows for batch in seen for row in batch)


def test_how_often_a_point_is_made_does_not_change_the_weights(tmp_path):
    often, seldom = (train(spec(curve_every=n), tmp_path / f"{n}.h5") for n in (1, 100))
    assert often.curves.test_epoch == [1, 2, 3, 4] and seldom.curves.test_epoch == [1, 4]
    assert often.curves.train_bound == seldom.curves.train_bound
    assert often.curves.test_bound[-1] == seldom.curves.test_bound[-1]
    a, b = often.model.state_dict(), seldom.model.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_another_seed_is_another_run(tmp_path):
    first, second = (train(spec(seed=seed), tmp_path / f"{seed}.h5") for seed in (0, 1))
    assert not torch.equal(first.model.output.weight, second.model.output.weight)


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("slots", [(0,), (4,)])
def test_training_improves_the_bound(tmp_path, samples, slots):
    """Two kinds of images: from 11.1 nats (16 coins) towards log 2."""
    network, certain = replace(NETWORK, slots=slots), data(test=160).test
    tiny = spec(network, samples=samples, epochs=20, full_epochs=20)
    material = TrainingData(certain[::-1].copy(), certain[:40], "")
    curves = train(tiny, tmp_path / "s.h5", material=material).curves
    assert curves.train_bound[-1] > curves.train_bound[0] + 4
    assert curves.test_bound[-1] > curves.test_bound[0] + 4
    assert curves.test_bound[-1] < -math.log(2)


def test_the_point_of_the_curve_is_the_bound_by_collected_statistics(tmp_path):
    trained = train(spec(), tmp_path / "s.h5")
    x = torch.from_numpy(data().test)
    values = [loop.mean_bound(trained.model, x, 1, keyed(seed, "test")) for seed in range(100)]
    assert abs(trained.curves.test_bound[-1] - np.mean(values)) < 5 * np.std(values)  # one draw among a hundred


def test_mean_bound_weighs_every_image_the_same(monkeypatch):
    """Also where the last chunk is shorter than the others."""
    model = loop.MemVAE(NETWORK).initialise(keyed(0, "weights")).use_statistics("collected")
    x = torch.from_numpy(data().test)
    monkeypatch.setitem(loop.EVALUATION_ROWS, "cpu", 7)
    monkeypatch.setattr(loop, "draw_noise", lambda k, rows, latent, _: torch.zeros(k, rows, latent))
    each = [loop.mean_bound(model, row[None], 1, keyed(0, "test")) for row in x]
    assert loop.mean_bound(model, x, 1, keyed(0, "test")) == pytest.approx(np.mean(each), rel=1e-5)  # float32


@pytest.mark.parametrize(
    ("material", "message"),
    [
        (TrainingData(np.zeros((45, 15), np.float32), np.zeros((5, 15), np.float32), ""), "15 pixels.*expects 16"),
        (
            TrainingData(np.zeros((7, 16), np.float32), np.zeros((5, 16), np.float32), ""),
            "7 training images.*batch of 8",
        ),
    ],
)
def test_data_that_do_not_fit_are_refused(tmp_path, material, message):
    with pytest.raises(InputError, match=message.replace(".*", r"(.|\n)*")):
        train(spec(), tmp_path / "s.h5", material=material)


def test_a_state_that_cannot_be_read_just_now_is_not_set_aside(tmp_path, monkeypatch) -> None:
    state = tmp_path / "m.state.h5"
    train(spec(), state, save_seconds=0)
    whole = state.read_bytes()

    def failing(path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched, pytest.raises(Unreadable, match="cannot be read just now"):
        patched.setattr(Path, "read_bytes", failing)
        train(spec(), state)
    assert state.read_bytes() == whole and not list(tmp_path.glob("*.aside-*"))


def test_a_state_of_before_with_titles_in_its_specification_is_continued(tmp_path) -> None:
    """As the trainings at the paper's scale have it."""
    state = tmp_path / "m.state.h5"
    whole = train(spec(), state, save_seconds=0)
    stored = store.read(state, "state")
    attributes = {k: v for k, v in stored.attributes.items() if k not in ("format", "format_version", "sha256")}
    attributes["spec"] |= {"dataset_title": "tiny", "model_title": "MEM-VAE"}
    store.write(state, "state", stored.arrays, attributes, compress=False)
    continued = train(spec(), state)
    assert continued.earlier == 4 and not list(tmp_path.glob("*.aside-*"))
    assert_equal(whole, continued)
