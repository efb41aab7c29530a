"""An example of your own analysis: distances between posteriors of test images, within a class and between classes."""

from memvae.analyses import Analysis, Work
from memvae.settings.rules import Whole

ANALYSIS = Analysis(
    version=1,
    settings={"images": Whole(least=2, default=1000)},  # test images, the first ones
    labels=True,
    tables={"distances": "Distances of posteriors"},
    figures={"distance_histogram": "Distances of posteriors, image by image"},
    work=lambda network, settings, train_images, test_images: Work(seconds=2e-6 * settings["images"] ** 2),
)
