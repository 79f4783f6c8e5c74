"""Configuration: typed registries and studies, validated whole before anything runs."""

from mirage.config.load import load_config
from mirage.config.model import Config

__all__ = ["Config", "load_config"]
