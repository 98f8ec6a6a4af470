"""`unisal doctor`: shows what is installed, which devices it uses, and what is missing."""

import argparse
import json

from unisal_jax.cli.flags import add_examples


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_examples(parser, "unisal doctor", "unisal doctor --json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the report; always returns 0."""
    from unisal_jax.doctor import examine, text

    facts = examine()
    print(json.dumps(facts, indent=1, sort_keys=True) if args.json else "\n".join(text(facts)))
    return 0
