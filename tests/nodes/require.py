"""What a test does when the service it needs is not there: skip on a laptop, fail in CI.

A suite that skips silently in CI proves nothing, so there the absence of a service is a failure.
"""

import os
from typing import NoReturn

import pytest


def is_ci() -> bool:
    """Tell whether CI=true (or 1), as CI services set it."""
    return os.environ.get("CI", "").lower() in {"1", "true"}


def require(reason: str) -> NoReturn:
    """Skip the running test for `reason`, or fail it where CI=true."""
    if is_ci():
        pytest.fail(f"CI must run this test, but {reason}", pytrace=False)
    pytest.skip(reason)
