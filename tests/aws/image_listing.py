"""DescribeImages: which images an account is shown, in the place of moto's own search.

moto knows one account at a time, no deprecated images and no disabled ones, leaves out ids that it does not know, and forgets the filters of who
names ids.
"""

from moto.ec2.exceptions import InvalidAMIIdError, MalformedAMIIdError
from moto.ec2.models.amis import AmiBackend
from moto.ec2.utils import generic_filter

from answers import error
from call import CURRENT
from images import backends, find, was_deregistered


def search(backend, ami_ids=None, filters=None, exec_users=None, owners=None):
    """What moto asks of its images, for DescribeImages and by the way of other operations."""
    account, region = backend.account_id, backend.region_name
    found = named(region, ami_ids) if ami_ids else [image for one in backends(region) for image in list(one.amis.values())]
    found = [image for image in found if image.is_seen_by(account)]
    if exec_users:
        found = [image for image in found if is_executable_by(image, {account if user == "self" else user for user in exec_users})]
    if owners:
        wanted = {account if owner == "self" else owner for owner in owners}
        found = [image for image in found if image.owner_id in wanted or image.owner_alias in wanted]
    return generic_filter(filters, [image for image in found if is_listed(image, account, bool(ami_ids))])


def named(region, ids):
    """The images of the ids.

    An id that EC2 never gave is an error, and it alone is named (EC2 error codes, InvalidAMIID.NotFound). An image that was deregistered is left
    out without a word (measured in getmoto/moto#5050 and boto/botocore#2194), and so is one that is not shared with the caller (measured in
    agentsea/surfkit#88).
    """
    malformed = [one for one in ids if not one.startswith("ami-")]
    if malformed:
        raise MalformedAMIIdError(malformed)
    found = {one: find(region, one) for one in ids}
    unknown = [one for one, image in found.items() if image is None and not was_deregistered(region, one)]
    if unknown:
        raise InvalidAMIIdError(unknown)
    return [image for image in found.values() if image is not None]


def is_executable_by(image, users):
    """By an explicit launch permission; `all` means public images (API reference, DescribeImages, ExecutableBy)."""
    return (image.is_public and "all" in users) or any(one.get("UserId") in users for one in image.launch_permissions)


def is_listed(image, account, by_id):
    """Whether the call that is being answered wants disabled and deprecated images, if it is a DescribeImages.

    Disabled images are shown to who asks for them (API reference, IncludeDisabled). Deprecated images are shown to their owner, and to others
    who name their id or ask for them (User Guide, *Deprecate an Amazon EC2 AMI*).
    """
    call = getattr(CURRENT, "call", None)
    if call is None or call.name != "ec2.DescribeImages":
        return True
    if image.state == "disabled" and not call.flag("IncludeDisabled"):
        return False
    return not image.is_deprecated or image.owner_id == account or by_id or call.flag("IncludeDeprecated")


def refusal(call):
    """Who looks for disabled images must ask for them (measured in turbot/steampipe-plugin-aws#2276)."""
    for prefix in call.structures("Filter"):
        if call.one(prefix + "Name") == "state" and "disabled" in call.many(prefix + "Value") and not call.flag("IncludeDisabled"):
            message = "When filtering by the 'disabled' state, 'IncludeDisabled' must be set to 'true' in the request."
            return error("ec2", "InvalidParameter", message)
    return None


AmiBackend.describe_images = search
