"""What each event of the weather does to a farm."""

import json
import random
import signal
import threading
import time
from typing import TYPE_CHECKING

from git import Step, Workflow
from hosts import wait_for
from oracle import Loss
from weather import Event

if TYPE_CHECKING:
    from farm import Farm

# How long a victim that a build runs is waited for.
VICTIM_SECONDS = 4.0


def do(farm: "Farm", event: Event) -> None:
    deeds = {
        "push": push,
        "kill": kill,
        "power loss": power_loss,
        "state folder removed": remove_state_folder,
        "stop and start": stop_and_start,
        "faults": faults,
        "credentials rotated": rotate_credentials,
        "command": command,
    }
    deeds[event.kind](farm, **event.of)


def faults(farm: "Farm", rules: list) -> None:
    farm.disturbed = True
    farm.emulator.tell("add-faults", [{**rule} for rule in rules])
    for rule in rules:
        farm.figures.add("held calls ordered" if rule["kind"].startswith("hold") else "faults ordered")


def kill(farm: "Farm", host: int, victim: str, after: float, seconds: float = 0.0, **of: str) -> None:
    """A process that a build runs is waited for and hit when it has run for a while; it may have ended by then, or never come."""
    at, name = farm.hosts[host], of["signal"]
    farm.disturbed = True
    found = []
    wait_for(lambda: found.append(at.find(victim)) or found[-1] is not None, VICTIM_SECONDS)
    if found[-1] is None:
        farm.figures.add("kills missed")
        return
    time.sleep(after)
    hit = found[-1].signal(getattr(signal, f"SIG{name}"))
    farm.figures.add("kills missed" if not hit else "freezes" if name == "STOP" else "kills")
    farm.tell(f"  {name} to {found[-1]}: {'hit' if hit else 'too late'}")
    if name == "STOP":
        # Meanwhile the weather goes on.
        threading.Timer(seconds, found[-1].signal, [signal.SIGCONT]).start()
    if victim == "daemon" and name != "STOP":
        wait_for(lambda: not found[-1].alive(), 30)
        time.sleep(random.Random(after).random())
        at.start_daemon()


def power_loss(farm: "Farm", host: int, disk: str, dark: float) -> None:
    at = farm.hosts[host]
    farm.lose_power(at, disk)
    farm.figures.add(f"power losses, disk {disk}")
    if dark < 60:
        time.sleep(dark)
        at.start_daemon()


def remove_state_folder(farm: "Farm", host: int) -> None:
    """Under whatever runs there, as by a cleaner of temporary folders."""
    farm.disturbed = True
    at = farm.hosts[host]
    at.remove_state_folder()
    farm.oracle.losses.append(Loss(time.time(), at.name, True))
    farm.figures.add("state folders removed under a daemon")


def stop_and_start(farm: "Farm", host: int, dark: float) -> None:
    at = farm.hosts[host]
    at.stop_daemon(signal.SIGTERM)
    farm.figures.add("stops")
    time.sleep(dark)
    at.start_daemon()


def rotate_credentials(farm: "Farm") -> None:
    farm.rotate_credentials()
    farm.figures.add("rotations of credentials")


def command(farm: "Farm", host: int, what: str) -> None:
    """A person at a host, beside its daemon or without one."""
    at = farm.hosts[host]
    at.up()
    workflow, step = farm.repository.any_step()
    which = ["--workflow", workflow.workflow_id]
    if what == "cancel":
        farm.disturbed = True
        farm.to_retry.add(step)
    arguments = {
        "apply": ["apply"],
        "apply step": ["apply", step, *which],
        "retry": ["retry", step, *which],
        "cancel": ["cancel", "--no-wait", step, *which],
        "status": ["status"],
        "plan": ["plan"],
    }[what]
    farm.figures.add("commands")
    at.start(*arguments, log="commands.log")


def push(farm: "Farm", what: str) -> None:
    repository = farm.repository
    force = change(farm, what)
    if what == "side branch":
        farm.tell(f"  {repository.turn_side_branch()}")
    elif what != "many":
        commit = repository.push(what, force=force)
        farm.tell(f"  {commit[:9]} {state(repository.model)}")
    if what == "forced and pruned":
        repository.prune()
    farm.figures.add("pushes")


def change(farm: "Farm", what: str) -> bool:
    """Changes the model as the push says; whether the push has to be forced."""
    repository, dice = farm.repository, farm.repository.dice
    workflow, step = repository.any_step()
    if what in ("change", "two changes"):
        for _ in range(2 if what == "two changes" else 1):
            repository.change(*repository.any_step())
    elif what == "tags":
        workflow.env = f"env-{repository.next()}"
    elif what == "readme":
        repository.readme += 1
    elif what == "earlier content":
        repository.earlier()
    elif what == "failing script":
        repository.change(workflow, step)
        workflow.steps[step].exits = 7
    elif what.startswith("broken "):
        if what == "broken workflow":
            workflow.broken = True
        else:
            workflow.steps[step].broken = what.removeprefix("broken ")
    elif what.startswith("forced"):
        back = repository.rewind()
        repository.change(*repository.any_step())
        return back > 0
    elif what == "many":
        for _ in range(dice.randint(10, 30)):
            repository.change(*repository.any_step())
            repository.push("one of many")
            farm.figures.add("pushes")
    else:
        change_shape(farm, what, workflow, step)
    return False


def change_shape(farm: "Farm", what: str, workflow: Workflow, step: str) -> None:
    """What there is, and where: ids, folders, steps, workflows."""
    repository, dice = farm.repository, farm.repository.dice
    number = repository.next()
    if what == "other workflow id":
        workflow.workflow_id = f"{workflow.name}-{number}"
    elif what == "other workflow folder":
        workflow.folder = f"{workflow.folder.rpartition('/')[0]}/{workflow.name}-at-{number}"
    elif what == "other step folder":
        workflow.steps[step].folder = f"s{number}-{step}"
    elif what == "step added":
        workflow.steps[f"x{number}"] = Step(f"s{number}-x", dice.choice([None, *workflow.steps]), number, by_file=dice.random() < 0.5)
    elif what == "step removed" and len(workflow.steps) > 2:
        del workflow.steps[dice.choice(workflow.leaves())]
    elif what == "workflow removed" and len(repository.model) > 1:
        del repository.model[workflow.name]
    elif what == "workflow added" and len(repository.model) < 3:
        repository.add_workflow(f"w{number}")


def state(model: dict) -> str:
    """What git says, in one line."""
    return json.dumps({workflow.workflow_id: [workflow.content(step) for step in workflow.steps] for workflow in model.values()})
