"""What a machine lacks: a test that needs it is skipped with a reason, and fails in CI."""

import os
import shutil
from typing import NoReturn

import pytest


class Unavailable(Exception):
    """This machine lacks something; the text says what."""


def lacking(reason: str) -> NoReturn:
    """Skip the test that is running, or fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def program(name: str, package: str | None = None) -> str:
    """Return the path of a program, or skip the test."""
    return shutil.which(name) or lacking(f"needs {name}: install the package {package or name}")
