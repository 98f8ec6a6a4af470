"""Runs the command line as `python -m unisal_jax`."""

import sys

from unisal_jax.cli.main import main

sys.exit(main())
