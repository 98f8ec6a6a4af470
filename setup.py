"""What setup.cfg cannot say: the folder `configs/` is the package `unisal_jax.configs` in a wheel."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["unisal_jax*", "data_prep*"]), "unisal_jax.configs"],
    package_dir={"unisal_jax.configs": "configs"},
)
