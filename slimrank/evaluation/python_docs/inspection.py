"""Read the documented names of C modules, by importing the modules of a short list of harmless ones.

``library.py`` uses it for modules without source. Only the modules of the two lists below are ever imported.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# Modules whose import has no side effects; public modules re-export names of the private ones.
_HARMLESS = frozenset(
    """array atexit binascii builtins cmath errno faulthandler fcntl gc grp itertools marshal math mmap posix pwd
    pyexpat resource select sys syslog termios time unicodedata zlib
    _abc _bisect _bz2 _codecs _collections _contextvars _csv _ctypes _datetime _decimal
    _functools _hashlib _heapq _imp _io _json _locale _lzma _opcode _operator _pickle _queue _random _signal _socket
    _sqlite3 _sre _ssl _stat _statistics _string _struct _symtable _thread _tracemalloc _types _typing _warnings
    _weakref _zstd""".split()  # noqa: SIM905
)

# Modules of plain Python that create their public names when they run.
COMPLETED_BY_IMPORT = frozenset({"hashlib", "posixpath", "random", "re", "threading", "types"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A documented name inside a module."""

    path: str  # "Class.method"; empty for the module itself
    kind: str  # the beginning of the title: "module ", "class " or ""
    parameters: str  # "(a, b=1)"; empty for a name that is not called
    text: str  # empty without a docstring


def inspect_module(module: str) -> Iterator[Entry]:
    """Yield a C module and its names; nothing if it is not on the list or not in this interpreter."""
    namespace = _namespace(module)
    if namespace:
        yield Entry("", "module ", "", _docstring(importlib.import_module(module)))
    yield from inspect_names(module, namespace)


def inspect_public(module: str) -> Iterator[Entry]:
    """Yield the names that a module of ``COMPLETED_BY_IMPORT`` declares public."""
    yield from inspect_names(module, importlib.import_module(module).__all__)


def inspect_names(module: str, names: Iterable[str]) -> Iterator[Entry]:
    """Yield the given functions and classes of a module, with the classes' members; other values have no docstring of their own."""
    namespace = _namespace(module)
    for name in sorted(names):
        original = namespace.get(f"__{name}__")  # such as sys.__excepthook__: programs may replace sys.excepthook
        value = original if inspect.isroutine(original) else namespace.get(name)
        if inspect.isclass(value):
            known = vars(builtins).get(value.__name__) or namespace.get(value.__name__)
            if value.__name__ == name or known is not value:  # os.error is OSError, socket.SocketType is socket.socket
                yield from _class_entries(name, value)
        elif inspect.isroutine(value):
            yield Entry(name, "", _parameters(name, value), _docstring(value))


def _namespace(module: str) -> dict[str, object]:
    if module not in _HARMLESS | COMPLETED_BY_IMPORT:
        return {}
    try:
        return vars(importlib.import_module(module))
    except ImportError:
        return {}


def _class_entries(name: str, value: type) -> Iterator[Entry]:
    yield Entry(name, "class ", _parameters(name, value), _docstring(value))
    for member, descriptor in sorted(vars(value).items()):
        function = getattr(descriptor, "__func__", descriptor)  # class and static methods
        if inspect.isdatadescriptor(descriptor):
            yield Entry(f"{name}.{member}", "", "", _docstring(descriptor))
        elif inspect.isroutine(function):
            yield Entry(f"{name}.{member}", "", _parameters(member, function), _docstring(function))


def _docstring(value: object) -> str:
    text = getattr(value, "__doc__", None)
    return inspect.cleandoc(text).strip() if isinstance(text, str) else ""


def _parameters(name: str, value: object) -> str:
    """Return the declared parameters of an object, else those at the beginning of its docstring, else nothing.

    A C object's declaration is read as text: ``inspect.signature`` would evaluate the defaults, and fail on some.
    """
    declared: object
    if inspect.isfunction(value) or inspect.ismethod(value):
        declared = str(inspect.signature(value))
    else:
        declared = getattr(value, "__text_signature__", None)
    if isinstance(declared, str):
        return re.sub(r"^\(\$?(?:self|cls|type|module)\b(?:, /)?(?:, )?", "(", declared)
    opening = re.match(rf"(?:\w+\.)*{re.escape(name)}(\([^\n]*?\))", _docstring(value))
    return opening[1] if opening else ""
