"""The reference pages and the table of jobs, made from the code by `python docs/generate.py`.

tests/test_reference.py fails where a page is not what this writes.
"""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import yaml
from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from typer.main import get_command

from consumers.publish import PublishConfig
from fpm import walk_forward
from fpm.commands.cli import app
from fpm.commands.jobs import descriptions
from fpm.data_contract import Promises, contract
from fpm.model_file import KEYS, Choice, Kind, ModelFile, Real, Whole, Wholes
from fpm.nn.encoder import network as encoder
from fpm.nn.encoder import pretraining
from fpm.nn.scorer import network as scorer
from fpm.sessions import market
from fpm.store.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent
SOURCES = ("fpm", "producers", "consumers", "feature_repo")
HEAD = "<!-- made by docs/generate.py from the code: edit there -->\n"


# --- commands ------------------------------------------------------------------------------------
def cli_page() -> str:
    """Every command with its arguments and options."""
    lines = [HEAD, "# Commands", ""]
    lines += ["`--json` gives one JSON document on standard output. Exit codes: 0 done, 1 refused or failed, 2 wrong"]
    lines += ["usage, 75 try later, 130 interrupted (the same command again resumes).", ""]
    for words, command in commands(get_command(app), ("fpm",)):
        lines += [f"## {' '.join(words)}", "", " ".join((command.help or "").split()), ""]
        rows = [row for parameter in command.params if (row := parameter_row(parameter))]
        if rows:
            lines += ["| | | |", "|---|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def commands(group: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command below a group, with the words that reach it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


def parameter_row(parameter: Any) -> str:
    """One line of a command's table; "" for `--help`."""
    if parameter.name in ("help", "version"):
        return ""
    is_option = parameter.param_type_name == "option"
    name = ", ".join((*parameter.opts, *parameter.secondary_opts)) if is_option else parameter.name.upper()
    default = parameter.default
    notes = [
        f"one of {', '.join(choices)}" if (choices := choices_of(parameter)) else "",
        "required" if parameter.required else "",
        "" if default in (None, False, ()) or callable(default) else f"default {str(default).lower()}",
        f"at least {parameter.min}" if getattr(parameter, "min", None) else "",
    ]
    return f"| `{name}` | {cell(parameter.help or '')} | {cell('; '.join(filter(None, notes)))} |"


def choices_of(parameter: Any) -> tuple[str, ...]:
    """The words a parameter accepts, where they are a closed list."""
    return (
        get_args(parameter.type_descriptor.annotation)
        if get_origin(parameter.type_descriptor.annotation) is Literal
        else ()
    )


# --- settings ------------------------------------------------------------------------------------
def settings_page() -> str:
    """Every setting with its type, default and meaning."""
    lines = [HEAD, "# Settings", ""]
    lines += [
        "Environment variables. An unknown `FPM_` name is refused (FPM-CFG-001), so a misspelling is never silent.",
        "",
    ]
    lines += ["| variable | values | default | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = (
            ""
            if default is None or default is PydanticUndefined
            else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        )
        lines.append(f"| `FPM_{name.upper()}` | {cell(kind_of(field))} | {shown} | {cell(field.description or '')} |")
    return "\n".join(lines) + "\n"


def kind_of(field: Any) -> str:
    """The values a setting takes, in words."""
    schema = Settings.model_json_schema()["properties"]
    entry = schema[next(name for name, other in Settings.model_fields.items() if other is field)]
    choices = entry.get("enum") or next((part["enum"] for part in entry.get("anyOf", []) if "enum" in part), None)
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "`0`, `1`", "string": "text"}
    parts = [entry, *entry.get("anyOf", [])]
    if SecretStr.__name__ in str(field.annotation):
        return "text; never printed" if entry["title"].endswith("Secret") else "a URL; never printed"
    if any(part.get("format") == "path" for part in parts):
        return "a path"
    kind = next((kinds[part["type"]] for part in parts if part.get("type") in kinds), "text")
    bounds = [entry.get("minimum"), entry.get("maximum")]
    if bounds[1] is not None:
        return f"{kind} from {bounds[0]} to {bounds[1]}"
    return f"{kind} from {bounds[0]}" if bounds[0] is not None else kind


# --- errors --------------------------------------------------------------------------------------
def errors_page() -> str:
    """Every error code with what it says is wrong and what to do."""
    entries: dict[str, set[tuple[str, str]]] = defaultdict(set)
    paths = [path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py"))]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    shared = {name: texts for tree in trees for name, texts in shared_refusals(tree)}
    for tree in trees:
        for code, wrong, todo in raised(tree, shared):
            entries[code].add((wrong, todo))
    lines = [HEAD, "# Error codes", ""]
    lines += [
        "A message reads `CODE  what is wrong - what was done - what to do`. A code is stable: programs may match it.",
        "",
    ]
    lines += ["| code | what is wrong | what to do |", "|---|---|---|"]
    for code in sorted(entries):
        lines += [f"| {code} | {cell(wrong)} | {cell(todo)} |" for wrong, todo in sorted(entries[code])]
    return "\n".join(lines) + "\n"


def shared_refusals(tree: ast.AST) -> Iterator[tuple[str, tuple[str, str]]]:
    """Functions that take the code of their refusal as an argument, with its fault and advice."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and "code" in {argument.arg for argument in function.args.kwonlyargs}:
            for node in ast.walk(function):
                words = {keyword.arg: keyword.value for keyword in node.keywords} if isinstance(node, ast.Call) else {}
                if isinstance(words.get("code"), ast.Name) and "wrong" in words:
                    yield function.name, (text_of(words["wrong"]), text_of(words.get("todo")))


def raised(tree: ast.AST, shared: dict[str, tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Code, fault and advice of every call with a literal `code="FPM-…"`, and of every tuple (…, code, fault)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple) and len(node.elts) > 1:
            code, text = node.elts[-2:]
            if isinstance(code, ast.Constant) and str(code.value).startswith("FPM-"):
                yield str(code.value), text_of(text), ""
        if isinstance(node, ast.Call):
            words = {keyword.arg: keyword.value for keyword in node.keywords}
            code = words.get("code")
            if isinstance(code, ast.Constant) and str(code.value).startswith("FPM-"):
                if "wrong" not in words and isinstance(node.func, ast.Name) and node.func.id in shared:
                    yield str(code.value), *shared[node.func.id]
                else:
                    yield str(code.value), text_of(words.get("wrong")), text_of(words.get("todo"))


def text_of(node: ast.expr | None) -> str:
    """An expression as a reader's text: what the program fills in stands in braces."""
    if node is None:
        return ""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.FormattedValue):
        node = node.value
    names = [
        part.attr if isinstance(part, ast.Attribute) else part.id
        for part in ast.walk(node)
        if isinstance(part, (ast.Attribute, ast.Name))
    ]
    return "{" + names[0].strip("_").replace("_", " ") + "}" if names else "…"


def cell(text: str) -> str:
    """Text inside a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


# --- data contract -------------------------------------------------------------------------------
def contract_page() -> str:
    """The data contract of the default preset on the Chinese market, as YAML."""
    bounds, defaults = PublishConfig(), Settings.model_fields
    promises = Promises(
        str(market("cn").cut_off)[:-3],
        defaults["night_hours"].default,
        bounds.scored,
        bounds.universe,
        bounds.empty,
        defaults["online_history"].default,
    )
    document = contract(package_version("fpm"), promises)
    return "# made by docs/generate.py from the code: edit there\n" + yaml.safe_dump(
        document, sort_keys=False, width=120
    )


# --- model file ----------------------------------------------------------------------------------
MODELS = """# The model file

`FPM_MODEL=model.toml` chooses what a preset leaves to a team: sizes, losses, seeds, look-back, fusion, label and
folds. Every key may be left out; what is not said is the preset's. An unknown key, or a value outside its range, is
refused before anything begins (FPM-CFG-093).

```toml
[encoder]
mask_ratio = 0.3
[scorer]
fusion = "gate"
seeds = [1, 2, 3]
[label]
horizon = 5
[folds]
refit = 60
```

- What is chosen stands in the manifest of every model, in the report under "Settings tried" and in the passport.
  **A changed file is a trial**: the deflated Sharpe ratio counts it.
- `horizon`: a label is the return from the close of t + 1 to that of t + 1 + horizon. Another horizon computes the
  labels again, with the next `fpm backfill labels FIRST LAST` or night; yearly figures of the long-short portfolio
  are then left out, because a group is held for a week.
- `purge`: sessions between validation and test. A purge shorter than a label reaches is refused; left out, it
  follows the horizon.
- `fusion`: `fixed` weighs the streams' states by `weight` (the fingerprint's share), `gate` learns a share for each
  unit, `score` weighs two scores, `stack` trains each stream alone and weighs their scores by what they show on the
  validation sessions: a stream of noise gets no share. The shares stand in the manifest.
- Models are used under the look-back that they were trained for: after a change of it, `fpm train scorer --through
  SESSION` (FPM-ML-337).
- Factors, training window and the seed added to all seeds are settings of their own: `FPM_FACTORS`,
  `FPM_TRAIN_WINDOW`, `FPM_SEED`.
- A process keeps the file as it was at its start; `fpm schedule` wants a restart.
"""


def models_page() -> str:
    """Every key of the model file with its range and the values of two presets."""
    presets: dict[str, Callable[[str], list[Any]]] = {
        "encoder": lambda name: [encoder.PRESETS[name], pretraining.PRESETS[name], pretraining.PRESETS[name].fit],
        "scorer": lambda name: [scorer.PRESETS[name], scorer.PRESETS[name].fit],
        "label": lambda _: [ModelFile()],
        "folds": lambda name: [walk_forward.PRESETS[name]],
    }
    lines = [HEAD + MODELS]
    for section, keys in KEYS.items():
        lines += [f"## [{section}]", "", "| key | values | `default` | `demo` |", "|---|---|---|---|"]
        for key, kind in keys.items():
            values = [
                next(getattr(config, key) for config in presets[section](preset) if hasattr(config, key))
                for preset in ("default", "demo")
            ]
            lines.append(f"| `{key}` | {range_of(kind)} | {' | '.join(as_toml(value) for value in values)} |")
        lines.append("")
    return "\n".join(lines)


def range_of(kind: Kind) -> str:
    """The values of a key in words."""
    match kind:
        case Whole(low, high):
            return f"whole, {low} to {high}"
        case Real(low, high):
            return f"{low:g} to {high:g}"
        case Choice(values):
            return ", ".join(f"`{as_toml(value)}`" for value in values)
        case Wholes(most):
            return f"up to {most} different whole numbers"


def as_toml(value: Any) -> str:
    """A value as a TOML file spells it."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)


# --- jobs ----------------------------------------------------------------------------------------
def jobs_table() -> str:
    """What `fpm jobs` prints: every job with what it reads and writes."""
    return json.dumps(descriptions(), indent=1) + "\n"


PAGES = {
    "docs/cli.md": cli_page,
    "docs/settings.md": settings_page,
    "docs/errors.md": errors_page,
    "docs/contract.yaml": contract_page,
    "docs/models.md": models_page,
    "fpm/commands/jobs.json": jobs_table,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")
