"""Commands run in this process."""

from tests.consumers.questions.conftest import command as command
