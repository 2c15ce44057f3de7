"""What a user can put right, told apart from what only a programmer can."""


class UsageError(ValueError):
    """A setting, a list, a table or a document that cannot be used; the message says what is wrong and what to do.

    The command line shows its message alone. Any other ValueError is a fault of the program and shows its traceback.
    """
