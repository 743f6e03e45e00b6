"""The errors that a rule puts in the place of an effect, and the keys that are refused, in the words of each service.

Which call a rule meets is `state`'s business, and the faults that are no errors (a cut connection, half an answer) are `emulator`'s.
"""

from answers import XML, error

# By kind: the code of EC2, of services in JSON and of the others in XML, the message, and EC2's HTTP status.
ERRORS = {
    "throttle": ("RequestLimitExceeded", "ThrottlingException", "Throttling", "Request limit exceeded.", 503),
    "internal": ("InternalError", "InternalServerError", "InternalFailure", "An internal error has occurred.", 500),
    "denied": ("UnauthorizedOperation", "AccessDeniedException", "AccessDenied", "You are not authorized to perform this operation.", 403),
    "expired": ("RequestExpired", "ExpiredTokenException", "ExpiredToken", "The security token included in the request is expired.", 400),
    "unheard-of": ("FluxCapacitorNotCharged", "InternalServerError", "FluxCapacitorNotCharged", "Nobody has ever heard of this.", 400),
    "copies": (
        "ResourceLimitExceeded",
        "InternalServerError",
        "LimitExceeded",
        "Too many snapshot copies in progress. The limit is 20 for this destination region.",
        400,
    ),
    "not-running": ("IncorrectState", "InternalServerError", "InternalFailure", "Instance is not in state 'running' or 'stopped'", 400),
    "capacity": (
        "InsufficientInstanceCapacity",
        "InternalServerError",
        "InternalFailure",
        "We currently do not have sufficient capacity.",
        500,
    ),
}

# A key that AWS refuses.
REFUSED_KEYS = {
    "expired": ("RequestExpired", "ExpiredTokenException", "ExpiredToken", "The security token included in the request is expired", 400),
    "unknown": (
        "AuthFailure",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "AWS was not able to validate the provided access credentials",
        401,
    ),
}


def worded(words, service):
    """The error of one service."""
    ec2, json, xml, message, status = words
    if service in ("ec2", "unknown"):
        return error("ec2", ec2, message, status)
    return error(service, xml, message, status) if service in XML else error(service, json, message, 500 if status == 500 else 400)
