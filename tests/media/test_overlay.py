"""Heat colours and overlays, checked by their pixels."""

import numpy as np
import pytest

from unisal_jax.media.overlay import density_panel, heat_colours, overlay


def bump(height=60, width=80):
    y, x = np.mgrid[:height, :width]
    density = np.exp(-((y - 20) ** 2 + (x - 30) ** 2) / 200.0)
    return (density / density.sum()).astype(np.float32)


def noise(height=60, width=80):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_heat_runs_from_blue_to_red():
    heat = heat_colours(bump())
    assert heat.shape == (60, 80, 3) and heat.dtype == np.uint8
    red, green, blue = heat[20, 30].astype(int)
    assert red > 180 and red > 2 * green and red > 2 * blue
    red, green, blue = heat[-1, -1].astype(int)
    assert blue > 180 and blue > 2 * red


def test_heat_does_not_depend_on_the_scale():
    np.testing.assert_array_equal(heat_colours(bump()), heat_colours(bump().astype(np.float64) * 1e4))


def test_overlay_leaves_the_unattended_as_it_is():
    image, density = noise(), bump()
    before = image.copy()
    result = overlay(image, density)
    assert result.shape == image.shape and result.dtype == np.uint8
    far = density < density.max() / 1000
    assert far.mean() > 0.2
    np.testing.assert_array_equal(result[far], image[far])
    np.testing.assert_array_equal(image, before)


def test_overlay_at_the_peak_is_the_weighted_mean():
    image, density = noise(), bump()
    heat = heat_colours(density)[20, 30].astype(float)
    for opacity in (0.0, 0.3, 0.7, 1.0):
        expected = (1 - opacity) * image[20, 30] + opacity * heat
        np.testing.assert_allclose(overlay(image, density, opacity)[20, 30], expected, atol=1.5)


@pytest.mark.parametrize("grey", [0, 128, 200, 255])
def test_heat_has_no_edge_on_a_plain_background(grey):
    """A density that falls from its peak to 0 over 2,000 pixels has no visible steps."""
    density = np.linspace(1, 0, 2000, dtype=np.float32)[None]
    result = overlay(np.full((1, 2000, 3), grey, np.uint8), density)[0].astype(int)
    assert np.abs(np.diff(result, axis=0)).max() <= 5
    # It begins from nothing, and not with a film of colour.
    assert np.abs(result[density[0] < 0.01] - grey).max() <= 1


def test_a_map_of_zeros_changes_nothing():
    image = noise()
    np.testing.assert_array_equal(overlay(image, np.zeros((60, 80), np.float32)), image)
    assert heat_colours(np.zeros((2, 3))).shape == (2, 3, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1)])
def test_small_sizes(size):
    assert overlay(noise(*size), np.ones(size, np.float32)).shape == (*size, 3)


def test_sizes_must_match():
    with pytest.raises(ValueError, match=r"\(60, 80, 3\).*\(30, 40\)"):
        overlay(noise(), np.ones((30, 40)))


def test_panel_is_image_map_overlay():
    image, density = noise(), bump()
    panel = density_panel(image, density)
    assert panel.shape == (60, 240, 3)
    np.testing.assert_array_equal(panel[:, :80], image)
    assert (panel[20, 80 + 30] == 255).all()
    np.testing.assert_array_equal(panel[:, 160:], overlay(image, density))
