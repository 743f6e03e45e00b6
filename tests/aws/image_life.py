"""What becomes of an image: disabled, deprecated, protected, deregistered; which instances it can be made of and started as.

Each rule says where it comes from: a page of AWS's documentation, or *measured*, with the place where somebody shows EC2's own answer.
"""

from datetime import datetime, timedelta, timezone

import disks
import image_aliases
import images
import policies
from answers import items, ok, refusal
from state import STATE


def not_found(image_id):
    return refusal("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")


def unavailable(image_id):
    """The code is documented for an image that is gone, or in a state that does not allow what is asked (EC2 error codes); the words are
    measured in ansible/ansible#24945."""
    return refusal("InvalidAMIID.Unavailable", f"The image ID '{image_id}' is no longer available")


def absent(call, image_id):
    """Why there is no such image, or nothing."""
    if not (image_id or "").startswith("ami-"):
        return refusal("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')
    if images.find(call.region, image_id) is None:
        return unavailable(image_id) if images.was_deregistered(call.region, image_id) else not_found(image_id)
    return None


def not_owned(call):
    """Only its owner changes an image or reads its attributes (API reference, DisableImage and others).

    The code and the words are measured in cloudcaptainsh/cloudcaptain#66 (DeregisterImage) and cloudquery/cloudquery#9406
    (DescribeImageAttribute).
    """
    image_id = call.one("ImageId")
    missing = absent(call, image_id)
    if missing:
        return missing
    if images.find(call.region, image_id).owner_id != call.account:
        return refusal("AuthFailure", f"Not authorized for image:{image_id}")
    return None


def protected(call):
    """A protected image is not deregistered (User Guide, *Protect an Amazon EC2 AMI from deregistration*), for the time after a protection with a
    cooldown neither. The code is the one that EC2's list of error codes has for what is not permitted; it was not measured."""
    image = images.find(call.region, call.one("ImageId"))
    if image.deregistration_protection == "disabled":
        return None
    return refusal("OperationNotPermitted", f"The image '{image.id}' is protected from deregistration: {image.deregistration_protection}")


def not_shareable(call):
    """A disabled image cannot be shared (User Guide, *Disable an Amazon EC2 AMI*); the code is documented for a state that does not allow to
    modify attributes (EC2 error codes)."""
    return unavailable(call.one("ImageId")) if images.find(call.region, call.one("ImageId")).state == "disabled" else None


def disable(call):
    """DisableImage takes all launch permissions, and EnableImage gives none back (User Guide, *Disable an Amazon EC2 AMI*)."""
    image = images.find(call.region, call.one("ImageId"))
    if image.state not in ("available", "disabled"):
        return unavailable(image.id)
    image.state, image.launch_permissions = "disabled", []
    return ok(call)


def enable(call):
    image = images.find(call.region, call.one("ImageId"))
    if image.state not in ("available", "disabled"):
        return unavailable(image.id)
    image.state = "available"
    return ok(call)


def deprecate(call):
    """Not in the past, at most ten years ahead, seconds rounded to the nearest minute (API reference, EnableImageDeprecation)."""
    try:
        asked = datetime.fromisoformat(call.one("DeprecateAt", "").replace("Z", "+00:00"))
    except ValueError:
        return refusal("InvalidParameterValue", f"Value ({call.one('DeprecateAt')}) for parameter DeprecateAt is invalid.")
    now = datetime.now(timezone.utc)
    asked = asked.replace(tzinfo=asked.tzinfo or timezone.utc)
    if not now <= asked <= now + timedelta(days=3653):
        return refusal("InvalidParameterValue", "DeprecateAt must be a time in the future, not more than 10 years from now.")
    images.find(call.region, call.one("ImageId")).deprecated_at = (asked + timedelta(seconds=30)).replace(second=0, microsecond=0)
    return ok(call)


def keep_undeprecated(call):
    images.find(call.region, call.one("ImageId")).deprecated_at = None
    return ok(call)


def protect(call):
    image = images.find(call.region, call.one("ImageId"))
    image.protected, image.cooldown = True, call.flag("WithCooldown")
    return ok(call)


def unprotect(call):
    """With a cooldown the image stays protected for 24 hours more (API reference, DisableImageDeregistrationProtection)."""
    image = images.find(call.region, call.one("ImageId"))
    if image.protected:
        image.cool(STATE.cooldown_seconds)
    return ok(call)


def deregister(call):
    """The image goes, with DeleteAssociatedSnapshots its snapshots as well, but for those that belong to another image or that the caller may not
    delete (API reference, DeregisterImage and DeleteSnapshotReturnCode)."""
    image = images.find(call.region, call.one("ImageId"))
    STATE.images.append({"event": f"removed-{image.state}", "name": image.name, "id": image.id, "region": call.region})
    image.ec2_backend.deregister_image(image.id)
    if not call.flag("DeleteAssociatedSnapshots"):
        return ok(call)
    results = [{"snapshotId": snapshot.id, "returnCode": delete(call, image, snapshot.id)} for snapshot in image.snapshots]
    return ok(call, "<return>true</return>" + items("deleteSnapshotResultSet", results))


def delete(call, image, snapshot_id):
    if images.users(call.region, snapshot_id):
        return "skipped"
    if policies.forbidden(call, "ec2.DeleteSnapshot", {"SnapshotId": [snapshot_id]}):
        return "missing-permissions"
    if image.ec2_backend.snapshots.pop(snapshot_id, None) is None:
        return "client-error"
    disks.free(snapshot_id)
    return "success"


def snapshot_in_use(call):
    """A snapshot is not deleted as long as any image has it, a disabled one too (User Guide, *Disable an Amazon EC2 AMI*; EC2 error codes,
    InvalidSnapshot.InUse). The words are moto's."""
    snapshot_id = call.one("SnapshotId")
    using = images.users(call.region, snapshot_id)
    if not using:
        return None
    return refusal("InvalidSnapshot.InUse", f"The snapshot {snapshot_id} is currently in use by {using[0].id}")


def not_imageable(call):
    """An image is made of an instance that runs or is stopped (API reference, CreateImage), or is being stopped.

    The code and the words are measured: aws-samples/aws-systemsmanagerautomation-with-asglifecyclehooks#2, and hashicorp/packer#9579 before
    'stopping' was allowed. It is not the IncorrectInstanceState of other operations.
    """
    instance = instance_of(images.ec2_backends[call.account][call.region], call.one("InstanceId"))
    if instance is None or instance.state in ("running", "stopping", "stopped"):
        return None
    message = f"Invalid value '{instance.id}' for instanceId. Instance is not in state 'running' or 'stopping' or 'stopped'"
    return refusal("InvalidParameterValue", message)


def instance_of(backend, instance_id):
    return next((one for held in list(backend.reservations.values()) for one in held.instances if one.id == instance_id), None)


def reboot(call, image):
    """A running instance is rebooted for its image unless NoReboot is set (API reference, CreateImage)."""
    instance = instance_of(image.ec2_backend, image.instance_id)
    if instance is not None and instance.state == "running" and not call.flag("NoReboot"):
        instance.reboot()
        STATE.reboots.append({"instance": instance.id, "image": image.id, "region": call.region})


def not_launchable(call):
    """An instance is started from an image that is there, that the account may use, and that is available.

    Codes: EC2 error codes for an image that was never there, that is gone, or in another state (a disabled one cannot be launched: User Guide,
    *Disable an Amazon EC2 AMI*). AuthFailure for one that is not shared is measured in agentsea/surfkit#88.
    """
    named = call.one("ImageId") or template_image(call)
    if named is None:
        return refusal("MissingParameter", "The request must contain the parameter ImageId")
    image_id = image_aliases.resolved(call, named)
    missing = image_aliases.unresolvable(call, named) or absent(call, image_id)
    if missing:
        return missing
    image = images.find(call.region, image_id)
    if not image.is_seen_by(call.account):
        return refusal("AuthFailure", f"Not authorized for images: [{image_id}]")
    return None if image.state == "available" else unavailable(image_id)


def launched(call):
    """The image of a launch that was found in order."""
    return image_aliases.resolved(call, call.one("ImageId") or template_image(call))


def template_image(call):
    """The image of the launch template that a launch names."""
    backend = images.ec2_backends[call.account][call.region]
    named = (call.one("LaunchTemplate.LaunchTemplateId"), call.one("LaunchTemplate.LaunchTemplateName"))
    template = next((one for one in list(backend.launch_templates.values()) if one.id == named[0] or one.name == named[1]), None)
    return template and template.get_version(call.one("LaunchTemplate.Version", "$Default")).image_id
