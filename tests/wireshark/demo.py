"""A run of contrib/demo, captured from the loopback device, and what the dissector makes of it."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from dissection import Failed, dissect, tshark

REPOSITORY = Path(__file__).resolve().parents[2]

# How long a run may take, without the build.
DEMO_SECONDS_MAX = 300

# The conversations on the loopback device of which one end is a daemon of the demo.
FIELDS = (
    "tcp.srcport", "tcp.dstport", "tcp.len", "tcp.seq", "tcp.flags.syn", "tcp.stream", "pyrate.code", "pyrate.p1", "pyrate.response.code",
    "pyrate.first_contact", "pyrate.report", "pyrate.data.length", "pyrate.chaining.length", "pyrate.name", "pyrate.malformed",
    "pyrate.line", "pyrate.expert.other_program", "pyrate.expert.long", "pyrate.expert.stream",
)  # fmt: skip


# Runs in a network namespace of its own, where nobody else sends anything. Arguments: the capture, the log of dumpcap, the log of
# the demo. Exits with 3 if it cannot capture, and otherwise as the demo.
CAPTURED_RUN = r"""
ip link set lo up 2>"$2" || exit 3
dumpcap -q -i lo -f tcp -B 256 -w "$1" >>"$2" 2>&1 &
capturing=$!
trap 'kill "$capturing" 2>/dev/null; wait "$capturing"' EXIT
tries=0
until grep -q "^File: " "$2"; do
    tries=$((tries + 1))
    kill -0 "$capturing" 2>/dev/null && [ "$tries" -lt 300 ] || exit 3
    sleep 0.1
done
code=0
bash contrib/demo >"$3" 2>&1 || code=$?
[ "$code" != 3 ] || code=1
sleep 0.5
exit "$code"
"""


class NotPermitted(Exception):
    pass


def run_demo(scratch, capture):
    """Runs the demo and captures what it sends; its output."""
    logs = [scratch / "dumpcap.log", scratch / "demo.log"]
    for log in logs:
        log.touch()
    namespace = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    run = subprocess.Popen(
        [*namespace, "bash", "-c", CAPTURED_RUN, "captured-run", capture, *logs],
        cwd=REPOSITORY, env={**os.environ, "TMPDIR": str(scratch)}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip
    try:
        _, said = run.communicate(timeout=DEMO_SECONDS_MAX)
    finally:
        # All that it has started is in its session.
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGTERM)
            run.wait()
    captured, shown = (log.read_text(errors="replace") for log in logs)
    if run.returncode == 0:
        lost = re.search(r"received/dropped on interface .*: \d+/(\d+)", captured)
        if not lost or lost[1] != "0":
            raise NotPermitted(f"packets were lost: {captured.strip().splitlines()[-1]}")
        return shown
    if not shown:
        why = (said + captured).strip().splitlines()
        raise NotPermitted(f"cannot capture in a network namespace: {why[0] if why else f'exit {run.returncode}'}")
    raise Failed(f"contrib/demo: exit {run.returncode}\n{shown[-2000:]}")


def ports_of(text):
    """The ports of the daemons, of which the demo shows the addresses."""
    ports = {int(port) for port in re.findall(r"\b127\.0\.0\.1:(\d+)", text)}
    if len(ports) < 4:
        raise Failed(f"the demo shows only the ports {sorted(ports)}")
    return ports


def streams_to(packets, ports):
    """The numbers of the connections to these ports."""
    opening = (packet for packet in packets if packet["tcp.flags.syn"] == ["1"])
    return {packet.one("tcp.stream") for packet in opening if int(packet.one("tcp.dstport")) in ports}


def faults_of(packets):
    """What the packets of the demo's connections show that no packet of ours may, each with its number."""
    ends = {}
    for packet in packets:
        # The machine drops segments when it has no room, and TCP sends them again. The capture has both; TCP calls no dissector
        # for bytes that it had before.
        direction = packet.one("tcp.stream"), packet.one("tcp.srcport")
        end = int(packet.one("tcp.seq")) + int(packet.one("tcp.len"))
        sent_again = end <= ends.get(direction, 0)
        ends[direction] = max(end, ends.get(direction, 0))
        if packet["pyrate.malformed"] or packet["pyrate.line"]:
            yield f"packet {packet.number} is malformed: {packet.info}"
        for field in ("pyrate.expert.other_program", "pyrate.expert.long", "pyrate.expert.stream"):
            if packet[field]:
                yield f"packet {packet.number}: {field}: {packet.info}"
        if int(packet.one("tcp.len")) > 0 and not packet.is_pyrate and not sent_again:
            yield f"packet {packet.number} is not recognised: {packet.info}"


# Each exchange that the demo makes, and whether a packet is of it.
EXCHANGES = {
    "registration of a p1 peer": lambda packet: packet["pyrate.code"] == ["0"] and "1" in packet["pyrate.p1"],
    "request of a peer list": lambda packet: "1" in packet["pyrate.code"],
    "peer list": lambda packet: "1" in packet["pyrate.response.code"],
    "unregistration": lambda packet: "2" in packet["pyrate.code"],
    "search": lambda packet: "6" in packet["pyrate.code"],
    "hit": lambda packet: "7" in packet["pyrate.code"],
    "report of the end of a search": lambda packet: bool(packet["pyrate.report"]),
    "list request": lambda packet: "5" in packet["pyrate.code"],
    "list of files": lambda packet: "5" in packet["pyrate.response.code"],
    "request of metadata": lambda packet: "9" in packet["pyrate.code"],
    "chaining values": lambda packet: bool(packet["pyrate.chaining.length"]),
    "request of a range": lambda packet: "8" in packet["pyrate.code"],
    "bytes of a range": lambda packet: "8" in packet["pyrate.response.code"] and bool(packet["pyrate.data.length"]),
}


def check_demo(scratch):
    """Captures a run and checks it. `NotPermitted` where that is not possible."""
    for tool in ("bash", "cargo", "dumpcap", "ip", "unshare"):
        if not shutil.which(tool):
            raise NotPermitted(f"{tool} is not installed")
    capture = scratch / "demo.pcapng"
    # Before the run, which has a limit of time and no network.
    subprocess.run(["cargo", "build", "--locked", "--bins", "--quiet"], cwd=REPOSITORY, check=True)
    text = run_demo(scratch, capture)
    ports = ports_of(text)
    listed = ",".join(map(str, sorted(ports)))
    options = ("-o", f"pyrate.ports:{listed}", "-Y", " or ".join(f"tcp.port == {port}" for port in sorted(ports)))
    packets = dissect(capture, FIELDS, *options)
    streams = streams_to(packets, ports)
    own = [packet for packet in packets if packet.one("tcp.stream") in streams]
    faults = list(faults_of(own))
    faults += [f"no {name} is found" for name, is_of in EXCHANGES.items() if not any(map(is_of, own))]
    if faults:
        shown = "\n".join(faults[:20])
        raise Failed(f"{capture}: {len(faults)} faults in the run of the demo\n{shown}")
    if "Lua Error" in tshark(capture, "-V", "-O", "pyrate", *options):
        raise Failed(f"{capture}: a Lua error in the tree")
    messages = sum(len(packet["pyrate.code"]) for packet in own)
    print(f"a run of contrib/demo: {messages} messages and their responses in {len(own)} packets on {len(streams)} connections")
