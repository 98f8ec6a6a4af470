"""Prediction: against the images of the original pipeline, and the methods against each other."""

import itertools
import json
import os
import subprocess
import sys

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import ExifTags, Image

import unisal_jax
from tests.conftest import REPOSITORY
from tests.helpers.golden_weights import GOLDEN, arrays
from unisal_jax.errors import UnisalError
from unisal_jax.inference import jax_engine
from unisal_jax.media.densities import resize_log_density
from unisal_jax.media.images import read_image, resize_frame
from unisal_jax.media.video import open_video
from unisal_jax.media.video_writer import VideoWriter
from unisal_jax.models import layers
from unisal_jax.normalization import RGB_MEAN, RGB_STD, normalize
from unisal_jax.predict.facts import summarise
from unisal_jax.predict.model import SaliencyModel

FOLDER = GOLDEN / "folder"
META = json.loads((FOLDER / "meta.json").read_text())


@pytest.fixture(scope="module")
def model(golden_file):
    return unisal_jax.load(golden_file)


@pytest.fixture(scope="module")
def frames():
    with open_video(FOLDER / "video" / "images") as reader:
        return list(reader)


def assert_same_image(path, reference):
    ours, theirs = (read_image(each).astype(int) for each in (path, reference))
    assert ours.shape == theirs.shape
    assert (np.abs(ours - theirs) <= 1).mean() >= 0.999


def test_folder_of_images(command, model, golden_file, tmp_path):
    """The complete original pipeline on three images: resize, network, PNG."""
    args = ("predict", FOLDER / "images" / "images", "--out", tmp_path, "--weights", golden_file)
    status, out, err = command(*args, "--save", "map,raw,json,overlay")
    assert status == 0, err
    assert out.startswith("3 images predicted")
    stored = arrays("folder/images_log_density.npz")
    step = META["image_stride"]
    for name, want in stored.items():
        log_density = np.load(tmp_path / "raw" / f"{name}.npy")
        assert log_density.dtype == np.float32
        assert np.abs(log_density[::step, ::step] - want).max() < 1e-3
        assert_same_image(tmp_path / "map" / f"{name}.png", FOLDER / "images" / "saliency" / f"{name}.png")
        # The command's batch sums in another order.
        by_path = model.predict(FOLDER / "images" / "images" / f"{name}.png", log=True)
        np.testing.assert_allclose(by_path, log_density, atol=1e-4)
        image = read_image(FOLDER / "images" / "images" / f"{name}.png")
        assert read_image(tmp_path / "overlay" / f"{name}.png").shape == image.shape
        facts = json.loads((tmp_path / "json" / f"{name}.json").read_text())
        peak = np.unravel_index(log_density.argmax(), log_density.shape)
        assert (facts["peak"]["row"], facts["peak"]["column"]) == peak
        assert facts["about"]["domain"] == "salicon" and facts["about"]["size"] == list(log_density.shape)


def test_folder_of_frames(command, golden_file, tmp_path):
    """The original pipeline on a video: interleaved recurrences, an odd number of frames."""
    args = ("predict", FOLDER / "video" / "images", "--video", "--out", tmp_path, "--weights", golden_file)
    status, out, err = command(*args, "--save", "map,raw,json,overlay")
    assert status == 0, err
    assert out.startswith("1 video (17 frames) predicted")
    log_density = np.load(tmp_path / "raw" / "video.npy", mmap_mode="r")
    assert log_density.shape == (17, 360, 640) and log_density.dtype == np.float32
    step = META["video_stride"]
    want = arrays("folder/video_log_density.npz")["frames"]
    assert np.abs(log_density[:, ::step, ::step] - want).max() < 1e-3
    for number in range(1, 18):
        name = f"{number:04d}.png"
        assert_same_image(tmp_path / "map" / "video" / name, FOLDER / "video" / "saliency" / name)
    with open_video(tmp_path / "overlay" / "video.mp4") as reader:
        assert reader.size == (360, 640) and len(list(reader)) == 17
    facts = json.loads((tmp_path / "json" / "video.json").read_text())
    assert [each["frame"] for each in facts["frames"]] == list(range(1, 18))
    about = facts["about"]
    assert (about["stride"], about["stride_from"], about["input_size"]) == (5, "domain", [224, 384])
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".tmp"]


@pytest.mark.parametrize("domain", ["dhf1k", "salicon"])
def test_stream_equals_video(model, frames, domain):
    offline = [density for _, density in model.predict_video(frames, domain=domain, input_size=(96, 128))]
    stream = model.stream((360, 640), domain=domain, input_size=(96, 128))
    live = [stream(frame) for frame in frames]
    for one, other in zip(offline, live, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)
        np.testing.assert_allclose(one.sum(dtype=np.float64), 1, atol=1e-5)
    stream.reset()
    np.testing.assert_array_equal(stream(frames[0]), live[0])


def test_interleaving(model, frames):
    """Each offset is a separate recurrence over every third frame."""
    mixed = [log for _, log in model.predict_video(frames[:8], input_size=(96, 128), stride=3, log=True)]
    for offset in range(3):
        alone = model.predict_video(frames[offset:8:3], input_size=(96, 128), stride=1, log=True)
        for (frame, want), at in zip(alone, range(offset, 8, 3), strict=True):
            np.testing.assert_array_equal(frame, frames[at])
            np.testing.assert_allclose(mixed[at], want, atol=1e-4)
    # The recurrence has an effect: a later frame alone gives another map.
    (_, alone), *_ = model.predict_video(frames[6:7], input_size=(96, 128), stride=3, log=True)
    assert np.abs(alone - mixed[6]).max() > 1e-3


def test_frames_come_out_as_they_go_in(model, frames):
    """At most four groups of frames are in memory, so any length fits."""
    read = 0

    def endless():
        nonlocal read
        for frame in itertools.cycle(frames):
            read += 1
            yield frame

    for number, _ in enumerate(model.predict_video(endless(), input_size=(96, 128)), 1):
        assert read - number < 20
        if number == 40:
            break


@pytest.mark.parametrize(("pixels", "most_ahead"), [(3 * 360 * 640, 15), (360 * 640, 5), (0, 1)])
def test_huge_frames_go_in_smaller_groups(model, frames, monkeypatch, pixels, most_ahead):
    """Groups of three, single frames, and no prefetching give the same results."""
    want = list(model.predict_video(frames[:8], input_size=(96, 128), stride=3, log=True))
    monkeypatch.setattr(unisal_jax.predict.film, "MAX_FILM_BYTES", 20 * pixels)
    read = 0

    def counted():
        nonlocal read
        for frame in frames[:8]:
            read += 1
            yield frame

    got = model.predict_video(counted(), input_size=(96, 128), stride=3, log=True)
    for number, ((frame, log_density), (same, wanted)) in enumerate(zip(got, want, strict=True)):
        assert read - number <= most_ahead
        np.testing.assert_array_equal(frame, same)
        np.testing.assert_allclose(log_density, wanted, atol=1e-4)


def test_recurrences_start_anew_at_a_cut(model):
    """Frames after a cut are predicted like a separate video."""
    rng = np.random.default_rng(3)
    shots = [rng.integers(0, 255, (12, 16, 3), np.uint8).repeat(8, 0).repeat(8, 1) for _ in range(2)]
    frames = [np.roll(shots[0], n, 1) for n in range(5)] + [np.roll(shots[1], n, 1) for n in range(7)]
    options = {"input_size": (96, 128), "stride": 3, "log": True}
    through, anew, alone = (
        [log for _, log in model.predict_video(given, across_cuts=across, **options)]
        for given, across in ((frames, True), (frames, False), (frames[5:], True))
    )
    np.testing.assert_allclose(anew[:5], through[:5], atol=1e-5)
    np.testing.assert_allclose(anew[5:], alone, atol=1e-4)
    assert np.abs(anew[5] - through[5]).max() > 1e-2


def test_one_buffer_for_all_frames(model, frames):
    """Camera libraries reuse one array; the yielded arrays belong to the caller."""
    buffer = np.empty_like(frames[0])

    def filled():
        for frame in frames[:8]:
            buffer[:] = frame
            yield buffer

    want = list(model.predict_video(frames[:8], input_size=(96, 128), stride=3))
    for (frame, density), (same, wanted) in zip(
        model.predict_video(filled(), input_size=(96, 128), stride=3), want, strict=True
    ):
        np.testing.assert_array_equal(frame, same)
        np.testing.assert_array_equal(density, wanted)
        frame[:] = density[:] = 0


def test_arrays_of_other_libraries(model, frames):
    """JAX's here; `media/test_arrays.py` has the other types."""
    given = jnp.asarray(np.stack(frames[:3]))
    size = {"input_size": (96, 128)}
    np.testing.assert_array_equal(model.predict(given[0], **size), model.predict(frames[0], **size))
    want = model.predict_batch(np.stack(frames[:3]), **size)
    for batch in (given, list(given), frames[:3]):
        np.testing.assert_array_equal(model.predict_batch(batch, **size), want)
    one, other = model.features(given[0], **size), model.features(frames[0], **size)
    np.testing.assert_array_equal(one["fused"], other["fused"])
    want = [density for _, density in model.predict_video(frames[:3], **size, stride=3)]
    for video in (given, list(given), iter(given)):
        for (frame, density), wanted in zip(model.predict_video(video, **size, stride=3), want, strict=True):
            assert type(frame) is np.ndarray
            np.testing.assert_array_equal(density, wanted)
    stream = model.stream((360, 640), **size)
    live = stream(given[0])
    stream.reset()
    np.testing.assert_array_equal(live, stream(frames[0]))


def test_paths_pillow_images_and_arrays(model, tmp_path):
    """All of one photo that its EXIF orientation turns, to the last bit."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 8
    path = tmp_path / "photo.jpg"
    Image.open(FOLDER / "images" / "images" / "000.png").convert("RGB").save(path, exif=exif)
    upright, size = read_image(path), {"input_size": (96, 128)}
    want = model.predict(upright, **size)
    with Image.open(path) as opened:
        assert want.shape == opened.size
        for given in (path, str(path), opened, upright / 255, np.dstack([upright, upright[..., 0]])):
            np.testing.assert_array_equal(model.predict(given, **size), want)
    np.testing.assert_array_equal(
        model.predict_batch([path, upright], **size)[0], model.predict_batch([upright] * 2, **size)[0]
    )
    features = model.features(path, **size)["fused"]
    np.testing.assert_array_equal(features, model.features(upright, **size)["fused"])
    stream = model.stream(want.shape, **size)
    live = stream(path)
    stream.reset()
    np.testing.assert_array_equal(live, stream(upright))
    ((frame, _),) = model.predict_video([path], **size)
    np.testing.assert_array_equal(frame, upright)


def test_a_readers_frames_and_times(model, tmp_path):
    """A reader passed by the caller stays open, and knows the times of the yielded frames."""
    with VideoWriter(tmp_path / "clip.mp4", (96, 128), 10) as writer:
        for _ in range(30):
            writer.write(np.full((96, 128, 3), 99, np.uint8))
    with open_video(tmp_path / "clip.mp4") as reader:
        predicted = model.predict_video(reader, input_size=(96, 128), stride=3)
        next(predicted)
        predicted.close()
        read = len(reader.times)
        assert list(reader.times) == pytest.approx([n / 10 for n in range(read)])
        assert len(list(reader)) == 30 - read > 0


def test_good_frames_come_before_an_error(model, frames):
    def broken():
        yield from frames[:7]
        raise UnisalError("clip: ends early")

    got = []
    with pytest.raises(UnisalError, match="ends early"):
        for _, density in model.predict_video(broken(), input_size=(96, 128)):
            got.append(density)
    assert len(got) == 7


def test_predict_and_batch(model, frames):
    batch = model.predict_batch(np.stack(frames[:3]), input_size=(96, 128), log=True)
    assert batch.shape == (3, 360, 640) and batch.dtype == np.float32
    one = model.predict(frames[2], input_size=(96, 128))
    np.testing.assert_allclose(np.exp(batch[2]), one, rtol=1e-3)
    assert model.predict_batch(np.stack(frames[:1])[:0]).shape == (0, 360, 640)
    other = model.predict(frames[2], domain="Hollywood", input_size=(96, 128))
    assert np.abs(other / one - 1).max() > 0.1


def test_saved_and_loaded_again(model, frames, tmp_path):
    model.save_pretrained(tmp_path / "mine")
    again = SaliencyModel.from_pretrained(tmp_path / "mine", domain="ucf_sports")
    one, other = (each.predict(frames[0], "ucf_sports", (96, 128)) for each in (model, again))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(again.predict(frames[0], input_size=(96, 128)), other)


def test_a_name_of_two_parts_is_a_path_where_there_is_one(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UnisalError, match="hf://runs/mine"):
        SaliencyModel.from_pretrained("runs/mine")
    model.save_pretrained("runs/mine")
    assert SaliencyModel.from_pretrained("runs/mine").config == model.config


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (333, 2)])
def test_any_size(model, size):
    density = model.predict(np.full((*size, 3), 128, np.uint8))
    assert density.shape == size
    np.testing.assert_allclose(density.sum(dtype=np.float64), 1, atol=1e-5)


@pytest.mark.parametrize("engine", ["jax", "onnxruntime"])
def test_odd_sizes_share_programs(golden_file, rng, engine):
    """Images of different sizes and similar aspect ratios share a compiled program."""
    model = unisal_jax.load(golden_file, engine=engine)

    def predict(height, width):
        model.predict(rng.integers(0, 256, (height, width, 3), np.uint8))
        if engine == "jax":
            return jax_engine._images._cache_size()
        return model.engine._session.cache_info().currsize

    programs = predict(300, 400)
    assert programs > 0
    assert {predict(*size) for size in [(301, 400), (299, 403), (600, 800), (30, 40)]} == {programs}


@pytest.mark.parametrize("size", [(360, 640), (224, 384), (112, 192), (100, 77), (1, 1), (500, 300)])
def test_finish_is_the_networks_own_resize(rng, size):
    """Resizing on the host equals resizing in the network, down and up, including exact halves."""
    logits = rng.standard_normal((224, 384), np.float32) * 5
    own = layers.resize_bilinear(logits, size)
    own = np.asarray(own - jax.nn.logsumexp(own))
    shifted = logits - np.float32(np.log(np.exp(logits).sum()))
    np.testing.assert_allclose(resize_log_density(shifted, size), own, atol=1e-4)


def test_features(model, frames):
    maps = model.features(frames[0], input_size=(96, 128))
    shapes = {name: each.shape for name, each in maps.items()}
    assert shapes == {
        "encoder_8": (12, 16, 64),
        "encoder_16": (6, 8, 160),
        "encoder_32": (3, 4, 1280),
        "bottleneck": (3, 4, 256),
        "decoder_16": (6, 8, 128),
        "decoder_8": (12, 16, 64),
        "fused": (12, 16),
    }


def test_preprocessing_is_the_originals(frames):
    """Pillow's Lanczos, RGB in [0, 1], mean and deviation: from the uint8 image to the encoder."""
    small = np.asarray(Image.fromarray(frames[0]).resize((384, 224), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(resize_frame(frames[0], (224, 384)), small)
    want = (small / 255 - np.array(RGB_MEAN)) / np.array(RGB_STD)
    np.testing.assert_allclose(normalize(small), want, atol=1e-6)


def test_usual_domains(model):
    assert model.domains == ("dhf1k", "hollywood2", "ucf_sports", "salicon")
    assert (
        model.domain(None, video=False).name == "salicon" and model.domain(None, video=True).name == "dhf1k"
    )
    assert model.domain("UCFSports", video=False).name == "ucf_sports"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: m.predict(np.full((4, 4, 3), 9.0)), r"image: float64 \[4, 4, 3\] with values of 9 to 9"),
        (lambda m: m.features(np.zeros((3, 4, 5), np.uint8)), r"image: uint8 \[3, 4, 5\], whose channels"),
        (lambda m: m.predict("no.png"), "no.png: no such file"),
        (lambda m: m.predict("https://example.org/a.png"), "image: URLs cannot be read"),
        (lambda m: m.predict([1, 2]), "image: list"),
        (lambda m: m.predict(np.zeros((0, 4, 3), np.uint8)), r"image: uint8 \[0, 4, 3\]"),
        (lambda m: m.predict(np.zeros((4, 4, 3), np.uint8), domain="x"), "unknown domain 'x'"),
        (lambda m: m.predict(np.zeros((4, 4, 3), np.uint8), input_size=(100, 100)), "input size 100x100"),
        (lambda m: m.stream((4, 4), stride=0), "stride: 0"),
        (lambda m: m.stream((4, 4))(np.zeros((4, 5, 3), np.uint8)), "frame: size 4x5, but the stream .* 4x4"),
        (lambda m: next(m.predict_video([np.zeros(4)])), r"frame: float64 \[4\], but \[height"),
        (lambda m: next(m.predict_video(5)), "video: int, but a path or frames are needed"),
        (lambda m: next(m.predict_video(np.zeros((2, 3, 9, 8)))), r"video: float64 \[2, 3, 9, 8\], whose"),
    ],
)
def test_bad_arguments(model, call, message):
    with pytest.raises(UnisalError, match=message):
        call(model)


def test_summary_of_a_density():
    density = np.zeros((5, 7))
    density[1, 2], density[3, 2] = 0.75, 0.25
    assert summarise(density) == {
        "centre_of_mass": {"row": 1.5, "column": 2.0},
        "peak": {"row": 1, "column": 2, "density": 0.75},
        "spread": {"rows": round(float(np.sqrt(0.75 * 0.25 + 0.25 * 2.25)), 4), "columns": 0.0},
    }


# --- the released weights on a real clip ---


@pytest.fixture(scope="module")
def clip_frames(real_clip):
    with open_video(real_clip / "images") as reader:
        return list(reader)


STORED_CLIP = arrays("ucf_sports_clip.npz")["frames"]


def test_real_clip_as_stored(clip_as_stored):
    """All nine stored frames agree, including hidden states and interleaving."""
    for ours, stored in zip(clip_as_stored[::6], STORED_CLIP, strict=True):
        apart = np.abs(ours[::8, ::8] - stored)
        assert apart.max() < 5e-3 and apart.mean() < 5e-4


def test_real_clip_looks_where_people_looked(released, clip_frames, real_clip):
    """With pixels in 0 to 1, scores are higher than those of the stored maps (NSS 4.44, CC 0.777)."""
    model = SaliencyModel(released)
    nss, cc = [], []
    names = sorted(path.name for path in (real_clip / "fixation").iterdir())
    for name, (_, density) in zip(names, model.predict_video(clip_frames, "ucf_sports"), strict=True):
        fixated = cv2.imread(str(real_clip / "fixation" / name), cv2.IMREAD_GRAYSCALE) > 127
        truth = cv2.imread(str(real_clip / "maps" / name), cv2.IMREAD_GRAYSCALE)
        nss.append(((density - density.mean()) / density.std())[fixated].mean())
        cc.append(np.corrcoef(density.ravel(), truth.ravel())[0, 1])
    assert np.mean(nss) > 4.8 and np.mean(cc) > 0.81


def test_four_devices_are_one(golden_file, tmp_path):
    """Batches of images split, and videos in parallel, on four virtual devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    environment = {**os.environ, "XLA_FLAGS": flags}
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.predict_devices", golden_file, tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_bfloat16(released):
    """Close to float32, with results of the same type."""
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    exact, rough = (SaliencyModel(released, dtype) for dtype in ("float32", "bfloat16"))
    assert rough.engine.name == "jax"
    want, got = (model.predict(image, input_size=(64, 96)) for model in (exact, rough))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got.sum(dtype=np.float64), 1, atol=1e-5)
    assert 0 < np.abs(got - want).sum() < 0.1
    stream = rough.stream((60, 90), input_size=(64, 96))
    for _ in range(6):
        live = stream(image)
    assert live.dtype == np.float32 and abs(live.sum(dtype=np.float64) - 1) < 1e-5
