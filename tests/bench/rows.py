"""The rows: what is measured, and with what it is compared."""

import filecmp
import os
import resource
import socket
import subprocess
import time
from dataclasses import dataclass

from measure import Case, Row, await_idle, cpu_of, memory_mib
from servers import Daemon, Floor, HttpServer, Missing, Nginx, Tracker, can_pin, find, free_port

# Addresses of the loopback network that requests come from, as from so many peers.
ADDRESSES = 8

REQUESTS_AT_ONCE = 64

# Open files and buffers wait for the next use, for up to 5 s, before a server at rest has given them back.
REST_SECONDS = 6

GET = r"GET /%s HTTP/1.0\r\n\r\n"


@dataclass
class Scale:
    file_bytes: int = 1 << 30
    downloads: int = 1000
    download_bytes: int = 1 << 20
    requests: int = 20_000


def make_data(bench, scale):
    """The files to serve, with bytes that nothing can compress, in the page cache."""
    data = bench.directory("data")
    for name, size in (("big", scale.file_bytes), ("small", scale.download_bytes)):
        with open("/dev/urandom", "rb") as source, open(data / name, "wb") as file:
            for at in range(0, size, 1 << 20):
                file.write(source.read(min(1 << 20, size - at)))
    (data / "list").write_text("".join(f"127.0.1.{n},4001\n" for n in (1, 2, 3)))
    os.sync()
    return data


class Programs:
    """Cases of a row, without those whose programs are not installed."""

    def __init__(self):
        self.cases, self.missing = [], []

    def add(self, make):
        try:
            self.cases.append(make())
        except Missing as missing:
            if str(missing) not in self.missing:
                self.missing.append(str(missing))

    def row(self, title, unit):
        return Row(title, unit, self.cases, self.missing)


def transfer(name, data, out, fetch, against="pyrate"):
    """A transfer of the big file to `out`. Its figure is the time from the start of the client to its end."""
    is_checked = False

    def run():
        nonlocal is_checked
        out.unlink(missing_ok=True)
        # What the case before has written does not go to the disk in the time of this one.
        os.sync()
        began = time.monotonic()
        fetch()
        took = time.monotonic() - began
        if not is_checked and not filecmp.cmp(data / "big", out, shallow=False):
            raise RuntimeError(f"{name}: the bytes are not those of the file")
        if out.stat().st_size != (data / "big").stat().st_size:
            raise RuntimeError(f"{name}: the file has another size")
        is_checked = True
        out.unlink()
        return took

    return Case(name, run, against)


def command(*words):
    return lambda: subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)


def synced(fetch, out):
    """The same, with what it has written on the disk, as ours is."""

    def fetch_and_sync():
        fetch()
        file = os.open(out, os.O_WRONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    return fetch_and_sync


def downloads(receiver, source, out, verified):
    """A function that downloads the big file of another daemon."""

    def fetch():
        (download,) = receiver.call("download", f"127.0.0.1:{source}/big", "-o", out)
        if download["verified"] is not verified:
            raise RuntimeError(f"verified is to be {verified}: {download}")

    return fetch


def add_peers(programs, bench, data, out):
    """Other programs that bring the big file to `out`, and the floor."""

    def by(name, server, client, *options, finish=lambda fetch: fetch):
        def make():
            program = find(client)
            return transfer(name, data, out, finish(command(program, *options, server().url("big"))))

        return make

    nginx = None

    def shared_nginx():
        nonlocal nginx
        nginx = nginx or Nginx(bench, data)
        return nginx

    aria2c = ("--quiet", "--no-conf", "--file-allocation=none", "--allow-overwrite=true", "-x4", "-s4", "-k1M")
    curl, sync = ("curl", "-sf", "-o", out), lambda fetch: synced(fetch, out)
    programs.add(by("nginx to curl", shared_nginx, *curl))
    programs.add(by("nginx to curl, fsync", shared_nginx, *curl, finish=sync))
    programs.add(by("http.server to curl", lambda: HttpServer(bench, data), *curl))
    programs.add(by("nginx to aria2c, 4 connections", shared_nginx, "aria2c", *aria2c, "-d", out.parent, "-o", out.name))
    floor = Floor(bench, data / "big")
    splice = command(bench.client, "splice", floor.port, "4:big", out)
    programs.add(lambda: transfer("floor: sendfile to splice", data, out, splice))
    programs.add(lambda: transfer("floor, fsync", data, out, sync(splice)))


def link(bench, name, data, *files):
    """Puts files into the share of a daemon. A link changes its file for all that share it, so it is made before they start."""
    for file in files:
        os.link(data / file, bench.directory(name, "share") / file)


def sharing(bench, name, data, *files, **options):
    """A daemon that shares these files and knows their hashes."""
    if not (bench.directory(name, "share") / files[0]).exists():
        link(bench, name, data, *files)
    daemon = Daemon(bench, name, **options)
    daemon.await_hashes(len(files))
    return daemon


def verified(bench, data, scale):
    """A daemon downloads a file from another one, checks it against its hash, syncs it and names it."""
    source, receiver = sharing(bench, "source", data, "big"), Daemon(bench, "receiver")
    programs, out = Programs(), bench.directory("out") / "big"
    programs.add(lambda: transfer("pyrate", data, out, downloads(receiver, source.port, out, True), None))
    add_peers(programs, bench, data, out)
    return programs.row(f"verified: {size(scale.file_bytes)} from the page cache to its final name, wall time", "s")


def base(bench, data, scale):
    """The same with the base protocol: one stream without hashes."""
    port, receiver = free_port(), Daemon(bench, "receiver")
    show_as_base(receiver, port)
    sharing(bench, "source", data, "big", port=port)
    programs, out = Programs(), bench.directory("out") / "big"
    programs.add(lambda: transfer("pyrate", data, out, downloads(receiver, port, out, False), None))
    add_peers(programs, bench, data, out)
    floor = Floor(bench, data / "big")
    serves = command(bench.client, "splice", port, "4:big", out)
    programs.cases.insert(1, transfer("pyrate to splice", data, out, serves, None))
    receives = downloads(receiver, floor.port, out, False)
    programs.cases.insert(2, transfer("sendfile to pyrate", data, out, receives, None))
    return programs.row(f"base: {size(scale.file_bytes)} as one stream, daemon to daemon, wall time", "s")


def show_as_base(daemon, port):
    """Has a daemon take the peer at a port for one of the base protocol: its list has no attributes."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        asking = daemon.bench.start(
            [daemon.bench.pyratectl, "--socket", daemon.directory / "socket", "list", f"127.0.0.1:{port}"]
        )
        connection, _ = listener.accept()
        with connection:
            connection.recv(512)
            connection.sendall(b"big\n")
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(512):
                pass
        asking.wait()
        daemon.bench.stop(asking)


def load(bench, case, port, message, *options):
    """Runs requests, and notes those that were not answered in full."""
    client = can_pin()[1:]
    pin = (lambda: os.sched_setaffinity(0, client)) if client else None
    words = [bench.client, "load", "-a", ADDRESSES, *options, port, message]
    done = subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True, preexec_fn=pin)
    counts = dict(part.split("=") for part in done.stdout.split())
    failed = {name: int(count) for name, count in counts.items() if name != "complete" and count != "0"}
    if failed:
        case.remarks.append("in some round " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in failed.items()))


def served(name, bench, server, unit, message, *options):
    """CPU of a server for one round of requests, in `unit` parts of a second; and that of its clients."""
    case = Case(name, None, None if name == "pyrate" else "pyrate")

    def run():
        before = cpu_of_children()
        used = cpu_of(server.pid, lambda: load(bench, case, server.port, message, *options))
        case.clients.append(unit * (cpu_of_children() - before))
        return unit * used

    case.run = run
    return case


def cpu_of_children():
    """CPU seconds of processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def many(bench, data, scale):
    """A file for many peers at once: the CPU time of the server."""
    cpu = (can_pin() or [None])[0]
    source = sharing(bench, "source", data, "small", cpu=cpu)
    count, bytes_each = scale.downloads, scale.download_bytes
    options = ("-c", count, "-n", count)
    exactly = ("-x", bytes_each)
    programs = Programs()
    programs.add(lambda: served("pyrate", bench, source, 1, "4:small", *options, *exactly, "-f"))
    programs.add(lambda: served("nginx", bench, Nginx(bench, data, cpu), 1, GET % "small", *options))
    copies = lambda: Nginx(bench, data, cpu, sendfile=False)
    programs.add(lambda: served("nginx, sendfile off", bench, copies(), 1, GET % "small", *options))
    for name, how in (("floor: sendfile", ()), ("floor: pread and write", ("-c",))):
        floor = Floor(bench, *how, data / "small", cpu=cpu)
        programs.add(lambda: served(name, bench, floor, 1, "4:small", *options, *exactly, "-f"))
    return programs.row(f"many: {count} downloads of {size(bytes_each)} at once, CPU time of the server", "s")


def registrar(bench, cpu=None):
    """A bootstrap node that lists three peers, and the length of its list."""
    port = free_port()
    node = Daemon(bench, "bootstrap", "--peer", "false", "--bootstrap-serve", f"127.0.0.1:{port}", port=port, cpu=cpu)
    for number in (1, 2, 3):
        ask(port, b"0:4001", f"127.0.1.{number}")
    listed = ask(port, b"1:3", "127.0.0.2")
    if listed.count(b"\n") != 3:
        raise RuntimeError(f"the bootstrap node lists {listed!r}")
    return node, len(listed)


def ask(port, message, source):
    with socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0)) as connection:
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(4096):
            answer += part
        return answer


def bootstrap(bench, data, scale):
    """Lists of three peers, a connection each: the CPU time of the server."""
    cpu = (can_pin() or [None])[0]
    node, length = registrar(bench, cpu)
    options = ("-c", REQUESTS_AT_ONCE, "-n", scale.requests)
    unit, programs = 1e6 / scale.requests, Programs()
    programs.add(lambda: served("pyrate", bench, node, unit, "1:3", *options, "-x", length, "-f"))
    programs.add(lambda: served("opentracker", bench, tracker := Tracker(bench, cpu), unit, tracker.announce, *options))
    programs.add(lambda: served("nginx", bench, Nginx(bench, data, cpu), unit, GET % "list", *options))
    floor = Floor(bench, cpu=cpu)
    programs.add(lambda: served("floor", bench, floor, unit, "1:3", *options, "-f"))
    return programs.row(f"bootstrap: {scale.requests} requests '1:3', CPU time of the server for each", "µs")


def idle(bench, data, scale):
    """Resident memory of servers that have worked and are idle. Each round has new ones."""

    def at_rest(case, server, work):
        work(server)
        await_idle(server.pid)
        time.sleep(REST_SECONDS)
        total, anonymous, threads = memory_mib(server.pid)
        case.remarks[:] = [f"of the last round {anonymous:.1f} MiB anonymous, {threads} thread{'s' * (threads > 1)}"]
        bench.stop(server.process)
        return total

    def case(name, start, work, against=None):
        found = Case(name, None, against)
        found.run = lambda: at_rest(found, start(), lambda server: work(found, server))
        return found

    def serve(message, *options):
        def work(found, server):
            load(bench, found, server.port, message % "big", *options)
            load(bench, found, server.port, message % "small", "-c", scale.downloads, "-n", scale.downloads, *options)

        return work

    def receive(found, server):
        downloads(server, source.port, out, True)()
        out.unlink()

    def answer(message, *options):
        return lambda found, server: load(
            bench, found, server.port, message or server.announce, "-c", REQUESTS_AT_ONCE, "-n", scale.requests, *options
        )

    link(bench, "server", data, "big", "small")
    out = bench.directory("out") / "big"
    source, programs = sharing(bench, "source", data, "big"), Programs()
    server = lambda: sharing(bench, "server", data, "big", "small")
    programs.add(lambda: case("pyrate, files served", server, serve("4:%s", "-f")))
    programs.add(lambda: case("pyrate, a file downloaded", lambda: Daemon(bench, "receiver"), receive))
    programs.add(lambda: case("pyrate, as a bootstrap node", lambda: registrar(bench)[0], answer("1:3", "-f")))
    nginx = lambda: find("nginx") and case("nginx, files served", lambda: Nginx(bench, data), serve(GET), "pyrate, files served")
    tracker = lambda: find("opentracker") and case(
        "opentracker", lambda: Tracker(bench), answer(None), "pyrate, as a bootstrap node"
    )
    programs.add(nginx)
    programs.add(tracker)
    return programs.row("idle: resident memory after work", "MiB")


def size(count):
    return next(f"{count >> shift} {unit}" for shift, unit in ((30, "GiB"), (20, "MiB"), (0, "B")) if count >> shift)


ROWS = {row.__name__: row for row in (verified, base, many, bootstrap, idle)}
