"""Griffe extension: reads the docstring section `Example:`, as Keras has it, as `Examples:`."""

from __future__ import annotations

import re
from typing import Any

import griffe


class KerasExamples(griffe.Extension):
    """Renames the section so that its doctests are shown as code."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE
            )
