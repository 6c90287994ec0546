"""Hand-made connections, for what a run of the daemons does not show, and what Wireshark shall say of each packet."""

from dataclasses import dataclass, field
from typing import Callable

from packets import ACK, FIN, PSH, RST, Capture, Connection

BOOTSTRAP = ("192.0.2.3", 21168)
PEER = ("192.0.2.2", 63339)
# A port that no dissector is registered for.
ELSEWHERE = ("192.0.2.2", 50123)
ID = b"p1-00000000000000ad"
B3 = b"ab" * 32
ZEROS = b"b3=" + b"0" * 64


@dataclass
class Case:
    name: str
    build: Callable
    # What Info says of the packets that are Pyrate's.
    infos: list
    # The values that these packets have in a field, all of them in order.
    fields: dict = field(default_factory=dict)


CASES = []


def case(infos, **fields):
    def add(build):
        names = {name.replace("__", "."): values for name, values in fields.items()}
        CASES.append(Case(build.__name__.replace("_", " "), build, infos, names))
        return build

    return add


def make():
    """A capture of all cases, and the numbers of the first and last packet of each."""
    capture, ranges = Capture(), []
    for one in CASES:
        first = len(capture) + 1
        one.build(capture)
        ranges.append((first, len(capture)))
        capture.wait(2000)
    return capture, ranges


# Base messages ---------------------------------------------------------------------------------------------------------


@case(
    ["Register port 63339", "Keepalive of port 63339", "Unregister port 63339"],
    pyrate__code=["0", "3", "2"],
    pyrate__port=["63339"] * 3,
    pyrate__p1=[],
)
def registrations_of_a_base_peer(capture):
    for code in (b"0", b"3", b"2"):
        Connection(capture, BOOTSTRAP).ask(code + b":63339", end=FIN)


@case(
    ["Request list of 10 peers", "Peer list: 1 peer", "Peer list: 2 peers", "Peer list complete, 49 bytes"],
    pyrate__peer=["192.0.2.1:63339", "[2001:db8::1]:1024", "192.0.2.9:1"],
    pyrate__peer__ip=["192.0.2.1", "192.0.2.9"],
    pyrate__peer__ipv6=["2001:db8::1"],
    pyrate__response__code=["1", "1", "1"],
)
def a_list_that_a_silent_asker_waits_for(capture):
    connection = Connection(capture, BOOTSTRAP)
    connection.ask(b"1:10")
    capture.wait(0.4)
    connection.answer(b"192.0.2.1,63339\n2001:db8::1,1024", b",p1\n192.0.2.9,1\n\n", end=FIN)
    connection.ask(end=FIN)


@case(["Request list of 1 peer", "Peer list: 1 peer; Peer list complete, 11 bytes"], pyrate__peer=["192.0.2.1:9"])
def a_list_whose_last_line_has_no_end(capture):
    connection = Connection(capture, BOOTSTRAP)
    connection.ask(b"1:1", end=FIN)
    connection.answer(b"192.0.2.1,9", end=FIN)


@case(
    ['Download "a: b"', 'Data of "a: b": 3 bytes from 0', 'Data of "a: b": 4 bytes from 3', 'Download of "a: b" complete, 7 bytes'],
    pyrate__name=["a: b"],
    pyrate__data__offset=["0", "3"],
    pyrate__data__length=["3", "4"],
    pyrate__end=["complete"],
)
def a_base_download(capture):
    connection = Connection(capture, PEER)
    connection.ask(b"4:a: b", end=FIN)
    connection.answer(b"4:x", b"1:2\n", end=FIN)


@case(
    ['Download "old"', 'Download of "old": no byte: an empty file, a refusal, or a call back follows']
    + ['Data of "old": 5 bytes from 0', 'Download of "old" complete, 5 bytes'],
    pyrate__call_back=["1"],
    pyrate__end=["nothing", "complete"],
)
def a_file_that_comes_by_a_call_back(capture):
    connection = Connection(capture, ELSEWHERE)
    connection.ask(b"4:old", end=FIN)
    connection.answer(end=FIN)
    back = Connection(capture, ("192.0.2.1", connection.asker.port), client=ELSEWHERE[0])
    back.ask(b"4:1\r\n", end=FIN)


@case(['Download "none"', 'Download of "none" refused'], pyrate__end=["refused"], pyrate__response_to=["4"])
def a_download_that_is_reset(capture):
    connection = Connection(capture, PEER)
    connection.ask(b"4:none", end=FIN)
    connection.answer(end=RST)


@case(["List files", "File list: 2 files", "File list complete, 9 bytes"], pyrate__name=["one", "tw\ufffdo"], pyrate__size=[])
def a_list_of_a_base_peer(capture):
    connection = Connection(capture, PEER)
    connection.ask(b"5:\n")
    connection.answer(b"one\ntw\xffo\n", end=FIN)


@case(
    ['Search "a:b", TTL 255, for [2001:db8::1]:63339', 'Hit "a:b" at [2001:db8::2]:1024'],
    pyrate__search_id=["x", "x"],
    pyrate__text=["a:b"],
    pyrate__ttl=["255"],
    pyrate__search_in=["4"],
)
def a_search_over_ipv6(capture):
    Connection(capture, ("2001:db8::2", 63339), "2001:db8::1").ask(b"6:x:a:b:[2001:db8::1]:63339:900", end=FIN)
    Connection(capture, ("2001:db8::1", 63339), "2001:db8::2").ask(b"7:x:[2001:db8::2]:1024:a:b", end=FIN)


# Where a message ends --------------------------------------------------------------------------------------------------


@case(["Beginning of a message, 1202 bytes", 'Download "' + "n" * 80 + '…"'], pyrate__name=["n" * 1300])
def a_message_longer_than_a_segment(capture):
    Connection(capture, PEER).ask(b"4:" + b"n" * 1200, b"n" * 100, end=FIN)


@case(["Beginning of a message, 1302 bytes", 'Download "' + "n" * 80 + '…"'], pyrate__name=["n" * 1300])
def a_long_message_that_a_fin_completes(capture):
    Connection(capture, PEER).ask(b"4:" + b"n" * 1300, end=FIN)


@case(["Beginning of a message, 6 bytes", 'Search "text", TTL 1, for 192.0.2.1:2'])
def a_message_in_two_short_segments(capture):
    Connection(capture, PEER).ask(b"6:id:t", b"ext:192.0.2.1:2:1", end=FIN)


@case(['Download "one"', "5 bytes after the end of the message"])
def bytes_that_come_too_late(capture):
    connection = Connection(capture, PEER)
    connection.ask(b"4:one")
    capture.wait(0.5)
    connection.ask(b"\r\n", b" more", end=FIN)


@case(
    ['Hit "a" at 192.0.2.2:9; Hit "b" at 192.0.2.2:9, 5 bytes', 'Hit "c" at 192.0.2.2:9, 0 bytes; Hit "d" at 192.0.2.2:9'],
    pyrate__code=["7"] * 4,
    pyrate__size=["5", "0"],
    pyrate__b3=[B3.decode()],
    pyrate__more=["1"],
    pyrate__attribute=["later=1"],
)
def a_stream_of_hits(capture):
    hit = b"7:" + ID + b":192.0.2.2:9:"
    stream = hit + b"a\n\n" + hit + b"b\tsize=5\tlater=1\n" + hit + b"c\tsize=0\tb3=" + B3.upper() + b"\n"
    cut = stream.index(b"c\t") + 4
    Connection(capture, PEER).ask(stream[:cut], stream[cut:] + hit + b"d\tmore=1\n", end=FIN)


@case(['Search "a", TTL 1, for 192.0.2.1:2; List files'], pyrate__expert__stream=["1"])
def a_request_in_a_stream(capture):
    Connection(capture, PEER).ask(b"6:i:a:192.0.2.1:2:1\n5:\n", end=FIN)


# Part 2 ----------------------------------------------------------------------------------------------------------------


@case(
    ["First contact for 192.0.2.1:63339", "First contact is answered: p1"],
    pyrate__first_contact=["1"],
    pyrate__p1=["1", "1"],
)
def a_first_contact(capture):
    connection = Connection(capture, PEER)
    connection.ask(b"6:" + ID + b":" + ZEROS + b":192.0.2.1:63339:0", end=FIN)
    connection.answer(b"p1\tlater=1\n", end=FIN)


@case(
    ['Search "x", TTL 2, for 192.0.2.1:2', 'Search waits for others: "x"', 'Search is done, cut: "x"; Line that is not known: "seen=1"'],
    pyrate__report=["waits", "done"],
    pyrate__report__cut=["1"],
    pyrate__report__ttl=["2"],
    pyrate__report__waits=["1"],
    pyrate__wants_end=["1"],
    pyrate__line=["seen=1"],
)
def reports_on_a_search(capture):
    connection = Connection(capture, PEER)
    connection.ask(b"6:" + ID + b":x:192.0.2.1:2:2\n")
    connection.answer(b"waits=" + ID + b"\n", b"done=" + ID + b"\tcu", b"t=1\tttl=2\twaits=1\nseen=1\n")


@case(
    ['Range of 4 bytes from 18446744073709551610 of "a"']
    + ['Data of "a": 4 bytes from 18446744073709551610; Range of "a" complete, 4 bytes'],
    pyrate__offset=["18446744073709551610"],
    pyrate__data__offset=["18446744073709551610"],
)
def a_range_at_the_end_of_numbers(capture):
    connection = Connection(capture, PEER, seq=2**32 - 5003)
    connection.ask(b"8:18446744073709551610:4:a", end=FIN)
    connection.packet(connection.answerer, PSH | ACK | FIN, b"data")


@case(
    ['Range of 4 bytes from 7 of "a"', 'Data of "a": 3 bytes from 7', 'Range of "a" ended after 3 of 4 bytes'],
    pyrate__end=["short"],
)
def a_range_that_is_cut_and_sent_twice(capture):
    connection = Connection(capture, PEER)
    connection.ask(b"8:7:4:a", end=FIN)
    connection.answer(b"dat")
    connection.packet(connection.answerer, PSH | ACK, b"dat", resend=3)
    connection.answer(end=FIN)


@case(
    ['Range of 4 bytes from 0 of "a"', 'Data of "a": 3 bytes from 0', 'Range of "a" broken off after 3 bytes'],
    pyrate__end=["aborted"],
)
def a_range_that_is_broken_off(capture):
    connection = Connection(capture, PEER)
    connection.ask(b"8:0:4:a", end=FIN)
    connection.answer(b"dat", end=RST)


@case(
    ['Range of 2 bytes from 0 of "a"', 'Data of "a": 3 bytes from 0', 'Range of "a" complete, 3 bytes'],
    pyrate__expert__long=["1"],
)
def a_range_with_more_than_was_asked_for(capture):
    connection = Connection(capture, PEER)
    connection.ask(b"8:0:2:a", end=FIN)
    connection.answer(b"dat", end=FIN)


@case(
    ['Metadata of "a"', 'Metadata of "a": 2097153 bytes; Chaining values: 40 bytes from 0', "Chaining values: 56 bytes from 40"]
    + ['Metadata of "a" complete, 186 bytes'],
    pyrate__size=["2097153"],
    pyrate__group=["20"],
    pyrate__chaining__offset=["0", "40"],
    pyrate__chaining__length=["40", "56"],
)
def metadata_in_pieces(capture):
    connection = Connection(capture, PEER)
    connection.ask(b"9:a", end=FIN)
    head = b"size=2097153\tb3=" + B3 + b"\tgroup=20\n"
    values = bytes(range(96))
    connection.answer(head[:30], head[30:] + values[:40], values[40:], end=FIN)


@case(
    ['Metadata of "a"', 'Metadata of "a" refused: "busy"', "End of the refusal"],
    pyrate__refused=["busy"],
    pyrate__end=["refused"],
    pyrate__expert__refused=["1"],
)
def metadata_that_is_refused(capture):
    connection = Connection(capture, PEER)
    connection.ask(b"9:a", end=FIN)
    connection.answer(b"refused=busy\tlater=1\n", end=FIN)


@case(
    ["List files with attributes", "File list: 1 file", "File list: 1 file; 1 malformed line", "File list complete, 31 bytes"],
    pyrate__name=["a", "b"],
    pyrate__size=["1"],
)
def a_list_with_attributes(capture):
    connection = Connection(capture, PEER)
    connection.ask(b"5:p1", end=FIN)
    connection.answer(b"a\tsize=1\nb", b"\t\nc\tsize=-1\tnot read\n", end=FIN)


# What is wrong ---------------------------------------------------------------------------------------------------------

WRONG = {
    b"0:\n": "Malformed Register: the listening port is not a port from 1 to 65535",
    b"0:65536": "Malformed Register: the listening port is not a port from 1 to 65535",
    b"1:many\n": "Malformed Request Peer List: the number of peers is malformed",
    b"4:\n": "Malformed Download Request: the file name is missing",
    b"4:a\x01\n": "Malformed Download Request: the file name is malformed",
    b"6::a:192.0.2.1:2:1\n": "Malformed Search: the search ID is missing",
    b"6:" + b"i" * 129 + b":a:192.0.2.1:2:1\n": "Malformed Search: the search ID is malformed",
    b"6:i:a:192.0.2.256:2:1\n": "Malformed Search: the requesting IP is malformed",
    b"6:i:a:[::1:2:1\n": "Malformed Search: the requesting IP is malformed",
    b"6:i:a:[1::2::3]:2:1\n": "Malformed Search: the requesting IP is malformed",
    b"6:i:192.0.2.1:2:1\n": "Malformed Search: the file string is missing",
    b"6:i:a:192.0.2.1:0:1\n": "Malformed Search: the requesting port is not a port from 1 to 65535",
    b"6:i:a:192.0.2.1:2:-1\n": "Malformed Search: the TTL is malformed",
    b"7:i:192.0.2.1:2\n": "Malformed Search Response: the file name is missing",
    b"7:i:[::1]2:a\n": "Malformed Search Response: the responding port is missing",
    b"7:i:192.0.2.1:2:a\tb3=12\n": "Malformed Search Response: the attribute b3 is malformed",
    b"8:1:18446744073709551615:a\n": "Malformed Range Request: the length is malformed",
    b"8:18446744073709551616:1:a\n": "Malformed Range Request: the offset is malformed",
    b"GET / HTTP/1.1\r\n": "Malformed: the message does not begin with a code",
    b"\n": "Malformed: the message is empty",
    b"4:" + b"n" * 4200: "Malformed: the message is longer than 4096 bytes",
}


@case(["Beginning of a message, 7 bytes" if message == b"0:65536" else text for message, text in WRONG.items()])
def malformed_messages(capture):
    for message in WRONG:
        Connection(capture, PEER).ask(message)


@case(["Beginning of a message, 5 bytes", "Malformed Range Request: the file name is missing"])
def a_message_that_a_fin_cuts(capture):
    Connection(capture, PEER).ask(b"8:1:2", end=FIN)


@case(["Request list of 9 peers (p1)", 'Answer of another program: "HTTP/1.1 400 Bad Request"', "Peer list complete, 28 bytes"])
def another_program_answers(capture):
    connection = Connection(capture, BOOTSTRAP)
    connection.ask(b"1:9:p1", end=FIN)
    connection.answer(b"HTTP/1.1 400 Bad Request\r\n\r\n", end=FIN)


# Parts of a capture ----------------------------------------------------------------------------------------------------


@case(["Data: 6 bytes from 0", "Data: 3 bytes from 6"])
def a_capture_that_begins_in_a_response(capture):
    Connection(capture, PEER, opened=False).answer(b"4:abcd", b"efg")


@case(['Download "name"', 'Data of "name": 5 bytes from 0', 'Data of "name": 5 bytes from 10'])
def packets_of_which_the_capture_has_a_part(capture):
    connection = Connection(capture, PEER)
    connection.packet(connection.asker, PSH | ACK, b"4:name.txt", captured=40 + 6)
    connection.packet(connection.answerer, PSH | ACK, b"0123456789", captured=40 + 5)
    connection.packet(connection.answerer, PSH | ACK, b"0123456789", captured=40 + 5)


@case(["List files", "File list: 1 file", "Range of 1 byte from 2 of \"é\""])
def messages_on_a_port_of_nobody(capture):
    connection = Connection(capture, ELSEWHERE)
    connection.ask(b"5:")
    connection.answer(b"a\n")
    Connection(capture, ELSEWHERE).ask("8:2:1:é".encode(), end=FIN)


@case([])
def other_protocols_on_a_port_of_nobody(capture):
    for data in (b"4:30 pm\nhello", b"5:hello,", b"1:2:3", b"9:\xff\xfe", b"0:99999", b"6:spam", b"220 mail", b"4:a\x00b", b"5"):
        Connection(capture, ELSEWHERE).ask(data, end=FIN)
