"Processes stand for those that torchrun starts; they are forked, so nothing is imported anew."

import multiprocessing
import os
import socket
from queue import Empty


def free_port() -> int:
    "A port of this machine that nobody listens on."
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def in_processes(work, size, port=None, absent=(), seconds=100):
    "What `work(rank)` gives in each of `size` processes, an exception, or None if one has died."
    fork = multiprocessing.get_context("fork")
    answers, port = fork.Queue(), port or free_port()

    def run(rank):
        os.environ |= dict(RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1")
        os.environ |= dict(MASTER_PORT=str(port), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="999")
        try:
            answer = work(rank)
        except Exception as error:
            answer = error
        answers.put((rank, answer))

    processes = [fork.Process(target=run, args=(rank,)) for rank in set(range(size)) - {*absent}]
    for process in processes:
        process.start()
    found = [None] * size
    while any(process.is_alive() for process in processes) or not answers.empty():
        try:
            rank, answer = answers.get(timeout=0.1)
            found[rank] = answer
        except Empty:
            seconds -= 0.1
        if seconds < 0:
            for process in processes:
                process.kill()
            raise TimeoutError(f"workers have not ended; found {found}")
    return found
