"""Whose a key is.

Every key is of the emulator's own account, but for those that moto gave out for another (AssumeRole, CreateAccessKey) and those that a test names
by POST /_control/accounts ({"AKIA…": "111122223333"}).
"""

from moto.iam.models import get_account_id_from

from faults import REFUSED_KEYS, worded
from state import STATE


def account_of(key):
    return STATE.accounts.get(key) or get_account_id_from(key)


def refusal(call):
    """The answer to a key that the test wants refused."""
    kind = STATE.refused_keys.get(call.key)
    return worded(REFUSED_KEYS[kind], call.service) if kind else None
