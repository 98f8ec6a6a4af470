"""Domains and input sizes, against the rules of reference.md."""

import dataclasses
import json

import pytest

from unisal_jax import domains
from unisal_jax.domains import (
    DHF1K,
    HOLLYWOOD2,
    SALICON,
    UCF_SPORTS,
    Domain,
    default_domain,
    find_domain,
    size_by_aspect,
)
from unisal_jax.errors import UnisalError
from unisal_jax.models.config import UnisalConfig


@pytest.mark.parametrize(
    "domain, fps, stride",
    [
        (DHF1K, 30, 5),
        (DHF1K, 25, 4),
        (DHF1K, 59.94, 10),
        (UCF_SPORTS, 10, 2),
        (HOLLYWOOD2, 2, 1),
        (DHF1K, 10_000, 1000),
        (HOLLYWOOD2, None, 4),
        (SALICON, 30, 1),
        (Domain("mine", (224, 384), stride=3), 30, 3),
        (dataclasses.replace(DHF1K, stride=2), 30, 2),  # trained again, at another rate
    ],
)
def test_stride_of_a_video(domain, fps, stride):
    """Six frames per second, as in training; the domain's stride if the rate is unknown."""
    assert domain.video_stride(fps) == stride


def plain_size(height, width):
    """A plain implementation: the first size, in order, with the nearest aspect ratio."""
    best, best_likeness = None, 0
    for h in range(7, 14):
        for w in range(7, 14):
            if 100 <= h * w <= 120:
                ratios = sorted([h / w, height / width])
                if ratios[0] / ratios[1] > best_likeness:
                    best, best_likeness = (32 * h, 32 * w), ratios[0] / ratios[1]
    return best


@pytest.mark.parametrize(
    "size",
    [(480, 640), (360, 640), (600, 512), (1, 1), (1, 5000), (5000, 1), (404, 720), (1080, 1920), (333, 301)],
)
def test_size_by_aspect(size):
    assert size_by_aspect(size) == plain_size(*size)


def test_known_sizes():
    assert size_by_aspect((480, 640)) == (288, 384)
    assert size_by_aspect((640, 480)) == (384, 288)
    assert len({size_by_aspect((h, w)) for h in range(1, 200, 3) for w in range(1, 200, 3)}) < 20


def test_video_sizes():
    assert DHF1K.video_input_size((360, 640)) == (224, 384)
    assert DHF1K.video_input_size((720, 1280)) == size_by_aspect((720, 1280)) != (224, 384)
    assert HOLLYWOOD2.video_input_size((100, 100)) == (224, 416)
    assert UCF_SPORTS.video_input_size((404, 720)) == (256, 384)
    assert SALICON.video_input_size((480, 640)) == (288, 384)
    assert SALICON.video_input_size((300, 900)) == size_by_aspect((300, 900))


@pytest.mark.parametrize(
    "name", ["DHF1K", "dhf1k", "Hollywood", "hollywood2", "UCFSports", "ucf_sports", "Salicon"]
)
def test_names_in_any_case(name):
    assert name.lower() in (find_domain(name).name, find_domain(name).source_name.lower())


def test_unknown_domain_lists_the_known_ones():
    with pytest.raises(
        UnisalError, match="unknown domain 'coco'; known: dhf1k, hollywood2, ucf_sports, salicon"
    ):
        find_domain("coco")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"name": "My Data"}, "domain name 'My Data'"),
        ({"name": "params"}, "domain name 'params'"),
        ({"name": "a_stats"}, "suffix _stats"),
        ({"input_size": (100, 200)}, "input size 100x200"),
        ({"input_size": (0, 32)}, "input size 0x32"),
        ({"stride": 0}, "stride 0"),
        ({"stride": 100_000}, "stride 100000 is more than 1000"),
        ({"stride": 10**5000}, "out of range"),
        ({"stride": 1000}, "a stride of 1000 frames of 224x384 makes a batch of more than"),
        ({"input_size": (48000, 48000)}, "input size 48000x48000 has more than"),
        ({"input_size": (10**5000, 32)}, "out of range"),
        ({"target_size": (10**6, 10**6)}, "out of range"),
        ({"name": "a" * 1000}, "out of range"),
        ({"source_name": "a" * 1000}, "out of range"),
    ],
)
def test_impossible_domains(change, message):
    with pytest.raises(UnisalError, match=message):
        dataclasses.replace(DHF1K, **change)


def test_a_domain_of_ones_own():
    own = Domain("billiard", (288, 384), stride=5)
    assert own.source_name == "billiard" and own.stats == "billiard_stats"
    assert find_domain("Billiard", (own, *domains.RELEASED_DOMAINS)) is own


OWN = Domain("own", (288, 384), static=True)
CLIPS = Domain("clips", (288, 384), stride=5)
RELEASED = domains.RELEASED_DOMAINS


@pytest.mark.parametrize(
    ("have", "trained", "for_images", "for_video"),
    [
        (RELEASED, None, "salicon", "dhf1k"),
        (RELEASED, ["dhf1k", "hollywood2", "salicon", "ucf_sports"], "salicon", "dhf1k"),
        (RELEASED, ["ucf_sports"], "salicon", "ucf_sports"),
        ((*RELEASED, OWN), ["own"], "own", "dhf1k"),
        ((*RELEASED, CLIPS), ["clips"], "salicon", "clips"),
        ((*RELEASED, OWN, CLIPS), ["dhf1k", "own", "salicon"], "own", "dhf1k"),
        # If the training is unknown, it was for the only new domain.
        ((*RELEASED, OWN), None, "own", "dhf1k"),
        ((*RELEASED, OWN, CLIPS), None, "salicon", "dhf1k"),
        ((OWN,), None, "own", "own"),
        ((UCF_SPORTS, HOLLYWOOD2), None, "ucf_sports", "ucf_sports"),
        ((*RELEASED, OWN), ["gone"], "salicon", "dhf1k"),
    ],
)
def test_default_domains(have, trained, for_images, for_video):
    assert default_domain(have, video=False, trained=trained).name == for_images
    assert default_domain(have, video=True, trained=trained).name == for_video


def test_configs_claim_no_more_than_a_network_can_be():
    text = UnisalConfig().to_json()
    many = [{**json.loads(text)["domains"][0], "name": f"d{n}", "source_name": f"D{n}"} for n in range(65)]
    for fields, message in (
        ({"domains": many}, "65 domains, more than 64"),
        ({"x" * 5000: 1}, "not a model config"),
        ({"domains": [{**many[0], "stride": 100_000}]}, "stride 100000"),
        ({"skip_dropout": 1e300}, "skip_dropout"),
    ):
        with pytest.raises(UnisalError, match=message) as caught:
            UnisalConfig.from_json(json.dumps(json.loads(text) | fields))
        assert len(str(caught.value)) < 300
    for text in ("[" * 100_000, " " * (2 << 20)):
        with pytest.raises(UnisalError, match="not a model config"):
            UnisalConfig.from_json(text)


@pytest.mark.parametrize("flags", [["--stride", "100000"], ["--input-size", "48000x48000"]])
def test_flags_have_the_same_limits(command, flags):
    status, _, err = command("predict", "a.png", "--out", "o", *flags)
    assert status == 1 and err.count("\n") == 1 and "more than" in err
