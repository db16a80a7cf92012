"""Commands run in this process."""

from tests.consumers.questions.conftest import command

__all__ = ["command"]
