"""`resolve:ssm:NAME` in the place of an image's id, which EC2 resolves when an instance is launched, or when it is asked for a version of a launch
template with `ResolveAlias` (User Guide, *Use a Systems Manager parameter instead of an AMI ID*). moto leaves it as it is.
"""

import re

from answers import refusal

PREFIX = "resolve:ssm:"


def parameter(call, image_id):
    """The parameter that is named by its name, with a version or a label, or none."""
    from moto.ssm.exceptions import ParameterVersionNotFound
    from moto.ssm.models import ssm_backends

    try:
        return ssm_backends[call.account][call.region].get_parameter(image_id.removeprefix(PREFIX))
    except ParameterVersionNotFound:
        return None


def resolved(call, image_id):
    """The id itself, or what the parameter that is named in its place says."""
    if not (image_id or "").startswith(PREFIX):
        return image_id
    found = parameter(call, image_id)
    return found and found.value


def unresolvable(call, image_id):
    """The code and the words for a parameter of another data type are measured in aws/aws-cdk#26712; that of one that is not there has the same
    code here, which was not measured."""
    if not (image_id or "").startswith(PREFIX):
        return None
    found = parameter(call, image_id)
    if found is None:
        return refusal("SsmInvalidParameter", f"The parameter {image_id.removeprefix(PREFIX)} does not exist.")
    if found.data_type != "aws:ec2:image":
        return refusal("SsmInvalidParameter", "Unsupported data type. The following parameter data types are supported: aws:ec2:image")
    return None


def unresolved(call):
    """Only one version of one template is resolved at a time (measured in wata727/packer-plugin-amazon-ami-management#431; the code was not)."""
    named = call.one("LaunchTemplateId") or call.one("LaunchTemplateName")
    if call.flag("ResolveAlias") and not (named and len(call.many("LaunchTemplateVersion")) == 1):
        return refusal("InvalidParameterCombination", "ResolveAlias takes one launch template and one of its versions.")
    return None


def with_resolved(call, answer):
    """The answer to DescribeLaunchTemplateVersions with the id in the place of the parameter."""
    status, content_type, text = answer
    found = re.search(rb"<imageId>(resolve:ssm:.*?)</imageId>", text)
    if not found:
        return answer
    image_id = found[1].decode()
    return unresolvable(call, image_id) or (status, content_type, text.replace(found[1], resolved(call, image_id).encode()))
