import io
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.prepared_data import Clip, make_clip, write_prepared
from unisal_jax.data.augment import Augmentation
from unisal_jax.data.device import on_device
from unisal_jax.data.examples import Arrays, DomainSource
from unisal_jax.data.geometry import (
    TRAINING,
    Geometry,
    evaluation_input_size,
    fit_fixations,
    fit_image,
    training_geometry,
)
from unisal_jax.data.loader import Loader
from unisal_jax.data.prepared import open_prepared
from unisal_jax.domains import DHF1K, HOLLYWOOD2, SALICON, UCF_SPORTS, Domain
from unisal_jax.evaluate.sources import open_data

REAL_CLIP = Path(__file__).parents[3] / "shared/data/ucf_sports/testing/Diving-Side-001"
LANCZOS, NEAREST = Image.Resampling.LANCZOS, Image.Resampling.NEAREST

FITS = {"hollywood2": HOLLYWOOD2.input_size, "ucf_sports": UCF_SPORTS.input_size}


def plain(pixels, box, size, resample):
    """With plain Pillow: resizes to `box` (height, width), then crops or pads around the centre to `size`."""
    image = Image.fromarray(pixels).resize(box[::-1], resample)
    pad_top, pad_left = (max(0, new - old) // 2 for old, new in zip(box, size, strict=True))
    roomy = Image.new(image.mode, tuple(max(old, new) for old, new in zip(box, size, strict=True))[::-1])
    roomy.paste(image, (pad_left, pad_top))
    top, left = round((roomy.height - size[0]) / 2), round((roomy.width - size[1]) / 2)
    return np.asarray(roomy.crop((left, top, left + size[1], top + size[0])))


def plain_box(dataset, old, size):
    if dataset == "hollywood2":
        return size[0], int(old[1] * size[0] / old[0])
    if old[1] / old[0] < size[1] / size[0]:
        return int(size[1] / (old[1] / old[0])), size[1]
    return size[0], int(size[0] * (old[1] / old[0]))


def marks(points, size):
    out = np.zeros(size, np.uint8)
    out[tuple(np.asarray(points, int).reshape(-1, 2).T)] = 255
    return out


def unpack(arrays):
    return np.unpackbits(arrays.fixations, axis=-1)[..., : arrays.maps.shape[-1]]


def real_clip():
    if not REAL_CLIP.is_dir():
        pytest.skip("the real clip is not beside the repository (shared/data/ucf_sports)")
    return {kind: sorted((REAL_CLIP / kind).glob("*.png")) for kind in ("images", "maps", "fixation")}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    files = real_clip()
    frames, maps, fixations = (
        [np.asarray(Image.open(path)) for path in files[kind]] for kind in ("images", "maps", "fixation")
    )
    clip = Clip(
        "Diving-Side-001", frames, maps, [np.argwhere(f > 127) for f in fixations], frames[0].shape[:2]
    )
    path = write_prepared(tmp_path_factory.mktemp("real"), "ucf_sports", {"test": [clip]})
    return open_prepared(path, "test"), frames, maps, fixations


def test_training_clip_of_the_real_clip_equals_plain_pillow(real):
    prepared, frames, maps, fixations = real
    batch = next(Loader([DomainSource(UCF_SPORTS, prepared, 1)], seed=3, threads=0))
    first = int(batch.ids[0].rsplit("/", 1)[1])
    assert 0 <= first <= 54 - 45
    taken = range(first, first + 45, 4)
    assert batch.arrays.frames.shape == (1, 12, 256, 384, 3)
    # 404x720 becomes 456 wide at a height of 256, and is cropped to 384.
    crop = (36, 0, 420, 256)

    def expected(images, resample):
        return np.array(
            [np.asarray(Image.fromarray(images[i]).resize((456, 256), resample).crop(crop)) for i in taken]
        )

    np.testing.assert_array_equal(batch.arrays.frames[0], expected(frames, LANCZOS))
    np.testing.assert_array_equal(batch.arrays.maps[0], expected(maps, LANCZOS))
    np.testing.assert_array_equal(unpack(batch.arrays)[0] == 1, expected(fixations, NEAREST) > 127)


def test_the_real_clip_is_scored_as_it_was_released(real):
    prepared, frames, maps, fixations = real
    data = open_data(prepared.path)
    (group,) = data.groups
    assert group.id == "Diving-Side-001" and len(group.frame_names) == 54
    assert data.input_size(UCF_SPORTS, frames[0].shape[:2]) == (256, 384)
    for index, pixels in enumerate(group.pixels()):
        truth = group.truth(index)
        np.testing.assert_array_equal(pixels, frames[index])
        np.testing.assert_array_equal(truth.map, maps[index])
        np.testing.assert_array_equal(marks(truth.points, truth.size), (fixations[index] > 127) * 255)


@settings(max_examples=40, deadline=None)
@given(
    dataset=st.sampled_from(sorted(FITS)),
    old=st.tuples(st.integers(90, 400), st.integers(90, 700)),
    seed=st.integers(0, 99),
)
def test_fits_equal_plain_pillow_for_any_size(dataset, old, seed):
    size, geometry = FITS[dataset], TRAINING[dataset]
    rng = np.random.default_rng(seed)
    box = plain_box(dataset, old, size)
    density = rng.integers(0, 256, old, np.uint8)
    points = rng.integers((0, 0), old, (8, 2))
    np.testing.assert_array_equal(fit_image(density, size, geometry.fit), plain(density, box, size, LANCZOS))
    expected = plain(marks(points, old), box, size, NEAREST) > 127
    np.testing.assert_array_equal(fit_fixations(points, old, size, geometry), expected)


def test_mit1003_stretches_with_nearest_fixations():
    geometry = TRAINING["mit1003"]
    rng = np.random.default_rng(0)
    for old, sizes in (
        ((768, 1024), ((288, 384), (576, 768))),
        ((1024, 768), ((384, 288), (768, 576))),
        ((600, 1024), ((256, 416), (512, 832))),
    ):
        assert geometry.sizes(SALICON, old) == sizes
        # Frames stored at the input size keep their sizes.
        assert geometry.sizes(SALICON, sizes[0]) == sizes
        points = rng.integers((0, 0), old, (40, 2))
        expected = np.asarray(Image.fromarray(marks(points, old)).resize(sizes[1][::-1], NEAREST)) > 127
        np.testing.assert_array_equal(fit_fixations(points, old, sizes[1], geometry), expected)


def test_released_sizes_and_own_data():
    for domain in (DHF1K, HOLLYWOOD2, UCF_SPORTS, SALICON):
        sizes = training_geometry(domain.name).sizes(domain, (123, 456))
        assert sizes == (domain.input_size, domain.target_size or domain.input_size)
    own = training_geometry("my_clips")
    assert own.sizes(DHF1K, (750, 1000)) == ((224, 384), (360, 640))
    # Shrinking with nearest neighbours would lose three of four fixations.
    points = np.argwhere(np.ones((60, 80)))
    assert fit_fixations(points, (60, 80), (30, 40), own).all()
    one = fit_fixations(np.array([[59, 79], [0, 0]]), (60, 80), (7, 9), own)
    assert one.sum() == 2 and one[6, 8] and one[0, 0]


def test_evaluation_sizes():
    # A released dataset has its own size, whatever the domain.
    assert evaluation_input_size("dhf1k", SALICON, (360, 640), video=True) == (224, 384)
    assert evaluation_input_size("salicon", DHF1K, (480, 640), video=False) == (288, 384)
    assert evaluation_input_size("my_clips", UCF_SPORTS, (750, 1000), video=True) == (256, 384)
    assert evaluation_input_size("my_clips", DHF1K, (750, 1000), video=True) == (288, 384)
    assert evaluation_input_size("mit300", SALICON, (1024, 768), video=False) == (384, 288)
    assert evaluation_input_size("my_images", DHF1K, (360, 640), video=False) == (256, 416)


@pytest.mark.parametrize("dataset", ["dhf1k", "hollywood2", "ucf_sports", "mit1003"])
def test_stored_at_input_size_gives_the_same_batches_as_stored_at_full_size(tmp_path, dataset):
    domain = Domain("tiny", (32, 64), target_size=(48, 96), stride=2) if dataset == "dhf1k" else None
    domain = domain or Domain("tiny", (64, 96), stride=2, static=dataset == "mit1003")
    clips = [make_clip(f"v{i}", 9, (70 + i, 120)) for i in range(2)]
    geometry = training_geometry(dataset)
    stored = []
    for clip in clips:
        input_size, target_size = geometry.sizes(domain, clip.size)
        frames = np.array([fit_image(frame, input_size, geometry.fit) for frame in clip.frames])
        maps = np.array([fit_image(each, target_size, geometry.fit) for each in clip.maps])
        points = [
            np.argwhere(fit_fixations(each, clip.size, target_size, geometry)) for each in clip.fixations
        ]
        stored.append(Clip(clip.id, frames, maps, points, clip.size))
    batches = [
        next(
            Loader([DomainSource(domain, open_prepared(path, "train"), 2, clip_frames=4)], seed=1, threads=0)
        )
        for path in (
            write_prepared(tmp_path / "full", dataset, {"train": clips}),
            write_prepared(tmp_path / "input", dataset, {"train": stored}, "input"),
        )
    ]
    assert batches[0].ids == batches[1].ids
    for full, small in zip(*(batch.arrays for batch in batches), strict=True):
        np.testing.assert_array_equal(full, small)


def test_flip_mirrors_frames_maps_and_fixations_together(tmp_path):
    domain = Domain("tiny", (32, 64), target_size=(41, 63), stride=1)
    clips = [make_clip(f"v{i}", 2, (41, 63)) for i in range(12)]
    prepared = open_prepared(write_prepared(tmp_path, "mine", {"train": clips}), "train")

    def read(flip):
        return next(
            Loader(
                [DomainSource(domain, prepared, 12, clip_frames=2, augmentation=Augmentation(flip))],
                seed=0,
                threads=0,
            )
        )

    straight, drawn = read(False), read(True)
    assert straight.ids == drawn.ids
    mirrored = 0
    for i in range(12):
        plain_parts = [
            part[i] for part in (straight.arrays.frames, straight.arrays.maps, unpack(straight.arrays))
        ]
        parts = [part[i] for part in (drawn.arrays.frames, drawn.arrays.maps, unpack(drawn.arrays))]
        if not np.array_equal(plain_parts[0], parts[0]):
            mirrored += 1
            plain_parts = [np.flip(part, 2) for part in plain_parts]
        for expected, found in zip(plain_parts, parts, strict=True):
            np.testing.assert_array_equal(found, expected)
    assert 2 <= mirrored <= 10


def test_on_device_normalises_scales_and_unpacks():
    rng = np.random.default_rng(0)
    fixated = rng.random((2, 3, 10, 13)) < 0.2
    maps = rng.integers(0, 256, (2, 3, 10, 13), np.uint8)
    maps[1, 1] = 0
    frames = rng.integers(0, 256, (2, 3, 8, 8, 3), np.uint8)
    out = jax.jit(on_device)(Arrays(frames, maps, np.packbits(fixated, axis=-1)))
    np.testing.assert_array_equal(out.fixations, fixated)
    expected = (frames / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(out.frames, expected, atol=1e-6)
    np.testing.assert_allclose(out.maps[0, 0], maps[0, 0] / maps[0, 0].sum(dtype=float), rtol=1e-6)
    np.testing.assert_allclose(out.maps[1, 1], 1 / 130, rtol=1e-6)
    np.testing.assert_allclose(out.maps.sum((2, 3)), 1, rtol=1e-5)
    assert out.frames.dtype == out.maps.dtype == np.float32 and out.fixations.dtype == bool


def test_an_image_of_the_right_size_is_returned_unchanged():
    pixels = np.asarray(Image.open(io.BytesIO(_png())))
    assert fit_image(pixels, (6, 8), "stretch") is pixels
    assert not fit_fixations(np.zeros((0, 2), np.int32), (6, 8), (6, 8), Geometry()).any()


def _png():
    buffer = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).save(buffer, "PNG")
    return buffer.getvalue()
