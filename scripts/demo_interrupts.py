"""Interrupts the demo at several moments and looks that no process stays: `make soak`.

    demo_interrupts.py [SECONDS…]
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

from demo import DEMO, processes

ROOT = Path(__file__).resolve().parent.parent


def family(root, known):
    """The processes below one, by what was seen of them so far: a daemon's children go to init when it dies."""
    running = processes()
    members = {pid for pid, beginning in known if running.get(pid, (0, 0, None))[2] == beginning} | {root}
    while True:
        more = {pid for pid, (parent, session, _) in running.items() if parent in members or session in members} - members
        if not more:
            return known | {(pid, running[pid][2]) for pid in members if pid in running}
        members |= more


def interrupted_after(seconds):
    demo = subprocess.Popen([sys.executable, ROOT / "scripts/demo.py"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    known, begin, sent = set(), time.monotonic(), False
    while demo.poll() is None:
        known = family(demo.pid, known)
        if not sent and time.monotonic() - begin > seconds:
            demo.send_signal(signal.SIGINT)
            sent = True
        time.sleep(0.05)
    left = [(pid, beginning) for pid, beginning in known if processes().get(pid, (0, 0, None))[2] == beginning]
    words = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace") for pid, _ in left]
    print(f"SIGINT after {seconds:4.1f} s: exit code {demo.returncode}, {len(known)} processes seen, {len(left)} left {words}", flush=True)
    said = demo.stderr.read().decode()
    return not left and (demo.returncode == 130 or (not sent and demo.returncode == 0)) and "Traceback" not in said


def main():
    moments = [float(word) for word in sys.argv[1:]] or [0.3, 1, 2.5, 5, 8, 12, 17, 23, 30, 37, 40, 43, 46]
    held = [interrupted_after(seconds) for seconds in moments]
    print(f"figures: {len(held)} interrupts of the demo, {held.count(False)} left something or ended otherwise than they should", flush=True)
    if not all(held):
        sys.exit(f"a process stayed, or the demo did not end as an interrupted one does; its files are in {DEMO}")


if __name__ == "__main__":
    main()
