"""Packets in and out of an interface: a packet socket, and the VLAN tags that the kernel takes off."""

import socket
import struct

ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA = 263, 8
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
AUXDATA = struct.Struct("=IIIHHHH")
OUTGOING = 4


class Link:
    """One interface. `default_mac` is where frames without a MAC address of their own go."""

    def __init__(self, interface, default_mac):
        self.interface, self.default_mac = interface, default_mac
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.bind((interface, ETH_P_ALL))
        self.socket.setblocking(False)
        self.mac = ":".join(f"{octet:02x}" for octet in self.socket.getsockname()[4])

    def fileno(self):
        """For select."""
        return self.socket.fileno()

    def send(self, frame):
        """Sends one frame as it is."""
        self.socket.send(frame)

    def receive(self):
        """The next frame that came in, or None. A tag that the kernel took off is put back."""
        while True:
            try:
                frame, extra, _, address = self.socket.recvmsg(65536, 64)
            except BlockingIOError:
                return None
            if address[2] != OUTGOING:
                return self._with_vlan(frame, extra)

    @staticmethod
    def _with_vlan(frame, extra):
        for level, kind, data in extra:
            if (level, kind) != (SOL_PACKET, PACKET_AUXDATA) or len(data) < AUXDATA.size:
                continue
            status, *_, tci, tpid = AUXDATA.unpack(data[: AUXDATA.size])
            if status & TP_STATUS_VLAN_VALID:
                kind = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                return frame[:12] + struct.pack(">HH", kind, tci) + frame[12:]
        return frame
