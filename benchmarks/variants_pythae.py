"""pythae's VAE with its trainer: the same network as custom encoder and decoder. No memory, K = 1, analytic KL.

Its trainer does not clip and takes torch's Adam, so bound and gradient are compared and the change of weights is not.
"""

import contextlib
import logging
import os
import tempfile

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor

from benchmarks.problem import Arrays, Problem
from benchmarks.variants_torch import FLOAT32, PlainVAE, load


class Pythae:
    """One epoch of `BaseTrainer.train_step`, with the trainer's own loader, progress bar and sum of losses."""

    name = "pythae trainer"
    tolerance = FLOAT32
    analytic_kl, clips = True, False

    def __init__(self, problem: Problem):
        self.problem = problem
        self.plain = PlainVAE(problem.network)
        load(self.plain, problem.weights)
        shape = VAEConfig(
            input_dim=(problem.network.pixels,), latent_dim=problem.network.latent, reconstruction_loss="bce"
        )
        self.model = VAE(shape, encoder=_Encoder(self.plain), decoder=_Decoder(self.plain))
        self.trainer: BaseTrainer | None = None

    def step(self, x: np.ndarray, noise: np.ndarray) -> float:
        """Loss and gradient of the trainer's step with these draws; no optimiser's step, which differs."""
        eps = torch.from_numpy(noise[0])
        self.model.train()
        self.model._sample_gauss = lambda mu, std: (mu + eps * std, eps)
        loss = self.model({"data": torch.from_numpy(x)}).loss
        del self.model._sample_gauss
        self.model.zero_grad()
        loss.backward()
        return -loss.item()

    def gradient(self) -> Arrays:
        return {name: p.grad.double().numpy() for name, p in self.plain.named_parameters() if p.grad is not None}

    def weights(self) -> Arrays:
        return {name: p.detach().double().numpy().copy() for name, p in self.plain.named_parameters()}

    def epoch(self) -> float:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):  # its progress bar
            self.trainer = self.trainer or self._trainer()
            return float(self.trainer.train_step(epoch=1))

    def _trainer(self) -> BaseTrainer:
        x = torch.from_numpy(self.problem.x)
        settings = BaseTrainerConfig(
            output_dir=tempfile.mkdtemp(prefix="benchmark"),
            per_device_train_batch_size=self.problem.batch,
            learning_rate=self.problem.training.learning_rate,
            optimizer_params={"eps": self.problem.training.epsilon},
            no_cuda=True,
        )
        logging.disable(logging.INFO)  # its loggers set their own levels
        trainer = BaseTrainer(self.model, BaseDataset(x, torch.zeros(len(x))), training_config=settings)
        trainer.prepare_training()
        logging.disable(logging.NOTSET)
        return trainer


class _Encoder(BaseEncoder):
    def __init__(self, plain: PlainVAE):
        super().__init__()
        self.plain = plain
        self.latent_dim = plain.posterior_mean.out_features

    def forward(self, x: Tensor) -> ModelOutput:
        mean, log_variance, _ = self.plain.encode(x)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class _Decoder(BaseDecoder):
    def __init__(self, plain: PlainVAE):
        super().__init__()
        self.plain = plain

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.plain.decode(z)[0])
