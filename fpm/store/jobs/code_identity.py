"""The identity of code: a digest of what computes, equal wherever the code lies and whoever parses it.

Python's syntax tree is written in a form of our own, so that these change nothing: comments, layout, docstrings, type
annotations and parameters, `if TYPE_CHECKING:`, the order of imports, aliases, the Python minor. An import of our own
module is written as the digest of that module, so moving or renaming a module changes nothing, and an operator
three imports away changes everything that reaches it. What is reached are whole modules, not the functions used.

Annotations do compute in a few places. In a class they are kept where a base class may read them (pydantic) and where
a dataclass reads them (`ClassVar`, `InitVar`, `KW_ONLY`); the fields themselves, their order and defaults always
count. Functions that a library calls by their annotations (typer, FastAPI) do not belong in a job.

A name that is bound by an import stands for what was imported. Where the module also binds that name to something else
(a parameter, a loop's variable, another import) or it hides a builtin, the name and its import are written as they are,
so no scope can be mistaken for another; only then does renaming the imported module change the digest.

Only the standard library is needed, so that another Python can be asked for its opinion. Third-party versions are not
part of the digest: `fpm.environment` has a fingerprint of them.
"""

from __future__ import annotations

import ast
import builtins
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from fpm.bytecode_cache import keep, kept
from fpm.errors import FpmError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

PACKAGES = ("fpm", "producers", "consumers")
# Rooms whose code moves results about and does not compute them; `inputs.RUNNER` stands for them all.
PLUMBING = frozenset({"fpm.store", "fpm.store.jobs", "fpm.store.lake", "fpm.store.ledger", "fpm.store.postgres"})
UNWRITTEN = frozenset({"annotation", "returns", "type_params", "type_comment", "type_ignores", "ctx", "kind", "simple"})
UNREAD_BASES = frozenset({"NamedTuple", "Protocol", "TypedDict"})  # they read a field's name, not its type
ImportStatement = ast.Import | ast.ImportFrom
READ_BY_DATACLASSES = frozenset({"ClassVar", "InitVar", "KW_ONLY"})


@cache
def code_digest(file: str | None) -> str:
    """Digest of a job's source and of every module of ours that it reaches; "" for a job without a file.

    The plumbing is left out (see `PLUMBING`). Raises FpmError where modules import each other in a circle.
    """
    if file is None:
        return ""
    name = Path(file).resolve().as_posix()
    digests = kept("code_identity", _all_sources()) or {}
    if name not in digests:
        digests[name] = _sources().digest(Path(file))
        keep("code_identity", _all_sources(), digests)
    digest: str = digests[name]
    return digest


@cache
def _all_sources() -> str:
    """Digest of the bytes of every source when it is first asked for; to read them as syntax takes far longer."""
    root, content = Path(__file__).parents[3], sha256()
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        source = path.read_bytes()
        content.update(f"{path} {len(source)}\n".encode())
        content.update(source)
    return content.hexdigest()


@cache
def _sources() -> Sources:
    return Sources(Path(__file__).parents[3], PACKAGES, PLUMBING)


class Sources:
    """The modules of `packages` below `root`; those that lie directly in a folder of `plumbing` count as one word."""

    def __init__(self, root: Path, packages: Collection[str], plumbing: Collection[str] = ()) -> None:
        self._root, self._packages, self._plumbing = root.resolve(), packages, plumbing
        self._digests: dict[Path, str] = {}
        self._chain: list[Path] = []  # the modules being read, each imported by the one before

    def digest(self, path: Path) -> str:
        """Hex digest of a module with all it reaches. Raises FpmError for a circle of imports."""
        path = path.resolve()
        if path in self._chain:
            circle = [*self._chain[self._chain.index(path) :], path]
            raise FpmError(
                code="FPM-JOB-011",
                wrong=f"modules import each other: {' -> '.join(module.stem for module in circle)}",
                effect="nothing was computed",
                todo="move what they share into a module of its own",
            )
        if path not in self._digests:
            self._chain.append(path)
            try:
                self._digests[path] = sha256(self._text(path).encode()).hexdigest()
            finally:
                self._chain.pop()
        return self._digests[path]

    def _text(self, path: Path) -> str:
        tree = ast.parse(path.read_bytes())
        imports = {node: list(self._imports(node, path)) for node in _at_run_time(tree) if _is_import(node)}
        every = [imported for several in imports.values() for imported in several]
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        for_effect = {f"import {imported.origin}" for imported in every if imported.alias not in names}
        canonical = Canonical(_unambiguous(tree, every), imports, self)
        at_top = canonical.statements(node for node in tree.body if _is_import(node))
        rest = canonical.statements(node for node in tree.body if not _is_import(node))
        return "\n".join([*sorted(for_effect), *sorted(at_top, key=lambda line: line.rpartition(" as ")[2]), *rest])

    def _imports(self, node: ImportStatement, path: Path) -> Iterator[Import]:
        for alias in node.names:
            if isinstance(node, ast.ImportFrom):
                module = self._absolute(node, path)
                submodule = f"{module}.{alias.name}"
                own = self.path(submodule) is not None
                origin = self.origin(submodule) if own else f"{self.origin(module)}:{alias.name}"
                yield Import(alias.asname or alias.name, origin)
            elif alias.asname:
                yield Import(alias.asname, self.origin(alias.name))
            else:
                top = alias.name.partition(".")[0]
                yield Import(top, self.origin(top))
                yield Import("", self.origin(alias.name))

    def _absolute(self, node: ast.ImportFrom, path: Path) -> str:
        if not node.level:
            return node.module or ""
        package = path.relative_to(self._root).parts[: -node.level]
        return ".".join([*package, *([node.module] if node.module else [])])

    def path(self, module: str) -> Path | None:
        """The file of a module of ours, None where the name is no such module."""
        top, *_ = parts = module.split(".")
        if top not in self._packages:
            return None
        paths = (self._root.joinpath(*parts).with_suffix(".py"), self._root.joinpath(*parts, "__init__.py"))
        return next((path for path in paths if path.is_file()), None)

    def origin(self, module: str) -> str:
        """What stands for a module: the digest of one of ours, `plumbing`, or the name of one of others."""
        path = self.path(module)
        if path is None:
            return module
        room = module if path.name == "__init__.py" else module.rpartition(".")[0]
        return "plumbing" if room in self._plumbing else self.digest(path)


class Import(NamedTuple):
    """One imported thing: the name it is bound to ("" for none), and what stands for it."""

    alias: str
    origin: str


def _at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node outside `if TYPE_CHECKING:`."""
    children = [tree]
    while children:
        node = children.pop()
        yield node
        children += node.orelse if _is_for_types(node) else ast.iter_child_nodes(node)


def _is_for_types(node: ast.AST) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and _last_name(node.test) == "TYPE_CHECKING"


def _is_import(node: ast.AST) -> TypeGuard[ImportStatement]:
    is_future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
    return isinstance(node, (ast.Import, ast.ImportFrom)) and not is_future


def _last_name(node: ast.AST) -> str:
    """`b` of `a.b`, `a.b[...]` and `a.b(...)`."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=inner) | ast.Call(func=inner):
            return _last_name(inner)
    return ""


def _unambiguous(tree: ast.AST, imports: Iterable[Import]) -> dict[str, str]:
    """What each alias stands for, of those that stand for one thing in the whole module."""
    origins: dict[str, set[str]] = {}
    for imported in imports:
        origins.setdefault(imported.alias, set()).add(imported.origin)
    others = {*dir(builtins), *(name for node in ast.walk(tree) for name in _bound(node))}
    return {alias: min(several) for alias, several in origins.items() if len(several) == 1 and alias not in others}


def _bound(node: ast.AST) -> Iterable[str | None]:
    """The names that a node binds otherwise than by import."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
            return (name,)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return (name,)
        case ast.ExceptHandler(name=name) | ast.MatchAs(name=name) | ast.MatchStar(name=name):
            return (name,)
        case ast.MatchMapping(rest=name):
            return (name,)
    return ()


class Canonical:
    """Writes syntax trees as text in which nothing but what computes can be read."""

    def __init__(
        self, origins: Mapping[str, str], imports: Mapping[ImportStatement, Sequence[Import]], sources: Sources
    ) -> None:
        self._origins, self._imports, self._sources = origins, imports, sources

    def statements(self, body: Iterable[ast.stmt]) -> Iterator[str]:
        """The statements that compute, one text each."""
        for node in body:
            match node:
                case ast.Import() | ast.ImportFrom():
                    for imported in self._imports.get(node, ()):
                        if imported.alias and imported.alias not in self._origins:
                            yield f"import {imported.origin} as {imported.alias}"
                case ast.Pass() | ast.Expr(value=ast.Constant()) | ast.AnnAssign(value=None):
                    continue
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    yield self.text(ast.Assign(targets=[target], value=value))
                case ast.If() if _is_for_types(node):
                    yield from self.statements(node.orelse)
                case _:
                    yield self.text(node)

    def text(self, node: object) -> str:
        """A node of any kind, or one of its fields."""
        match node:
            case ast.Name(id=name) if name in self._origins:
                return f"<{self._origins[name]}>"
            case ast.Attribute() if module := self._module(node):
                return f"<{module}>"
            case ast.Constant(value=value):
                return f"{type(value).__name__} {value!a}"
            case ast.JoinedStr(values=values):
                return self._call("JoinedStr", values=_joined(values))
            case ast.ClassDef():
                return self._class(node)
            case ast.AST():
                fields = {name: getattr(node, name, None) for name in sorted({*node._fields} - UNWRITTEN)}
                return self._call(type(node).__name__, **fields)
            case list():
                computing = (
                    [*self.statements(node)] if isinstance(next(iter(node), None), ast.stmt) else map(self.text, node)
                )
                return f"[{', '.join(computing)}]"
        return ascii(node)

    def _call(self, kind: str, /, **fields: object) -> str:
        """A field without a value is left out: some exist in one Python minor only."""
        texts = {name: self.text(value) for name, value in fields.items() if value is not None}
        return f"{kind}({', '.join(f'{name}={text}' for name, text in texts.items() if text != '[]')})"

    def _class(self, node: ast.ClassDef) -> str:
        read = any(_last_name(base) not in UNREAD_BASES for base in node.bases)
        body = [
            self._field(part, read=read) if isinstance(part, ast.AnnAssign) else ", ".join(self.statements([part]))
            for part in node.body
        ]
        head = self._call(
            "ClassDef", name=node.name, bases=node.bases, keywords=node.keywords, decorators=node.decorator_list
        )
        return f"{head}[{', '.join(filter(None, body))}]"

    def _field(self, node: ast.AnnAssign, *, read: bool) -> str:
        """An annotated name in a class is a field; its annotation counts where somebody may read it."""
        names = {_last_name(part) for part in ast.walk(node.annotation)}
        annotation = node.annotation if read or names & READ_BY_DATACLASSES else None
        return self._call("Field", target=node.target, value=node.value, read=annotation)

    def _module(self, node: ast.Attribute) -> str | None:
        """What stands for `a.b.c` after `import a.b.c`, where that is a module of ours."""
        parts, inner = [node.attr], node.value
        while isinstance(inner, ast.Attribute):
            parts, inner = [inner.attr, *parts], inner.value
        if not isinstance(inner, ast.Name) or inner.id not in self._origins:
            return None
        module = ".".join([inner.id, *parts])
        return self._sources.origin(module) if self._sources.path(module) else None


def _joined(values: Iterable[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string, its texts put together: Python minors cut them differently."""
    parts: list[ast.expr] = []
    for value in values:
        last = parts[-1] if parts else None
        if isinstance(value, ast.Constant) and isinstance(last, ast.Constant):
            parts[-1] = ast.Constant(value=str(last.value) + str(value.value))
        elif not (isinstance(value, ast.Constant) and value.value == ""):
            parts.append(value)
    return parts
