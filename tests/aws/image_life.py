"""What becomes of an image: who may change it, disabled or not, and started as an instance.

Each rule says where it comes from: a page of AWS's documentation, or *measured*, with the place where somebody shows EC2's own answer.
"""

import images
from answers import ok, refusal


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


def not_launchable(call):
    """An instance is started from an image that is there, that the account may use, and that is available.

    Codes: EC2 error codes for an image that was never there, that is gone, or in another state (a disabled one cannot be launched: User Guide,
    *Disable an Amazon EC2 AMI*). AuthFailure for one that is not shared is measured in agentsea/surfkit#88.
    """
    image_id = call.one("ImageId")
    missing = absent(call, image_id)
    if missing:
        return missing
    image = images.find(call.region, image_id)
    if not image.is_seen_by(call.account):
        return refusal("AuthFailure", f"Not authorized for images: [{image_id}]")
    return None if image.state == "available" else unavailable(image_id)
