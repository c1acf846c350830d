"""A client that takes bytes from a store at a given rate and throws them away: what the server alone costs.

    python -m tests.campaigns.remote.null_client PORT KEY BYTES_PER_SECOND [FOLDER]

It reads 4 MB ranges of the object over a few connections until its input ends, then prints the bytes per second that
it took. With FOLDER it writes them into files there, 240 MB at a time: what any download into a folder costs.
"""

import sys
import threading
import time
from collections import deque
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

NUM_CONNECTIONS = 4
RANGE_BYTES = 4 << 20
FILES_PER_CONNECTION = 15


def main() -> None:
    port, key, bytes_per_second = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    folder = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    ended = threading.Event()
    taken = [0] * NUM_CONNECTIONS
    started = time.perf_counter()

    def take(number: int) -> None:
        connection = HTTPConnection("127.0.0.1", port)
        buffer = memoryview(bytearray(1 << 20))
        files: deque[Path] = deque()
        while not ended.is_set():
            connection.request("GET", f"/{key}", headers={"Range": f"bytes=0-{RANGE_BYTES - 1}"})
            answer = connection.getresponse()
            with ExitStack() as stack:
                file = None
                if folder is not None:
                    files.append(folder / f"{number}-{taken[number]}")
                    file = stack.enter_context(files[-1].open("wb", buffering=0))
                    if len(files) > FILES_PER_CONNECTION:
                        files.popleft().unlink()
                while num_bytes := answer.readinto(buffer):
                    if file is not None:
                        file.write(buffer[:num_bytes])
                    taken[number] += num_bytes
                    due = started + taken[number] * NUM_CONNECTIONS / bytes_per_second
                    if (pause := due - time.perf_counter()) > 0 and ended.wait(pause):
                        return

    for number in range(NUM_CONNECTIONS):
        threading.Thread(target=take, args=(number,), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    ended.set()
    print(sum(taken) / (time.perf_counter() - started), flush=True)


if __name__ == "__main__":
    main()
