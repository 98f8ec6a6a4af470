"""The packs and releases that the package knows: names, checksums, and their place in the wheel."""

import configparser
from pathlib import Path

import pytest

from unisal_jax.domains import RELEASED_DOMAINS
from unisal_jax.models.config import UnisalConfig
from unisal_jax.trees import flatten
from unisal_jax.weights import fetch, installed, packs
from unisal_jax.weights.store import load_weights


def test_the_packs_of_this_package():
    """Each is named after its domain, belongs to a release, and is part of the wheel."""
    for path in installed.BUNDLED.glob("*"):
        pack = installed.read(path)
        assert packs.release_of(pack.shared_sha256) == pack.base
        packs.check_parts(pack, UnisalConfig())
        packs.check_name(pack, RELEASED_DOMAINS)
        assert {"data", "licence"} <= pack.about.keys()
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    pattern = setup["options.package_data"]["unisal_jax.weights"]
    package = Path(packs.__file__).parent
    assert (installed.BUNDLED / f"x{fetch.PACK_SUFFIX}").relative_to(package).match(pattern)


@pytest.mark.parametrize("name", [name for name, each in fetch.RELEASED.items() if each.is_model])
def test_the_releases_checksums(released, name):
    weights = load_weights(name)
    assert weights.shared_sha256 == fetch.RELEASED[name].shared_sha256
    assert sum(each.size for each in flatten(weights.variables["salicon"]).values()) == 14738
