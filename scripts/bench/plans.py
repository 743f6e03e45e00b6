"""Plans that find nothing to do, against ninja's no-op on the same files and graph; and every fingerprint afresh, against Python."""

import shutil
import subprocess

from measure import in_turn, once
from place import BENCH, BINARY, HERE, PYTHON, ROOT, SEED, environment
from workflow import generate, real_templates


def plans(sizes, ninja):
    """Measures each size; a row of figures for each."""
    return [plan(size, ninja) for size in sizes]


def plan(size, ninja):
    state = BENCH / f"state-{size}"
    shutil.rmtree(state, ignore_errors=True)
    env = environment(state)
    folder = generate(BENCH / f"repo-{size}", size, real_templates(ROOT), env)
    afresh = once([str(SEED), "fingerprints", str(folder)], folder, env)
    subprocess.run([SEED, "records", folder, state], env=env, check=True)
    nothing_to_do(folder, env, size)
    command = [BINARY, "plan", "--offline"]
    runs = 15 if size <= 1000 else 7 if size <= 10_000 else 3
    row = {"steps": size, "afresh": afresh[1]}
    if ninja:
        subprocess.run([ninja, "--quiet"], cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)
        row["plan"], row["ninja"] = in_turn([command, [ninja, "--quiet"]], folder, env, runs)
    else:
        (row["plan"],) = in_turn([command], folder, env, runs)
    return row


def nothing_to_do(folder, env, size):
    """The first plan fills the cache, and proves that the measured one has nothing to do."""
    said = subprocess.run([BINARY, "plan", "--offline", "--exit-code"], cwd=folder, env=env, capture_output=True, text=True)
    if said.returncode != 0 or f"{size} in sync" not in said.stdout:
        raise SystemExit(f"bench: not in sync: {said.stdout[-300:]}{said.stderr[-500:]}")


def python_fingerprints(size):
    """CPU seconds a step of the same loop in Python: every template compiled, and equal ones compiled once."""
    def seconds(how, steps):
        command = [PYTHON, HERE / "peer_fingerprints.py", BENCH / f"repo-{size}", str(steps), how]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    return seconds("each", min(500, size)), seconds("once", min(5000, size))


def table(rows):
    """Markdown."""
    lines = ["| steps | `plan`, wall | CPU | `ninja`, wall | CPU | wall ratio | CPU ratio | memory | all fingerprints afresh, CPU |", "| ---: " * 9 + "|"]
    for row in rows:
        ours, theirs = row["plan"], row.get("ninja")
        peer = f"{ms(theirs.wall)} | {ms(theirs.cpu)} | {ours.wall / theirs.wall:.2f} | {ours.cpu / theirs.cpu:.2f}" if theirs else "- | - | - | -"
        afresh = f"{row['afresh']:.2f} s ({row['afresh'] / row['steps'] * 1e6:.0f} µs a step)"
        lines.append(f"| {row['steps']:,} | {ms(ours.wall)} | {ms(ours.cpu)} | {peer} | {ours.memory:.0f} MB | {afresh} |")
    return "\n".join(lines)


def ms(seconds):
    return f"{seconds * 1e3:.1f} ms"
