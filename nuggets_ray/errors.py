"""The error of a mistake that the user can mend."""


class UserError(Exception):
    """A mistake the user can mend: one sentence that names the key, the value and the way out. Exit
    code 2.
    """
