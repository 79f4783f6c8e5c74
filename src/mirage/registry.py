"""Registries: a name in the configuration to the code behind it, imported only when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from mirage.errors import ConfigError


def resolve(registry: Mapping[str, str], name: str, what: str) -> Any:
    """The class, function or module that a name stands for.

    Args:
        registry: name -> ``module:attribute``, or ``module``.
        name: as in the configuration.
        what: what is registered, for the message.

    Raises:
        ConfigError: no such name.
    """
    if name not in registry:
        raise ConfigError(f"{name!r} is no {what}; known are: {', '.join(sorted(registry))}")
    module, _, attribute = registry[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found
