"""Times whole processes, two commands in turn, so that a machine whose speed drifts is fair to both."""

import os
import statistics
from dataclasses import dataclass
from time import perf_counter


@dataclass
class Runs:
    """Medians over the runs of one command: seconds on the clock, seconds of CPU (user and system), and the peak memory in MB."""

    wall: float
    cpu: float
    memory: float


def once(command, cwd, env):
    """One run from start to reaped; its output is thrown away. Refuses to time a failure."""
    os.chdir(cwd)
    null = os.open(os.devnull, os.O_RDWR)
    begin = perf_counter()
    child = os.posix_spawnp(command[0], command, env, file_actions=[(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1)])
    _, status, usage = os.wait4(child, 0)
    wall = perf_counter() - begin
    os.close(null)
    if status:
        raise SystemExit(f"bench: {' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def in_turn(commands, cwd, env, runs):
    """Each command `runs` times, A B A B, after one run of each that does not count."""
    commands = [[str(word) for word in command] for command in commands]
    found = [[] for _ in commands]
    for number in range(runs + 1):
        for command, its in zip(commands, found):
            one = once(command, cwd, env)
            if number:
                its.append(one)
    return [Runs(*(statistics.median(run[field] for run in its) for field in range(2)), max(run[2] for run in its)) for its in found]
