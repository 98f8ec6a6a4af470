"""Example scripts that prepare own data for training, one per dataset."""

import argparse
from collections.abc import Callable
from pathlib import Path

from data_prep.builders import Own
from data_prep.prepare import prepare
from data_prep.preview import describe, write_contact_sheet
from unisal_jax.data.layouts.releases import Release
from unisal_jax.errors import UnisalError


def run(name: str, scan: Callable[[Path], Release], description: str) -> None:
    """Prepares the data in the folder given on the command line, and writes a contact sheet next to them."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--data-dir", type=Path, required=True)
    args = parser.parse_args()
    try:
        prepared = prepare(Own(config=name, scan=scan, data_dir=args.data_dir, show_progress=True), args.raw)
        print(f"{prepared.path}\n{describe(prepared.manifest)}")
        for note in prepared.notes:
            print(f"  left out: {note}")
        write_contact_sheet(args.data_dir / f"{name}.png", prepared.path, prepared.manifest)
    except UnisalError as error:
        raise SystemExit(f"{parser.prog}: {error}") from error
