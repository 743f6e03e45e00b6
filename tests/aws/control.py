"""The pages below /_control/, by which tests ask what happened and say what is to happen.

What a page takes stands at its function. `?region=…`, `?from=…` and `?account=…` narrow what is asked for, where that makes sense.
"""

import contextlib
import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs

from moto.iam.models import iam_backends

import images
import policies
from images import ACCOUNT
from state import STATE


def calls(asked):
    if not asked:
        return dict(STATE.calls)
    return dict(Counter(name for _, name, where, who in STATE.log if asked.get("region", where) == where and asked.get("from", who) == who))


def log(asked):
    return [entry[1] for entry in STATE.log[-5000:] if asked.get("region", entry[2]) == entry[2]]


def rate(asked):
    """The most calls that arrived within any so many seconds."""
    seconds = float(asked.get("seconds", "1"))
    times, most, first = [at for at, _, _, who in STATE.log if asked.get("from", who) == who], 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - seconds:
            first += 1
        most = max(most, last - first + 1)
    return {"calls": len(times), "most": most}


def of_region(asked, noted):
    return [one for one in list(noted) if asked.get("region", one["region"]) == one["region"]]


def resources(asked):
    """Everything that a build could leave behind, in one region or over all of them."""
    found = {"instances": [], "key_pairs": [], "security_groups": [], "images": [], "snapshots": []}
    for region, one in list(images.ec2_backends[asked.get("account", ACCOUNT)].items()):
        if asked.get("region", region) != region:
            continue
        for reservation in list(one.reservations.values()):
            for instance in reservation.instances:
                found["instances"].append({"id": instance.id, "state": instance.state, "key_name": instance.key_name, "region": region})
        found["key_pairs"] += [name for name in one.key_pairs]
        for groups in one.groups.values():
            found["security_groups"] += [group.name for group in groups.values() if group.name != "default"]
        for image in list(one.amis.values()):
            snapshots = [snapshot.id for snapshot in image.snapshots]
            shown = {"id": image.id, "name": image.name, "state": image.state, "tags": tags_of(image), "region": region, "snapshots": snapshots}
            found["images"].append(shown)
        for snapshot in list(one.snapshots.values()):
            found["snapshots"].append({"id": snapshot.id, "description": snapshot.description, "tags": tags_of(snapshot)})
    return found


def tags_of(thing):
    return {tag["key"]: tag["value"] for tag in thing.get_tags()}


def reset_calls(asked, _):
    STATE.calls.clear()
    STATE.log = [entry for entry in STATE.log if asked.get("region") not in (None, entry[2])]


def set_faults(asked, rules):
    region = asked.get("region")
    others = [rule for rule in STATE.faults if region and rule.get("region") != region]
    STATE.faults = others + [{**rule, "region": region} if region else rule for rule in rules or []]


def add_faults(_, rules):
    STATE.faults += rules


def pending(_, value):
    STATE.pending_seconds = float(value["seconds"])


def stopping(_, value):
    STATE.stopping_seconds = float(value["seconds"])


def cooldown(_, value):
    STATE.cooldown_seconds = float(value["seconds"])


def fail_images(_, value):
    STATE.fail_images = bool(value)


def refuse_keys(_, value):
    STATE.refused_keys = value or {}


def accounts(_, value):
    STATE.accounts.update(value)


def authorized_keys(_, value):
    """The file of a private sshd, `sshd.sh`, by which instances that are started from now on are reached: see `disks`."""
    STATE.sshd = Path(value).resolve().parent


def instance_profile(_, name):
    """An instance profile and the role of the same name in it."""
    one = iam_backends[ACCOUNT]["aws"]
    one.create_role(role_name=name, assume_role_policy_document="{}", path="/", permissions_boundary=None, description="", tags=[], max_session_duration="3600")
    one.create_instance_profile(name=name, path="/", role_names=[name])


def base_image(_, value):
    """{"name": …}, and "id", "region", "owner", "created", "state", "tags", "architecture" if they matter."""
    region = value.get("region", "us-east-1")
    made = seed(value["name"], value.get("id"), region, value.get("owner", ACCOUNT), value.get("created"))
    image = images.find(region, made)
    image.state = value.get("state", image.state)
    image.add_tags(value.get("tags", {}))
    image.architecture = value.get("architecture", image.architecture)
    return {"id": made}


def seed(name, image_id, region, owner=ACCOUNT, created=None):
    """An image of nobody's making; one of another owner is public."""
    one = images.ec2_backends[ACCOUNT][region]
    image = one.register_image(name=name, description="base image of the emulator")
    image.owner_id = owner
    if owner != ACCOUNT:
        image.launch_permissions = [{"Group": "all"}]
    image.complete()
    if created:
        image.creation_date = time_of(created)
    if image_id:
        del one.amis[image.id]
        image.id = image_id
        one.amis[image_id] = image
    return image.id


def image_state(_, value):
    images.find(value.get("region", "us-east-1"), value["id"]).state = value["state"]


def deprecated_at(_, value):
    """{"id": …, "at": …}, in the past too, which EC2 itself does not take."""
    images.find(value.get("region", "us-east-1"), value["id"]).deprecated_at = time_of(value["at"])


def instance_state(_, value):
    """{"id": …, "state": …}: an instance is started and ended at once, and stopped too if `stopping` says nothing else."""
    images.ec2_backends[ACCOUNT][value.get("region", "us-east-1")].get_instance(value["id"]).instance_state.name = value["state"]


def time_of(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


# What is asked.
ASKED = {
    "calls": calls,
    "log": log,
    "rate": rate,
    "met": lambda _: dict(STATE.met),
    "refusals": lambda _: list(STATE.refusals),
    "images": lambda asked: of_region(asked, STATE.images),
    "reboots": lambda asked: of_region(asked, STATE.reboots),
    "created": lambda asked: [one for one in list(STATE.created) if asked.get("region", one[1]) == one[1]],
    "resources": resources,
}

# What is told, with a value in JSON.
TOLD = {
    "reset-calls": reset_calls,
    "faults": set_faults,
    "add-faults": add_faults,
    "pending": pending,
    "stopping": stopping,
    "cooldown": cooldown,
    "fail-images": fail_images,
    "policies": lambda _, value: policies.set_rules(value),
    "judge": lambda _, value: policies.judge(value),
    "refuse-keys": refuse_keys,
    "accounts": accounts,
    "authorized-keys": authorized_keys,
    "instance-profile": instance_profile,
    "base-image": base_image,
    "image-state": image_state,
    "deprecated-at": deprecated_at,
    "instance-state": instance_state,
}


def answer(path, query, method, body):
    """What the page says; nothing if there is no such page."""
    asked, page = {key: values[0] for key, values in parse_qs(query).items()}, path.removeprefix("/_control/")
    if page in ASKED:
        # There may be many resources, and the lock is not theirs.
        with contextlib.nullcontext() if page == "resources" else STATE.lock:
            return ASKED[page](asked)
    if method != "POST" or page not in TOLD:
        return None
    with STATE.lock:
        return TOLD[page](asked, json.loads(body or b"null")) or {}
