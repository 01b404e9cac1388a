"""Every Python that a test starts begins with this: the suite passes without network, processes of its own included.

A connection to anything but this machine, and a question after a name of another, fails in the process that asks.
"""

import sys

HERE = ("", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::")


def _only_here(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else ""  # a path or nothing: on this machine
    elif event == "socket.getaddrinfo":
        host = arguments[0] or ""
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host not in HERE:
        raise OSError(f"a test reached for the network: {host}")


sys.addaudithook(_only_here)
