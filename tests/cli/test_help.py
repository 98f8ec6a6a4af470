"""Help: every command ends with two examples, which its own parser accepts."""

import shlex

import pytest

from unisal_jax.cli.main import COMMANDS, build_parser, main
from unisal_jax.weights.fetch import PACK_SUFFIX


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_ends_with_two_examples(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*([name] if name else []), "--help"])
    assert stopped.value.code == 0
    examples = capsys.readouterr().out.split("\nexamples:\n")[1].splitlines()
    assert len(set(examples)) == 2
    for line in examples:
        program, command, *arguments = shlex.split(line)
        assert program == "unisal" and name in (None, command)
        args, rest = build_parser(command).parse_known_args([command, *arguments])
        assert args.command == command
        if "pack" in getattr(args, "word", ()):
            assert args.word[-1].endswith(PACK_SUFFIX)
        assert all(word.startswith(args.open_flags) for word in rest), rest
