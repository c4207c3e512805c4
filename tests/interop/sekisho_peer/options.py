"""TCP options (spec, section 2): ours, and how a list is rewritten on its way through a box."""

import struct

KIND = 253
EXID = 0x5E50
REQUEST, ACCEPT, RESYNC = 0, 1, 2
VERSION = 1
EXPERIMENTAL = (253, 254)
FAST_OPEN_EXID = 0xF989
ACC_ECN_EXIDS = (0xACCE, 0xACC0, 0xACC1)
SACK, MSS, MPTCP, FAST_OPEN = 5, 2, 30, 34
DEFAULT_MSS = {"v4": 536, "v6": 1220}
TAG_ROOM = 16
LEAST_MSS = 48
ROOM = 40


class Unreadable(Exception):
    """An option list that a receiver drops; its text is the reason's name."""


def named(kind, request_id):
    """A Request, Accept or Resync."""
    return struct.pack(">BBHB", KIND, 13, EXID, VERSION << 4 | kind) + request_id


def tag_option(phase, tag):
    """A Tag."""
    return struct.pack(">BBH", KIND, 16, EXID | phase) + tag


def walk(data):
    """The options before End-of-List as (kind, octets); NOP is (1, b"\\1"). Refuses bad lengths (M2.4)."""
    found = []
    while data and data[0] != 0:
        if data[0] == 1:
            found.append((1, data[:1]))
            data = data[1:]
            continue
        if len(data) < 2 or data[1] < 2 or data[1] > len(data):
            raise Unreadable("malformed_options")
        found.append((data[0], data[: data[1]]))
        data = data[data[1] :]
    return found


def exid(option):
    """The ExID of an experimental option (RFC 6994), or None."""
    if option[0] in EXPERIMENTAL and len(option) >= 4:
        return struct.unpack(">H", option[2:4])[0]
    return None


def is_ours(option):
    """Whether kind and ExID, last bit aside, are ours."""
    return option[0] == KIND and exid(option) is not None and exid(option) & ~1 == EXID


def read(data):
    """Our option of a list as (name, value), or (None, None); raises Unreadable (M2.3, M2.4)."""
    ours = [option for _, option in walk(data) if is_ours(option)]
    if len(ours) > 1:
        raise Unreadable("duplicate_sekisho_option")
    if not ours:
        return None, None
    option, phase = ours[0], exid(ours[0]) & 1
    if len(option) == 16:
        return "tag", (phase, option[4:])
    kind = option[4] if len(option) == 13 else None
    if kind is None or phase or kind >> 4 != VERSION or kind & 15 > RESYNC:
        raise Unreadable("malformed_sekisho_option")
    return ("request", "accept", "resync")[kind & 15], option[5:]


def _unwanted(option, mss):
    fast_open = option[0] == FAST_OPEN or exid(option) == FAST_OPEN_EXID
    wrong_mss = mss and option[0] == MSS and len(option) != 4
    return is_ours(option) or option[0] == MPTCP or fast_open or wrong_mss


def _is_acc_ecn(option):
    return option[0] in (172, 174) or exid(option) in ACC_ECN_EXIDS


def _kept(data, mss):
    """The list without what is removed on the way, each together with NOPs behind it up to the next
    4-byte border (M2.7)."""
    kept, at = [], 0
    swallowing = False
    for _, option in walk(data):
        if option == b"\x01" and swallowing and at % 4:
            at += 1
            continue
        swallowing = _unwanted(option, mss)
        at += len(option)
        if not swallowing:
            kept.append(option)
    return kept


def _with_mss(kept, family):
    """M2.8 to M2.10."""
    if all(option[0] != MSS for option in kept):
        added = struct.pack(">BBH", MSS, 4, DEFAULT_MSS[family] - TAG_ROOM)
        return [added] + kept
    return [_lowered(option) if option[0] == MSS else option for option in kept]


def _lowered(option):
    (mss,) = struct.unpack(">H", option[2:])
    lower = mss if mss < LEAST_MSS else max(mss - TAG_ROOM, LEAST_MSS)
    return option[:2] + struct.pack(">H", lower)


def _padded(options):
    return -(-sum(map(len, options)) // 4) * 4


def _make_room(kept, insert):
    """The ladder of M2.14, no further than needed."""
    kept = [option for option in kept if option[0] != 1]
    room = ROOM - len(insert)
    excess = lambda: sum(map(len, kept)) > room

    def trim(least):
        for at, option in enumerate(kept):
            while option[0] == SACK and excess() and len(option) > least:
                option = bytes([SACK, len(option) - 8]) + option[2:-8]
                kept[at] = option

    def discard(which):
        for at in range(len(kept) - 1, -1, -1):
            if excess() and which(kept[at]):
                del kept[at]

    trim(10)
    discard(_is_acc_ecn)
    discard(lambda option: option[0] not in (MSS, 3, 4, SACK, 8))
    discard(lambda option: option[0] == SACK)
    return kept


def rewrite(data, insert=b"", mss=None):
    """The list after removing what is ours and what does not go with protection, lowering the MSS by the
    rule of the IP version `mss`, and adding `insert` behind all others, padded with NOP."""
    kept = _kept(data, mss)
    if mss:
        kept = _with_mss(kept, mss)
    body = b"".join(kept)
    if insert:
        body = body.ljust(_padded(kept), b"\x01")
        if len(body) + len(insert) > ROOM:
            body = b"".join(_make_room(kept, insert))
        body += insert
    return body.ljust(-(-len(body) // 4) * 4, b"\x01")
