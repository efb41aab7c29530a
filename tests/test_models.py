"""Model files: what is read is what was saved."""

from dataclasses import replace

import numpy as np
import pytest
import reference
import torch
import untrained

from memvae.errors import InputError
from memvae.files import store
from memvae.model import trained as models
from memvae.model.network import MemVAE
from memvae.random import keyed
from memvae.settings.spec import Network, RunSpec
from memvae.training.loop import Trained
from memvae.training.state import Curves

pytestmark = pytest.mark.usefixtures("double")
CPU = torch.device("cpu")

TRAINING = replace(untrained.MNIST, epochs=3, full_epochs=3, constant_epochs=1, batch_size=8, curve_every=1)
SPEC = RunSpec("tiny-mem_vae-k1-s0", "tiny", 0, Network(**reference.NETWORKS["mem_vae"]), TRAINING)


def saved(path, spec: RunSpec = SPEC) -> Trained:
    model = reference.randomise(MemVAE(SPEC.network).float(), keyed(6, "model"))
    trained = Trained(model, Curves([1, 2, 3], [-3.0, -2.0, -1.0], [1, 3], [-4.0, -2.0], [-3.5, -1.5]), "float32")
    models.save(path, trained, spec, "d" * 64, CPU)
    return trained


def test_a_model_file_gives_back_the_model_its_statistics_and_its_curves(tmp_path):
    torch.set_default_dtype(torch.float32)
    trained = saved(tmp_path / "m.h5")
    loaded = models.load(tmp_path / "m.h5", CPU)
    assert loaded.spec == SPEC and untrained.statistics(loaded.model) == {"collected"}
    a, b = trained.model.state_dict(), loaded.model.state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    stored = store.read(tmp_path / "m.h5", "model")
    for name, values in trained.curves.arrays().items():
        np.testing.assert_array_equal(stored.arrays[name], values)
    expected = {"epoch": 3, "data_sha256": "d" * 64, "model_sha256": stored.attributes["sha256"]}
    assert expected.items() <= loaded.provenance.items()


def test_weights_that_do_not_fit_the_specification_are_refused(tmp_path):
    torch.set_default_dtype(torch.float32)
    saved(tmp_path / "m.h5", replace(SPEC, network=replace(SPEC.network, slots=(5, 3))))
    with pytest.raises(InputError, match=r"m\.h5") as caught:
        models.load(tmp_path / "m.h5", CPU)
    assert "\n" not in str(caught.value)


def test_a_state_is_no_model(tmp_path):
    store.write(tmp_path / "s.h5", "state", {"x": np.zeros(1)}, {})
    with pytest.raises(InputError, match="found memvae/state, expected memvae/model"):
        models.load(tmp_path / "s.h5", CPU)
