"""Domains and input sizes, against the rules of reference.md."""

import dataclasses

import pytest

from unisal_jax import domains
from unisal_jax.domains import DHF1K, HOLLYWOOD2, SALICON, UCF_SPORTS, Domain, find_domain, size_by_aspect
from unisal_jax.errors import UnisalError


def plain_size(height, width):
    """The rule written out: all sizes in order, the first with the nearest aspect ratio."""
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
        ({"name": "a_stats"}, "ending _stats"),
        ({"input_size": (100, 200)}, "input size 100x200"),
        ({"input_size": (0, 32)}, "input size 0x32"),
        ({"stride": 0}, "stride 0"),
    ],
)
def test_impossible_domains(change, message):
    with pytest.raises(UnisalError, match=message):
        dataclasses.replace(DHF1K, **change)


def test_a_domain_of_ones_own():
    own = Domain("billiard", (288, 384), stride=5)
    assert own.source_name == "billiard" and own.stats == "billiard_stats"
    assert find_domain("Billiard", (own, *domains.RELEASED_DOMAINS)) is own
