"""MEM-VAE: a variational autoencoder whose decoder reads an external memory (Li, Zhu, Zhang; ICML 2016)."""

__version__ = "0.1.0"
