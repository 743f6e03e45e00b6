"""A fleet of 200 steps from one push until all is in sync, on so many build slots, with a Packer whose builds take known times: how much longer it takes than it must, and how well `status` foretold it.

Must: the longest chain of builds, or the sum of all over the slots, whichever is longer. What is foretold is read when half of the builds are done.
"""

import json
import shutil
import subprocess
import time
from datetime import datetime

from daemon import emulator, running
from place import BENCH, BINARY, ROOT, environment
from workflow import CHAIN, WITHOUT_PROVISIONERS, WORKFLOW, git, generate

STEPS = 200
# Where the Packer of these builds looks for the name of the image.
TEMPLATES = WITHOUT_PROVISIONERS | {
    "templates/.pkr.hcl": WITHOUT_PROVISIONERS["templates/.pkr.hcl"].replace("var.output_ami_name", "local.image"),
    "templates/.variables.pkr.hcl": 'locals {\n  image = "{{ builder.output_ami_name }}"\n}\n',
    "templates/.pkrvars.hcl": "",
}
PLAYS = "version 1.6.6\n[build]\nkey\ngroup\ninstance\nrun install.sh\nimage\nterminate\nungroup\nunkey\nartifact\n"


def seconds(number):
    """How long the build of a step takes: 6 to 18 seconds, always the same."""
    return 6 + (number * 7919 + 13) % 13


def must(slots):
    """What no order of builds can beat."""
    chains = [sum(seconds(number) for number in range(first, first + CHAIN)) for first in range(0, STEPS, CHAIN)]
    return max(max(chains), sum(map(seconds, range(STEPS))) / slots)


def write(work, round_):
    """The script of each step, which takes its time and is another in each round."""
    for number in range(STEPS):
        (work / f"packer_workspaces/s{number:06}/install.sh").write_text(f"sleep {seconds(number)} # {round_}\n")


def look(env):
    """What `status` says of the workflow."""
    shown = subprocess.run([BINARY, "status", "--output", "json"], cwd=BENCH, env=env, check=True, capture_output=True, text=True).stdout
    return json.loads(shown)["workflows"][0]


def until_in_sync(env, began, note):
    """Seconds until no step is left; `note` hears of each look."""
    while True:
        seen = look(env)
        left = sum(step["state"] != "in-sync" for step in seen["steps"])
        note(left, seen, time.time() - began)
        if not left:
            return time.time() - began
        time.sleep(0.5)


def rollout(work, bare, env, slots, round_):
    """One push at this width: seconds taken, seconds that `status` foretold at half, and when that was."""
    write(work, round_)
    git(["commit", "-qam", f"round {round_}"], work, env)
    half = {}

    def note(left, seen, at):
        if left <= STEPS // 2 and left and not half and seen["forecast"]:
            ends = datetime.fromisoformat(seen["forecast"]["in_sync_at"].replace("Z", "+00:00")).timestamp()
            half.update(at=at, foretold=ends - began)

    with running(env | {"RECONCILER_MAX_CONCURRENT_BUILDS": str(slots)}):
        time.sleep(2)
        began = time.time()
        git(["push", "-q", str(bare), "main"], work, env)
        # Until the daemon has seen the commit `status` compares with it, and so nothing is in sync.
        taken = until_in_sync(env | {"RECONCILER_MAX_CONCURRENT_BUILDS": str(slots)}, began, note)
    return taken, half.get("foretold"), half.get("at")


def measure(widths):
    """The table, one line a width."""
    with emulator() as endpoint:
        state = BENCH / "state-rollout"
        shutil.rmtree(state, ignore_errors=True)
        env = environment(state)
        work = generate(BENCH / "repo-rollout", STEPS, TEMPLATES, env)
        bare = BENCH / "rollout.git"
        shutil.rmtree(bare, ignore_errors=True)
        git(["clone", "-q", "--bare", str(work), str(bare)], BENCH, env)
        git(["reset", "-q", "--hard"], work, env)
        packer = BENCH / "timed-packer"
        packer.mkdir(exist_ok=True)
        (packer / "packer").unlink(missing_ok=True)
        (packer / "packer").symlink_to(ROOT / "tests/fake_packer.py")
        (packer / "transcript").write_text(PLAYS)
        env |= {
            "RECONCILER_AWS__ENDPOINT_URL": endpoint, "RECONCILER_REPOSITORY": str(bare),
            "RECONCILER_AWS__EMULATOR__SOURCE_OVERRIDES": json.dumps({"custom_endpoint_ec2": endpoint}), "RECONCILER_PACKER__BINARY": str(packer / "packer"),
        }
        # Every step is built once, so that its time is known.
        rollout(work, bare, env, 64, 0)
        lines = ["| slots | must take | took | longer by | foretold at half | off by |", "| ---: | ---: | ---: | ---: | ---: | ---: |"]
        for round_, slots in enumerate(widths, 1):
            taken, foretold, at = rollout(work, bare, env, slots, round_)
            least = must(slots)
            told = f"{foretold:.1f} s (after {at:.0f} s) | {abs(foretold - taken) / taken * 100:.1f} %" if foretold else "- | -"
            lines.append(f"| {slots} | {least:.1f} s | {taken:.1f} s | {(taken / least - 1) * 100:.1f} % | {told} |")
            print(lines[-1], flush=True)
        return "\n".join(lines)
