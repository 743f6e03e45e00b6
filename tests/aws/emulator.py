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

IAM documents, set by POST /_control/policies ([{"documents": […], "from": "packer"}], or "region", or "key" for an access key), are judged by
`iam` on what `authorization` says that a call asks for; a document that cannot be judged is refused. A key that POST /_control/refuse-keys names
({"AKID…": "expired"}; or "unknown") is refused as AWS refuses it; `accounts` says how a key is of another account. `control` has the other pages.

What images do, with whom they are shared and where they are named is in the files `image_…`, and what becomes of an instance in `instances`, with
the place where each rule is documented or was measured. An instance has a disk (`disks`) and an address (`addresses`) that its disk is reached by. What neither moto nor these have is answered at once as an operation that AWS does not have.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from urllib.parse import urlencode

from flask import Response
from moto.core.utils import camelcase_to_underscores
from moto.ec2.responses import EC2Response
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

import accounts
import call as calls
import control
import disks
import faults
import image_aliases
import image_copies
import image_life
import image_listing
import image_references
import images
import instances
import policies
from answers import XML, error
from call import CURRENT
from state import STATE

# Operations of EC2 that moto does not have, or has otherwise.
OWN = {
    "CopyImage": image_copies.copy,
    "DeregisterImage": image_life.deregister,
    "DescribeImageReferences": image_references.describe,
    "DisableImage": image_life.disable,
    "DisableImageDeprecation": image_life.keep_undeprecated,
    "DisableImageDeregistrationProtection": image_life.unprotect,
    "EnableImage": image_life.enable,
    "EnableImageDeprecation": image_life.deprecate,
    "EnableImageDeregistrationProtection": image_life.protect,
    "GetImageAncestry": image_copies.ancestry,
}

# What EC2 looks at before it does anything, in this order; each gives the refusal or nothing.
RULES = {
    "CopyImage": [image_copies.copy_refusal],
    "CreateImage": [instances.malformed, image_life.not_imageable, image_copies.untaggable, image_copies.taken_name],
    "DeleteSnapshot": [image_life.snapshot_in_use],
    "DeregisterImage": [image_life.not_owned, image_life.protected],
    "DescribeImageAttribute": [image_life.not_owned],
    "DescribeImages": [image_listing.refusal],
    "DescribeInstances": [instances.malformed],
    "DescribeLaunchTemplateVersions": [image_aliases.unresolved],
    "DisableImage": [image_life.not_owned],
    "DisableImageDeprecation": [image_life.not_owned],
    "DisableImageDeregistrationProtection": [image_life.not_owned],
    "EnableImage": [image_life.not_owned],
    "EnableImageDeprecation": [image_life.not_owned],
    "EnableImageDeregistrationProtection": [image_life.not_owned],
    "GetImageAncestry": [image_copies.untraceable],
    "ModifyImageAttribute": [image_life.not_owned, image_life.not_shareable],
    "RebootInstances": [instances.malformed, instances.wrong_state],
    "RegisterImage": [image_copies.register_refusal],
    "RunInstances": [image_life.not_launchable],
    "StartInstances": [instances.malformed, instances.wrong_state],
    "StopInstances": [instances.malformed, instances.wrong_state],
    "TerminateInstances": [instances.malformed],
}

# What changes images: one at a time.
CHANGES = {"CreateImage", "DeleteSnapshot", "RegisterImage", *OWN} - {"DescribeImageReferences", "GetImageAncestry"}

# What tells the name or id of a thing that a call made.
CREATED = {
    "ec2.RunInstances": rb"<instanceId>(.*?)</instanceId>",
    "ec2.CreateKeyPair": rb"<keyName>(.*?)</keyName>",
    "ec2.ImportKeyPair": rb"<keyName>(.*?)</keyName>",
    "ec2.CreateSecurityGroup": rb"<groupId>(.*?)</groupId>",
}


def broken_rule(call):
    """What EC2 says to a request that it does not fulfil, or will not fulfil because it is a dry run (API reference, DryRun)."""
    if call.service != "ec2":
        return None
    if call.operation not in OWN and not hasattr(EC2Response, camelcase_to_underscores(call.operation)):
        return unknown_operation(call)
    refused = next((said for rule in RULES.get(call.operation, []) for said in [rule(call)] if said), None)
    if refused or not call.flag("DryRun"):
        return refused
    return error("ec2", "DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)


def unknown_operation(call):
    """EC2 error codes, InvalidAction; other services likewise (*Common errors* of their API references). Nobody repeats such a request."""
    if call.service in ("ec2", *XML):
        return error(call.service, "InvalidAction", f"The action {call.operation} is not valid for this web service.")
    return error(call.service, "UnknownOperationException", f"The operation {call.operation} is not known.")


def application(service):
    """moto's application for a service, in which what it does not have is no failure of the server; nor is a service that it does not have."""

    def missing(_):
        status, content_type, text = unknown_operation(CURRENT.call)
        return Response(text, status, content_type=content_type)

    if service is None:
        return lambda environ, start_response: missing(None)(environ, start_response)
    app = create_backend_app(service)
    app.register_error_handler(NotImplementedError, missing)
    return app


def authorize_key(call):
    """EC2 puts the public half of a key pair on the instance; here the sshd of the tests learns it."""
    if call.name not in ("ec2.CreateKeyPair", "ec2.ImportKeyPair") or STATE.sshd is None:
        return
    pair = images.ec2_backends[call.account][call.region].key_pairs.get(call.one("KeyName", ""))
    if pair is not None:
        disks.let_in(pair.public_key)


def note_creation(call, answer):
    if call.name in CREATED:
        STATE.created += [(time.time(), call.region, found.decode()) for found in re.findall(CREATED[call.name], answer[2])]


def encoded(form):
    return urlencode(form, doseq=True).encode()


class Door:
    """The WSGI application in front of moto."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, environ, start_response):
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path.startswith("/_control/"):
            answer = control.answer(path, environ.get("QUERY_STRING", ""), method, body)
            status = 404 if answer is None else 200
            return self.send(start_response, (status, "application/json", json.dumps(answer).encode()))
        call = calls.read(environ, body, accounts.account_of)
        CURRENT.call = call
        try:
            return self.pass_through(environ, start_response, call)
        finally:
            CURRENT.call = None

    def pass_through(self, environ, start_response, call):
        """Answers a call, or does to it what a fault says."""
        with STATE.lock:
            STATE.note(call)
            by_name = call.name == "ec2.DescribeImages" and "name" in [call.one(prefix + "Name") for prefix in call.structures("Filter")]
            rule = STATE.fault_for(call, "DescribeImagesByName" if by_name else None)
        kind = rule["kind"]
        if kind in faults.ERRORS:
            return self.send(start_response, faults.worded(faults.ERRORS[kind], call.service))
        if kind == "drop-before":
            return self.drop(environ)
        if kind == "empty":
            return self.send(start_response, (200, "text/xml", b"<DescribeImagesResponse><imagesSet/></DescribeImagesResponse>"))
        if kind == "ignored":
            return self.send(start_response, (200, "text/xml", b"<Response><return>true</return></Response>"))
        if kind == "hold-before":
            time.sleep(rule["seconds"])
        answer = accounts.refusal(call) or policies.refusal(call) or self.perform(environ, call, kind)
        if kind == "hold-after":
            time.sleep(rule["seconds"])
        if kind == "drop-after":
            return self.drop(environ)
        if kind == "truncate":
            status, content_type, text = answer
            answer = status, content_type, text[: len(text) // 2]
        return self.send(start_response, answer)

    def perform(self, environ, call, kind):
        """The effect of a call, once, or twice where a fault wants that."""
        with self.one_at_a_time(call):
            answer = self.act(environ, call, kind)
            # EC2 knows a repeated launch by its client token, and answers as before.
            if kind == "duplicate" and call.name != "ec2.RunInstances":
                answer = self.act(environ, call, kind)
        authorize_key(call)
        note_creation(call, answer)
        return answer

    @staticmethod
    def one_at_a_time(call):
        if call.service == "dynamodb":
            return STATE.tables
        return STATE.images_change if call.service == "ec2" and call.operation in CHANGES else contextlib.nullcontext()

    def act(self, environ, call, kind):
        refused = broken_rule(call)
        if refused:
            return refused
        if call.service == "ec2" and call.operation in OWN:
            answer = OWN[call.operation](call)
        else:
            answer = self.ask(environ, call)
        if call.name == "ec2.DescribeLaunchTemplateVersions" and call.flag("ResolveAlias"):
            answer = image_aliases.with_resolved(call, answer)
        if call.name == "ec2.DeleteSnapshot" and answer[0] == 200:
            disks.free(call.one("SnapshotId"))
        if call.name in ("ec2.CreateImage", "ec2.RegisterImage", "ec2.CopyImage"):
            made = image_copies.made(call, answer)
            if made is not None:
                image_copies.finish(call, made, kind)
        return answer

    def ask(self, environ, call):
        """moto's answer."""
        body = self.body(call)
        own = {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)), "HTTP_X_MOTO_ACCOUNT_ID": call.account}
        caught = {}

        def catch(status, headers, exc_info=None):
            caught["status"], caught["headers"] = status, headers
            return lambda _: None

        text = b"".join(self.inner({**environ, **own}, catch))
        headers = {key.lower(): value for key, value in caught["headers"]}
        return int(caught["status"].split()[0]), headers.get("content-type", "text/plain"), text

    @staticmethod
    def body(call):
        """What moto is asked: less than was asked of EC2 where moto would fail, and more where it would not look."""
        if call.name in ("ec2.CreateImage", "ec2.RegisterImage"):
            return encoded({key: value for key, value in call.form.items() if not key.startswith("TagSpecification.")})
        if call.name == "ec2.RunInstances":
            return encoded({**call.form, "ImageId": [image_life.launched(call)]})
        return call.body

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
        control.seed(name, image_id, chosen.region)
    server = make_server("127.0.0.1", chosen.port, Door(DomainDispatcherApplication(application)), threaded=True, request_handler=Handler)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=end_with_parent, daemon=True).start()
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
