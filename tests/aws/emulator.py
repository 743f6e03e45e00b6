"""An AWS for tests and the demo: moto behind a door that is as strict as EC2 and as unkind as a network.

Prints one line of JSON, {"port": N}, when it listens, and ends when its standard input closes or on SIGTERM, so that it never outlives
whoever started it. Tests that share one keep apart by region.

A fault is a rule, set by POST /_control/faults (a list that replaces all rules, with ?region=… those of a region) or /_control/add-faults (a list that comes to them):

    {"operation": "CreateImage", "kind": "drop-after", "nth": 2, "times": 1, "region": "us-east-1", "from": "packer"}

`operation` is with or without its service, or "*"; `region` and `from` ("packer" or "reconciler", by the user agent) may be left out.
Kinds: throttle, internal, denied, expired, capacity, unheard-of, copies, not-running (an error instead of the effect); drop-before,
drop-after (the connection is cut, before or after the effect); truncate (half of the answer); duplicate (the call takes effect twice, as a
repeated request does); hold-before, hold-after (the call stands still for the rule's `seconds`, before or after its effect); pending, failed
(on what makes an image: it stays pending for two seconds, or fails); empty (an answer of EC2 that does not show yet what is there).
`DescribeImagesByName` is a DescribeImages with a filter by name.

IAM documents, set by POST /_control/policies ([{"documents": […], "from": "packer"}]), are judged by `iam` on what `authorization` says that a
call asks for; a document that cannot be judged is refused. A key that POST /_control/refuse-keys names ({"AKID…": "expired"}; or "unknown") is
refused as AWS refuses it. A disabled image is not shown to whoever does not ask for it, and cannot be launched, as at EC2.
"""

import argparse
import contextlib
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from collections import Counter
from datetime import datetime
from urllib.parse import parse_qs, urlencode

import authorization
import iam

os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

from moto.ec2.models import ec2_backends  # noqa: E402
from moto.ec2.models.amis import AmiBackend  # noqa: E402
from moto.iam.models import iam_backends  # noqa: E402
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: E402
from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: E402

ACCOUNT = "123456789012"


class State:
    """What tests ask and change by /_control/."""

    def __init__(self):
        self.lock = threading.Lock()
        # moto looks and then writes: without a lock two conditional writes can both win.
        self.tables = threading.Lock()
        self.calls = Counter()
        # One (time, operation, region, caller) a call.
        self.log = []
        # What became of images: names made, names refused as duplicates, available ones that were deregistered.
        self.images = []
        # What calls made that a build should not leave behind: (wall time, region, name or id).
        self.created = []
        self.faults = []
        self.met = Counter()
        self.pending_seconds = 0.0
        self.fail_images = False
        # Who is held to which documents; nobody as long as there are none.
        self.policies = []
        # What IAM refused.
        self.refusals = []
        # Keys that are refused, and as what.
        self.refused_keys = {}
        # Where the public halves of key pairs go.
        self.authorized_keys = None

    def fault_for(self, name, region, caller, alias=None):
        """The first rule that this call meets. A rule counts the calls it matches: `nth` (from 1) is the first to fail, `times` how many do."""
        for rule in self.faults:
            if rule["operation"] not in (name, name.split(".")[-1], "*", alias):
                continue
            if rule.get("region", region) != region or rule.get("from", caller) != caller:
                continue
            rule["seen"] = rule.get("seen", 0) + 1
            first = rule.get("nth", 1)
            if first <= rule["seen"] < first + rule.get("times", 1):
                self.met[f"{region} {rule['operation']} {rule['kind']}"] += 1
                return rule
        return {"kind": None}


STATE = State()

# What the call of this thread wants to see.
CALL = threading.local()


def hide_disabled_images():
    """EC2 shows a disabled image to those who ask for it; moto knows none."""
    every = AmiBackend.describe_images

    def shown(self, *arguments, **named):
        images = every(self, *arguments, **named)
        return images if getattr(CALL, "sees_disabled", True) else [image for image in images if image.state != "disabled"]

    AmiBackend.describe_images = shown


hide_disabled_images()


def backend(region):
    return ec2_backends[ACCOUNT][region]


def own_images(region):
    return list(backend(region).amis.values())


def caller_of(environ):
    agent = environ.get("HTTP_USER_AGENT", "").lower()
    return "packer" if "packer" in agent or "aws-sdk-go" in agent else "reconciler" if "aws-sdk-rust" in agent else "other"


def operation(environ, body):
    """`ec2.DescribeImages`, `dynamodb.Query`, and the region, from the signature."""
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split(",")[0].split("/")
    region, service = (scope[2], scope[3]) if len(scope) > 4 else ("us-east-1", "unknown")
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        return f"{service}.{target.split('.')[-1]}", region, {}
    form = parse_qs(body.decode("utf-8", "replace"))
    action = form.get("Action", ["?"])[0]
    return f"{service}.{action}", region, form


def ec2_error(code, message, status):
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error>'
        f"<Code>{code}</Code><Message>{message}</Message></Error></Errors>"
        "<RequestID>00000000-0000-0000-0000-000000000000</RequestID></Response>"
    )
    return status, "text/xml", text.encode()


def json_error(code, message, status):
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}
    return status, "application/x-amz-json-1.0", json.dumps(body).encode()


ERRORS = {
    "throttle": ("RequestLimitExceeded", "ThrottlingException", "Request limit exceeded.", 503),
    "internal": ("InternalError", "InternalServerError", "An internal error has occurred.", 500),
    "denied": ("UnauthorizedOperation", "AccessDeniedException", "You are not authorized to perform this operation.", 403),
    "expired": ("RequestExpired", "ExpiredTokenException", "The security token included in the request is expired.", 400),
    "unheard-of": ("FluxCapacitorNotCharged", "InternalServerError", "Nobody has ever heard of this.", 400),
    "copies": ("ResourceLimitExceeded", "InternalServerError", "Too many snapshot copies in progress. The limit is 20 for this destination region.", 400),
    "not-running": ("IncorrectState", "InternalServerError", "Instance is not in state 'running' or 'stopped'", 400),
    "capacity": ("InsufficientInstanceCapacity", "InternalServerError", "We currently do not have sufficient capacity.", 500),
}


def injected(kind, service):
    ec2_code, json_code, message, status = ERRORS[kind]
    return json_error(json_code, message, 400 if status == 503 else status) if service == "dynamodb" else ec2_error(ec2_code, message, status)


# A key that AWS refuses, in the words of EC2 and of DynamoDB.
REFUSED_KEYS = {
    "expired": ("RequestExpired", "ExpiredTokenException", "The security token included in the request is expired", 400),
    "unknown": ("AuthFailure", "UnrecognizedClientException", "AWS was not able to validate the provided access credentials", 401),
}


def access_key(environ):
    return environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")[0]


def refused_key(environ, service):
    kind = STATE.refused_keys.get(access_key(environ))
    if kind is None:
        return None
    ec2_code, json_code, message, status = REFUSED_KEYS[kind]
    return json_error(json_code, message, 400) if service == "dynamodb" else ec2_error(ec2_code, message, status)


def unauthorized(name, region, caller, form, body):
    """The answer to a call that the documents do not allow."""
    held = [one["policies"] for one in STATE.policies if one.get("from", caller) == caller and one.get("region", region) == region]
    if not held:
        return None
    try:
        asked = authorization.requests(ACCOUNT, region, name, form, body)
        said = [one for policies in held for request in asked for one in [policies.refusal(*request)] if one]
    except authorization.Unlisted as unlisted:
        said = [f"is not known to the emulator: {unlisted}"]
    if not said:
        return None
    with STATE.lock:
        STATE.refusals += [f"{caller}: {one}" for one in said]
    message = f"You are not authorized to perform this operation. User: arn:aws:iam::{ACCOUNT}:user/somebody {said[0]}"
    if name.startswith("dynamodb."):
        return json_error("AccessDeniedException", message, 400)
    return ec2_error("UnauthorizedOperation", message, 403)


def set_policies(rules):
    """Holds callers to documents, or says why they cannot be judged."""
    try:
        STATE.policies = [{**rule, "policies": iam.Policies(rule["documents"], authorization.known)} for rule in rules or []]
    except iam.Unjudgeable as why:
        return {"refused": str(why)}
    STATE.refusals.clear()
    return {}


def judge(asked):
    """What the evaluator says of one request by some documents, for its own tests."""
    try:
        policies = iam.Policies(asked["documents"], authorization.known)
    except iam.Unjudgeable as why:
        return {"refused": str(why)}
    return {"refusal": policies.refusal(asked["action"], asked["resource"], asked.get("context", {}))}


def disable_or_enable(name, region, form):
    """DisableImage and EnableImage, which moto does not have."""
    image = backend(region).amis.get(form.get("ImageId", [""])[0])
    if image is None:
        return ec2_error("InvalidAMIID.NotFound", f"The image id '[{form.get('ImageId', [''])[0]}]' does not exist", 400)
    image.state = "disabled" if name == "ec2.DisableImage" else "available"
    if image.state == "disabled":
        image.launch_permissions = []
    operation = name.split(".")[1]
    return 200, "text/xml", f"<{operation}Response><return>true</return></{operation}Response>".encode()


def not_launchable(region, form):
    """An instance of an image that is there and cannot be launched."""
    image = backend(region).amis.get(form.get("ImageId", [""])[0])
    if image is None or image.state == "available":
        return None
    return ec2_error("InvalidAMIID.Unavailable", f"The image ID '{image.id}' is not available: it is {image.state}", 400)


def authorize_key(name, region, form):
    """EC2 puts the public half of a key pair on the instance; here the sshd of the tests lets it in."""
    pair = backend(region).key_pairs.get(form.get("KeyName", [""])[0])
    if name in ("ec2.CreateKeyPair", "ec2.ImportKeyPair") and pair is not None and STATE.authorized_keys:
        with STATE.lock, open(STATE.authorized_keys, "a", encoding="utf-8") as file:
            file.write(pair.public_key.strip() + "\n")


def make_profile(name):
    """An instance profile and the role of the same name in it."""
    one = iam_backends[ACCOUNT]["aws"]
    one.create_role(role_name=name, assume_role_policy_document="{}", path="/", permissions_boundary=None, description="", tags=[], max_session_duration="3600")
    one.create_instance_profile(name=name, path="/", role_names=[name])


def duplicate_name(name, region, form):
    """EC2 keeps image names unique in an account and region; moto does not."""
    if name not in ("ec2.CreateImage", "ec2.RegisterImage", "ec2.CopyImage"):
        return None
    wanted = form.get("Name", [None])[0]
    for image in own_images(region):
        if image.name == wanted and image.owner_id == ACCOUNT:
            STATE.images.append({"event": "refused", "name": wanted, "region": region})
            return ec2_error("InvalidAMIName.Duplicate", f"AMI name {wanted} is already in use by AMI {image.id}", 400)
    return None


def complete(image):
    """What Packer asks of a source image and moto leaves out."""
    image.root_device_type, image.root_device_name = "ebs", "/dev/sda1"
    image.virtualization_type, image.architecture = "hvm", "x86_64"


def tag_snapshots(region, before, tags):
    """The tags that CreateImage asked for, on the snapshots of the new image."""
    for image in own_images(region):
        if tags and image.id not in before:
            backend(region).create_tags([image.ebs_snapshot.id], tags)


def age_new_images(region, before, kind):
    """New images are pending for a while, or fail, as the test wants."""
    pending = 2.0 if kind == "pending" else STATE.pending_seconds
    for image in own_images(region):
        if image.id in before:
            continue
        complete(image)
        STATE.images.append({"event": "made", "name": image.name, "id": image.id, "region": region, **made_of(image, region)})
        if STATE.fail_images or kind == "failed":
            image.state = "failed"
        elif pending > 0:
            image.state = "pending"
            timer = threading.Timer(pending, lambda image=image: setattr(image, "state", "available"))
            timer.daemon = True
            timer.start()


def made_of(image, region):
    """What the instance of a new image was, which nobody can change afterwards: its source and its tags."""
    instance = backend(region).get_instance(image.instance_id) if image.instance_id else None
    if instance is None:
        return {}
    return {"source": instance.image_id, "of": {tag["key"]: tag["value"] for tag in instance.get_tags()}}


# What tells the name or id of a thing that a call made.
CREATED = {
    "ec2.RunInstances": rb"<instanceId>(.*?)</instanceId>",
    "ec2.CreateKeyPair": rb"<keyName>(.*?)</keyName>",
    "ec2.ImportKeyPair": rb"<keyName>(.*?)</keyName>",
    "ec2.CreateSecurityGroup": rb"<groupId>(.*?)</groupId>",
}


def note_creation(name, region, answer):
    if name in CREATED:
        STATE.created += [(time.time(), region, found.decode()) for found in re.findall(CREATED[name], answer[2])]


def note_removal(name, region, form):
    """An available image that goes is what must never happen by itself."""
    if name != "ec2.DeregisterImage":
        return
    image = backend(region).amis.get(form.get("ImageId", [None])[0])
    if image is not None:
        STATE.images.append({"event": f"removed-{image.state}", "name": image.name, "id": image.id, "region": region})


def resources(wanted):
    """Everything that a build could leave behind, in one region or over all of them."""
    found = {"instances": [], "key_pairs": [], "security_groups": [], "images": [], "snapshots": []}
    for region, one in list(ec2_backends[ACCOUNT].items()):
        if wanted not in (None, region):
            continue
        for reservation in list(one.reservations.values()):
            for instance in reservation.instances:
                found["instances"].append({"id": instance.id, "state": instance.state, "key_name": instance.key_name, "region": region})
        found["key_pairs"] += [name for name in one.key_pairs]
        for groups in one.groups.values():
            found["security_groups"] += [group.name for group in groups.values() if group.name != "default"]
        for image in list(one.amis.values()):
            tags = {tag["key"]: tag["value"] for tag in image.get_tags()}
            found["images"].append({"id": image.id, "name": image.name, "state": image.state, "tags": tags, "region": region, "snapshots": [image.ebs_snapshot.id]})
        for snapshot in list(one.snapshots.values()):
            tags = {tag["key"]: tag["value"] for tag in snapshot.get_tags()}
            found["snapshots"].append({"id": snapshot.id, "description": snapshot.description, "tags": tags})
    return found


def calls(region, caller):
    return dict(Counter(name for _, name, where, who in STATE.log if region in (None, where) and caller in (None, who)))


def busiest(caller, seconds):
    """The most calls that arrived within any so many seconds."""
    times, most, first = [at for at, _, _, who in STATE.log if caller in (None, who)], 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - seconds:
            first += 1
        most = max(most, last - first + 1)
    return {"calls": len(times), "most": most}


def control(path, query, method, body):
    asked = {key: values[0] for key, values in parse_qs(query).items()}
    region, caller = asked.get("region"), asked.get("from")
    if path == "/_control/calls":
        with STATE.lock:
            return dict(STATE.calls) if not asked else calls(region, caller)
    if path == "/_control/log":
        with STATE.lock:
            return [entry[1] for entry in STATE.log[-5000:] if region in (None, entry[2])]
    if path == "/_control/rate":
        with STATE.lock:
            return busiest(caller, float(asked.get("seconds", "1")))
    if path == "/_control/met":
        with STATE.lock:
            return dict(STATE.met)
    if path == "/_control/refusals":
        with STATE.lock:
            return list(STATE.refusals)
    if path == "/_control/images":
        return [one for one in list(STATE.images) if region in (None, one["region"])]
    if path == "/_control/created":
        return [one for one in list(STATE.created) if region in (None, one[1])]
    if path == "/_control/resources":
        return resources(region)
    if method != "POST":
        return None
    value = json.loads(body or b"null")
    with STATE.lock:
        if path == "/_control/reset-calls":
            STATE.calls.clear()
            STATE.log = [entry for entry in STATE.log if region not in (None, entry[2])]
        elif path == "/_control/faults":
            others = [rule for rule in STATE.faults if region and rule.get("region") != region]
            STATE.faults = others + [{**rule, "region": region} if region else rule for rule in value or []]
        elif path == "/_control/add-faults":
            STATE.faults += value
        elif path == "/_control/pending":
            STATE.pending_seconds = float(value["seconds"])
        elif path == "/_control/fail-images":
            STATE.fail_images = bool(value)
        elif path == "/_control/policies":
            return set_policies(value)
        elif path == "/_control/judge":
            return judge(value)
        elif path == "/_control/refuse-keys":
            STATE.refused_keys = value or {}
        elif path == "/_control/authorized-keys":
            STATE.authorized_keys = value
        elif path == "/_control/instance-profile":
            make_profile(value)
        elif path == "/_control/base-image":
            made = seed(value["name"], value.get("id"), value.get("region", "us-east-1"), value.get("owner", ACCOUNT), value.get("created"))
            image = backend(value.get("region", "us-east-1")).amis[made]
            image.state = value.get("state", image.state)
            image.add_tags(value.get("tags", {}))
            return {"id": made}
        elif path == "/_control/image-state":
            backend(value.get("region", "us-east-1")).amis[value["id"]].state = value["state"]
        else:
            return None
    return {}


def seed(name, image_id, region, owner=ACCOUNT, created=None):
    one = backend(region)
    image = one.register_image(name=name, description="base image of the emulator")
    image.owner_id = owner
    complete(image)
    if created:
        image.creation_date = datetime.fromisoformat(created.replace("Z", "+00:00"))
    if image_id:
        del one.amis[image.id]
        image.id = image_id
        one.amis[image_id] = image
    return image.id


class Door:
    """The WSGI application in front of moto."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, environ, start_response):
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path.startswith("/_control/"):
            answer = control(path, environ.get("QUERY_STRING", ""), method, body)
            status = 404 if answer is None else 200
            return self.send(start_response, (status, "application/json", json.dumps(answer).encode()))
        name, region, form = operation(environ, body)
        caller = caller_of(environ)
        with STATE.lock:
            STATE.calls[name] += 1
            STATE.log.append((time.monotonic(), name, region, caller))
            del STATE.log[:-50000]
            by_name = name == "ec2.DescribeImages" and ["name"] in [value for key, value in form.items() if key.endswith(".Name")]
            rule = STATE.fault_for(name, region, caller, "DescribeImagesByName" if by_name else None)
        kind = rule["kind"]
        if kind in ERRORS:
            return self.send(start_response, injected(kind, name.split(".")[0]))
        if kind == "drop-before":
            return self.drop(environ)
        if kind == "empty":
            return self.send(start_response, (200, "text/xml", b"<DescribeImagesResponse><imagesSet/></DescribeImagesResponse>"))
        if kind == "ignored":
            return self.send(start_response, (200, "text/xml", b"<Response><return>true</return></Response>"))
        if kind == "hold-before":
            time.sleep(rule["seconds"])
        refused = refused_key(environ, name.split(".")[0]) or unauthorized(name, region, caller, form, body)
        if not refused and name in ("ec2.DisableImage", "ec2.EnableImage"):
            refused = disable_or_enable(name, region, form)
        if not refused and name == "ec2.RunInstances":
            refused = not_launchable(region, form)
        refused = refused or duplicate_name(name, region, form)
        if refused:
            return self.send(start_response, refused)
        CALL.sees_disabled = name != "ec2.DescribeImages" or form.get("IncludeDisabled", ["false"])[0] == "true"
        creates = name in ("ec2.CreateImage", "ec2.RegisterImage", "ec2.CopyImage")
        before = {image.id for image in own_images(region)} if creates else set()
        snapshot_tags = {}
        if name == "ec2.CreateImage":
            body, snapshot_tags = self.without_snapshot_tags(body)
        note_removal(name, region, form)
        with STATE.tables if name.startswith("dynamodb.") else contextlib.nullcontext():
            answer = self.ask(environ, body)
            # EC2 knows a repeated launch by its client token, and answers as before.
            if kind == "duplicate" and name != "ec2.RunInstances":
                answer = duplicate_name(name, region, form) or self.ask(environ, body)
        authorize_key(name, region, form)
        if creates:
            tag_snapshots(region, before, snapshot_tags)
            age_new_images(region, before, kind)
        note_creation(name, region, answer)
        if kind == "hold-after":
            time.sleep(rule["seconds"])
        if kind == "drop-after":
            return self.drop(environ)
        if kind == "truncate":
            status, content_type, text = answer
            answer = status, content_type, text[: len(text) // 2]
        return self.send(start_response, answer)

    @staticmethod
    def without_snapshot_tags(body):
        """CreateImage less what it asks for snapshots, and that: EC2 tags both at once, moto ends with a 500."""
        form = parse_qs(body.decode(), keep_blank_values=True)
        tags = {}
        for key in [key for key, value in form.items() if key.endswith(".ResourceType") and value == ["snapshot"]]:
            prefix = key.removesuffix("ResourceType")
            own = {name: form.pop(name)[0] for name in [name for name in form if name.startswith(prefix)]}
            for name in own:
                if name.endswith(".Key"):
                    tags[own[name]] = own.get(name.removesuffix("Key") + "Value", "")
        return (urlencode(form, doseq=True).encode() if tags else body), tags

    def ask(self, environ, body):
        import io

        environ = dict(environ)
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        caught = {}

        def catch(status, headers, exc_info=None):
            caught["status"], caught["headers"] = status, headers
            return lambda _: None

        chunks = self.inner(environ, catch)
        text = b"".join(chunks)
        headers = {key.lower(): value for key, value in caught["headers"]}
        return int(caught["status"].split()[0]), headers.get("content-type", "text/plain"), text

    @staticmethod
    def drop(environ):
        connection = environ["werkzeug.socket"]
        connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError("dropped on request of a test")

    @staticmethod
    def send(start_response, answer):
        status, content_type, text = answer
        start_response(f"{status} ", [("Content-Type", content_type), ("Content-Length", str(len(text)))])
        return [text]


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log(self, *_args, **_kwargs):
        pass

    def log_error(self, *_args, **_kwargs):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, OSError):
            self.close_connection = True


def end_with_parent():
    # Reads by the descriptor: an open buffered reader would block the interpreter's end.
    while os.read(0, 4096):
        pass
    os._exit(0)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--base-image", action="append", default=[], metavar="NAME=ID", help="an image to begin with")
    arguments.add_argument("--region", default="us-east-1")
    chosen = arguments.parse_args()
    logging.disable(logging.CRITICAL)
    for one in chosen.base_image:
        name, _, image_id = one.rpartition("=")
        seed(name, image_id, chosen.region)
    server = make_server("127.0.0.1", chosen.port, Door(DomainDispatcherApplication(create_backend_app)), threaded=True, request_handler=Handler)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=end_with_parent, daemon=True).start()
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
