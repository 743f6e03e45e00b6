"""What happens in a round, drawn from a seed: pushes, kills, losses of power, faults and held calls, commands beside the daemons.

An `Event` is a value; what it does stands in `farm`. The same seed draws the same events in the same order.
"""

import random
from dataclasses import dataclass, field
from typing import Any

# What a push changes, and how often it is drawn.
PUSHES = {
    "change": 10,
    "two changes": 3,
    "tags": 3,
    "readme": 2,
    "earlier content": 4,
    "failing script": 2,
    "broken template": 2,
    "broken parameters": 1,
    "broken workflow": 1,
    "forced": 3,
    "forced and pruned": 2,
    "other workflow id": 2,
    "other workflow folder": 1,
    "other step folder": 1,
    "step added": 1,
    "step removed": 1,
    "workflow removed": 1,
    "workflow added": 1,
    "side branch": 2,
    "many": 2,
}

VICTIMS = ["daemon", "supervisor", "wrapper"]
# Of a real Packer.
INNER_VICTIMS = ["inner", "plugin"]
SIGNALS = {"KILL": 6, "STOP": 3, "TERM": 2}
DISKS = {"kept": 3, "unsynced": 3, "lost": 2}
COMMANDS = {"apply": 3, "apply step": 2, "retry": 2, "cancel": 2, "status": 1, "plan": 1}

# Calls that a build makes, by who makes them. A lost answer of CreateKeyPair costs two and three quarter minutes of Packer's own tries, and
# is the fault table's.
OURS = """DescribeImages CreateTags DescribeInstances DescribeKeyPairs DescribeSecurityGroups DescribeSnapshots
    TransactWriteItems UpdateItem PutItem GetItem Query""".split()
OURS_REMOVING = ["TerminateInstances", "DeregisterImage", "DeleteKeyPair", "DeleteSecurityGroup", "DeleteSnapshot"]
PACKERS = """DescribeImages CreateSecurityGroup RunInstances DescribeInstances StopInstances CreateImage TerminateInstances
    DeleteSecurityGroup DeleteKeyPair""".split()
KINDS = ["throttle", "internal", "drop-before", "drop-after", "truncate", "denied", "expired"]


@dataclass(frozen=True)
class Event:
    """One thing that happens, so many seconds after the one before."""

    pause: float
    kind: str
    of: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        more = " ".join(f"{key}={value}" for key, value in self.of.items() if key != "rules")
        rules = "; ".join(f"{rule['from']} {rule['operation']} {rule['kind']}" for rule in self.of.get("rules", []))
        return f"{self.kind} {more}{rules}".strip()


def weighted(dice: random.Random, weights: dict[str, int]) -> str:
    return dice.choices(list(weights), list(weights.values()))[0]


def rules(dice: random.Random, real_packer: bool) -> list[dict[str, Any]]:
    """Faults and held calls for a while."""
    found = []
    for _ in range(dice.randint(1, 3)):
        by_packer = real_packer and dice.random() < 0.4
        operation = dice.choice(PACKERS if by_packer else OURS + OURS_REMOVING)
        rule: dict[str, Any] = {"from": "packer" if by_packer else "reconciler", "operation": operation, "nth": dice.randint(1, 3)}
        if dice.random() < 0.4:
            # A call of Packer's that takes effect long after Packer has gone is one that nobody can know of.
            rule |= {"kind": "hold-after" if by_packer else dice.choice(["hold-before", "hold-after"]), "seconds": dice.choice([1.0, 3.0, 6.0])}
        else:
            rule |= {"kind": dice.choice(KINDS), "times": dice.choice([1, 1, 2])}
        found.append(rule)
    if real_packer and dice.random() < 0.2:
        found.append({"from": "packer", "operation": "CreateImage", "kind": dice.choice(["pending", "failed"]), "nth": 1})
    return found


def kill(dice: random.Random, hosts: int, real_packer: bool) -> Event:
    number, victims = weighted(dice, SIGNALS), VICTIMS + (INNER_VICTIMS if real_packer else [])
    of = {"host": dice.randrange(hosts), "victim": dice.choice(victims), "signal": number, "after": round(dice.random() * 0.7, 2)}
    if number == "STOP":
        of["seconds"] = dice.choice([1.0, 3.0, 7.0])
    return Event(round(dice.random() * 1.5, 2), "kill", of)


def events(dice: random.Random, hosts: int, *, real_packer: bool, may_lose_disk: bool, first: bool) -> list[Event]:
    """One round."""
    found = []
    if dice.random() < 0.6:
        found.append(Event(0, "faults", {"rules": rules(dice, real_packer)}))
    for number in range(dice.randint(2, 6)):
        pause = round(dice.random() * 1.5, 2)
        drawn = dice.random()
        if (number == 0 and not first) or drawn < 0.3:
            found.append(Event(pause, "push", {"what": weighted(dice, PUSHES)}))
        elif drawn < 0.65:
            found.append(kill(dice, hosts, real_packer))
        elif drawn < 0.78:
            disk = weighted(dice, DISKS) if may_lose_disk else dice.choice(["kept", "unsynced"])
            found.append(Event(pause, "power loss", {"host": dice.randrange(hosts), "disk": disk, "dark": dice.choice([0.0, 1.0, 4.0, 99.0])}))
        elif drawn < 0.81 and may_lose_disk:
            found.append(Event(pause, "state folder removed", {"host": dice.randrange(hosts)}))
        elif drawn < 0.84:
            found.append(Event(pause, "credentials rotated"))
        elif drawn < 0.9:
            found.append(Event(pause, "stop and start", {"host": dice.randrange(hosts), "dark": dice.choice([0.0, 0.5, 5.0])}))
        else:
            found.append(Event(pause, "command", {"host": dice.randrange(hosts), "what": weighted(dice, COMMANDS)}))
    return found
