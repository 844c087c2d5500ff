"""Adopts the kernels of child processes: Python runs this file when it starts, if its folder stands in PYTHONPATH.

It runs in every Python that the program starts, whatever its version and whether it has tunedb or not: so it uses no
newer syntax, loads next to nothing, and never raises. Then it lets the `sitecustomize` run that Python would have run.
"""

import os
import sys

_VARIABLE = "_TUNEDB_ADOPT"  # as in _internal/child_environment.py, which would load the package
_TRITON = "triton"


class _Finder(object):
    """A finder of modules that waits for Triton: importing Triton here would cost every process seconds."""

    is_asking = False

    def find_spec(self, name, path=None, target=None):
        if name != _TRITON or self.is_asking:  # the latter by a finder that asks all others too
            return None
        self.is_asking = True
        try:
            for finder in list(sys.meta_path):
                find = None if finder is self else getattr(finder, "find_spec", None)
                spec = find and find(name, path, target)
                if spec is not None:
                    if hasattr(spec.loader, "exec_module"):
                        spec.loader = _Loader(spec.loader)
                    return spec
        finally:
            self.is_asking = False
        return None


class _Loader(object):
    """The loader of Triton, after which kernels are adopted."""

    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _call("begin")


def _call(name):
    try:
        getattr(_process_module(), name)()
    # The border: whatever fails here, the program runs as it would without tunedb.
    except Exception as error:
        if sys.flags.verbose and sys.stderr is not None:
            sys.stderr.write("tunedb adopts no kernels in this process: %r\n" % (error,))


def _process_module():
    """Return `tunedb.adoption.process`; if Python finds no tunedb, that of the tunedb with this file."""
    import importlib.machinery
    import importlib.util

    if "tunedb" not in sys.modules and importlib.util.find_spec("tunedb") is None:
        if "'prefix': " + ascii(sys.prefix) not in os.environ[_VARIABLE]:
            raise ImportError("this is another Python, without tunedb")
        top = _FOLDER
        for _ in ("site_hook", "adoption", "tunedb"):
            top = os.path.dirname(top)
        spec = importlib.machinery.PathFinder.find_spec("tunedb", [top])
        sys.modules["tunedb"] = module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        # Raised again. A module whose import failed, by an interrupt too, must not stay: `import` removes it as well.
        except BaseException:
            del sys.modules["tunedb"]
            raise
    return importlib.import_module("tunedb.adoption.process")


def _start():
    options = os.environ.get(_VARIABLE)
    if options is None or sys.version_info < (3, 11):
        return
    sys.meta_path.insert(0, _Finder())
    if _TRITON in sys.modules:  # a .pth file has imported it
        _call("begin")
    if "'main': %d," % os.getpid() in options:  # this process is the program, which is to print a report
        import atexit

        atexit.register(_call, "end")


_FOLDER = os.path.dirname(__file__)
_start()
_others = [entry for entry in sys.path if entry != _FOLDER]
if len(_others) < len(sys.path):
    sys.path[:] = _others
    _self = sys.modules.pop(__name__)  # kept: old versions clear a module that nothing refers to
    import sitecustomize  # noqa: F401 - the next one; its errors, or that there is none, are what Python would have met
