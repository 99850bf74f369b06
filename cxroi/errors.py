"""Everything that cxroi raises on purpose.

::

    CxroiError
    ├── InputError (also ValueError)     the user's input is wrong; exit code 2
    │   ├── InvalidTables                a data set breaks the contract; carries every violation
    │   ├── InvalidParameters            a notebook parameter is unknown or ill-typed
    │   └── InvalidCase                  a case file cannot be read as an investment case
    └── NotebookFailed                   a notebook raised, was killed or took too long; exit code 1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class CxroiError(Exception):
    """Root of every error that cxroi raises on purpose."""


class InputError(CxroiError, ValueError):
    """The user's input is wrong; the message says what must hold and how to repair it."""


class InvalidTables(InputError):
    """A data set breaks the contract of the tables.

    ``violations`` holds every one of them (``cxroi.tables.Violation``), not only the first.
    """

    def __init__(self, violations: Sequence[Any]) -> None:
        self.violations = tuple(violations)
        super().__init__("\n".join(str(violation) for violation in self.violations))


class InvalidParameters(InputError):
    """A notebook parameter is unknown or has the wrong type."""


class InvalidCase(InputError):
    """A case file cannot be read as an investment case."""


class NotebookFailed(CxroiError):
    """A notebook raised an error, its kernel was killed, or it took too long.

    ``notebook`` is its name, ``reason`` one of ``error``, ``killed``, ``timeout``.
    """

    def __init__(self, notebook: str, reason: str, message: str) -> None:
        self.notebook = notebook
        self.reason = reason
        super().__init__(message)
