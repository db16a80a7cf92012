"""Jobs by name."""

import pytest

from fpm.commands import jobs
from fpm.errors import UsageError


def test_an_unknown_job_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UsageError, match=r"FPM-CFG-004.*minute_features"):
        jobs.job("minute_feature")


def test_every_module_has_the_name_it_goes_by() -> None:
    assert [jobs.job(name).NAME for name in jobs.MODULES] == list(jobs.MODULES)
