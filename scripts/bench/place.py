"""Where things are. All that a benchmark writes is below .bench/ of the project."""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BENCH = Path(os.environ.get("BENCH_DIR", ROOT / ".bench"))
TOOLS = ROOT / ".tools"
PYTHON = TOOLS / "venv/bin/python"
TARGET = ROOT / "target" / os.environ.get("PROFILE", "release")
BINARY = TARGET / "reconciler"
SEED = TARGET / "examples/seed_inventory"


def environment(state):
    """What every measured process gets, and nothing else."""
    home = BENCH / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "RECONCILER_STATE_DIR": str(state), "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret", "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "b", "GIT_AUTHOR_EMAIL": "b@example.org", "GIT_COMMITTER_NAME": "b", "GIT_COMMITTER_EMAIL": "b@example.org",
    }
