"""The benchmarks of docs/benchmarks.md: `make bench`. Prints tables of medians, each with a peer that ran in turn.

`SIZES="100 1000"` chooses the sizes, `IDLE=10` the seconds of idleness, `PUSHES=5` how many pushes, `PROFILE=debug` the debug build. `ROLLOUT="1 4 16 64"`
measures in place of all this how long 200 steps take from a push until all is in sync, at these widths.
"""

import os
import platform
import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import daemon
import plans
import rollout
from place import BENCH, ROOT, install

TARGETS = "| what | target | measured | |\n| --- | --- | --- | --- |"


def machine():
    """One line about where this was measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    load = os.getloadavg()[0]
    return f"{datetime.now(timezone.utc):%Y-%m-%d}, {commit}, {len(os.sched_getaffinity(0))} cores ({model}), Linux {platform.release()}, load {load:.1f} before the start"


def targets(rows, python, live):
    """The table of what was promised."""
    lines = [TARGETS]

    def line(what, target, measured, met):
        lines.append(f"| {what} | {target} | {measured} | {'met' if met else '**missed**'} |")

    for row in rows:
        if row["steps"] in (1000, 10_000) and "ninja" in row:
            ours, theirs = row["plan"], row["ninja"]
            line(f"`plan`, nothing changed, {row['steps']:,} steps", "half of `ninja`'s time", f"{ours.wall / theirs.wall:.2f} of it ({ours.cpu / theirs.cpu:.2f} of its CPU)", ours.wall * 2 <= theirs.wall)
        if row["steps"] == 10_000:
            line("memory of that", "below 150 MB", f"{row['plan'].memory:.0f} MB", row["plan"].memory < 150)
    last = rows[-1]
    ours, (each, once) = last["afresh"] / last["steps"], python
    line(f"every fingerprint afresh, {last['steps']:,} steps, one core", "25 times faster than Python", f"{each / ours:.0f} times ({ours * 1e6:.0f} µs a step; Python {each * 1e6:.0f} µs, {once * 1e6:.0f} µs if equal templates are compiled once: {once / ours:.1f} times)", each >= 25 * ours)
    ours, theirs = live["status"]
    line("`status` of five steps", "below 30 ms, 20 times faster than the Python library's query", f"{ours.wall * 1e3:.1f} ms ({ours.cpu * 1e3:.1f} ms CPU); {theirs.wall * 1e3:.0f} ms: {theirs.wall / ours.wall:.0f} times", ours.wall < 0.030 and theirs.wall >= 20 * ours.wall)
    median, slowest, pushes = live["pushes"]
    line("`git push` returned to Packer started", "median below 150 ms", f"{median:.0f} ms (slowest of {pushes}: {slowest:.0f} ms)", median < 150)
    cpu, memory = live["idle"]
    seconds = idle_seconds()
    line(f"the daemon, idle for {seconds:.0f} s", "no measurable CPU, below 40 MB", f"{cpu * 1e3:.0f} ms CPU ({cpu / seconds * 100:.2f} %), {memory:.0f} MB", cpu / seconds < 0.001 and memory < 40)
    return "\n".join(lines)


def idle_seconds():
    return float(os.environ.get("IDLE", "60"))


def main():
    BENCH.mkdir(exist_ok=True)
    install()
    if widths := os.environ.get("ROLLOUT"):
        where = machine()
        print(f"{where}\n\n{rollout.measure([int(width) for width in widths.split()])}")
        return
    sizes = [int(size) for size in os.environ.get("SIZES", "100 1000 10000").split()]
    where = machine()
    ninja = shutil.which("ninja") or shutil.which("ninja-build")
    if not ninja:
        print("bench: ninja is missing, so plans have no peer; as root run: apt-get install ninja-build\n", flush=True)
    live = daemon.measure(idle_seconds(), int(os.environ.get("PUSHES", "15")))
    rows = plans.plans(sizes, ninja)
    print(f"{where}\n\n{plans.table(rows)}\n\n{targets(rows, plans.python_fingerprints(sizes[-1]), live)}")


main()
