"""A board that does something in the middle of a batch."""


class Counted:
    """Passes bytes on to a board, and does something once ``after`` bytes have been written.

    Closing it leaves the board as it is.
    """

    def __init__(self, transport, after, action):
        self.transport = transport
        self.left = after
        self.action = action

    def write(self, data):
        self.transport.write(data)
        self.left -= len(data)
        if self.left < 0 and self.action:
            action, self.action = self.action, None
            action()

    def read(self, timeout):
        return self.transport.read(timeout)

    def close(self):
        pass
