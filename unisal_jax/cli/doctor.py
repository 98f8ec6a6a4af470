"""`unisal doctor`: what is installed here, on what it would run, and what is missing."""

import argparse
import json


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints what it finds; 0 whatever that is."""
    from unisal_jax.doctor import examine, text

    facts = examine()
    print(json.dumps(facts, indent=1, sort_keys=True) if args.json else "\n".join(text(facts)))
    return 0
