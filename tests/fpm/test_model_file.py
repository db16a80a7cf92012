"""The model file: keys as the configurations have them, every fault named, nothing but the choices changed."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.errors import UsageError
from fpm.model_file import KEYS, Choice, Kind, Real, Whole, Wholes, chosen, read_model_file
from fpm.nn.encoder import network, pretraining, regularizers
from fpm.nn.fit import FitConfig
from fpm.nn.scorer import losses
from fpm.nn.scorer.network import PRESETS as SCORERS
from fpm.nn.scorer.network import ScorerConfig, scorer_config
from fpm.store.settings import Settings
from fpm.walk_forward import PRESETS as FOLDS

CONFIGS: dict[str, tuple[dict[str, Any], ...]] = {
    "encoder": (network.PRESETS, pretraining.PRESETS),  # type: ignore[dict-item]
    "scorer": (SCORERS,),  # type: ignore[dict-item]
    "folds": (FOLDS,),  # type: ignore[dict-item]
}
TYPES = {Whole: {"int"}, Real: {"float"}, Choice: {"str", "int", "bool"}, Wholes: {"tuple[int, ...]"}}


def values(kind: Kind) -> st.SearchStrategy[Any]:
    """Values that a key may have, as a TOML file holds them."""
    match kind:
        case Whole(low, high):
            return st.integers(low, high)
        case Real(low, high):
            return st.floats(low, high)
        case Choice(choices):
            return st.sampled_from(choices)
        case Wholes(most):
            return st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=min(most, 4), unique=True)


def owners(section: str, key: str, preset: str) -> list[Any]:
    """The configurations of a preset, or their `fit`, that have the key as a field."""
    configs = [presets[preset] for presets in CONFIGS[section]]
    named = [config for config in configs if key in {each.name for each in fields(config)}]
    return named or [config.fit for config in configs if hasattr(config, "fit")]


@pytest.mark.parametrize(
    ("section", "key", "kind"),
    [(section, key, kind) for section in CONFIGS for key, kind in KEYS[section].items()],
)
def test_every_key_is_one_field_and_every_preset_could_say_its_own_value(section: str, key: str, kind: Kind) -> None:
    for preset in FOLDS:
        (owner,) = owners(section, key, preset)
        (declared,) = [str(each.type) for each in fields(owner) if each.name == key]
        assert declared in TYPES[type(kind)] or declared.startswith("Literal["), declared
        value = getattr(owner, key)
        assert kind.fault(list(value) if isinstance(value, tuple) else value) is None, (preset, value)


def test_the_words_of_a_choice_are_those_that_the_code_knows() -> None:
    choices = {(section, key): set(kind.values) for section, key, kind in choices_of_all()}
    assert choices["encoder", "pooling"] == set(network.POOLINGS)
    assert choices["encoder", "penalties"] == set(regularizers.FORMS)
    assert choices["scorer", "loss"] == set(losses.LOSSES)
    assert choices["scorer", "fusion"] == set(get_args(get_type_hints(ScorerConfig)["fusion"]))


def choices_of_all() -> list[tuple[str, str, Choice]]:
    return [(section, key, kind) for section in KEYS for key, kind in KEYS[section].items() if isinstance(kind, Choice)]


@given(data=st.data())
def test_a_choice_changes_its_own_field_and_no_other(data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.sampled_from(sorted(KEYS["scorer"])), unique=True))
    choices = {key: data.draw(values(KEYS["scorer"][key])) for key in keys}
    for preset, config in SCORERS.items():
        before, after = flat(asdict(config)), flat(asdict(scorer_config(preset, choices)))
        assert {key: after[key] for key in keys} == choices
        assert {key: value for key, value in after.items() if key not in keys} == {
            key: value for key, value in before.items() if key not in keys
        }


def flat(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with its `fit` beside its own fields."""
    return {key: value for key, value in config.items() if key != "fit"} | config["fit"]


@given(data=st.data())
def test_what_is_written_is_what_is_read(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    sections = {
        section: {
            key: data.draw(values(KEYS[section][key]))
            for key in data.draw(st.lists(st.sampled_from(sorted(KEYS[section])), min_size=1, unique=True))
        }
        for section in ("encoder", "scorer")
    }
    path = tmp_path_factory.mktemp("file") / "model.toml"
    path.write_text(toml(sections))
    file = read_model_file(path)
    assert json.loads(json.dumps({"encoder": file.encoder, "scorer": file.scorer})) == sections


def toml(sections: dict[str, dict[str, Any]]) -> str:
    return "\n".join(
        f"[{name}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in section.items())
        for name, section in sections.items()
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no section"),
        ("look_back = 3\n", r"\[look_back\] is no section: there are encoder, scorer, label, folds"),
        ("[scorers]\n", r"\[scorers\] is no section"),
        ("[scorer]\nlookback = 3\n", r"\[scorer\] has the unknown key lookback"),
        ("[scorer]\nfactors = ['a']\n", r"unknown key factors"),
        ("[scorer]\nlook_back = 0\n", r"look_back is 0, not from 1 to 250"),
        ("[scorer]\nlook_back = true\n", r"look_back is True, no whole number"),
        ("[scorer]\nweight = nan\n", r"weight is nan, no number"),
        ("[scorer]\nweight = 1.5\n", r"weight is 1.5, not from 0 to 1"),
        ("[scorer]\nfusion = 'sum'\n", r"fusion is 'sum', not one of fixed, gate, score, stack"),
        ("[scorer]\nseeds = [1, 1]\n", r"seeds is \[1, 1\], not 1 to 32 different numbers"),
        ("[scorer]\nseeds = 7\n", r"seeds is 7, no list"),
        ("[encoder]\nheads = 3\n", r"heads is 3, not one of 1, 2, 4"),
        ("[encoder]\nlikelihood = 1\n", r"likelihood is 1, not one of true, false"),
        ("[scorer]\nhidden = 'x'\n[folds]\nrefit = 0\n", r"hidden is 'x', no whole number; \[folds\] refit is 0"),
        (
            "[label]\nhorizon = 10\n[folds]\npurge = 10\n",
            r"purge is 10, and a label of 10 .* after 11",
        ),
        ("[folds]\npurge = 5\n", r"purge is 5, and a label of 5 .* after 6"),
    ],
)
def test_every_fault_is_named(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"FPM-CFG-093.*{words}"):
        read_model_file(path)


def test_settings_refuse_a_file_that_is_not_there_or_not_understood(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"FPM-CFG-093.*there is no file of this name"):
        Settings(model=tmp_path / "none.toml")


@pytest.mark.parametrize(("horizon", "purge"), [(1, 6), (5, 6), (10, 11)])
def test_the_purge_follows_the_label(horizon: int, purge: int, tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text(f"[label]\nhorizon = {horizon}\n[folds]\nrefit = 7\n")
    folds = Settings(model=path, preset="demo").folds
    assert (folds.purge, folds.refit, folds.train) == (purge, 7, FOLDS["demo"].train)


def test_a_running_process_keeps_the_file_that_it_began_with(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text("[scorer]\nlook_back = 4\n")
    settings = Settings(model=path)
    path.write_text("[scorer]\nlook_back = 9\n")
    assert settings.model_choices.scorer == {"look_back": 4}
    assert settings.model_copy().model_choices.scorer == {"look_back": 4}


def test_a_choice_of_the_fit_reaches_the_fit() -> None:
    config = chosen(ScorerConfig(), {"epochs": 3, "hidden": 16})
    assert (config.fit.epochs, config.hidden) == (3, 16)
    assert config.fit.rate == ScorerConfig().fit.rate != FitConfig(rate=0.5).rate
