"""Images with what EC2 keeps of them and moto does not.

moto makes every image as an `Image` of this file. What is done with images is in `image_life` and `image_copies`.
"""

import os

from moto.ec2.models import amis, ec2_backends

from call import CURRENT

# moto looks when it makes a region.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

# The account of every key that nothing else is known of: moto's own.
ACCOUNT = "123456789012"


class Image(amis.Ami):
    """An image whose attributes are answered by DescribeImages as they are here."""

    # moto keeps account of its things by the module that they are in.
    __module__ = amis.__name__

    def __init__(self, *arguments, **named):
        # Until `image_copies` has added what moto leaves out.
        self.is_new = True
        super().__init__(*arguments, **named)
        self.snapshots = [self.ebs_snapshot]

    @property
    def block_device_mappings(self):
        names = [self.root_device_name] + [f"/dev/sd{letter}" for letter in "fghijklmnop"]
        return [{"DeviceName": name, "Ebs": ebs(snapshot)} for name, snapshot in zip(names, self.snapshots)]

    def complete(self):
        """What Packer asks of a source image and moto leaves out."""
        self.root_device_type, self.root_device_name = "ebs", "/dev/sda1"
        self.virtualization_type, self.architecture = "hvm", "x86_64"


def shown(self, *arguments, **named):
    """EC2 shows a disabled image to those who ask for it; moto shows it to all."""
    call, found = getattr(CURRENT, "call", None), EVERY(self, *arguments, **named)
    if call is None or call.name != "ec2.DescribeImages" or call.flag("IncludeDisabled"):
        return found
    return [image for image in found if image.state != "disabled"]


EVERY = amis.AmiBackend.describe_images
amis.AmiBackend.describe_images = shown
amis.Ami = Image


def ebs(snapshot):
    """How a snapshot stands in an image."""
    return {
        "SnapshotId": snapshot.id,
        "VolumeSize": snapshot.volume_size,
        "DeleteOnTermination": False,
        "VolumeType": "standard",
        "Encrypted": snapshot.encrypted,
    }


def backends(region):
    """EC2 of every account in a region, as far as anybody used it."""
    # moto's dictionaries make what they do not have, but for `values` and `get`.
    found = (accounts.get(region) for accounts in list(ec2_backends.values()))
    return [backend for backend in found if backend is not None]


def find(region, image_id):
    """An image, whosever it is."""
    return next((found for found in (backend.amis.get(image_id) for backend in backends(region)) if found is not None), None)
