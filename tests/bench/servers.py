"""Servers that the benchmarks start: daemons, their peers, and the floor. Ends only what it started."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

# How long a server may take to answer.
START_SECONDS_MAX = 60

PACKAGE = Path(__file__).resolve().parents[2]

# What is not installed: the command, and the package of Debian that has it.
PACKAGES = {"nginx": "nginx-light", "curl": "curl", "aria2c": "aria2", "opentracker": "opentracker", "cc": "gcc libc6-dev"}

ANNOUNCED = "61" * 20


class Missing(Exception):
    """A program that is not installed."""

    def __init__(self, program):
        super().__init__(f"{program} is not installed (apt-get install {PACKAGES[program]})")


def find(program):
    # Debian has nginx where the PATH of a user does not lead.
    found = shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if not found:
        raise Missing(program)
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what, holds):
    end = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < end:
        if holds():
            return
        time.sleep(0.02)
    raise RuntimeError(f"timed out: {what}")


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def release_build():
    """The release build, as a user would make it."""
    subprocess.run(["cargo", "build", "--release", "--locked", "--bins"], cwd=PACKAGE, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", PACKAGE / "target")).resolve() / "release"


class Bench:
    """The scratch directory, the programs, and the processes that run."""

    def __init__(self, scratch, programs):
        self.scratch = Path(scratch)
        self.pyrated, self.pyratectl = programs / "pyrated", programs / "pyratectl"
        self.running = []
        # Many downloads at once take a descriptor each, on both sides.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.build()

    def build(self):
        """Compiles the floor and the clients."""
        source = Path(__file__).parent
        for name in ("floor", "client"):
            command = [find("cc"), "-O2", "-Wall", "-Wextra", "-o", self.scratch / name, source / f"{name}.c"]
            subprocess.run(command, check=True)
        self.client = self.scratch / "client"

    def directory(self, *names):
        path = self.scratch.joinpath(*names)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def start(self, command, cpu=None, **options):
        """Starts a process, on one CPU if that is given and the machine has another."""
        log = open(self.scratch / "log", "ab")
        pin = (lambda: os.sched_setaffinity(0, {cpu})) if cpu in can_pin() else None
        options = {"stdin": subprocess.DEVNULL, "stdout": log, **options}
        process = subprocess.Popen([str(word) for word in command], stderr=log, preexec_fn=pin, **options)
        log.close()
        self.running.append(process)
        return process

    def stop(self, process):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.remove(process)

    def stop_all(self):
        for process in list(self.running):
            self.stop(process)


def can_pin():
    """The CPUs of a server and of its clients, or none if there is one alone."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[:2] if len(cpus) > 1 else []


class Daemon:
    """pyrated with its own share, state and control socket, and no network."""

    def __init__(self, bench, name, *options, port=None, cpu=None):
        self.bench, self.name, self.port = bench, name, port or free_port()
        self.directory = bench.directory(name)
        self.share = bench.directory(name, "share")
        self.downloads = bench.directory(name, "downloads")
        command = [
            bench.pyrated,
            *("--config", "/dev/null", "--control-socket", self.directory / "socket"),
            *("--state-directory", self.directory / "state", "--log-file", self.directory / "log"),
            *(options or self.peer_options()),
        ]
        # Root runs the benchmarks in containers.
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "PYRATE_ALLOW_ROOT": "true"}
        self.process = bench.start(command, cpu, env=environment)
        self.pid = self.process.pid
        wait_until(f"{name} answers", lambda: self.call("status", check=False) is not None)

    def peer_options(self):
        return [
            *("--listen-addr", "127.0.0.1", "--listen-port", self.port),
            *("--local-directory", self.share, "--download-directory", self.downloads),
        ]

    def call(self, *words, check=True):
        """The answer of pyratectl; `None` if it failed and that is no error."""
        command = [self.bench.pyratectl, "--socket", self.directory / "socket", "--json", *words]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode != 0:
            if check:
                raise RuntimeError(f"pyratectl {' '.join(map(str, words))}: {done.stderr.strip() or done.stdout.strip()}")
            return None
        return json.loads(done.stdout)

    def await_hashes(self, count):
        """Waits until so many files are shared, and their hashes are known."""
        self.call("rescan")
        wait_until(
            f"{self.name} shares {count} files",
            lambda: (status := self.call("status"))["shared_files"] == count and status["unhashed_files"] == 0,
        )


class Floor:
    def __init__(self, bench, *files, cpu=None):
        # It ends with this pipe.
        command = [bench.scratch / "floor", *files]
        self.process = bench.start(command, cpu, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.process.pid
        self.port = int(self.process.stdout.readline())


class Nginx:
    """nginx with one worker that serves a directory: hands out the pages of its files, or copies them."""

    def __init__(self, bench, directory, cpu=None, sendfile=True):
        home, self.port = bench.directory("nginx" if sendfile else "nginx-copies"), free_port()
        temporary = "".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        (home / "nginx.conf").write_text(
            f"{user} daemon off; worker_processes 1; worker_rlimit_nofile 8192; pid {home}/pid; error_log {home}/errors;"
            "events { worker_connections 4096; multi_accept on; }"
            f"http {{ access_log off; sendfile {'on' if sendfile else 'off'}; tcp_nopush on; {temporary}"
            f"server {{ listen 127.0.0.1:{self.port} backlog=4096; root {directory}; }} }}"
        )
        command = [find("nginx"), "-e", home / "errors", "-p", home, "-c", home / "nginx.conf"]
        self.process = bench.start(command, cpu)
        # The master listens before its worker is there.
        workers = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        wait_until("nginx answers", lambda: answers(self.port) and workers.read_text())
        self.pid = int(workers.read_text().split()[0])

    def url(self, name):
        return f"http://127.0.0.1:{self.port}/{name}"


class HttpServer:
    """The file server of Python's standard library."""

    def __init__(self, bench, directory):
        self.port = free_port()
        command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", directory, self.port]
        self.process = bench.start(command)
        self.pid = self.process.pid
        wait_until("http.server answers", lambda: answers(self.port))

    def url(self, name):
        return f"http://127.0.0.1:{self.port}/{name}"


class Tracker:
    """opentracker. Debian's answers only for the hashes on its list."""

    announce = (
        f"GET /announce?info_hash={'%61' * 20}&peer_id=-XX0001-123456789012&port=4001&uploaded=0&downloaded=0&left=1"
        r"&compact=1 HTTP/1.0\r\n\r\n"
    )

    def __init__(self, bench, cpu=None):
        program, home, self.port = find("opentracker"), bench.directory("tracker"), free_port()
        (home / "accepted").write_text(ANNOUNCED + "\n")
        # Started by root it changes to this directory and to another user, who has to reach it.
        for path in (bench.scratch, home):
            path.chmod(0o755)
        command = [program, "-i", "127.0.0.1", "-p", self.port, "-P", self.port, "-d", home, "-w", "accepted"]
        self.process = bench.start(command, cpu)
        self.pid = self.process.pid
        wait_until("opentracker answers", lambda: answers(self.port))
