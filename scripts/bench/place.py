"""Where things are. All that a benchmark writes is below .bench/ of the project."""

import os
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BENCH = Path(os.environ.get("BENCH_DIR", ROOT / ".bench"))
TOOLS = ROOT / ".tools"
PYTHON = TOOLS / "venv/bin/python"
TARGET = ROOT / "target" / os.environ.get("PROFILE", "release")
# What is measured is a copy as `make install` makes it: in the page cache a file that the linker has just written lies in single pages, which
# costs more than 2 ms at each start until it is read from the disk anew.
BINARY = BENCH / "bin/reconciler"
SEED = TARGET / "examples/seed_inventory"


def install():
    """Puts the program where it is measured."""
    subprocess.run(["install", "-D", "-m", "755", TARGET / "reconciler", BINARY], check=True)


def environment(state):
    """What every measured process gets, and nothing else."""
    home = BENCH / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "RECONCILER_STATE_DIR": str(state), "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret", "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "b", "GIT_AUTHOR_EMAIL": "b@example.org", "GIT_COMMITTER_NAME": "b", "GIT_COMMITTER_EMAIL": "b@example.org",
    }
