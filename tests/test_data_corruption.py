"""Missing pixels: where they lie, how many they are, and that batching cannot change them."""

import numpy as np
import pytest
from scipy import stats

from memvae.data.corruption import Noise, missing, noises, starting_values
from memvae.errors import InputError

SETTINGS = {"squares": [6, 8, 10, 12], "drops": [0.2, 0.4, 0.6, 0.8], "left_half": True}
ALL = noises(SETTINGS)
IMAGE = (28, 28)


def test_names_and_order_follow_the_config():
    names = "square_6 square_8 square_10 square_12 drop_0.2 drop_0.4 drop_0.6 drop_0.8 left_half"
    assert [noise.name for noise in ALL] == names.split()
    assert noises({"squares": [], "drops": [], "left_half": False}) == []


@pytest.mark.parametrize("noise", ALL, ids=lambda noise: noise.name)
@pytest.mark.parametrize("draw", [missing, starting_values])
def test_the_draw_of_an_image_does_not_depend_on_how_many_follow(noise, draw):
    many = draw(noise, 50, IMAGE, 3)
    for count in (0, 1, 7, 49):
        np.testing.assert_array_equal(draw(noise, count, IMAGE, 3), many[:count])


@pytest.mark.parametrize("image", [(28, 28), (28, 20), (16, 8)])
def test_a_square_is_centred_and_the_same_in_every_image(image):
    mask = missing(Noise("square_6", "square", 6), 3, image, 0).reshape(3, *image)
    assert mask.sum() == 3 * 36
    np.testing.assert_array_equal(mask, mask[:, ::-1, ::-1])
    rows, columns = image[0] // 2, image[1] // 2
    assert mask[:, rows - 3 : rows + 3, columns - 3 : columns + 3].all()


def test_the_left_half_is_the_columns_0_to_13():
    mask = missing(ALL[-1], 2, IMAGE, 0).reshape(2, *IMAGE)
    assert mask[:, :, :14].all() and not mask[:, :, 14:].any()


@pytest.mark.parametrize("probability", [0.2, 0.4, 0.6, 0.8])
def test_dropped_pixels_are_binomial_and_differ_between_images(probability):
    mask = missing(Noise(f"drop_{probability}", "drop", probability), 1000, IMAGE, 1)
    # two-sided test of the total; the seed is fixed, so it either always or never passes
    assert stats.binomtest(int(mask.sum()), mask.size, probability).pvalue > 0.001
    per_pixel = mask.mean(0)
    assert abs(per_pixel - probability).max() < 5 * np.sqrt(probability * (1 - probability) / 1000)
    assert len(np.unique(mask, axis=0)) == 1000


def test_starting_values_are_uniform():
    values = starting_values(ALL[-1], 200, IMAGE, 0)
    assert values.min() >= 0 and values.max() < 1
    assert stats.kstest(values.ravel(), "uniform").pvalue > 0.001


def test_seeds_noises_and_purposes_have_their_own_streams():
    drop = ALL[4]
    draws = [
        starting_values(drop, 2, IMAGE, 0),
        starting_values(drop, 2, IMAGE, 1),
        starting_values(ALL[5], 2, IMAGE, 0),
        missing(drop, 2, IMAGE, 0),
        missing(drop, 2, IMAGE, 1),
        starting_values(drop, 2, IMAGE, 0) < drop.level,  # what the mask would be if it shared the stream
    ]
    assert len({draw.tobytes() for draw in draws}) == len(draws)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"squares": [7]}, "found 7"),
        ({"squares": [0]}, "found 0"),
        ({"squares": [-2]}, "found -2"),
        ({"drops": [0]}, "found 0"),
        ({"drops": [1.5]}, "found 1.5"),
        ({"drops": [float("nan")]}, "found nan"),
    ],
)
def test_impossible_levels_are_refused(change, found):
    with pytest.raises(InputError, match=f"analyses.imputation.*{found}, expected"):
        noises(SETTINGS | change)


@pytest.mark.parametrize("side", [9, 10, 30])
def test_a_square_that_does_not_fit_is_refused(side):
    with pytest.raises(InputError, match=f"found {side} for images of 16 x 8"):
        missing(Noise(f"square_{side}", "square", side), 1, (16, 8), 0)
