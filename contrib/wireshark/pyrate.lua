-- Dissector of the Pyrate protocol for Wireshark and tshark, version 4.0 or newer: both parts of contrib/doc/protocol.md,
-- whose sections comments here cite as PROTOCOL. That file also says how to install and use this one.
--
-- The bytes of each direction are read as strings: `parse_…` makes parts of them, `show_…` adds these to the tree. What later
-- packets need to know is in `connections`, written when a packet is first dissected and only read when it is dissected again.

local MESSAGE_BYTES_MAX = 4096
local NAME_BYTES_MAX = 3800
local ID_BYTES_MAX = 128
local PEER_LINE_BYTES_MAX = 64
local METADATA_LINE_BYTES_MAX = 256
local GROUP_BYTES = 2 ^ 20
local CHAINING_VALUE_BYTES = 32

-- A message that is not terminated ends when no byte follows for this long.
local SILENCE_SECONDS = 0.4

-- A segment of fewer bytes is not full, so that its end is the end of what the sender wrote: no path of IPv6 takes less than
-- 1280 bytes, of which 80 may be headers.
local FULL_SEGMENT_BYTES = 1200

-- How long a server may take to call a requester back.
local CALL_BACK_SECONDS_MAX = 600

local FIRST_CONTACT_TEXT = "b3=" .. ("0"):rep(64)

-- What Info shows of a name, in bytes, and of a packet, in messages.
local INFO_NAME_BYTES_MAX = 80
local INFO_MESSAGES_MAX = 4

local TWO_32 = 2 ^ 32

local CODES = {
    [0] = "Register", [1] = "Request Peer List", [2] = "Unregister", [3] = "Keepalive", [4] = "Download Request",
    [5] = "List Files", [6] = "Search", [7] = "Search Response", [8] = "Range Request", [9] = "Metadata Request",
}

-- Codes whose response comes on the same connection.
local ANSWERED = { [1] = true, [4] = true, [5] = true, [8] = true, [9] = true }

local pyrate = Proto("pyrate", "Pyrate peer-to-peer file sharing")
-- Sees each packet after all dissectors: only so can a FIN or RST without data be shown, to which TCP calls no dissector.
local pyrate_end = Proto("pyrate_end", "Pyrate, end of a connection")

pyrate.prefs.ports = Pref.range("TCP ports", "21168,63339", "Ports of bootstrap nodes and peers", 65535)

local f = {
    -- Messages.
    code = ProtoField.uint8("pyrate.code", "Code", base.DEC, CODES, nil, "Code of the message"),
    p1 = ProtoField.bool("pyrate.p1", "Speaks p1", base.NONE, nil, nil, "Sender or listed peer shows that it speaks part 2"),
    port = ProtoField.uint16("pyrate.port", "Listening port", base.DEC, nil, nil, "Port that is registered (codes 0, 2, 3)"),
    peers_max = ProtoField.uint32("pyrate.peers_max", "Peers wanted", base.DEC, nil, nil, "Most peers of the list (code 1)"),
    name = ProtoField.string("pyrate.name", "File name", base.NONE, "Name of a file, in messages and lists"),
    search_id = ProtoField.string("pyrate.search_id", "Search ID", base.NONE, "ID of the search (codes 6, 7, and reports)"),
    text = ProtoField.string("pyrate.text", "File string", base.NONE, "What is searched for (code 6)"),
    ttl = ProtoField.uint8("pyrate.ttl", "TTL", base.DEC, nil, nil, "How often a search may still be forwarded (code 6)"),
    peer = ProtoField.string("pyrate.peer", "Peer", base.NONE, "IP:Port of a requester, responder or listed peer"),
    peer_ip = ProtoField.ipv4("pyrate.peer.ip", "IPv4 address", "Address of the peer"),
    peer_ipv6 = ProtoField.ipv6("pyrate.peer.ipv6", "IPv6 address", "Address of the peer"),
    peer_port = ProtoField.uint16("pyrate.peer.port", "Port", base.DEC, nil, nil, "Port of the peer"),
    offset = ProtoField.uint64("pyrate.offset", "Offset", base.DEC, nil, nil, "First byte of the range (code 8)"),
    length = ProtoField.uint64("pyrate.length", "Length", base.DEC, nil, nil, "Bytes of the range (code 8)"),
    first_contact = ProtoField.bool("pyrate.first_contact", "First contact", base.NONE, nil, nil,
        "The search only asks whether the receiver speaks p1"),
    hits_max = ProtoField.uint16("pyrate.hits_max", "Hits wanted of one peer", base.DEC, nil, nil, "Number in the search ID"),
    wants_end = ProtoField.bool("pyrate.wants_end", "Wants to be told of the end", base.NONE, nil, nil,
        "The search ID asks for reports"),
    -- Attributes.
    size = ProtoField.uint64("pyrate.size", "Size", base.DEC, nil, nil, "Bytes of the file"),
    b3 = ProtoField.string("pyrate.b3", "BLAKE3", base.NONE, "Hash of the content, in hex"),
    more = ProtoField.bool("pyrate.more", "More files match", base.NONE, nil, nil, "The answer to the search is cut here"),
    group = ProtoField.uint8("pyrate.group", "Group size (log2)", base.DEC, nil, nil, "Power of two that is the size of a group"),
    refused = ProtoField.string("pyrate.refused", "Refused", base.NONE, "Reason of the refusal of code 9"),
    attribute = ProtoField.string("pyrate.attribute", "Attribute", base.NONE, "An attribute that is not known here"),
    -- Reports on a search.
    report = ProtoField.string("pyrate.report", "Report", base.NONE, "State of the search at the sender: done or waits"),
    report_cut = ProtoField.bool("pyrate.report.cut", "Peers may be missing", base.NONE, nil, nil,
        "The search may not have reached all"),
    report_ttl = ProtoField.uint8("pyrate.report.ttl", "Highest TTL", base.DEC, nil, nil,
        "The highest TTL with which the search came to the sender"),
    report_waits = ProtoField.bool("pyrate.report.waits", "Reports when it waits", base.NONE, nil, nil,
        "The sender also sends waits="),
    -- Responses.
    response_code = ProtoField.uint8("pyrate.response.code", "Response to", base.DEC, CODES, nil,
        "Code of the message that is answered"),
    response_to = ProtoField.framenum("pyrate.response_to", "Request in", base.NONE, frametype.REQUEST, 0,
        "Packet of the request"),
    response_in = ProtoField.framenum("pyrate.response_in", "Response in", base.NONE, frametype.RESPONSE, 0,
        "First packet of the response"),
    search_in = ProtoField.framenum("pyrate.search_in", "Search in", base.NONE, frametype.REQUEST, 0,
        "First packet with the search that this hit or report is for"),
    time = ProtoField.relative_time("pyrate.time", "Time since the request", "Time since the request or search"),
    call_back = ProtoField.bool("pyrate.call_back", "Call back", base.NONE, nil, nil,
        "The file comes on a connection that its server made"),
    data = ProtoField.none("pyrate.data", "Data", "Bytes of a file"),
    data_offset = ProtoField.uint64("pyrate.data.offset", "Offset in the file", base.DEC, nil, nil,
        "Where the bytes of this packet begin in the file"),
    data_length = ProtoField.uint32("pyrate.data.length", "Bytes", base.DEC, nil, nil, "Bytes of the file in this packet"),
    chaining = ProtoField.none("pyrate.chaining", "Chaining values", "Chaining values of groups, 32 bytes each"),
    chaining_offset = ProtoField.uint32("pyrate.chaining.offset", "Offset", base.DEC, nil, nil,
        "Where the bytes of this packet begin among the chaining values"),
    chaining_length = ProtoField.uint32("pyrate.chaining.length", "Bytes", base.DEC, nil, nil,
        "Bytes of chaining values in this packet"),
    line = ProtoField.string("pyrate.line", "Line", base.NONE, "A line that is not understood"),
    -- Ends.
    ended = ProtoField.string("pyrate.end", "End", base.NONE,
        "How the response ended: complete, refused, aborted, short or nothing"),
    response_bytes = ProtoField.uint64("pyrate.response.bytes", "Bytes of the response", base.DEC, nil, nil,
        "Bytes of the whole response, at its end"),
    trailing = ProtoField.none("pyrate.trailing", "Bytes after the end", "Bytes that nobody reads"),
    beginning = ProtoField.string("pyrate.beginning", "Beginning of a message", base.NONE, "A message that is not complete yet"),
}
for _, field in pairs(f) do table.insert(pyrate.fields, field) end

local e = {
    malformed = ProtoExpert.new("pyrate.malformed", "Malformed", expert.group.MALFORMED, expert.severity.ERROR),
    refused = ProtoExpert.new("pyrate.expert.refused", "Refused", expert.group.RESPONSE_CODE, expert.severity.WARN),
    aborted = ProtoExpert.new("pyrate.expert.aborted", "Response broken off", expert.group.RESPONSE_CODE, expert.severity.WARN),
    short = ProtoExpert.new("pyrate.expert.short", "Response too short", expert.group.PROTOCOL, expert.severity.WARN),
    long = ProtoExpert.new("pyrate.expert.long", "Response too long", expert.group.PROTOCOL, expert.severity.WARN),
    nothing = ProtoExpert.new("pyrate.expert.nothing", "Response without a byte", expert.group.RESPONSE_CODE,
        expert.severity.NOTE),
    reset = ProtoExpert.new("pyrate.expert.reset", "Connection reset", expert.group.SEQUENCE, expert.severity.NOTE),
    trailing = ProtoExpert.new("pyrate.expert.trailing", "Bytes after the end", expert.group.PROTOCOL, expert.severity.NOTE),
    other = ProtoExpert.new("pyrate.expert.other_program", "Another program", expert.group.PROTOCOL, expert.severity.WARN),
    stream = ProtoExpert.new("pyrate.expert.stream", "Not allowed in a stream", expert.group.PROTOCOL, expert.severity.WARN),
}
for _, info in pairs(e) do table.insert(pyrate.experts, info) end

local tcp = {
    stream = Field.new("tcp.stream"), seq = Field.new("tcp.seq"), seq_raw = Field.new("tcp.seq_raw"),
    len = Field.new("tcp.len"), fin = Field.new("tcp.flags.fin"), reset = Field.new("tcp.flags.reset"),
    completeness = Field.new("tcp.completeness"),
}

-- The value in the innermost TCP header: a tunnel may have several.
local function value(field)
    local all = { field() }
    return #all > 0 and all[#all].value or nil
end

-- By TCP stream; searches by ID; code 4 that may be answered by a call back, by the requester's port.
local connections, searches, call_backs = {}, {}, {}

function pyrate.init()
    connections, searches, call_backs = {}, {}, {}
end

-- Text -------------------------------------------------------------------------------------------------------------------

-- Bytes of the well-formed UTF-8 character at a position, or nil.
local function character_bytes(s, at)
    local first = s:byte(at)
    local second = s:byte(at + 1) or 0
    if first < 0x80 then return 1 end
    local bytes = first >= 0xf0 and 4 or first >= 0xe0 and 3 or 2
    local low, high = 0x80, 0xbf
    if first < 0xc2 or first > 0xf4 then return nil end
    if first == 0xe0 then low = 0xa0 elseif first == 0xf0 then low = 0x90 end
    if first == 0xed then high = 0x9f elseif first == 0xf4 then high = 0x8f end
    if second < low or second > high then return nil end
    for i = at + 2, at + bytes - 1 do
        local byte = s:byte(i) or 0
        if byte < 0x80 or byte > 0xbf then return nil end
    end
    return bytes
end

local function is_utf8(s)
    local at = 1
    while at <= #s do
        local bytes = character_bytes(s, at)
        if not bytes then return false end
        at = at + bytes
    end
    return true
end

-- For Info and labels: in quotes, cut, and without bytes that a column cannot show.
local function quoted(s)
    local out, at = {}, 1
    while at <= #s and at <= INFO_NAME_BYTES_MAX do
        local bytes = character_bytes(s, at)
        if not bytes or s:find("^%c", at) then
            out[#out + 1] = ("\\x%02x"):format(s:byte(at))
            bytes = 1
        else
            out[#out + 1] = s:sub(at, at + bytes - 1)
        end
        at = at + bytes
    end
    return '"' .. table.concat(out) .. (at <= #s and '…"' or '"')
end

local function count(n, one, many)
    return ("%d %s"):format(n, n == 1 and one or many)
end

local function bytes_text(n)
    local digits = tostring(n)
    return digits .. (digits == "1" and " byte" or " bytes")
end

-- Numbers and addresses ----------------------------------------------------------------------------------------------------

-- A number of only digits that fits 64 bits.
local function parse_u64(digits)
    if not digits:find("^%d+$") then return nil end
    local short = digits:match("^0*(%d+)$")
    if #short > 20 or #short == 20 and short > "18446744073709551615" then return nil end
    return UInt64.new(short)
end

-- A number of only digits; larger ones become the largest.
local function parse_number(digits, most)
    if not digits:find("^%d+$") then return nil end
    return math.min(tonumber(digits), most)
end

local function parse_port(digits)
    local port = parse_number(digits, 65536)
    return port and port >= 1 and port <= 65535 and port or nil
end

local function is_ipv4(s)
    local bytes = { s:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$") }
    for _, byte in ipairs(bytes) do
        if #byte > 3 or tonumber(byte) > 255 or byte:find("^0.") then return false end
    end
    return #bytes == 4
end

-- How many groups of 16 bits stand here, or nil.
local function ipv6_groups(s, may_end_in_ipv4)
    local groups = 0
    if s == "" then return 0 end
    for group in (s .. ":"):gmatch("([^:]*):") do
        groups = groups + 1
        if not group:find("^%x%x?%x?%x?$") then
            local rest = s:match("[^:]*$")
            if not (may_end_in_ipv4 and group == rest and is_ipv4(rest)) then return nil end
            groups = groups + 1
        end
    end
    return groups
end

local function is_ipv6(s)
    if not s:find("^[%x:.]+$") or #s > 45 then return false end
    local gap = s:find("::", 1, true)
    if not gap then return ipv6_groups(s, true) == 8 end
    local before, after = ipv6_groups(s:sub(1, gap - 1), false), ipv6_groups(s:sub(gap + 2), true)
    return before ~= nil and after ~= nil and before + after <= 7
end

-- Parts --------------------------------------------------------------------------------------------------------------------
-- A part is { field, first, last, value }: positions in the text, and the value where that is not the text itself.

local function add_part(parts, field, first, last, of)
    parts[#parts + 1] = { field, first, last, of }
end

-- An endpoint of which the address and the port stand in the text, with what may be between them.
local function add_peer(parts, text, ip, ip_first, ip_last, port, port_first, port_last)
    local shown = (ip:find(":", 1, true) and "[" .. ip .. "]" or ip) .. ":" .. port
    parts[#parts + 1] = { f.peer, ip_first, port_last, shown, {
        { ip:find(":", 1, true) and f.peer_ipv6 or f.peer_ip, ip_first, ip_last, ip },
        { f.peer_port, port_first, port_last, port },
    } }
    return shown
end

local function show_parts(tree, tvb, base, parts)
    for _, part in ipairs(parts) do
        local field, first, last, of, children = part[1], part[2], part[3], part[4], part[5]
        local range = tvb(base + first - 1, last - first + 1)
        local item
        if field == f.peer_ip then
            item = tree:add(field, range, Address.ip(of))
        elseif field == f.peer_ipv6 then
            item = tree:add(field, range, Address.ipv6(of))
        elseif of == nil then
            item = tree:add_packet_field(field, range, ENC_UTF_8)
        else
            item = tree:add(field, range, of)
        end
        if children then show_parts(item, tvb, base, children) end
    end
end

-- The positions of the pieces of a text between separators of one byte.
local function pieces(text, first, last, separator)
    local at = first
    return function()
        if at > last + 1 then return nil end
        local from = at
        local stop = text:find(separator, from, true)
        if not stop or stop > last then stop = last + 1 end
        at = stop + 1
        return from, stop - 1
    end
end

local function without_end(text)
    local last = #text
    while last > 0 and text:find("^[\n\r%z]", last) do last = last - 1 end
    return text:sub(1, last)
end

-- Attributes of `kinds`, key by key, separated by tabs. Returns what is wrong, and the values by key.
local function parse_attributes(parts, text, first, last, kinds)
    local known = {}
    for from, to in pieces(text, first, last, "\t") do
        local piece = text:sub(from, to)
        local key, of = piece:match("^(%w+)=(.*)$")
        if piece:find("%c") then return "an attribute holds a control byte", known end
        local read = key and kinds[key]
        if read then
            local field, read_value = read(of)
            if field == nil then return ("the attribute %s is malformed"):format(key), known end
            add_part(parts, field, from, to, read_value)
            known[key] = read_value
        elseif piece ~= "" then
            add_part(parts, f.attribute, from, to)
        end
    end
    return nil, known
end

local function read_size(of)
    local size = parse_u64(of)
    return size and f.size, size
end

local function read_hash(of)
    if #of ~= 64 or of:find("%X") then return nil end
    return f.b3, of:lower()
end

local FILE_ATTRIBUTES = {
    size = read_size,
    b3 = read_hash,
    more = function(of) return f.more, of == "1" end,
}

local METADATA_ATTRIBUTES = {
    size = read_size,
    b3 = read_hash,
    group = function(of)
        local group = parse_u64(of) and parse_number(of, 255)
        return group and f.group, group
    end,
    refused = function(of) return f.refused, of end,
}

local REPORT_ATTRIBUTES = {
    cut = function(of) return f.report_cut, of == "1" end,
    ttl = function(of)
        local ttl = parse_number(of, 256)
        -- A number that fits no TTL is as good as none.
        return ttl and ttl <= 255 and f.report_ttl or f.attribute, ttl and ttl <= 255 and ttl or "ttl=" .. of
    end,
    waits = function(of) return f.report_waits, of == "1" end,
}

-- What is wrong with a name.
local function name_error(name)
    if name == "" then return "the file name is missing" end
    if #name > NAME_BYTES_MAX or name:find("%c") then return "the file name is malformed" end
end

-- A name, and what may follow it after a tab.
local function parse_listed(parts, text, first, last)
    local tab = text:find("\t", first, true)
    local name_last = tab and tab <= last and tab - 1 or last
    local name = text:sub(first, name_last)
    if name ~= "" then add_part(parts, f.name, first, name_last) end
    local wrong, known = name_error(name), {}
    if not wrong and name_last < last then wrong, known = parse_attributes(parts, text, name_last + 2, last, FILE_ATTRIBUTES) end
    return wrong, name, known
end

local function size_text(known)
    return known.size and ", " .. bytes_text(known.size) or ""
end

-- Messages -----------------------------------------------------------------------------------------------------------------

-- The field that begins at `first` and ends before `:`; the position after that is nil where there is none.
local function take(text, first)
    local colon = text:find(":", first, true)
    return text:sub(first, colon and colon - 1 or #text), colon and colon + 1 or nil
end

-- The position of the last `:` from `first` to `last`.
local function last_colon(text, first, last)
    for at = last, first, -1 do
        if text:byte(at) == 58 then return at end
    end
end

local function parse_id(m, text)
    local id, rest = take(text, 3)
    if id == "" then return "the search ID is missing" end
    add_part(m.parts, f.search_id, 3, 2 + #id)
    if #id > ID_BYTES_MAX or id:find("%c") then return "the search ID is malformed" end
    m.id = id
    local digits = id:match("^p1%-(%x+)$")
    if digits and #digits == 16 then
        m.p1 = true
        m.hits_max = digits:match("^a00(%x%x%x)")
        m.wants_end = digits:find("d$") ~= nil
    end
    return nil, rest
end

local function registration(m, text, what)
    local port, rest = take(text, 3)
    if port ~= "" then add_part(m.parts, f.port, 3, 2 + #port, parse_port(port) or 0) end
    if not parse_port(port) then return "the listening port is not a port from 1 to 65535" end
    m.p1 = rest ~= nil and take(text, rest) == "p1"
    m.info = ("%s port %s"):format(what, port)
end

-- For Info: what is searched for.
local function search_text(text)
    local hash = #text == 67 and text:match("^b3=(%x+)$")
    return hash and "by hash " .. hash:sub(1, 9) .. "…" or quoted(text)
end

local function parse_search(m, text)
    local wrong, first = parse_id(m, text)
    if wrong then return wrong end
    if not first then return "the file string is missing" end
    local ttl_colon = last_colon(text, first, #text)
    if not ttl_colon then return "the requesting port is missing" end
    local port_colon = last_colon(text, first, ttl_colon - 1)
    if not port_colon then return "the requesting IP is missing" end
    local ttl, port = text:sub(ttl_colon + 1), text:sub(port_colon + 1, ttl_colon - 1)
    if not parse_number(ttl, 255) then return "the TTL is malformed" end
    if not parse_port(port) then return "the requesting port is not a port from 1 to 65535" end
    local before = text:sub(1, port_colon - 1)
    local ip_first, ip
    if before:find("%]$") then
        ip_first = before:match(".*()%[")
        ip = ip_first and before:sub(ip_first + 1, -2)
        if not ip or not is_ipv6(ip) then return "the requesting IP is malformed" end
        if ip_first > first and text:byte(ip_first - 1) ~= 58 then return "the requesting IP is malformed" end
    else
        ip_first = (last_colon(text, first, port_colon - 1) or first - 1) + 1
        ip = before:sub(ip_first)
        if not is_ipv4(ip) then return "the requesting IP is malformed" end
    end
    m.text = text:sub(first, ip_first - 2)
    if m.text == "" then return "the file string is missing" end
    add_part(m.parts, f.text, first, ip_first - 2)
    if m.text:match("^b3=(%x+)$") and #m.text == 67 then add_part(m.parts, f.b3, first + 3, ip_first - 2, m.text:sub(4):lower()) end
    local peer = add_peer(m.parts, text, ip, ip_first, port_colon - 1, parse_port(port), port_colon + 1, ttl_colon - 1)
    m.ttl = parse_number(ttl, 255)
    add_part(m.parts, f.ttl, ttl_colon + 1, #text, m.ttl)
    if #m.text > NAME_BYTES_MAX or m.text:find("%c") then return "the file string is malformed" end
    m.first_contact = m.p1 and m.ttl == 0 and m.text == FIRST_CONTACT_TEXT
    m.info = m.first_contact and "First contact for " .. peer
        or ("Search %s, TTL %d, for %s"):format(search_text(m.text), m.ttl, peer)
end

local function parse_search_response(m, text)
    local wrong, first = parse_id(m, text)
    if wrong then return wrong end
    if not first then return "the responding IP is missing" end
    local ip, rest = take(text, first)
    local ip_last = first + #ip - 1
    local good = is_ipv4(ip)
    if text:byte(first) == 91 and text:find("]", first, true) then
        ip_last = text:find("]", first, true)
        ip = text:sub(first + 1, ip_last - 1)
        rest = text:byte(ip_last + 1) == 58 and ip_last + 2 or nil
        good = is_ipv6(ip)
    end
    if not good then return "the responding IP is malformed" end
    if not rest then return "the responding port is missing" end
    local port, name = take(text, rest)
    if not parse_port(port) then return "the responding port is not a port from 1 to 65535" end
    local peer = add_peer(m.parts, text, ip, first, ip_last, parse_port(port), rest, rest + #port - 1)
    if not name then return "the file name is missing" end
    local known
    wrong, m.name, known = parse_listed(m.parts, text, name, #text)
    m.info = ("Hit %s at %s%s"):format(quoted(m.name), peer, size_text(known))
    return wrong
end

local function parse_range(m, text)
    local offset, rest = take(text, 3)
    m.offset = parse_u64(offset)
    if not m.offset then return "the offset is malformed" end
    add_part(m.parts, f.offset, 3, 2 + #offset, m.offset)
    if not rest then return "the length is missing" end
    local length, name = take(text, rest)
    m.length = parse_u64(length)
    if not m.length then return "the length is malformed" end
    add_part(m.parts, f.length, rest, rest + #length - 1, m.length)
    if m.offset + m.length < m.offset then return "the length is malformed" end
    if not name then return "the file name is missing" end
    m.name = text:sub(name)
    if m.name ~= "" then add_part(m.parts, f.name, name, #text) end
    m.info = ("Range of %s from %s of %s"):format(bytes_text(m.length), tostring(m.offset), quoted(m.name))
    return name_error(m.name)
end

local function parse_named(m, text, what)
    m.name = text:sub(3)
    if m.name ~= "" then add_part(m.parts, f.name, 3, #text) end
    m.info = ("%s %s"):format(what, quoted(m.name))
    return name_error(m.name)
end

local PARSERS = {
    [0] = function(m, text) return registration(m, text, "Register") end,
    [1] = function(m, text)
        local digits, rest = take(text, 3)
        local peers_max = parse_number(digits, TWO_32 - 1)
        if not peers_max then return "the number of peers is malformed" end
        add_part(m.parts, f.peers_max, 3, 2 + #digits, peers_max)
        m.p1 = rest ~= nil and take(text, rest) == "p1"
        m.info = "Request list of " .. count(peers_max, "peer", "peers")
    end,
    [2] = function(m, text) return registration(m, text, "Unregister") end,
    [3] = function(m, text) return registration(m, text, "Keepalive of") end,
    [4] = function(m, text) return parse_named(m, text, "Download") end,
    [5] = function(m, text)
        m.p1 = text:sub(3) == "p1"
        m.info = m.p1 and "List files with attributes" or "List files"
    end,
    [6] = parse_search,
    [7] = parse_search_response,
    [8] = parse_range,
    [9] = function(m, text) return parse_named(m, text, "Metadata of") end,
}

-- Reads one message. `wrong` says what is malformed; `never` that more bytes would not mend that.
local function parse_message(bytes)
    local text = without_end(bytes)
    local m = { bytes = #bytes, parts = {} }
    if #bytes > MESSAGE_BYTES_MAX then
        m.wrong, m.never = "the message is longer than 4096 bytes", true
    elseif text == "" then
        m.wrong = "the message is empty"
    elseif not text:find("^%d:") then
        m.wrong, m.never = "the message does not begin with a code", not text:find("^%d$")
    else
        m.code = tonumber(text:sub(1, 1))
        m.wrong = PARSERS[m.code](m, text)
    end
    return m
end

-- Connections --------------------------------------------------------------------------------------------------------------

-- `asker`: the endpoint that sends messages; responses come from the other one.
local function new_connection(address, port)
    return { address = address, port = port, state = "first", starts = {}, ends = {}, received = 0, wraps = {}, searches = {} }
end

local function is_asker(c, pinfo)
    return pinfo.src_port == c.port and pinfo.src == c.address
end

-- The request that a new connection with this packet answers by a call back.
local function called_back(pinfo)
    for _, waiting in ipairs(call_backs[pinfo.dst_port] or {}) do
        local request = waiting.request
        local recent = pinfo.rel_ts - request.ts < CALL_BACK_SECONDS_MAX
        if recent and not request.answered and waiting.asker == pinfo.dst and waiting.server == pinfo.src then
            return request
        end
    end
end

local function is_listening(port)
    for from, to in (pyrate.prefs.ports .. ","):gmatch("(%d+)%-?(%d*),") do
        if port >= tonumber(from) and port <= tonumber(to ~= "" and to or from) then return true end
    end
    return false
end

-- The connection to which the first packet with data belongs.
local function open_connection(pinfo, tvb)
    local request = called_back(pinfo)
    if request then
        local c = new_connection(pinfo.dst, pinfo.dst_port)
        request.answered = true
        c.request, c.call_back = request, true
        return c
    end
    -- Without its SYN in the capture, the connection may be in the middle of a response.
    local has_syn = (value(tcp.completeness) or 0) % 2 == 1
    local is_message = tvb:captured_len() >= 2 and tvb:raw(0, 2):find("^%d:")
    if not has_syn and (not is_message or is_listening(pinfo.src_port) and not is_listening(pinfo.dst_port)) then
        return new_connection(pinfo.dst, pinfo.dst_port)
    end
    return new_connection(pinfo.src, pinfo.src_port)
end

-- What the dissection of one packet needs. `seen`: the key of the last packet that the same dissector has seen here.
local function new_view(pinfo, tree, c, seen)
    local n = pinfo.number
    local first = not pinfo.visited or c.is_late and n > (c[seen] or 0)
    if first then c[seen] = n end
    return { pinfo = pinfo, tree = tree, c = c, infos = {}, first = first, number = n }
end

-- The request of the connection, if it comes no later than this packet: a shuffled capture may have the response before it.
local function request_of(view)
    local request = view.c.request
    return request and request.frame <= view.number and request or nil
end

local function add_info(view, text)
    view.infos[#view.infos + 1] = text
end

local function show_infos(view)
    local infos = view.infos
    if #infos == 0 then return end
    local text = table.concat(infos, "; ", 1, math.min(#infos, INFO_MESSAGES_MAX))
    if #infos > INFO_MESSAGES_MAX then text = ("%s; and %d more"):format(text, #infos - INFO_MESSAGES_MAX) end
    view.pinfo.cols.protocol = "Pyrate"
    view.pinfo.cols.info:set(text)
end

local function generated(item)
    item:set_generated(true)
    return item
end

local function show_time(tree, view, since)
    local seconds = math.max(view.pinfo.rel_ts - since, 0)
    local whole = math.floor(seconds)
    generated(tree:add(f.time, NSTime.new(whole, math.floor((seconds - whole) * 1e9 + 0.5))))
end

-- The requester's side -------------------------------------------------------------------------------------------------------

local function remember(view, m)
    local c = view.c
    m.frame, m.ts = view.number, view.pinfo.rel_ts
    if view.state ~= "stream" or not c.request then c.request = m end
    if m.code == 6 and m.id then
        c.searches[m.id] = c.searches[m.id] or m
        searches[m.id] = searches[m.id] or m
    elseif m.code == 4 then
        local waiting = call_backs[c.port] or {}
        waiting[#waiting + 1] = { asker = view.pinfo.src, server = view.pinfo.dst, request = m }
        call_backs[c.port] = waiting
    end
end

-- One message, of which the text begins at `base`. `kind`: "whole"; or "beginning", if more bytes may belong to it.
local function show_message(view, tvb, base, bytes, kind)
    local m = parse_message(bytes)
    local range = tvb(base, #bytes)
    if kind == "beginning" then
        local tree = view.tree:add(pyrate, range, "Pyrate, beginning of a message")
        tree:add_packet_field(f.beginning, range, ENC_UTF_8)
        add_info(view, "Beginning of a message, " .. bytes_text(#bytes))
        return m
    end
    local tree = view.tree:add(pyrate, range, "Pyrate, " .. (CODES[m.code] or "message"))
    if m.code then tree:add(f.code, tvb(base, 1), m.code) end
    if m.p1 then generated(tree:add(f.p1, true)) end
    show_parts(tree, tvb, base, m.parts)
    if m.first_contact then generated(tree:add(f.first_contact, true)) end
    if m.hits_max then generated(tree:add(f.hits_max, tonumber(m.hits_max, 16))) end
    if m.wants_end then generated(tree:add(f.wants_end, true)) end
    if m.wrong then
        tree:add_proto_expert_info(e.malformed, "Malformed: " .. m.wrong)
        add_info(view, ("Malformed%s: %s"):format(m.code and " " .. CODES[m.code] or "", m.wrong))
        return m
    end
    tree:append_text(": " .. m.info)
    add_info(view, m.info .. (m.p1 and (m.code < 4) and " (p1)" or ""))
    local c = view.c
    if view.state == "stream" and m.code ~= 6 and m.code ~= 7 then
        tree:add_proto_expert_info(e.stream, "Only codes 6 and 7 may follow one another on a connection")
    end
    local search = m.code == 7 and searches[m.id]
    if search and search.frame <= view.number then
        generated(tree:add(f.search_in, search.frame))
        show_time(tree, view, search.ts)
    end
    if view.first then remember(view, m) end
    if c.request and c.request.frame == view.number and c.request.answer_frame then
        generated(tree:add(f.response_in, c.request.answer_frame))
    end
    return m
end

local function show_trailing(view, tvb, base)
    local range = tvb(base)
    if without_end(tvb:raw(base)) == "" then return end
    local tree = view.tree:add(pyrate, range, "Pyrate, bytes after the end of the message")
    tree:add(f.trailing, range)
    tree:add_proto_expert_info(e.trailing, "Bytes after the end of the message: nobody reads them")
    add_info(view, bytes_text(range:len()) .. " after the end of the message")
end

local function fits_one_more(view)
    return view.pinfo.can_desegment > 0 and not view.c.is_late
end

-- An unterminated message at the end of a segment of a connection's first message.
local function show_unterminated(view, tvb, base, bytes, new_bytes)
    local m = parse_message(bytes)
    local whole = not m.wrong and new_bytes < FULL_SEGMENT_BYTES or m.never
    show_message(view, tvb, base, bytes, whole and "whole" or "beginning")
    return { bytes = bytes, ts = view.pinfo.rel_ts, shown = whole }
end

-- Messages from `base` on. `new_at`: where the bytes of this packet begin in the buffer. Returns the state after them, and the
-- unterminated message in it.
local function show_messages(view, tvb, new_at, state)
    local s, pos, is_last = tvb:raw(), 1, value(tcp.fin)
    while pos <= #s do
        view.state = state
        if state == "over" then
            show_trailing(view, tvb, pos - 1)
            return state
        end
        local newline = s:find("\n", pos, true)
        local bytes = s:sub(pos, newline or #s)
        -- The end is no part of a message.
        local too_long = #bytes - (newline and 1 or 0) > MESSAGE_BYTES_MAX
        if too_long or newline or is_last then
            local blank = state == "stream" and without_end(bytes) == ""
            if not blank then show_message(view, tvb, pos - 1, bytes, "whole") end
            state = (too_long or not newline) and "over" or "stream"
        elseif state == "first" then
            return state, show_unterminated(view, tvb, pos - 1, bytes, #s - new_at)
        else
            if fits_one_more(view) and pos - 1 >= new_at then
                view.pinfo.desegment_offset = pos - 1 - new_at
                view.pinfo.desegment_len = DESEGMENT_ONE_MORE_SEGMENT
                if view.first then view.c.torn_message = bytes end
            else
                show_message(view, tvb, pos - 1, bytes, "beginning")
            end
            return state
        end
        pos = pos + #bytes
    end
    return state
end

local function buffer_of(bytes, name)
    return ByteArray.new(bytes, true):tvb(name)
end

-- Shows the unterminated message that an end or an answer has completed.
local function show_pending(view, pending, name)
    if not pending or pending.shown then return end
    show_message(view, buffer_of(pending.bytes, name), 0, pending.bytes, "whole")
end

local function dissect_asker(view, tvb)
    local c, n = view.c, view.number
    local start = c.starts[n] or { state = "over" }
    if view.first then
        start = { state = c.state, pending = c.pending }
        c.starts[n] = c.starts[n] or start
        c.torn_message = nil
    end
    local pending, buffer, new_at, state = start.pending, tvb, 0, start.state
    if pending then
        if c.answered and c.answered <= n or view.pinfo.rel_ts - pending.ts >= SILENCE_SECONDS then
            state, pending = "over", nil
        else
            buffer, new_at = buffer_of(pending.bytes .. tvb:raw(), "Pyrate message"), #pending.bytes
        end
    end
    local unterminated
    state, unterminated = show_messages(view, buffer, new_at, state)
    if view.first then c.state, c.pending = state, unterminated end
end

-- The responder's side ------------------------------------------------------------------------------------------------------

-- Where the first byte of this segment is in the response; negative for one that was sent before its beginning.
local function position(view)
    local c = view.c
    local delta = (value(tcp.seq_raw) - c.response_seq) % TWO_32
    local turns = 0
    if view.first then
        turns = math.floor((c.received - delta) / TWO_32 + 0.5)
        if turns > #c.wraps then c.wraps[turns] = view.number end
    else
        while c.wraps[turns + 1] and c.wraps[turns + 1] <= view.number do turns = turns + 1 end
        if turns == 0 and delta >= TWO_32 / 2 then turns = -1 end
    end
    return delta + turns * TWO_32
end

local OTHER_PROGRAMS = { "^HTTP/%d", "^SSH%-%d", "^RFB %d", "^<!?[dDhH][oOtT]", '^{"', "^220[ -]", "^%+OK", "^%-ERR" }

local function is_other_program(line)
    for _, pattern in ipairs(OTHER_PROGRAMS) do
        if line:find(pattern) then return true end
    end
    return false
end

local function show_wrong_line(tree, view, range, line, wrong)
    local item = tree:add_packet_field(f.line, range, ENC_UTF_8)
    if is_other_program(line) then
        item:add_proto_expert_info(e.other, "This is an answer of another program")
        add_info(view, "Answer of another program: " .. quoted(line))
    else
        item:add_proto_expert_info(e.malformed, "Malformed: " .. wrong)
        view.malformed = (view.malformed or 0) + 1
    end
end

local function show_peer_line(tree, view, tvb, base, line)
    local parts = {}
    local plain = line:match("^(.*),p1$") or line
    local comma = plain:match(".*(),")
    local ip, port = plain:sub(1, (comma or 0) - 1), comma and parse_port(plain:sub(comma + 1))
    if not comma or not port or not (is_ipv4(ip) or is_ipv6(ip)) then
        return show_wrong_line(tree, view, tvb(base, #line), line, "the line is no peer")
    end
    add_peer(parts, line, ip, 1, comma - 1, port, comma + 1, #plain)
    if #plain < #line then add_part(parts[1][5], f.p1, #plain + 2, #line, true) end
    show_parts(tree, tvb, base, parts)
    view.lines = view.lines + 1
end

local function show_file_line(tree, view, tvb, base, line)
    local parts = {}
    local wrong, name, known = parse_listed(parts, line, 1, #line)
    if wrong or view.at_start and is_other_program(line) and not line:find("\t", 1, true) then
        return show_wrong_line(tree, view, tvb(base, #line), line, wrong or "the line is no file")
    end
    local item = tree:add(tvb(base, #line), "File: " .. quoted(name) .. size_text(known))
    show_parts(item, tvb, base, parts)
    view.lines = view.lines + 1
end

-- `p1`, the answer to a first contact, or a report on a search. Readers skip what they do not know.
local function show_report_line(tree, view, tvb, base, line)
    local c = view.c
    local request = request_of(view)
    if request and request.first_contact and line:find("^p1\t?") and (#line == 2 or line:byte(3) == 9) then
        tree:add(f.p1, tvb(base, 2), true)
        return add_info(view, "First contact is answered: p1")
    end
    local word, id = line:match("^(%l+)=([^\t]*)")
    if word ~= "done" and word ~= "waits" or id == "" or #id > ID_BYTES_MAX or id:find("[:%c]") then
        tree:add_packet_field(f.line, tvb(base, #line), ENC_UTF_8)
        if is_other_program(line) then tree:add_proto_expert_info(e.other, "This is an answer of another program") end
        return add_info(view, "Line that is not known: " .. quoted(line))
    end
    local parts = {}
    add_part(parts, f.report, 1, #word, word)
    add_part(parts, f.search_id, #word + 2, #word + 1 + #id)
    local _, known = parse_attributes(parts, line, #word + #id + 3, #line, word == "done" and REPORT_ATTRIBUTES or {})
    show_parts(tree, tvb, base, parts)
    local search = c.searches[id]
    local what = search and search.text and " " .. search_text(search.text) or " " .. quoted(id)
    add_info(view, (word == "done" and "Search is done" or "Search waits for others") .. (known.cut and ", cut" or "") .. ":" .. what)
    if search and search.frame <= view.number then
        generated(tree:add(f.search_in, search.frame))
        show_time(tree, view, search.ts)
    end
end

local function show_lines_info(view, what, one, many)
    if view.lines > 0 then add_info(view, ("%s: %s"):format(what, count(view.lines, one, many))) end
    if view.malformed then add_info(view, count(view.malformed, "malformed line", "malformed lines")) end
end

local LINES = {
    [1] = { show = show_peer_line, most = PEER_LINE_BYTES_MAX, what = "Peer list", one = "peer", many = "peers" },
    [5] = { show = show_file_line, most = MESSAGE_BYTES_MAX, what = "File list", one = "file", many = "files" },
    [6] = { show = show_report_line, most = MESSAGE_BYTES_MAX },
    [7] = { show = show_report_line, most = MESSAGE_BYTES_MAX },
}

-- The subtree of this packet's part of the response.
local function response_tree(view, range, what)
    local c, request = view.c, request_of(view)
    local tree = view.tree:add(pyrate, range, "Pyrate, " .. what)
    if not request then return tree end
    generated(tree:add(f.response_code, request.code))
    if request.code == 6 and not request.first_contact or request.code == 7 then return tree end
    generated(tree:add(f.response_to, request.frame))
    if request.answer_frame == view.number then show_time(tree, view, request.ts) end
    if c.call_back then generated(tree:add(f.call_back, true)) end
    return tree
end

local function show_data(view, tvb, base, at)
    local request = request_of(view)
    local range = tvb(base)
    local name = request and request.name and " of " .. quoted(request.name) or ""
    local offset = at >= 0 and UInt64.new(at) + (request and request.offset or UInt64.new(0)) or nil
    local tree = response_tree(view, range, "data" .. name)
    tree:add(f.data, range)
    if offset then generated(tree:add(f.data_offset, offset)) end
    generated(tree:add(f.data_length, range:len()))
    if request and request.length and at >= 0 and UInt64.new(at + range:len()) > request.length then
        tree:add_proto_expert_info(e.long, "More bytes than the range has")
    end
    local from = offset and tostring(offset) or "before the first captured byte"
    add_info(view, ("Data%s: %s from %s"):format(name, bytes_text(range:len()), from))
end

local function show_chaining(view, tvb, base, at)
    if base >= tvb:captured_len() then return end
    local c, range = view.c, tvb(base)
    local tree = response_tree(view, range, "chaining values")
    tree:add(f.chaining, range)
    if at < 0 then return end
    generated(tree:add(f.chaining_offset, at))
    generated(tree:add(f.chaining_length, range:len()))
    if c.chaining_bytes and at + range:len() > c.chaining_bytes then
        tree:add_proto_expert_info(e.long, "More bytes than the chaining values of the file have")
    end
    add_info(view, ("Chaining values: %s from %d"):format(bytes_text(range:len()), at))
end

-- The bytes of chaining values that the size needs; nil if that is beyond what a number holds exactly.
local function chaining_bytes(size)
    if size > UInt64.new(2 ^ 52) then return nil end
    local groups = math.ceil(tonumber(tostring(size)) / GROUP_BYTES)
    return groups > 1 and groups * CHAINING_VALUE_BYTES or 0
end

local function show_metadata_line(view, tvb, line)
    local c, parts, request = view.c, {}, request_of(view)
    local wrong, known = parse_attributes(parts, line, 1, #line, METADATA_ATTRIBUTES)
    local tree = response_tree(view, tvb(0, #line), "metadata")
    show_parts(tree, tvb, 0, parts)
    if known.refused and not wrong then
        tree:add_proto_expert_info(e.refused, "Refused: " .. quoted(known.refused))
        if view.first then c.refused = known.refused end
        return add_info(view, ("Metadata of %s refused: %s"):format(quoted(request.name), quoted(known.refused)))
    end
    if not wrong and not (known.size and known.b3 and known.group) then wrong = "size, b3 or group is missing" end
    if wrong then
        if is_other_program(line) then tree:add_proto_expert_info(e.other, "This is an answer of another program") end
        tree:add_proto_expert_info(e.malformed, "Malformed: " .. wrong)
        return add_info(view, "Malformed metadata: " .. wrong)
    end
    if view.first and known.group == 20 then c.chaining_bytes = chaining_bytes(known.size) end
    add_info(view, ("Metadata of %s: %s"):format(quoted(request.name), bytes_text(known.size)))
end

-- A line, then chaining values.
local function dissect_metadata(view, tvb)
    local c, n = view.c, view.number
    if c.header_frame and n > c.header_frame then return show_chaining(view, tvb, 0, position(view) - c.header_bytes) end
    local s = tvb:raw(0, math.min(tvb:captured_len(), METADATA_LINE_BYTES_MAX + 1))
    local newline = s:find("\n", 1, true)
    if not newline and #s <= METADATA_LINE_BYTES_MAX and not value(tcp.fin) and fits_one_more(view) then
        if view.first then c.torn_line = s end
        view.pinfo.desegment_offset, view.pinfo.desegment_len = 0, DESEGMENT_ONE_MORE_SEGMENT
        return
    end
    local line = s:sub(1, newline and newline - 1 or #s)
    local rest = newline or #s
    if view.first then c.header_frame, c.header_bytes, c.torn_line = n, rest, nil end
    show_metadata_line(view, tvb, line)
    show_chaining(view, tvb, rest, 0)
end

local function dissect_lines(view, tvb, kind)
    local c, s, pos, tree = view.c, tvb:raw(), 1, nil
    if view.first then c.torn_line = nil end
    view.lines = 0
    view.at_start = not request_of(view) or c.request.answer_frame == view.number
    while pos <= #s do
        local newline = s:find("\n", pos, true)
        local line = without_end(s:sub(pos, newline or #s))
        local is_torn = not newline and #line <= kind.most and not value(tcp.fin) and fits_one_more(view)
        if not is_torn then tree = tree or response_tree(view, tvb(), kind.what and kind.what:lower() or "answer") end
        if #line > kind.most then
            show_wrong_line(tree, view, tvb(pos - 1, #line), line, "the line is too long")
        elseif is_torn then
            if view.first then c.torn_line = line end
            view.pinfo.desegment_offset, view.pinfo.desegment_len = pos - 1, DESEGMENT_ONE_MORE_SEGMENT
            break
        elseif line ~= "" then
            kind.show(tree, view, tvb, pos - 1, line)
        end
        pos = (newline or #s) + 1
    end
    if kind.what then show_lines_info(view, kind.what, kind.one, kind.many) end
end

local function dissect_responder(view, tvb)
    local c, n = view.c, view.number
    if view.first then
        if not c.answered then
            c.answered, c.response_seq = n, value(tcp.seq_raw)
            -- An unterminated message was complete before it was answered.
            if c.pending and not c.pending.shown then c.completes, c.completed_in = c.pending, n end
            c.pending = c.pending and { bytes = c.pending.bytes, ts = c.pending.ts, shown = true }
        end
    end
    if c.completed_in == n then show_pending(view, c.completes, "Pyrate message, ended by silence") end
    local request = request_of(view)
    if view.first then
        if request and not request.answer_frame then request.answer_frame, request.answered = n, true end
        c.received = math.max(c.received, position(view) + value(tcp.len))
    end
    local code = request and request.code
    if code == 9 then
        dissect_metadata(view, tvb)
    elseif LINES[code] then
        dissect_lines(view, tvb, LINES[code])
    else
        show_data(view, tvb, 0, position(view))
    end
end

function pyrate.dissector(tvb, pinfo, tree)
    local stream = value(tcp.stream)
    if not stream or tvb:captured_len() == 0 or pinfo.in_error_pkt then return 0 end
    local c = connections[stream]
    if not c then
        c = open_connection(pinfo, tvb)
        -- The first of several passes (tshark -2, sharkd) may build no tree, so that there are no fields of TCP.
        c.is_late = pinfo.visited
        connections[stream] = c
    end
    local view = new_view(pinfo, tree, c, "seen")
    if is_asker(c, pinfo) then dissect_asker(view, tvb) else dissect_responder(view, tvb) end
    pinfo.cols.protocol = "Pyrate"
    show_infos(view)
    return tvb:captured_len()
end

-- Ends -----------------------------------------------------------------------------------------------------------------------

local function asked_for(request)
    local what = { [1] = "Peer list", [5] = "File list", [9] = "Metadata of ", [8] = "Range of ", [4] = "Download of " }
    return what[request.code] .. (request.name and quoted(request.name) or "")
end

-- How the response ended: a word, what Info says, and what the expert says of it, if anything.
local function verdict(c, is_reset)
    local request, received = c.request, c.received
    local bytes = count(received, "byte", "bytes")
    if not request or not ANSWERED[request.code] then
        if is_reset then return "reset", "Connection reset", e.reset end
        return nil
    elseif is_reset and received == 0 then
        return "refused", asked_for(request) .. " refused", e.refused
    elseif is_reset then
        return "aborted", ("%s broken off after %s"):format(asked_for(request), bytes), e.aborted
    elseif c.refused then
        return "refused", "End of the refusal"
    elseif request.code == 4 and received == 0 then
        return "nothing", asked_for(request) .. ": no byte: an empty file, a refusal, or a call back follows", e.nothing
    end
    local wanted
    if request.code == 8 and request.length < UInt64.new(2 ^ 52) then
        wanted = tonumber(tostring(request.length))
    elseif request.code == 9 then
        if not c.header_bytes then return "refused", asked_for(request) .. " refused without a reason", e.refused end
        wanted = c.chaining_bytes and c.header_bytes + c.chaining_bytes
    end
    if wanted and received < wanted then
        return "short", ("%s ended after %d of %s"):format(asked_for(request), received, count(wanted, "byte", "bytes")), e.short
    end
    return "complete", ("%s complete, %s"):format(asked_for(request), bytes)
end

-- What the FIN or RST of this packet means: computed once, when it is first dissected.
local function end_of(c, pinfo, is_reset)
    local from_asker = is_asker(c, pinfo)
    local ending = {}
    if c.pending and not c.pending.shown then
        ending.pending, c.pending = c.pending, nil
        c.state = "over"
    end
    if from_asker then
        if c.torn_message then ending.pending, c.torn_message = { bytes = c.torn_message }, nil end
        if is_reset and not c.over and c.request and ANSWERED[c.request.code] and c.received > 0 then
            ending.word, ending.text, ending.expert = "aborted", "The requester broke off the response", e.reset
            c.over = true
        end
        return ending
    end
    ending.line, c.torn_line = c.torn_line, nil
    ending.is_response_end = not c.over
    c.over = true
    return ending
end

function pyrate_end.dissector(tvb, pinfo, tree)
    if next(connections) == nil then return end
    local is_reset = value(tcp.reset)
    if not is_reset and not value(tcp.fin) or pinfo.in_error_pkt then return end
    local c = connections[value(tcp.stream)]
    if not c then return end
    local view = new_view(pinfo, tree, c, "end_seen")
    if view.first and not c.ends[view.number] then c.ends[view.number] = end_of(c, pinfo, is_reset) end
    local ending = c.ends[view.number]
    if not ending then return end
    show_pending(view, ending.pending, "Pyrate message, ended by FIN")
    if ending.line then
        local buffer, kind = buffer_of(ending.line, "Last line"), request_of(view) and LINES[c.request.code]
        local subtree = response_tree(view, buffer(), "last line")
        view.lines = 0
        if kind then
            kind.show(subtree, view, buffer, 0, ending.line)
            if kind.what then show_lines_info(view, kind.what, kind.one, kind.many) end
        else
            show_metadata_line(view, buffer, ending.line)
        end
    end
    if ending.is_response_end and view.first then ending.word, ending.text, ending.expert = verdict(c, is_reset) end
    if ending.word then
        local subtree = tree:add(pyrate, "Pyrate, end of the response")
        subtree:set_generated(true)
        generated(subtree:add(f.ended, ending.word))
        if c.request then
            generated(subtree:add(f.response_code, c.request.code))
            if c.request.frame then generated(subtree:add(f.response_to, c.request.frame)) end
            if view.first then ending.bytes, ending.since = c.received, c.request.ts end
            generated(subtree:add(f.response_bytes, UInt64.new(ending.bytes or 0)))
            if ending.since then show_time(subtree, view, ending.since) end
        end
        if ending.expert then subtree:add_proto_expert_info(ending.expert, ending.text) end
        add_info(view, ending.text)
    end
    if #view.infos > 0 then
        pinfo.cols.protocol = "Pyrate"
        local text = table.concat(view.infos, "; ")
        if value(tcp.len) > 0 then pinfo.cols.info:append("; " .. text) else pinfo.cols.info:prepend(text .. " | ") end
    end
end

-- Registration ---------------------------------------------------------------------------------------------------------------

-- Whether the first segment of a connection can only be Pyrate: well-formed messages, and nothing else.
local function is_pyrate(tvb)
    local length = tvb:captured_len()
    if length < 2 or not tvb:raw(0, 2):find("^%d:") or value(tcp.seq) ~= 1 then return false end
    local s = tvb:raw()
    local first = s:sub(1, s:find("\n", 1, true) or #s)
    local m = parse_message(first)
    if m.wrong then return false end
    local text = without_end(s)
    if m.code == 6 or m.code == 7 then return true end
    if m.code == 5 then return text == "5:" or text == "5:p1" end
    if m.code < 4 then return text:find("^%d:%d+$") ~= nil or text:find("^%d:%d+:p1$") ~= nil end
    -- A name alone proves little: nothing may follow it.
    return without_end(first) == text and is_utf8(text)
end

pyrate:register_heuristic("tcp", function(tvb, pinfo, tree)
    if pinfo.in_error_pkt then return false end
    local known = next(connections) and connections[value(tcp.stream)]
    if not known and not called_back(pinfo) and not is_pyrate(tvb) then return false end
    pinfo.conversation = pyrate
    pyrate.dissector(tvb, pinfo, tree)
    return true
end)

local tcp_ports = DissectorTable.get("tcp.port")
local ports = pyrate.prefs.ports

function pyrate.prefs_changed()
    if ports == pyrate.prefs.ports then return end
    if ports ~= "" then tcp_ports:remove(ports, pyrate) end
    ports = pyrate.prefs.ports
    if ports ~= "" then tcp_ports:add(ports, pyrate) end
end

tcp_ports:add(ports, pyrate)
register_postdissector(pyrate_end)

-- Makes Wireshark build a tree, and so give us the fields of TCP, also when it reads a capture for the first time.
Listener.new("tcp")
