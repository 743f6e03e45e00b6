"""Whose a key is, and which keys are refused.

Every key is of the emulator's own account, but for those that moto gave out for another (AssumeRole, CreateAccessKey).
"""

from moto.iam.models import get_account_id_from

from faults import REFUSED_KEYS, worded
from state import STATE


def account_of(key):
    return get_account_id_from(key)


def refusal(call):
    """The answer to a key that the test wants refused."""
    kind = STATE.refused_keys.get(call.key)
    return worded(REFUSED_KEYS[kind], call.service) if kind else None
