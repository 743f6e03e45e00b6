"""Images with what EC2 keeps of them and moto does not, and whose they are: a snapshot may belong to several, and one may be shared.

moto makes every image as an `Image` of this file. What is done with images is in `image_life`, `image_copies` and `image_listing`.
"""

import os
from datetime import datetime, timedelta, timezone

from moto.ec2.models import amis, ec2_backends

from call import CURRENT

# moto looks when it makes a region.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

# The account of every key that nothing else is known of: moto's own.
ACCOUNT = "123456789012"


def stamp(time):
    """A time as EC2 writes it into texts."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z")


class Image(amis.Ami):
    """An image whose attributes are answered by DescribeImages as they are here."""

    # moto keeps account of its things by the module that they are in.
    __module__ = amis.__name__

    def __init__(self, *arguments, **named):
        # From the image that it was copied of, or that its instance was started from (API reference, Image).
        self.source_image_id, self.source_image_region = None, None
        self.deprecated_at = None
        self.protected, self.cooldown, self.cools_until = False, False, None
        # Until `image_copies` has added what moto leaves out; whether it will turn out that it cannot be made.
        self.is_new, self.fails = True, False
        super().__init__(*arguments, **named)
        self.snapshots = [self.ebs_snapshot]

    @property
    def deprecation_time(self):
        return self.deprecated_at and stamp(self.deprecated_at)

    @property
    def is_deprecated(self):
        return self.deprecated_at is not None and self.deprecated_at <= datetime.now(timezone.utc)

    @property
    def deregistration_protection(self):
        """In the words that aws-nuke reads (resources/ec2-image.go): the API reference says only that it is a text."""
        if self.protected:
            return "enabled-with-cooldown" if self.cooldown else "enabled-without-cooldown"
        cooling = self.cools_until is not None and datetime.now(timezone.utc) < self.cools_until
        return f"disabled after {stamp(self.cools_until)}" if cooling else "disabled"

    @property
    def block_device_mappings(self):
        names = [self.root_device_name] + [f"/dev/sd{letter}" for letter in "fghijklmnop"]
        return [{"DeviceName": name, "Ebs": ebs(snapshot)} for name, snapshot in zip(names, self.snapshots)]

    def get_tags(self):
        """An account does not see the tags that another has put on an image that it shares (User Guide, *Tag your Amazon EC2 resources*)."""
        call = getattr(CURRENT, "call", None)
        return super().get_tags() if call is None or call.account == self.ec2_backend.account_id else []

    def get_filter_value(self, filter_name, method_name=None):
        if filter_name == "creation-date":
            return stamp(self.creation_date)
        if filter_name == "block-device-mapping.snapshot-id":
            return [snapshot.id for snapshot in self.snapshots]
        if filter_name in ("source-image-id", "source-image-region"):
            return getattr(self, filter_name.replace("-", "_")) or ""
        return super().get_filter_value(filter_name, method_name)

    def complete(self):
        """What Packer asks of a source image and moto leaves out."""
        self.root_device_type, self.root_device_name = "ebs", "/dev/sda1"
        self.virtualization_type, self.architecture = "hvm", "x86_64"

    def cool(self, seconds):
        self.protected = False
        self.cools_until = datetime.now(timezone.utc) + timedelta(seconds=seconds) if self.cooldown else None

    def is_seen_by(self, account):
        """By its owner, by everybody if it is public, and by the accounts that it is shared with (User Guide, *Shared AMI*)."""
        return self.owner_id == account or self.is_public or {"UserId": account} in self.launch_permissions


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


def was_deregistered(region, image_id):
    return any(image_id in backend.deleted_amis for backend in backends(region))


def users(region, snapshot_id):
    """The images that a snapshot belongs to."""
    return [image for backend in backends(region) for image in list(backend.amis.values()) if snapshot_id in [one.id for one in image.snapshots]]
