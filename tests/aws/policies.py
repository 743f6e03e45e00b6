"""Who is held to which IAM documents, and what is answered to a call that they do not allow.

`iam` judges, on what `authorization` says that a call asks for. A document that cannot be judged is refused when it is set.
"""

import authorization
import iam
from answers import XML, error
from state import STATE


def set_rules(rules):
    """Holds callers to documents, or says why they cannot be judged. A rule is for one region, caller (`from`) or access key, or for all."""
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


def holds(rule, call):
    return all(rule.get(name, one) == one for name, one in (("from", call.caller), ("region", call.region), ("key", call.key)))


def forbidden(call, name, form, body=b""):
    """Why the caller may not do what `name` and its parameters ask for; nothing if it may."""
    held = [rule["policies"] for rule in STATE.policies if holds(rule, call)]
    if not held:
        return []
    try:
        asked = authorization.requests(call.account, call.region, name, form, body)
    except authorization.Unlisted as unlisted:
        return [f"is not known to the emulator: {unlisted}"]
    return [one for policies in held for request in asked for one in [policies.refusal(*request)] if one]


def refusal(call):
    """EC2 answers UnauthorizedOperation, to a DryRun too (EC2 error codes; API reference, DryRun), others in words of their own."""
    said = forbidden(call, call.name, call.form, call.body)
    if not said:
        return None
    with STATE.lock:
        STATE.refusals += [f"{call.caller}: {one}" for one in said]
    message = f"You are not authorized to perform this operation. User: arn:aws:iam::{call.account}:user/somebody {said[0]}"
    if call.service == "ec2":
        return error("ec2", "UnauthorizedOperation", message, 403)
    if call.service in XML:
        return error(call.service, "AccessDenied", message, 403)
    return error(call.service, "AccessDeniedException", message, 400)
