"""What setup.cfg cannot say: `configs/` is `unisal_jax.configs` in a wheel; the README of an index page."""

import re
from pathlib import Path

from setuptools import find_packages, setup


def index_page() -> str:
    """The README without its figure and relative links, since an index page has no files beside it."""
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    text = re.sub(r"^!\[.*?\*\n\n", "", text, flags=re.M | re.S)
    return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]+\)", r"\1", text)


setup(
    long_description=index_page(),
    long_description_content_type="text/markdown",
    packages=[*find_packages(include=["unisal_jax*", "data_prep*"]), "unisal_jax.configs"],
    package_dir={"unisal_jax.configs": "configs"},
)
