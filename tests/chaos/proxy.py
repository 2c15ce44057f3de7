"""A TCP proxy that misbehaves by a seeded plan: connections refused, cut after some bytes, late; and whole outages."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tasks.machine.beside import beside


class Proxy:
    """Forwards a local port to another one. `rate` of the connections suffer; while `down` is set all are refused."""

    def __init__(self, target: int, seed: int, rate: float) -> None:
        self.target, self.rate = target, rate
        self.down = threading.Event()
        self.suffered = 0
        """How many connections were refused, cut or late, outages among it."""
        self._draw, self._lock = random.Random(seed), threading.Lock()
        self._open: set[socket.socket] = set()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no longer."""
        self._socket.close()

    def go_away(self) -> None:
        """Refuse all from now on, and cut what is connected, idle or not, as a server does that ends."""
        self.down.set()
        with self._lock:
            self.suffered += len(self._open)
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with self._lock:
                trouble = self._draw.choice(("refused", "cut", "late")) if self._draw.random() < self.rate else ""
                cut = self._draw.randrange(1, 4096) if trouble == "cut" else None
                self.suffered += bool(trouble) or self.down.is_set()
            if self.down.is_set() or trouble == "refused":
                client.close()
                continue
            threading.Thread(target=self._forward, args=(client, cut, trouble == "late"), daemon=True).start()

    def _forward(self, client: socket.socket, cut: int | None, late: bool) -> None:
        if late:
            time.sleep(0.3)
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.target)) as server:
            with self._lock:
                self._open |= {client, server}
            back = threading.Thread(target=self._copy, args=(server, client, None), daemon=True)
            back.start()
            self._copy(client, server, cut)
            back.join(timeout=30)
            with self._lock:
                self._open -= {client, server}
        client.close()

    def _copy(self, source: socket.socket, sink: socket.socket, cut: int | None) -> None:
        """Bytes until the end, an outage, or so many of them."""
        sent = 0
        with suppress(OSError):
            while data := source.recv(65_536):
                if self.down.is_set() or (cut is not None and sent + len(data) > cut):
                    sink.sendall(data[: max(0, (cut or 0) - sent)])
                    for end in (source, sink):
                        end.shutdown(socket.SHUT_RDWR)
                    return
                sink.sendall(data)
                sent += len(data)
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def outages(proxy: Proxy, draw: random.Random) -> Iterator[None]:
    """Within the block all is refused and cut for up to a second, again and again, with up to a second between."""
    plan = [(draw.uniform(0.1, 1.0), draw.uniform(0.2, 1.0)) for _ in range(1000)]

    def run(over: threading.Event) -> None:
        for well, away in plan:
            if over.wait(well):
                return
            proxy.go_away()
            over.wait(away)
            proxy.down.clear()

    with beside(run, "outages", join_seconds=None):
        yield
