"""The error policy, in one place.

Anything a person can mend raises a `GradatimError` whose message is one line that says what is wrong and what
to do. The command line prints that line and exits with `exit_code`; nothing else catches it. Every other
exception is a bug and propagates with its traceback.

    GradatimError          exit 2
    ├── InputError         a document, feedback, question file or argument that can't be used
    ├── ModelError         a base model or adapter that can't be loaded
    ├── CharterError       the charter is broken, or forbids what was asked
    ├── WorkspaceError     no workspace here, one that is already there, or one that is busy
    └── IntegrityError     stored bytes do not match their digest or signature
"""

from __future__ import annotations


class GradatimError(Exception):
    """Base of every error a person can mend."""

    exit_code = 2


class InputError(GradatimError):
    """A document, feedback, question file or argument that can't be used."""


class ModelError(GradatimError):
    """A base model or adapter that can't be loaded."""


class CharterError(GradatimError):
    """The charter is broken, or forbids what was asked."""


class WorkspaceError(GradatimError):
    """No workspace here, one that is already there, or one that is busy."""


class IntegrityError(GradatimError):
    """Stored bytes do not match their digest or signature."""
