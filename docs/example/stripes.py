"""An example of your own data set: synthetic soft stripes in four directions.

`python docs/example/stripes.py FILE` writes the same arrays to an HDF5 file.
"""

import sys

import numpy as np

SIZE = 16  # rows and columns
TRAIN, TEST = 1000, 200  # images


def stripes(entry):
    """The arrays of the data set; `entry` is its entry in the configuration (not used here).

    Images are floats in [0, 1], [N, rows, columns]; labels are whole numbers from 0, [N].
    """
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", TRAIN), ("test", TEST)):
        labels = np.arange(count) % 4
        angle = labels * np.pi / 4 + rng.normal(0, 0.1, count)
        phase = rng.uniform(0, 2 * np.pi, count)
        rows, columns = np.mgrid[:SIZE, :SIZE]
        across = np.cos(angle)[:, None, None] * rows + np.sin(angle)[:, None, None] * columns  # [N, rows, columns]
        wave = np.sin(across * 2 * np.pi / 8 + phase[:, None, None])
        arrays[f"{split}/images"] = 1 / (1 + np.exp(-4 * wave))
        arrays[f"{split}/labels"] = labels
    return arrays


if __name__ == "__main__":
    import h5py

    with h5py.File(sys.argv[1], "w") as file:
        for name, array in stripes({}).items():
            file[name] = array
