"""The Dockerfile of the guide on shipping: its commands run, on the paths that it names below a folder of the test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.store.bundled import fixed, write

PAGE = Path(__file__).parent.parent.parent / "docs" / "guide" / "shipping.md"


def test_its_commands_run_in_an_image_without_a_store(tmp_path: Path) -> None:
    text = re.findall(r"^```dockerfile\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)[0]
    context, root = tmp_path / "context", tmp_path / "root"
    context.mkdir()
    write(context / "tuned.db", fixed(3))
    tools = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "TUNEDB_STORE": f"{root}/home/t.db"}
    ran = []
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        rest = rest.replace("/opt/", f"{root}/opt/")
        if word == "COPY":
            source, target = rest.split()
            Path(target).parent.mkdir(parents=True)
            shutil.copy(context / source, target)
            Path(target).chmod(0o444)
        elif word == "ENV":
            environment |= dict(pair.split("=", 1) for pair in rest.split())
        elif word == "RUN":
            command = rest.replace("tunedb ", f"{sys.executable} -m tunedb ")
            done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            ran.append(done.stdout)
        else:
            assert word == "FROM"
    assert len(ran) == 1
    lines = [line for line in ran[0].splitlines() if " of tunedb:" not in line]  # the doctor's, of what tunedb ships
    assert "\n".join(lines).count("avg_pool1d") == 4  # a finding of the doctor, and three rows
    assert not (root / "home").exists()
