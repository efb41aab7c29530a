"""Random generators with a key for each purpose: no result depends on chunk sizes or on the order of work."""

import hashlib

import torch


def seed_of(*key: int | str) -> int:
    """63 bits from the sha256 of a key such as (seed, "likelihood", image, block).

    torch's CPU generator uses the lower 32: of many thousand keys a few pairs draw the same, for unrelated images.
    """
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "little") >> 1


def keyed(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator of its own for this key."""
    return torch.Generator(device).manual_seed(seed_of(*key))
