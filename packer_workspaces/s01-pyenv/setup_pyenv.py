"""Pins the Python version of the image. Runs with the image's own Python and needs no package."""

import os
from pathlib import Path


def main():
    version = os.environ["PYTHON_VERSION"]
    root = Path.home() / ".pyenv"
    root.mkdir(exist_ok=True)
    (root / "version").write_text(version + "\n")
    launcher = Path.home() / ".local/bin/python-version"
    launcher.write_text(f"#!/bin/sh\necho {version}\n")
    launcher.chmod(0o755)
    print(f"Python {version} is pinned in {root}")


main()
