"""What tshark makes of a capture with the dissector."""

import subprocess
from pathlib import Path

DISSECTOR = Path(__file__).resolve().parents[2] / "contrib" / "wireshark" / "pyrate.lua"

SEPARATOR, AGGREGATOR = "\x1e", "\x1f"

# What no capture may show, however hostile.
ERRORS = ("_ws.lua.error", "_ws.lua.proto.error", "_ws.malformed.dissector_bug")

# What Info has for each packet without data, behind what the dissector says.
TCP_INFO = " | "


class Failed(Exception):
    pass


class Packet:
    def __init__(self, values):
        self.values = values
        self.number = int(values["frame.number"][0])

    def __getitem__(self, field):
        """All values of a field, in order."""
        return self.values[field]

    def one(self, field):
        return self.values[field][0] if self.values[field] else None

    @property
    def info(self):
        return self.one("_ws.col.Info").split(TCP_INFO)[0]

    @property
    def is_pyrate(self):
        return bool(self["pyrate"])


def tshark(capture, *options):
    command = ["tshark", "-n", "-X", f"lua_script:{DISSECTOR}", "-r", str(capture), *options]
    done = subprocess.run(command, capture_output=True, text=True, errors="backslashreplace")
    if done.returncode != 0 or "Lua" in done.stderr:
        raise Failed(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def dissect(capture, fields, *options):
    """All packets of a capture, of which none may show an error of the dissector or a malformed packet."""
    fields = ["frame.number", "frame.protocols", "_ws.col.Info", "_ws.expert.message", "pyrate", *ERRORS, *fields]
    words = [word for field in fields for word in ("-e", field)]
    out = tshark(capture, "-T", "fields", "-E", f"separator={SEPARATOR}", "-E", f"aggregator={AGGREGATOR}", *words, *options)
    packets = []
    # Not `splitlines`, which takes the separator for an end of line.
    for line in out.removesuffix("\n").split("\n"):
        # Boolean fields are "True" in later versions.
        line = line.replace("True", "1")
        values = [value.split(AGGREGATOR) if value else [] for value in line.split(SEPARATOR)]
        packets.append(Packet(dict(zip(fields, values))))
    for packet in packets:
        if any(packet[field] for field in ERRORS) or "_ws.malformed" in packet.one("frame.protocols"):
            raise Failed(f"{capture}: packet {packet.number}: {packet['_ws.expert.message']}")
    return packets
