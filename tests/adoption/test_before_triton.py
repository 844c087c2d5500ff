"""`tunedb.adopt()` before Triton is imported, and without Triton: each in a process of its own, with a stand-in."""

from __future__ import annotations

from pathlib import Path

from tests.adoption.programs import SAY, make_triton, run_python


def lines(program: str, path: Path) -> list[str]:
    """What a program prints."""
    done = run_python("-c", program, path=path)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_adopting_imports_nothing_and_waits_for_triton(tmp_path: Path) -> None:
    program = (
        "import sys, tunedb\n"
        "tunedb.adopt(only='a'); adoption = tunedb.adopt()\n"
        "print([name for name in ('triton', 'torch', 'sqlalchemy', 'numpy') if name in sys.modules])\n"
        "finders = len(sys.meta_path)\n"
        "tunedb.adopt().undo()\n"
        f"{SAY}"
        "print(a.__spec__.loader is a.__loader__, type(a.__loader__).__name__, finders - len(sys.meta_path))\n"
        "adoption.undo()\n"
        f"{SAY}"
    )
    assert lines(program, make_triton(tmp_path)) == ["[]", "adopted", "True SourceFileLoader 2", "adopted"]


def test_what_is_undone_before_the_import_leaves_triton_alone(tmp_path: Path) -> None:
    assert lines(f"import tunedb\nwith tunedb.adopt(): pass\n{SAY}", make_triton(tmp_path)) == ["as it was"]


def test_an_import_of_triton_that_fails_fails_as_it_would(tmp_path: Path) -> None:
    (make_triton(tmp_path) / "triton" / "runtime" / "autotuner.py").write_text("raise ImportError('broken')\n")
    program = (
        "import tunedb\n"
        "tunedb.adopt()\n"
        "for _ in range(2):\n"
        "    try: import triton\n"
        "    except ImportError as error: print(error)\n"
    )
    assert lines(program, tmp_path) == ["broken", "broken"]


def test_another_finder_may_be_in_front(tmp_path: Path) -> None:
    program = (
        "import sys, tunedb\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        for finder in sys.meta_path:\n"
        "            if finder is not self and hasattr(finder, 'find_spec'):\n"
        "                spec = finder.find_spec(name, path, target)\n"
        "                if spec is not None: return spec\n"
        "tunedb.adopt()\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"{SAY}"
    )
    assert lines(program, make_triton(tmp_path)) == ["adopted"]


def test_another_triton_than_known_is_left_alone(tmp_path: Path) -> None:
    program = (
        "import tunedb, triton.runtime.autotuner as a\n"
        "del a.Autotuner\n"
        "with tunedb.adopt(): print(tunedb.adopted())\n"
        "a.Autotuner = print\n"
        "with tunedb.adopt(): print(tunedb.adopted())\n"
    )
    assert lines(program, make_triton(tmp_path)) == ["[]", "[]"]


def test_without_triton_the_list_says_so(tmp_path: Path) -> None:
    program = "import sys\nsys.modules['triton'] = None\nimport tunedb\nwith tunedb.adopt(): print(tunedb.adopted())\n"
    assert lines(program, tmp_path) == [
        "[Adopted(module='triton', kernel='*', state='kept', reason='Triton is not installed')]"
    ]


def test_an_import_waits_for_another_threads(tmp_path: Path) -> None:
    folder = make_triton(tmp_path)
    autotuner = folder / "triton" / "runtime" / "autotuner.py"
    autotuner.write_text("import time, builtins\nbuiltins.begun.set(); time.sleep(0.3)\n" + autotuner.read_text())
    program = (
        "import builtins, threading, tunedb\n"
        "builtins.begun = threading.Event()\n"
        "thread = threading.Thread(target=__import__, args=('triton',))\n"
        "thread.start(); builtins.begun.wait(); tunedb.adopt()\n"
        f"{SAY}"
    )
    assert lines(program, folder) == ["adopted"]


def test_a_program_in_a_process_that_adopts_may_adopt_again(tmp_path: Path) -> None:
    program = "import subprocess, sys, tunedb\ntunedb.adopt()\nsubprocess.run([sys.executable, '-c', sys.argv[1]])\n"
    child = (
        f"import tunedb\ntunedb.adopt()\n{SAY}from tunedb.adoption.selection import in_force\nprint(len(in_force))\n"
    )
    done = run_python("-c", program, child, path=make_triton(tmp_path))
    assert done.stdout.splitlines() == ["adopted", "2"]
