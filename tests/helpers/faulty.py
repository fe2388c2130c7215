"""A plug-in file whose selectors fail at batch size 2 only, each in another way."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import stat
import subprocess
import time

import torch

from fgbench_selectors import Needs, Selector


class Faulty(Selector):
    """Scores by the norm of tokens; subclasses misbehave."""

    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def published(self, features):
        patches = features.read_tokens()[:, features.num_prefix_tokens :]
        if patches.shape[0] == 2 and not patches.is_meta:
            self.misbehave()
        return patches.norm(dim=-1)

    def misbehave(self):
        raise NotImplementedError


class Raises(Faulty):
    def misbehave(self):
        raise KeyError("nothing\nof that name")


class Exits(Faulty):
    def misbehave(self):
        os._exit(3)


class Aborts(Faulty):
    def misbehave(self):
        os.abort()


class Segfaults(Faulty):
    def misbehave(self):
        ctypes.string_at(0)


class Killed(Faulty):
    def misbehave(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Allocates(Faulty):
    def misbehave(self):
        torch.ones(2**40)


class Sleeps(Faulty):
    def misbehave(self):
        time.sleep(3600)


class Hangs(Faulty):
    """Deaf to everything but SIGKILL, and with a child of its own."""

    def misbehave(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            time.sleep(3600)
        while True:
            pass


class Prints(Faulty):
    """Writes to standard output and error, which is nobody's business."""

    def misbehave(self):
        os.write(1, b"\x00\xff garbage {} \n" * 1000)
        print("{'done': 'not really'}\n" * 100, flush=True)


class SpeaksGarbage(Faulty):
    """Writes to every socket that it finds, the worker's channel among them."""

    def misbehave(self):
        for number in range(3, 256):
            try:
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    socket.socket(fileno=os.dup(number)).send(b"\xff garbage\n")
            except OSError:
                continue


class Leaves(Faulty):
    """sys.exit in a worker is an end like any other."""

    def misbehave(self):
        raise SystemExit("had enough")


class Orphans(Faulty):
    """Starts one child by a fork and one by a program, and dies."""

    def misbehave(self):
        if os.fork() == 0:
            time.sleep(3600)
        subprocess.Popen(["sleep", "3600"])
        ctypes.string_at(0)
