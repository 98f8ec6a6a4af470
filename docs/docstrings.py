"""For mkdocstrings: sections of our docstrings follow each other without an empty line, which it wants."""

import re
from typing import Any

import griffe

_SECTION = re.compile(r"\n(?=(?:Args|Attributes|Raises|Returns|Yields):\n)")


class Sections(griffe.Extension):
    """Puts an empty line before each section."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = _SECTION.sub("\n\n", obj.docstring.value)
