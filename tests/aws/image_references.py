"""DescribeImageReferences: what of an account names an image, after *Identify your resources referencing specified AMIs* of the EC2 User Guide.

Five kinds are looked at, on request only some of them. Of launch templates the newest ten versions count, or as many as `version-depth` says; of
instances those in every state, terminated ones too, or those in the states of `state-name`. Whose the image is, and whether it exists, does not
matter. moto has no recipes of Image Builder. Which version of a parameter counts the guide does not say: it is the newest here.
"""

import images
from answers import items, ok, refusal

INSTANCE, TEMPLATE, PARAMETER = "ec2:Instance", "ec2:LaunchTemplate", "ssm:Parameter"
KINDS = (INSTANCE, TEMPLATE, PARAMETER, "imagebuilder:ImageRecipe", "imagebuilder:ContainerRecipe")
STATES = {"pending", "running", "shutting-down", "terminated", "stopping", "stopped"}

# One page, where the call does not say how much it takes.
PAGE = 1000


def wanted(call):
    """The kinds that a call asks for, each with its options by name."""
    kinds = {kind: {} for kind in KINDS} if call.flag("IncludeAllResourceTypes") else {}
    for prefix in call.structures("ResourceType"):
        options = call.structures(prefix + "ResourceTypeOption")
        kinds[call.one(prefix + "ResourceType")] = {call.one(one + "OptionName"): call.many(one + "OptionValue") for one in options}
    return kinds


def wrong(call, kinds):
    """What is wrong with the request. The limits are those of the API reference; which code EC2 has for them it does not say."""
    ids = call.many("ImageId")
    if not 1 <= len(ids) <= 10:
        return refusal("InvalidParameterValue", f"ImageId takes 1 to 10 images, not {len(ids)}.")
    malformed = [one for one in ids if not one.startswith("ami-")]
    if malformed:
        return refusal("InvalidAMIID.Malformed", f'Invalid id: "{malformed[0]}" (expecting "ami-...")')
    if not kinds:
        return refusal("MissingParameter", "Either IncludeAllResourceTypes or ResourceTypes must be specified.")
    for kind, options in kinds.items():
        known = {INSTANCE: {"state-name"}, TEMPLATE: {"version-depth"}}.get(kind, set())
        if kind not in KINDS or set(options) - known:
            return refusal("InvalidParameterValue", f"{kind} with the options {sorted(options)} is not a kind of resource that can be looked at.")
    if not STATES.issuperset(kinds.get(INSTANCE, {}).get("state-name", [])):
        return refusal("InvalidParameterValue", "state-name is not the state of an instance.")
    if not 1 <= depth(kinds) <= 10000:
        return refusal("InvalidParameterValue", "version-depth is from 1 to 10000.")
    if not call.one("NextToken", "0").isdecimal():
        return refusal("InvalidPaginationToken", "The specified pagination token is not valid.")
    return None


def depth(kinds):
    said = kinds.get(TEMPLATE, {}).get("version-depth", ["10"])
    return int(said[0]) if len(said) == 1 and said[0].isdecimal() else 0


def describe(call):
    kinds = wanted(call)
    refused = wrong(call, kinds)
    if refused:
        return refused
    ids, found = set(call.many("ImageId")), []
    if INSTANCE in kinds:
        found += instances(call, ids, kinds[INSTANCE].get("state-name") or STATES)
    if TEMPLATE in kinds:
        found += templates(call, ids, depth(kinds))
    if PARAMETER in kinds:
        found += parameters(call, ids)
    first, size = int(call.one("NextToken", "0")), int(call.one("MaxResults", str(PAGE)))
    rows = [{"imageId": image, "resourceType": kind, "arn": arn} for image, kind, arn in found[first : first + size]]
    more = f"<nextToken>{first + size}</nextToken>" if first + size < len(found) else ""
    return ok(call, items("imageReferenceSet", rows) + more)


def instances(call, ids, states):
    backend = images.ec2_backends[call.account][call.region]
    held = [one for reservation in list(backend.reservations.values()) for one in reservation.instances]
    return [(one.image_id, INSTANCE, arn(call, "ec2", f"instance/{one.id}")) for one in held if one.image_id in ids and one.state in states]


def templates(call, ids, versions):
    backend = images.ec2_backends[call.account][call.region]
    return [
        (image, TEMPLATE, arn(call, "ec2", f"launch-template/{template.id}"))
        for template in list(backend.launch_templates.values())
        for image in sorted({version.image_id for version in template.versions[-versions:]} & ids)
    ]


def parameters(call, ids):
    from moto.ssm.models import ssm_backends

    kept = list(ssm_backends[call.account][call.region]._parameters.items())
    newest = [(name, versions[-1].value) for name, versions in kept if versions]
    return [(value, PARAMETER, arn(call, "ssm", f"parameter/{name.lstrip('/')}")) for name, value in newest if value in ids]


def arn(call, service, resource):
    return f"arn:aws:{service}:{call.region}:{call.account}:{resource}"
