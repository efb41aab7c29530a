# python docs/example/load_model.py MODEL IMAGES: 16 images from the prior of a trained model, [16, rows, columns]
import sys

import torch

import memvae

model = memvae.load_model(sys.argv[1])
torch.save(model.decode(model.sample_prior(16)).mean.unflatten(1, model.network.image), sys.argv[2])
