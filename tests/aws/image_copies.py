"""Where images come from: CreateImage and RegisterImage with what moto leaves out of them, and CopyImage.

A new image is pending for a while, or fails, as the test wants. The rules say where they come from as in `image_life`.
"""

import re
import threading
from dataclasses import replace

from moto.ec2.models.elastic_block_store import Snapshot
from moto.ec2.utils import random_snapshot_id

import disks
import images
from answers import items, ok, refusal
from image_life import absent, not_found, reboot, unavailable
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


def untaggable(call):
    """API reference, CreateImage and CopyImage, TagSpecification."""
    for kind in set(call.specified_tags()) - {"image", "snapshot"}:
        return refusal("InvalidParameterValue", f"'{kind}' is not a valid taggable resource type for this operation.")
    return None


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
        disks.copy(instance.id, image.snapshots[0].id, in_use=instance.state == "running")
        # Measured: descriptions of images that CreateImage made, in several public repositories, name both.
        image.source_image_id, image.source_image_region = instance.image_id, call.region
    tag(call, image)
    STATE.images.append({"event": "made", "name": image.name, "id": image.id, "region": call.region, **made_of(image)})
    age(image, kind)


def tag(call, image):
    """Tags for image and snapshots at once (API reference, CreateImage and CopyImage, TagSpecification), where moto ends with an error."""
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
    else:
        end_of_making(image)


def end_of_making(image):
    image.state = "failed" if image.fails else "available"


def made_of(image):
    """What the instance of a new image was, which nobody can change afterwards: its source and its tags."""
    if not image.instance_id:
        return {}
    instance = image.ec2_backend.get_instance(image.instance_id)
    return {"source": instance.image_id, "of": {tag["key"]: tag["value"] for tag in instance.get_tags()}}


def copied(call):
    """What was asked with the client token of this call, and what was answered."""
    return STATE.copies.get((call.account, call.region, call.one("ClientToken"))) if call.one("ClientToken") else None


def copy_refusal(call):
    """The same client token gives the same image, or an error if the rest of the request is another (API reference, *Ensuring idempotency*; EC2
    error codes, IdempotentParameterMismatch)."""
    before = copied(call)
    if before is None:
        return not_copyable(call) or taken_name(call)
    return None if before[0] == call.form else refusal("IdempotentParameterMismatch", "The client token was used for another request.")


def copy(call):
    """CopyImage of what may be copied."""
    before = copied(call)
    if before is not None:
        return before[1]
    backend = images.ec2_backends[call.account][call.region]
    source = images.find(call.one("SourceRegion"), call.one("SourceImageId"))
    image = backend.copy_image(source.id, call.one("SourceRegion"), call.one("Name"), call.one("Description"))
    image.source_image_id, image.source_image_region = source.id, call.one("SourceRegion")
    del backend.snapshots[image.ebs_snapshot.id]
    image.snapshots = [copy_snapshot(call, backend, image, source, one) for one in source.snapshots]
    image.ebs_snapshot = image.snapshots[0]
    if call.flag("CopyImageTags"):
        # Tags of one's own, and none of the system's (API reference, CopyImageTags).
        image.add_tags({tag["key"]: tag["value"] for tag in source.get_tags() if not tag["key"].startswith("aws:")})
    answer = ok(call, f"<imageId>{image.id}</imageId>")
    STATE.copies[call.account, call.region, call.one("ClientToken")] = call.form, answer
    return answer


def not_copyable(call):
    """What CopyImage refuses. An image of another account is copied only by who may read its snapshots too (User Guide, *Copy an Amazon EC2
    AMI*); the words are measured in clong/DetectionLab#422, the code was not."""
    region, image_id = call.one("SourceRegion", ""), call.one("SourceImageId")
    if region not in images.ec2_backends[call.account]:
        return refusal("InvalidParameterValue", f"Invalid value '{region}' for SourceRegion")
    source_call = replace(call, region=region)
    missing = absent(source_call, image_id)
    if missing:
        return missing
    source = images.find(region, image_id)
    if not source.is_seen_by(call.account):
        return not_found(image_id)
    if source.state != "available":
        return unavailable(image_id)
    if not all(is_readable_by(snapshot, call.account) for snapshot in source.snapshots):
        return refusal("InvalidRequest", "You do not have permission to access the storage of this ami")
    if call.one("KmsKeyId") and not call.flag("Encrypted"):
        # API reference, CopyImage, KmsKeyId; the code is the one that EC2 has for such parameters.
        return refusal("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
    return untaggable(call)


def is_readable_by(snapshot, account):
    return snapshot.owner_id == account or account in snapshot.create_volume_permission_userids or "all" in snapshot.create_volume_permission_groups


def copy_snapshot(call, backend, image, source_image, source):
    """A copy is encrypted if that is asked for, or if its source is; by the account's default key if none is named. A key that cannot be used is
    found only while the copy is made (API reference, CopyImage, Encrypted and KmsKeyId). The description is measured."""
    encrypted, key = call.flag("Encrypted") or source.encrypted, None
    if encrypted:
        key = key_arn(backend, call.one("KmsKeyId"))
        image.fails = image.fails or key is None
    description = f"Copied for DestinationAmi {image.id} from SourceAmi {source_image.id} for SourceSnapshot {source.id}."
    snapshot = Snapshot(backend, random_snapshot_id(), source.volume, description, encrypted, key, call.account, image.id)
    backend.snapshots[snapshot.id] = snapshot
    disks.copy(source.id, snapshot.id)
    return snapshot


def key_arn(backend, named):
    """The ARN of a key of this account and region, or nothing."""
    if not named:
        return backend.default_kms_key_id or backend.modify_ebs_default_kms_key_id("")
    from moto.kms.models import kms_backends

    keys = kms_backends[backend.account_id][backend.region_name]
    alias = keys.get_alias_name(named)
    if alias.startswith("alias/") and not keys.alias_exists(alias):
        return None
    found = keys.any_id_to_key_id(named)
    return keys.keys[found].arn if found in keys.keys else None


def untraceable(call):
    """An image is traced by who sees it; the codes are those of other operations."""
    image_id = call.one("ImageId")
    missing = absent(call, image_id)
    return missing or (None if images.find(call.region, image_id).is_seen_by(call.account) else not_found(image_id))


def ancestry(call):
    """From the image to the root, of which no source is known, over regions (API reference, GetImageAncestry and ImageAncestryEntry)."""
    rows, region, image_id = [], call.region, call.one("ImageId")
    while image_id is not None and image_id not in [row["imageId"] for row in rows]:
        image = images.find(region, image_id)
        source, there = (image.source_image_id, image.source_image_region) if image is not None else (None, None)
        row = {"imageId": image_id, "sourceImageId": source, "sourceImageRegion": there}
        rows.append({key: value for key, value in row.items() if value is not None})
        region, image_id = there or region, source
    return ok(call, items("imageAncestryEntrySet", rows))
