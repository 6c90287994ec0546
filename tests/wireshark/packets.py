"""Captures that are written packet by packet: TCP connections with exactly the segments that a case needs."""

import ipaddress
import struct

# LINKTYPE_RAW: a packet begins with its IP header.
LINK_RAW = 101
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


class Capture:
    def __init__(self):
        self.packets = []
        self.now = 1_700_000_000.0

    def __len__(self):
        return len(self.packets)

    def wait(self, seconds):
        self.now += seconds

    def add(self, packet, captured=None):
        """`captured`: how many bytes of the packet the capture has, as with a snapshot length."""
        self.now += 0.0001
        self.packets.append((self.now, packet[:captured], len(packet)))

    def write(self, path):
        with open(path, "wb") as file:
            file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, LINK_RAW))
            for at, packet, length in self.packets:
                file.write(struct.pack("<IIII", int(at), int(at % 1 * 1e6), len(packet), length) + packet)


class Side:
    def __init__(self, address, port, seq):
        self.address, self.port, self.seq = ipaddress.ip_address(address), port, seq


class Connection:
    """Of an asker, who connects unless `opened` is false, and an answerer."""

    ports = 40000

    def __init__(self, capture, server=("192.0.2.2", 63339), client="192.0.2.1", port=None, opened=True, seq=1000):
        Connection.ports += 1
        self.capture = capture
        self.asker, self.answerer = Side(client, port or Connection.ports, seq), Side(*server, seq + 5000)
        if opened:
            self.packet(self.asker, SYN)
            self.packet(self.answerer, SYN | ACK)
            self.packet(self.asker, ACK)

    def packet(self, source, flags, data=b"", captured=None, resend=0):
        """`resend`: how many bytes of sequence numbers this goes back."""
        target = self.answerer if source is self.asker else self.asker
        ack = target.seq if flags & ACK else 0
        seq = (source.seq - resend) % 2**32
        segment = struct.pack("!HHIIBBHHH", source.port, target.port, seq, ack % 2**32, 5 << 4, flags, 65535, 0, 0) + data
        addresses = source.address.packed + target.address.packed
        if source.address.version == 6:
            header = struct.pack("!IHBB", 6 << 28, len(segment), 6, 64)
        else:
            header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0)
        self.capture.add(header + addresses + segment, captured)
        source.seq += len(data) + bool(flags & (SYN | FIN)) - resend

    def ask(self, *segments, end=None):
        """Segments of the asker, and perhaps a FIN or RST in a packet of its own."""
        self.send(self.asker, segments, end)

    def answer(self, *segments, end=None):
        self.send(self.answerer, segments, end)

    def send(self, source, segments, end):
        for data in segments:
            self.packet(source, PSH | ACK, data)
        if end:
            self.packet(source, end | ACK)
