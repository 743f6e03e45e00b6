"""`make soak`: everything that is too long for `make test`, one after the other, and what each came to at the end.

A part that fails keeps none of the others from running. What a part says goes to target/soak/NAME.log as well; its lines with `figures:` are
repeated at the end, and a part that told none has not run. PARTS="storm faults" runs only those. Numbers come from the environment: ROUNDS
(kill loop), SEEDS (simulation), STORM (rounds of each farm of the storm), PUSHES, SEED (of everything that is drawn; each draws its own
without one).
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "target/soak"


@dataclass(frozen=True)
class Part:
    """One long run."""

    name: str
    what: str
    command: list[str]
    environment: dict[str, str]


def cargo(target: str, test: str, *more: str) -> list[str]:
    return ["cargo", "test", "--locked", *target.split(), *test.split(), "--", "--nocapture", *more]


def parts() -> list[Part]:
    given = os.environ.get
    seed, python = given("SEED", ""), sys.executable
    seeded = {"SEED": seed} if seed else {"SEED": ""}
    storm = [python, str(ROOT / "tests/storm"), "--rounds", given("STORM", "20"), *(["--seed", seed] if seed else [])]
    return [
        Part("simulation", "the controller in a model world", cargo("--lib", "simulation::whatever"), {"RECONCILER_TEST_SEEDS": given("SEEDS", "10000")}),
        Part("kill_loop", "SIGKILL at random moments", cargo("--test it", "kill_loop"), {"ROUNDS": given("ROUNDS", "200"), **seeded}),
        Part("crash_matrix", "death, error and standstill at every failpoint", cargo("--test it", "crash_matrix"), {"RECONCILER_CRASH_ROWS": "all"}),
        Part("faults", "every fault of AWS on every call", cargo("--test it", "faults", "--include-ignored"), {"RECONCILER_FAULT_SEED": seed} if seed else {}),
        Part("pushes", "many pushes to an url", cargo("--test it", "", "through_many_pushes", "however_often_is_pushed"), {"RECONCILER_TEST_PUSHES": given("PUSHES", "10000")}),
        Part("walk", "a new user's first hours", [python, str(ROOT / "scripts/walk.py")], {}),
        Part("demo", "the demo, interrupted at several moments", [python, str(ROOT / "scripts/demo_interrupts.py")], {}),
        Part("storm", "pushes, kills, power losses, faults, held calls", storm, {}),
    ]


def run(part: Part) -> tuple[int, float, list[str]]:
    """Exit code, seconds and figures."""
    begin, figures = time.monotonic(), []
    print(f"\n==== {part.name}: {part.what}", flush=True)
    with open(LOGS / f"{part.name}.log", "w", encoding="utf-8") as log:
        child = subprocess.Popen(part.command, cwd=ROOT, env={**os.environ, **part.environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert child.stdout is not None
        for line in child.stdout:
            log.write(line)
            print(line, end="", flush=True)
            if "figures:" in line:
                figures.append(line.partition("figures:")[2].strip())
        code = child.wait() or (0 if figures else 1)
    return code, time.monotonic() - begin, figures


def main() -> int:
    LOGS.mkdir(parents=True, exist_ok=True)
    wanted = os.environ.get("PARTS", "").split()
    known = parts()
    unknown = set(wanted) - {part.name for part in known}
    if unknown:
        sys.exit(f"soak: there is no part {', '.join(sorted(unknown))}; there are {', '.join(part.name for part in known)}")
    # Once, so that no part's time is the compiler's.
    subprocess.run(["cargo", "test", "--locked", "--no-run", "--lib", "--test", "it"], cwd=ROOT, check=True)
    ran = [(part, *run(part)) for part in known if not wanted or part.name in wanted]
    print("\n==== what the soak came to")
    for part, code, seconds, figures in ran:
        print(f"{'held' if code == 0 else f'FAILED ({code})':12} {part.name:13} {seconds / 60:6.1f} min  {part.what}")
        for line in figures or ["it told no figures"]:
            print(f"{'':27}{line}")
    failed = [part.name for part, code, _, _ in ran if code]
    if failed:
        print(f"soak: {', '.join(failed)} failed; see {LOGS.relative_to(ROOT)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
