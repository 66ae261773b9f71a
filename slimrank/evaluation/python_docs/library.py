"""Read the documented public names of the running interpreter's standard library, without running it.

Python source is parsed, never run. C modules have no source, so the harmless ones of a short list are
imported and inspected (``inspection.py``), and so are a few Python modules that create their public names when they
run. This module knows nothing of documents or folders; ``corpus.py`` makes them from the names found here.

A name is public if a module defines it, or re-exports it from a private module, a C module or one of its
submodules (``asyncio.run``, ``collections.deque``, ``os.listdir``). If a module declares ``__all__``, that decides.
"""

from __future__ import annotations

import ast
import copy
import importlib.abc
import importlib.machinery
import inspect
import os
import pkgutil
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from slimrank.evaluation.python_docs.inspection import COMPLETED_BY_IMPORT, Entry, inspect_module, inspect_names, inspect_public

# Modules that a user would not search: tests, programs, jokes, tables, parts of another module ...
_EXCLUDED = frozenset(
    """antigravity ensurepip encodings genericpath idlelib lib2to3 nt ntpath nturl2path posix pydoc_data sre_compile
    sre_constants sre_parse test this turtledemo xxlimited xxlimited_35 xxsubtype""".split()  # noqa: SIM905
)
# ... and modules that Python 3.12 or 3.13 removed, so that the corpus differs little between versions.
_DROPPED = frozenset(
    """aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp mailcap msilib nis nntplib
    ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib""".split()  # noqa: SIM905
)
_TEST_PACKAGES = frozenset({"test", "tests", "idle_test"})

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Definition = ast.ClassDef | _Function
_DEFINITION = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def public_modules() -> Iterator[str]:
    """Yield the dotted names of the public modules without importing them."""
    for name in sorted(sys.stdlib_module_names - _EXCLUDED - _DROPPED):
        if not name.startswith("_"):
            yield from _with_submodules(name)


def _with_submodules(name: str) -> Iterator[str]:
    yield name
    spec = _find(name)
    children = pkgutil.iter_modules(spec.submodule_search_locations or ()) if spec else ()
    for child in sorted(module.name for module in children):
        if not child.startswith("_") and child not in _TEST_PACKAGES:
            yield from _with_submodules(f"{name}.{child}")


def _find(name: str) -> importlib.machinery.ModuleSpec | None:
    """Find a standard module on disk, without importing its parent as ``importlib.util.find_spec`` does."""
    parent = name.rpartition(".")[0]
    if not parent:
        library = os.path.dirname(os.__file__)
        return importlib.machinery.PathFinder.find_spec(name, [library, os.path.join(library, "lib-dynload")])
    spec = _find(parent)
    if spec is None or not spec.submodule_search_locations:
        return None
    return importlib.machinery.PathFinder.find_spec(name, list(spec.submodule_search_locations))


class Library:
    """Reads each module once, and stores the names that it found."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source | None] = {}
        self._entries: dict[str, dict[str, Entry]] = {}

    def entries(self, module: str) -> list[Entry]:
        """Return the documented public names of a module, its own and those that it re-exports.

        If a name has several texts (in Python source and in C), the first stays; the module's own source comes first.
        Modules that import each other see the names that were read so far, as they do when they run.
        """
        if module not in self._entries:
            found = self._entries[module] = {}
            source = self._source(module)
            for entry in inspect_module(module) if source is None else self._from_source(source):
                if entry.text and not _is_private(entry.path):
                    found.setdefault(entry.path, entry)
        return list(self._entries[module].values())

    def _source(self, module: str) -> _Source | None:
        if module not in self._sources:
            self._sources[module] = _parse(module)
        return self._sources[module]

    def _from_source(self, source: _Source) -> Iterator[Entry]:
        yield from (entry for entry in source.own if source.is_public(entry.path))
        for statement in source.statements:
            if isinstance(statement, ast.ImportFrom):
                yield from self._taken_over(source, statement)
            if isinstance(statement, ast.ClassDef) and source.is_public(statement.name):
                yield from self._inherited(source, statement)
        if source.module in COMPLETED_BY_IMPORT:
            yield from inspect_public(source.module)

    def _taken_over(self, source: _Source, statement: ast.ImportFrom) -> Iterator[Entry]:
        """Yield the names that ``from x import ...`` re-exports; a name that the module only uses is left out."""
        origin = source.origin(statement)
        for alias in statement.names:
            if alias.name == "*":
                yield from (entry for entry in self.entries(origin) if entry.path)
            elif alias.name == "__doc__":
                yield from (entry for entry in self.entries(origin) if not entry.path)
            elif bound := source.public_name(alias, origin, is_c_module=self._source(origin) is None):
                # Only inspection finds a private name: `from posix import _path_normpath as normpath`
                is_private = alias.name.startswith("_")
                entries = inspect_names(origin, [alias.name]) if is_private else self.entries(origin)
                yield from _renamed(entries, alias.name, bound)

    def _inherited(self, source: _Source, statement: ast.ClassDef) -> Iterator[Entry]:
        """Yield the members that a public class inherits from private bases: ``ArgumentParser(_ActionsContainer)``."""
        origins = source.private_origins()
        for base in statement.bases:
            if isinstance(base, ast.Name) and (base.id.startswith("_") or base.id in origins):
                declaring = self._source(origins.get(base.id, source.module))
                members = (entry for entry in (declaring.own if declaring else ()) if entry.path != base.id)
                yield from _renamed(members, base.id, statement.name)


@dataclass(frozen=True)
class _Source:
    """One parsed module: the names that it defines, also private ones, and its ``__all__``."""

    module: str
    is_package: bool
    statements: list[ast.stmt]  # at the module's level, in all branches
    public: frozenset[str] | None  # the names in __all__; None if there is none or it is computed
    own: list[Entry]

    def is_public(self, path: str) -> bool:
        return self.public is None or not path or path.partition(".")[0] in self.public

    @property
    def package(self) -> str:
        return self.module if self.is_package else _package(self.module)

    def origin(self, statement: ast.ImportFrom) -> str:
        """Return the full name of the module that a ``from ... import`` names."""
        if not statement.level:
            return statement.module or ""
        package = self.package.split(".")
        base = package[: len(package) - statement.level + 1]
        return ".".join([*base, statement.module] if statement.module else base)

    def public_name(self, alias: ast.alias, origin: str, *, is_c_module: bool) -> str | None:
        """Return the public name of an import in this module; None if the module only uses it."""
        bound = alias.asname or alias.name
        if self.public is not None:
            # The lazy `__getattr__` of concurrent.futures imports a public name under a shorter name.
            return bound if bound in self.public else alias.name if alias.name in self.public else None
        is_c_face = is_c_module and (origin in ("posix", "nt") or _is_private(origin))
        is_inside = origin.startswith(f"{self.module}.") or (_is_private(origin) and _package(origin) == self.package != "")
        is_renamed = bound != alias.name and not alias.name.startswith(
            "_"
        )  # a renamed one, such as c_scanstring, is for use inside
        return bound if (is_c_face or is_inside) and not is_renamed else None

    def private_origins(self) -> dict[str, str]:
        """Return the module of each name that is imported from a private module without being renamed."""
        imports = [(self.origin(node), node.names) for node in self.statements if isinstance(node, ast.ImportFrom)]
        return {alias.name: origin for origin, aliases in imports if _is_private(origin) for alias in aliases}


def _is_private(dotted: str) -> bool:
    return any(part.startswith("_") for part in dotted.split("."))


def _package(dotted: str) -> str:
    return dotted.rpartition(".")[0]


def _parse(module: str) -> _Source | None:
    """Parse a module's source; None if the module has no source or this interpreter lacks it."""
    spec = _find(module)
    loader = spec.loader if spec else None
    text = loader.get_source(module) if isinstance(loader, importlib.abc.InspectLoader) else None
    if spec is None or text is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in the library's own strings
        tree = ast.parse(text)
    statements = list(_branches(tree.body))
    own = [Entry("", "module ", "", _module_docstring(tree, statements)), *_own(statements)]
    is_package = spec.submodule_search_locations is not None
    return _Source(module, is_package, statements, _declared_public(statements), own)


def _module_docstring(tree: ast.Module, statements: list[ast.stmt]) -> str:
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name("__doc__")], value=ast.Constant(str(text))):  # as hashlib does
                return inspect.cleandoc(text).strip()
    return _docstring(tree)


def _docstring(node: ast.Module | _Definition) -> str:
    return (ast.get_docstring(node) or "").strip()


def _branches(body: Iterable[ast.AST]) -> Iterator[ast.stmt]:
    """Yield the statements of a module or class, in all branches, and the imports of a lazy ``__getattr__``."""
    for node in body:
        if isinstance(node, ast.stmt):
            yield node
        if isinstance(node, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            yield from _branches(ast.iter_child_nodes(node))
        elif isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
            yield from (child for child in ast.walk(node) if isinstance(child, ast.ImportFrom))


def _declared_public(statements: Iterable[ast.stmt]) -> frozenset[str] | None:
    """Return the names in ``__all__``; None if there is none or it is computed."""
    names: set[str] = set()
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name("__all__")], value=value):
                pass
            case ast.AugAssign(target=ast.Name("__all__"), value=value):
                pass
            case ast.Expr(ast.Call(ast.Attribute(ast.Name("__all__")), [value])):
                pass  # __all__.append("name"), __all__.extend([...])
            case ast.ImportFrom(names=aliases) if any(alias.name == "__all__" for alias in aliases):
                return None
            case _:
                continue
        try:
            literal = ast.literal_eval(value)
        except ValueError:
            return None
        names |= {literal} if isinstance(literal, str) else set(literal)
    return frozenset(names) or None


def _own(statements: list[ast.stmt]) -> list[Entry]:
    """Return the names that statements define, also private ones, and the aliases that they give to functions."""
    defined = [entry for node in statements if isinstance(node, _DEFINITION) for entry in _defined(node, "")]
    functions = [entry for entry in defined if not entry.kind]
    for statement in reversed(statements):  # of several branches, the last one is for POSIX: getpass = unix_getpass
        match statement:
            case ast.Assign(targets=[ast.Name(name)], value=ast.Name() | ast.Attribute() as value):
                defined += _renamed(functions, ast.unparse(value), name)  # open = TarFile.open
    return defined


def _renamed(entries: Iterable[Entry], name: str, bound: str) -> Iterator[Entry]:
    """Yield the entries of a name and its members, under the name that it is bound to."""
    for entry in entries:
        if entry.path == name or entry.path.startswith(f"{name}."):
            yield replace(entry, path=bound + entry.path[len(name) :])


def _defined(node: _Definition, owner: str) -> Iterator[Entry]:
    path = f"{owner}.{node.name}" if owner else node.name
    text = _docstring(node)
    if not isinstance(node, ast.ClassDef):
        yield Entry(path, "", _parameters(node, is_method=bool(owner)), text)
        return
    members = [child for child in _branches(node.body) if isinstance(child, _DEFINITION)]
    makers = {child.name: child for child in members if isinstance(child, ast.FunctionDef)}
    maker = makers.get("__init__") or makers.get("__new__")
    if maker:  # it often holds the class's description: ThreadPoolExecutor.__init__
        yield Entry(path, "class ", _parameters(maker, is_method=True), text or _docstring(maker))
    else:
        yield Entry(path, "class ", "", text)
    for child in members:
        yield from _defined(child, path)


def _parameters(function: _Function, *, is_method: bool) -> str:
    """Return ``(a, b=1)`` without ``self``, or nothing for a name that is not called."""
    decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in function.decorator_list}
    if any("property" in name or "SpecialForm" in name for name in decorators):
        return ""
    arguments = copy.deepcopy(function.args)
    if is_method and "staticmethod" not in decorators:
        (arguments.posonlyargs or arguments.args)[:1] = []
    return f"({ast.unparse(arguments)})"
