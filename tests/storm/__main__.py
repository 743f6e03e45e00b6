"""The storm: farms in random weather, an oracle that reads EC2, the tables and /proc only, and figures at the end.

    python tests/storm [--farms N] [--rounds N] [--seconds N] [--seed N] [--fake] [--origin KIND] [--only FARM]

A seed draws the same weather again; when what happens meets what runs is up to the machine. A farm whose round does not hold keeps its
folder, whose file `story` tells all that was done to it, and ends. The exit code is 1 then.
"""

import argparse
import os
import random
import sys
import threading
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from aws import ROOT  # noqa: E402
from farm import Broken, Farm, Figures, Shape  # noqa: E402
from hosts import namespaces_allowed  # noqa: E402

# Store, origin, hosts, workflows, real Packer.
SHAPES = [
    ("dynamodb", "http", 2, 1, True),
    ("sqlite", "path", 1, 2, True),
    ("dynamodb", "file", 3, 2, False),
    ("dynamodb", "path", 1, 1, True),
    ("sqlite", "http", 2, 1, False),
    ("dynamodb", "http", 2, 2, False),
]


def shape(at: int, packer: Path, chosen: argparse.Namespace) -> Shape:
    store, origin, hosts, workflows, real = SHAPES[at % len(SHAPES)]
    return Shape(store, chosen.origin or origin, hosts, workflows, packer if real and not chosen.fake else None)


class Storm:
    """All farms of one run."""

    def __init__(self, chosen: argparse.Namespace):
        self.chosen = chosen
        self.figures, self.failures = Figures(), []
        self.lock = threading.Lock()
        self.end = time.monotonic() + chosen.seconds if chosen.seconds else float("inf")
        self.binary = Path(os.environ.get("RECONCILER_BINARY", ROOT / "target/debug/reconciler")).resolve()
        self.packer = Path(os.environ.get("RECONCILER_TEST_PACKER", ROOT / ".tools/bin/packer")).resolve()
        self.namespaced = namespaces_allowed()

    def play(self, at: int) -> None:
        """One farm, round after round; another one of the same shape after every ten, for moto keeps all that ever was."""
        number = 0
        while number < self.chosen.rounds and time.monotonic() < self.end:
            seed = f"{self.chosen.seed}/{at}/{number}"
            farm = Farm(shape(at, self.packer, self.chosen), seed, self.binary, self.namespaced, self.chosen.longest)
            broken = None
            try:
                for _ in range(10):
                    if number >= self.chosen.rounds or time.monotonic() >= self.end:
                        break
                    begin = time.monotonic()
                    farm.round(number)
                    self.say(f"farm {at} round {number}: held, {time.monotonic() - begin:.0f} s")
                    number += 1
            except Broken as error:
                broken = str(error)
            except Exception:
                broken = traceback.format_exc()
            farm.close(keep=broken is not None)
            with self.lock:
                self.figures.join(farm.figures)
                if broken is not None:
                    self.failures.append(f"farm {at} ({farm.shape}), seed {seed}, round {number}, kept in {farm.folder}:\n{broken}")
            if broken is not None:
                self.say(self.failures[-1])
                return

    def say(self, text: str) -> None:
        with self.lock:
            print(text, flush=True)

    def report(self, seconds: float) -> None:
        counts = dict(sorted(self.figures.counts.items()))
        print(f"\nstorm: seed {self.chosen.seed}, {self.chosen.farms} farms, {seconds:.0f} s, {self.packer}")
        for what, number in counts.items():
            print(f"  {number:6} {what}")
        for what, number in sorted(self.figures.most.items()):
            print(f"  {number:6} {what} of a daemon at most")
        words = "\n".join(self.failures)
        ends = [f"{words.count(word)} {word.strip(': ').lower()}" for word in ("LOST", "DOUBLED", "left: ")]
        ends.append(f"{len(self.failures)} farms whose round did not hold")
        all_figures = [f"{number} {what}" for what, number in counts.items()]
        print(f"figures: seed {self.chosen.seed}, {seconds:.0f} s, {', '.join(ends)}; {', '.join(all_figures)}", flush=True)
        for failure in self.failures:
            print(failure, flush=True)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--farms", type=int, default=len(SHAPES))
    arguments.add_argument("--rounds", type=int, default=20, help="for each farm")
    arguments.add_argument("--seconds", type=float, default=0, help="no round begins later")
    arguments.add_argument("--seed", type=int, default=None)
    arguments.add_argument("--fake", action="store_true", help="tests/fake_packer.py on every farm")
    arguments.add_argument("--origin", choices=["path", "file", "http"], help="how every farm reaches its repository")
    arguments.add_argument("--only", type=int, help="only this farm")
    arguments.add_argument("--longest", type=float, default=240, help="seconds that a round may take to come to rest")
    chosen = arguments.parse_args()
    if chosen.seed is None:
        chosen.seed = random.SystemRandom().randrange(1_000_000)
    storm = Storm(chosen)
    print(f"seed {chosen.seed}; {'hosts are PID namespaces' if storm.namespaced else 'no PID namespaces here: hosts are groups of processes'}", flush=True)
    begin = time.monotonic()
    which = range(chosen.farms) if chosen.only is None else [chosen.only]
    threads = [threading.Thread(target=storm.play, args=(at,), daemon=True) for at in which]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    storm.report(time.monotonic() - begin)
    return 1 if storm.failures else 0


if __name__ == "__main__":
    sys.exit(main())
