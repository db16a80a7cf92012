"""A model of another feature schema: the names it reads and the home lacks, and the other way round."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fpm.errors import ModelRefused
from fpm.feature_schema import difference, require_same
from fpm.schema import CLASSIC, FEATURES, FINGERPRINT_SIZE, SCORER_DAILY

OURS = list(FEATURES["bar_32"])


def test_an_encoder_of_these_features_fits_and_so_does_one_that_says_nothing() -> None:
    for manifest in ({"features": OURS}, {"profile": "bar_32"}, {"profile": "of a later version"}, {}):
        assert difference("encoder", manifest, "bar_32") == ""
    assert difference("encoder", {"features": ["anything"]}, None) == "", "nothing was ingested yet"


def test_missing_and_extra_features_are_named() -> None:
    other = ["tomorrow", *OURS[1:]]
    assert difference("encoder", {"features": other}, "bar_32") == f"missing here tomorrow, extra here {OURS[0]}"
    assert difference("encoder", {"features": OURS[::-1]}, "bar_32") == "the same features in another order"
    assert difference("encoder", {"profile": "l2_32"}, "bar_32").startswith("missing here ")


@example(left_out=set(OURS), added=set())
@given(st.sets(st.sampled_from(OURS)), st.sets(st.text("xyz", min_size=1, max_size=4), max_size=12))
def test_every_name_is_on_the_side_that_has_it(left_out: set[str], added: set[str]) -> None:
    trained = [name for name in OURS if name not in left_out] + sorted(added)
    words = difference("encoder", {"features": trained}, "bar_32")
    assert bool(words) == bool(left_out or added)
    extra = words.partition("extra here ")[2].split(" and ")[0].split()
    missing = words.partition("missing here ")[2].split(",")[0].split(" and ")[0].split()
    assert extra == [name for name in OURS if name in left_out][:10] and missing == sorted(added)[:10]


def test_a_scorer_chooses_its_factors_and_reads_every_fingerprint() -> None:
    fingerprint = [*(f"fingerprint_{number}" for number in range(FINGERPRINT_SIZE)), *SCORER_DAILY]
    some = {"fingerprint": fingerprint, "traditional": list(CLASSIC[:3])}
    assert difference("scorer", {"features": some}, "bar_32") == ""
    wide = {"fingerprint": ["fingerprint_128", *fingerprint[1:]], "traditional": [*CLASSIC, "beauty"]}
    assert difference("scorer", {"features": wide}, "bar_32") == (
        "stream fingerprint: missing here fingerprint_128, extra here fingerprint_0; "
        "stream traditional: missing here beauty"
    )


def test_the_refusal_names_them() -> None:
    with pytest.raises(ModelRefused, match=r"FPM-ML-340 .*encoder m .*missing here tomorrow.*nothing was done"):
        require_same("encoder", "m", {"features": [*OURS, "tomorrow"]}, "bar_32", "nothing was done")
