"""The line that names the second stream's columns."""

from __future__ import annotations

import pytest

from fpm.errors import UsageError
from fpm.features.factor_columns import factor_columns
from fpm.schema import ALPHA158, CLASSIC
from fpm.store.settings import load_settings


def test_sets_columns_and_both() -> None:
    assert factor_columns("classic") == CLASSIC and len(CLASSIC) == 20
    assert factor_columns("alpha158") == ALPHA158 and len(ALPHA158) == 158
    assert factor_columns("all") == CLASSIC + ALPHA158
    assert factor_columns(" ROC5, log_size,roc5") == ("roc5", "log_size")
    assert factor_columns("alpha158,log_size") == (*ALPHA158, "log_size")
    assert factor_columns(None) == ()


@pytest.mark.parametrize(
    ("line", "message"), [("alpha185", "did you mean alpha158"), ("roc7", "roc"), (" , ", "use classic")]
)
def test_an_unknown_name_is_refused_with_a_suggestion(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_settings({"factors": line})
