"""Where images come from: CreateImage, RegisterImage and CopyImage, with what moto leaves out of them.

A new image is pending for a while, or fails, as the test wants. The rules say where they come from as in `image_life`.
"""

import re
import threading

import images
from answers import refusal
from image_life import reboot
from state import STATE


def taken_name(call):
    """A name is of one image in an account and region (EC2 error codes, InvalidAMIName.Duplicate); moto does not look."""
    wanted = call.one("Name")
    for image in list(images.ec2_backends[call.account][call.region].amis.values()):
        if image.name == wanted and image.owner_id == call.account:
            STATE.images.append({"event": "refused", "name": wanted, "region": call.region})
            return refusal("InvalidAMIName.Duplicate", f"AMI name {wanted} is already in use by AMI {image.id}")
    return None


def register_refusal(call):
    """A snapshot that RegisterImage names must be there (EC2 error codes, InvalidSnapshot.NotFound)."""
    for snapshot_id in named_snapshots(call):
        if snapshot_id not in images.ec2_backends[call.account][call.region].snapshots:
            return refusal("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
    return taken_name(call)


def named_snapshots(call):
    named = (call.one(prefix + "Ebs.SnapshotId") for prefix in call.structures("BlockDeviceMapping"))
    return [one for one in named if one]


def made(call, answer):
    """The new image that an answer speaks of."""
    found = re.search(rb"<imageId>(.*?)</imageId>", answer[2])
    image = images.find(call.region, found[1].decode()) if answer[0] == 200 and found else None
    return image if image is not None and image.is_new else None


def finish(call, image, kind):
    """What moto leaves out of a new image; `kind` is that of a fault."""
    image.is_new = False
    image.complete()
    if call.operation == "RegisterImage":
        take_snapshots(call, image)
    if call.operation == "CreateImage":
        reboot(call, image)
        instance = image.ec2_backend.get_instance(image.instance_id)
        # Measured: descriptions of images that CreateImage made, in several public repositories, name both.
        image.source_image_id, image.source_image_region = instance.image_id, call.region
    tag(call, image)
    STATE.images.append({"event": "made", "name": image.name, "id": image.id, "region": call.region, **made_of(image)})
    age(image, kind)


def tag(call, image):
    """Tags for image and snapshots at once (API reference, CreateImage, TagSpecification), where moto ends with an error."""
    tags = call.specified_tags()
    image.add_tags(tags.get("image", {}))
    for snapshot in image.snapshots:
        snapshot.add_tags(tags.get("snapshot", {}))


def take_snapshots(call, image):
    """The snapshots that RegisterImage names, in the place of the one that moto made (API reference, BlockDeviceMapping)."""
    found = [image.ec2_backend.snapshots[one] for one in named_snapshots(call)]
    if found:
        del image.ec2_backend.snapshots[image.ebs_snapshot.id]
        image.ebs_snapshot, image.snapshots = found[0], found


def age(image, kind):
    """New images are pending for a while, or fail."""
    pending = 2.0 if kind == "pending" else STATE.pending_seconds
    if STATE.fail_images or kind == "failed":
        image.state = "failed"
    elif pending > 0:
        image.state = "pending"
        timer = threading.Timer(pending, end_of_making, [image])
        timer.daemon = True
        timer.start()


def end_of_making(image):
    image.state = "available"


def made_of(image):
    """What the instance of a new image was, which nobody can change afterwards: its source and its tags."""
    if not image.instance_id:
        return {}
    instance = image.ec2_backend.get_instance(image.instance_id)
    return {"source": instance.image_id, "of": {tag["key"]: tag["value"] for tag in instance.get_tags()}}
