"""What becomes of an image: disabled or not, and started as an instance."""

import images
from answers import ok, refusal


def absent(call):
    image_id = call.one("ImageId")
    return None if images.find(call.region, image_id) else refusal("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")


def disable(call):
    """DisableImage takes all launch permissions, and EnableImage gives none back (User Guide, *Disable an Amazon EC2 AMI*)."""
    image = images.find(call.region, call.one("ImageId"))
    image.state, image.launch_permissions = "disabled", []
    return ok(call)


def enable(call):
    images.find(call.region, call.one("ImageId")).state = "available"
    return ok(call)


def not_launchable(call):
    """An instance of an image that is there and cannot be launched."""
    image = images.find(call.region, call.one("ImageId"))
    if image is None or image.state == "available":
        return None
    return refusal("InvalidAMIID.Unavailable", f"The image ID '{image.id}' is not available: it is {image.state}")
