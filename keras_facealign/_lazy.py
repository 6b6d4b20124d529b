"""Packages whose public names load their modules at first use."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras_facealign._deprecated import deprecated_names
from keras_facealign.errors import FaceAlignError


def backend_error(error: Exception) -> FaceAlignError | None:
    """Makes the error for a Keras backend that does not exist, of the one that Keras raises."""
    said, _, name = str(error).partition(" : ")
    if said != "Unable to import backend":
        return None
    place = "KERAS_BACKEND is" if os.environ.get("KERAS_BACKEND") else "Keras's keras.json names"
    return FaceAlignError(
        f"{place} {name!r}, which is no backend of Keras; set the variable KERAS_BACKEND to "
        "tensorflow, jax or torch"
    )


def attach(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Makes the functions `__getattr__` and `__dir__` of a package.

    Args:
        package: Full name of the package, its `__name__`.
        modules: The public names that each module holds. Modules are named relative to the
            package, without the leading dot.

    Returns:
        `__getattr__`, which imports the module of a name and keeps the name, and `__dir__`, which
        lists the public names alone.
    """
    old_name = deprecated_names(package)
    homes = {name: module for module, names in modules.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name not in homes:
            return old_name(name)
        try:
            module = importlib.import_module(f"{package}.{homes[name]}")
        except ModuleNotFoundError as error:
            if error.name != "keras":
                raise
            raise ModuleNotFoundError(
                f"{package}.{name} needs Keras and one of its backends; run: pip install "
                '"keras_facealign[tensorflow]", or [jax], [torch] or [gpu]',
                name=error.name,
            ) from error
        except ValueError as error:
            raise backend_error(error) or error from None
        except AttributeError as error:
            # `from package import name` would say no more than that there is no such name.
            raise ImportError(f"{package}.{name} cannot be imported: {error}") from error
        value = getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted(sys.modules[package].__all__)

    return __getattr__, __dir__
