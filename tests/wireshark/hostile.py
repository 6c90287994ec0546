"""Captures of random and broken messages, the same in each run: the dissector must survive them."""

import random

from cases import B3, BOOTSTRAP, ELSEWHERE, ID, PEER, WRONG
from packets import ACK, FIN, PSH, RST, Capture, Connection

MESSAGES = [
    *WRONG,
    *(b"0:63339", b"1:10:p1", b"2:1", b"3:63339:p1", b"4:a name", b"5:", b"5:p1\n", b"8:0:1000:a", b"9:a", b"9:a\n"),
    b"6:" + ID + b":some text:192.0.2.1:63339:7\n",
    b"6:" + ID + b":b3=" + B3 + b":[2001:db8::1]:63339:0",
    b"7:" + ID + b":192.0.2.1:63339:a name\tsize=7\tb3=" + B3 + b"\tmore=1\n",
    b"6:" + ID + b":b3=" + b"0" * 64 + b":192.0.2.1:63339:0",
]
RESPONSES = [
    b"192.0.2.1,63339,p1\n2001:db8::1,1\n",
    b"a name\tsize=7\tb3=" + B3 + b"\nanother\n",
    b"size=3000000\tb3=" + B3 + b"\tgroup=20\n" + bytes(range(96)),
    b"refused=busy\n",
    b"done=" + ID + b"\tcut=1\tttl=3\twaits=1\nwaits=" + ID + b"\n",
    b"p1\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    bytes(range(256)),
    b"",
]
REGISTERED = [BOOTSTRAP[1], PEER[1]]
CONNECTIONS = 200
# Bytes that mean something.
MARKS = b":\n\r\t\0=,[]*%.-0123456789p1"


def broken(random, text):
    """A text with some bytes changed, cut, repeated or added."""
    out = bytearray(text * random.choice((1, 1, 1, 2, 40)))
    for _ in range(random.choice((0, 0, 1, 3, 10))):
        at = random.randrange(len(out) + 1)
        what = random.randrange(4)
        if what == 0:
            out[at : at + 1] = bytes([random.choice(MARKS) if random.random() < 0.5 else random.randrange(256)])
        elif what == 1:
            del out[at : at + random.randrange(1, 20)]
        elif what == 2:
            out[at:at] = out[at : at + random.randrange(1, 50)]
        else:
            out[at:at] = random.randbytes(random.choice((1, 5, 1500, 5000)))
    return bytes(out[:20000])


def segments(random, text):
    pieces = []
    while text:
        size = random.choice((1, 7, 100, 1400, 60000))
        pieces.append(text[:size])
        text = text[size:]
        if len(pieces) > 60:
            return [*pieces, text] if text else pieces
    return pieces


def fill(random, capture, ports, part):
    """`part`: how many packets are captured as a part."""
    for _ in range(CONNECTIONS):
        server = (random.choice(("192.0.2.2", "2001:db8::2")), random.choice(ports))
        client = "192.0.2.1" if "." in server[0] else "2001:db8::1"
        connection = Connection(capture, server, client, opened=random.random() < 0.8, seq=random.randrange(2**32))
        both = [(connection.asker, broken(random, random.choice(MESSAGES)))]
        both += [(connection.answerer, broken(random, random.choice(RESPONSES)))]
        if random.random() < 0.2:
            both.reverse()
        for side, text in both:
            for data in segments(random, text):
                captured = random.randrange(20, 80) if random.random() < part else None
                resend = min(len(data), random.choice((0, 0, 0, 1, 1000))) if random.random() < 0.1 else 0
                connection.packet(side, PSH | ACK, data, captured, resend)
                capture.wait(random.choice((0, 0, 0.5)))
            connection.packet(side, random.choice((ACK, ACK | FIN, ACK | FIN, ACK | RST)))


def hostile_captures():
    """Each with its name, and whether Wireshark says the same of it in each pass: relative numbers of TCP change."""
    yield "whole", hostile("whole", REGISTERED), True
    yield "cut", hostile("cut", REGISTERED, part=0.2), True
    yield "shuffled", hostile("shuffled", REGISTERED, part=0.05, shuffle=True), False
    yield "elsewhere", hostile("elsewhere", [ELSEWHERE[1]]), False


def hostile(name, ports, part=0.0, shuffle=False):
    source, capture = random.Random(name), Capture()
    fill(source, capture, ports, part)
    if shuffle:
        # Packets that come early, late or not at all.
        del capture.packets[:: source.randrange(7, 12)]
        times = [at for at, *_ in capture.packets]
        capture.packets.sort(key=lambda packet: packet[0] + source.random())
        capture.packets = [(at, *packet[1:]) for at, packet in zip(times, capture.packets)]
    return capture
