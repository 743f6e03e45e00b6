"""The five-step workflow on the emulator: `status` as a fresh process, from a push to Packer started, and the idle daemon."""

import json
import os
import shutil
import statistics
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from measure import in_turn
from place import BENCH, BINARY, HERE, PYTHON, ROOT, TOOLS, environment
from workflow import WITHOUT_PROVISIONERS, WORKFLOW, generate, git

TABLE = "bench"


@contextmanager
def emulator():
    """An emulated AWS with the base image; its end point."""
    base = f"{WORKFLOW['root_base_ami_name']}={WORKFLOW['root_base_ami_id']}"
    child = subprocess.Popen([PYTHON, ROOT / "tests/aws/emulator.py", "--base-image", base], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield f"http://127.0.0.1:{json.loads(child.stdout.readline())['port']}"
    finally:
        child.stdin.close()
        child.wait()


@contextmanager
def running(env):
    """The daemon, until the end of the block."""
    with open(BENCH / "daemon.log", "a") as log:
        process = subprocess.Popen([BINARY, "run"], env=env, cwd=BENCH, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def measure(idle, pushes):
    """All three; a dictionary of figures."""
    with emulator() as endpoint:
        state = BENCH / "state-daemon"
        shutil.rmtree(state, ignore_errors=True)
        env = environment(state)
        work = generate(BENCH / "repo-5", 5, WITHOUT_PROVISIONERS, env)
        bare = BENCH / "bare.git"
        shutil.rmtree(bare, ignore_errors=True)
        git(["clone", "-q", "--bare", str(work), str(bare)], BENCH, env)
        git(["reset", "-q", "--hard"], work, env)
        overrides = {"skip_region_validation": True, "skip_metadata_api_check": True, "custom_endpoint_ec2": endpoint}
        env |= {
            "RECONCILER_AWS__ENDPOINT_URL": endpoint, "RECONCILER_REPOSITORY": str(bare), "RECONCILER_INVENTORY__TABLE": TABLE,
            "RECONCILER_AWS__EMULATOR__SOURCE_OVERRIDES": json.dumps(overrides), "RECONCILER_PACKER__BINARY": str(TOOLS / "bin/packer"),
        }
        subprocess.run([BINARY, "apply"], cwd=BENCH, env=env, check=True, stdout=subprocess.DEVNULL)
        found = {"status": status(env, endpoint)}
        with running(env) as pid:
            time.sleep(3)
            found["idle"] = at_rest(pid, idle)
        env["RECONCILER_PACKER__BINARY"] = str(stub_packer())
        with running(env):
            time.sleep(2)
            found["pushes"] = from_push_to_packer(work, bare, env, pushes)
        return found


def status(env, endpoint):
    """`status` of five recorded steps, and the Python library's query of the same table, as fresh processes."""
    query = [PYTHON, HERE / "peer_query.py", endpoint, TABLE, WORKFLOW["workflow_id"]]
    return in_turn([[BINARY, "status", "--exit-code"], query], BENCH, env, 11)


def at_rest(pid, seconds):
    """CPU seconds of all threads in that time, and MB resident at its end."""
    def used():
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in Path(f"/proc/{pid}/task").iterdir()) / 1e9

    before = used()
    time.sleep(seconds)
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return used() - before, resident / 1024


def stub_packer():
    """Answers its version, writes when it was first started for something else, and fails."""
    path = BENCH / "packer"
    path.write_text(
        f'#!/bin/sh\n[ "$1" = version ] && {{ echo "Packer v1.6.6"; exit 0; }}\n'
        f'[ -e "{BENCH}/started" ] || {{ date +%s%N > "{BENCH}/started.new"; mv "{BENCH}/started.new" "{BENCH}/started"; }}\nexit 1\n'
    )
    path.chmod(0o755)
    return path


def from_push_to_packer(work, bare, env, pushes):
    """Milliseconds from `git push` returning to Packer's first line, for each push after the first."""
    started = BENCH / "started"
    waits = []
    for number in range(pushes + 1):
        started.unlink(missing_ok=True)
        (work / "packer_workspaces/s000000/install.sh").write_text(f"echo {number} again\n")
        git(["commit", "-qam", "next"], work, env)
        git(["push", "-q", str(bare), "main"], work, env)
        pushed = time.time_ns()
        end = time.monotonic() + 20
        while not started.exists():
            if time.monotonic() > end:
                raise SystemExit(f"bench: push {number} started no Packer within 20 s; see {BENCH}/daemon.log")
            time.sleep(0.002)
        if number:
            waits.append((int(started.read_text()) - pushed) / 1e6)
        # The build fails; its end is to be on record before the next push.
        time.sleep(0.7)
    return statistics.median(waits), max(waits), len(waits)
