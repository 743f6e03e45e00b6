"""What tests ask and change by /_control/ (`control`), and what the emulator notes of the calls that it answers."""

import threading
import time
from collections import Counter


class State:
    def __init__(self):
        self.lock = threading.Lock()
        # moto looks and then writes: without a lock two conditional writes can both win, and two images get one name.
        self.tables = threading.Lock()
        self.images_change = threading.Lock()
        self.calls = Counter()
        # One (time, operation, region, caller) a call.
        self.log = []
        # What became of images: names made, names refused as duplicates, available ones that were deregistered.
        self.images = []
        # Copies of images by account, region and client token: what was asked, and what was answered.
        self.copies = {}
        # Instances that were rebooted for an image.
        self.reboots = []
        # What calls made that a build should not leave behind: (wall time, region, name or id).
        self.created = []
        self.faults = []
        self.met = Counter()
        self.pending_seconds = 0.0
        # How long an instance that is being stopped takes.
        self.stopping_seconds = 0.0
        self.fail_images = False
        # How long an image cannot be deregistered after a protection with a cooldown was taken off: EC2's 24 hours.
        self.cooldown_seconds = 24 * 3600.0
        # Who is held to which documents; nobody as long as there are none.
        self.policies = []
        # What IAM refused.
        self.refusals = []
        # Keys that are refused, and as what.
        self.refused_keys = {}
        # Keys of other accounts than the emulator's own.
        self.accounts = {}
        # The folder of the private sshd that stands for all instances; there may be none.
        self.sshd = None

    def note(self, call):
        self.calls[call.name] += 1
        self.log.append((time.monotonic(), call.name, call.region, call.caller))
        del self.log[:-50000]

    def fault_for(self, call, alias=None):
        """The first rule that this call meets. A rule counts the calls it matches: `nth` (from 1) is the first to fail, `times` how many do."""
        for rule in self.faults:
            if rule["operation"] not in (call.name, call.operation, "*", alias):
                continue
            if rule.get("region", call.region) != call.region or rule.get("from", call.caller) != call.caller:
                continue
            rule["seen"] = rule.get("seen", 0) + 1
            first = rule.get("nth", 1)
            if first <= rule["seen"] < first + rule.get("times", 1):
                self.met[f"{call.region} {rule['operation']} {rule['kind']}"] += 1
                return rule
        return {"kind": None}


STATE = State()
