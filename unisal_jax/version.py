"""The version, where `setup.cfg` reads it too; a module of its own, which imports nothing."""

__version__ = "0.1.0"
