"""Replays docs/vectors against the independent peer. Run: /usr/bin/python3 -m unittest test_vectors"""

import json
import pathlib
import struct
import unittest

from sekisho_peer import kdc, messages, options, schedule, siv
from sekisho_peer.fields import Malformed, device, service
from sekisho_peer.protection import FIN, RST, SegmentKey

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "vectors"


def load(name):
    """A file of vectors."""
    return json.loads((VECTORS / name).read_text())


def unhex(table):
    """The table with its hexadecimal strings as octets."""
    return {name: bytes.fromhex(value) for name, value in table.items()}


class Siv(unittest.TestCase):
    """RFC 8452, appendix C.2, the first and a longer vector."""

    def test_rfc_8452(self):
        key, nonce = bytes([1]) + bytes(31), bytes([3]) + bytes(11)
        self.assertEqual(siv.seal(key, nonce, b"", b"").hex(), "07f5f4169bbf55a8400cd47ea6fd400f")
        box = siv.seal(key, nonce, bytes([1]) + bytes(7), b"")
        self.assertEqual(box.hex(), "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28")
        self.assertEqual(siv.open_box(key, nonce, box, b""), bytes([1]) + bytes(7))
        self.assertIsNone(siv.open_box(key, nonce, box[:-1] + b"\0", b""))


class Options(unittest.TestCase):
    """options.json"""

    def test_encode(self):
        for row in load("options.json")["encode"]:
            with self.subTest(row["name"]):
                if row["type"] == "tag":
                    made = options.tag_option(row["phase"], bytes.fromhex(row["tag"]))
                else:
                    kind = ("request", "accept", "resync").index(row["type"])
                    made = options.named(kind, bytes.fromhex(row["request_id"]))
                self.assertEqual(made.hex(), row["bytes"])

    def test_read(self):
        for row in load("options.json")["read"]:
            with self.subTest(row["name"]):
                try:
                    verdict = options.read(bytes.fromhex(row["options"]))[0] or "none"
                except options.Unreadable as reason:
                    verdict = str(reason)
                self.assertEqual(verdict, row["verdict"])

    def test_rewrite(self):
        for row in load("options.json")["rewrite"]:
            with self.subTest(row["name"]):
                insert = bytes.fromhex(row["insert"] or "")
                made = options.rewrite(bytes.fromhex(row["options"]), insert, row["mss"])
                self.assertEqual(made.hex(), row["result"])


class Protection(unittest.TestCase):
    """protection.json"""

    def test_seal_and_open(self):
        vectors = load("protection.json")["vectors"]
        self.assertGreater(len(vectors), 5)
        for row in vectors:
            with self.subTest(row["name"]):
                key = SegmentKey(bytes.fromhex(row["key"]), bytes.fromhex(row["hash_key"]))
                offset, flags = int(row["offset"], 16), FIN * row["fin"] + RST * row["rst"]
                plain = bytes.fromhex(row["plaintext"])
                cipher, tag = key.seal(offset, flags, row["phase"], plain)
                self.assertEqual((cipher.hex(), tag.hex()), (row["ciphertext"], row["tag"]))
                self.assertEqual(key.open(offset, flags, row["phase"], cipher, tag), plain)
                self.assertIsNone(key.open(offset ^ 1, flags, row["phase"], cipher, tag))


class Delivery(unittest.TestCase):
    """messages.json"""

    def setUp(self):
        vectors = load("messages.json")
        self.inputs, self.boxes = vectors["inputs"], unhex(vectors["boxes"])
        self.wire, self.kdc = unhex(vectors["delivery"]), unhex(vectors["kdc"])
        self.vectors = vectors
        self.client = schedule.DeviceKey(bytes.fromhex(self.inputs["client_key"]), "client")
        self.gateway = schedule.DeviceKey(bytes.fromhex(self.inputs["gateway_key"]), "gateway")
        self.request_id = bytes.fromhex(self.inputs["request_id"])
        self.ng = bytes.fromhex(self.inputs["ng"])

    def identify(self):
        address, _, port = self.inputs["service"].rpartition(":")
        cookie = messages.parse(self.wire["invite"]).values[1]
        return messages.identify(
            self.request_id,
            device(self.inputs["client_id"]),
            self.client,
            device(self.inputs["gateway_id"]),
            service(address, int(port)),
            bytes.fromhex(self.inputs["nc"]),
            bytes.fromhex(self.inputs["option"]),
            cookie,
            self.inputs["key_version"],
        )

    def test_the_client_s_messages(self):
        self.assertEqual(messages.early(self.request_id), self.wire["early"])
        self.assertEqual(self.identify(), self.wire["identify"])

    def test_the_kdc_s_messages(self):
        identify = messages.parse(self.wire["identify"])
        request = kdc.key_request(device("name:gw1"), self.gateway, identify, self.ng)
        self.assertEqual(request, self.kdc["key_request"])
        kdc.parse_request(request)
        what, ccl, cgw = kdc.answer(request, self.kdc["key_reply"])
        self.assertEqual((what, ccl, cgw), ("reply", self.boxes["ccl"], self.boxes["cgw"]))
        bound = kdc.bound_fields(identify, self.ng)
        for grant in (kdc.open_ccl(self.client, ccl), kdc.open_cgw(self.gateway, request, ccl, cgw)):
            self.assertEqual(grant.session_key.hex(), self.inputs["ks"])
            self.assertEqual((grant.bound, grant.lifetime), (bound, self.inputs["lifetime_seconds"]))
        refusal = self.kdc["key_refusal_not_permitted"]
        self.assertEqual(kdc.answer(request, refusal)[:2], ("refusal", 5))
        self.assertTrue(kdc.refusal_verifies(self.gateway, refusal))
        self.assertFalse(kdc.refusal_verifies(self.client, refusal))
        self.assertIsNone(kdc.open_cgw(self.gateway, request + b"\0", ccl, cgw))

    def test_the_end(self):
        deliver = messages.parse(self.wire["deliver"])
        before = messages.deliver_before_confirm(
            self.request_id, self.wire["identify"], self.ng, self.boxes["ccl"]
        )
        self.assertEqual(before, self.wire["deliver"][: len(before)])
        transcript = schedule.transcript(self.wire["identify"], before)
        keys = schedule.EpochKeys(transcript, bytes.fromhex(self.inputs["ks"]))
        self.assertEqual(keys.confirm_gateway, deliver.values[4])
        self.assertEqual(keys.confirm_client, messages.parse(self.wire["sync"]).values[0])
        synced = messages.parse(self.wire["synced"])
        plain = siv.open_box(keys.synced, bytes(12), synced.values[0], self.wire["synced"][:16])
        self.assertEqual(plain, bytes(4))
        refuse = messages.parse(self.wire["refuse_mac_timeout"])
        head = self.wire["refuse_mac_timeout"][:16]
        self.assertEqual(messages.refuse_mac(keys.control, head, 15), refuse.values[1])

    def test_what_is_refused(self):
        for row in self.vectors["refused_delivery"]:
            with self.subTest(row["name"]), self.assertRaises(Malformed):
                messages.parse(bytes.fromhex(row["bytes"]))
        for row in self.vectors["refused_kdc"]:
            data = bytes.fromhex(row["bytes"])
            with self.subTest(row["name"]), self.assertRaises(Malformed):
                if data[1] == kdc.KEY_REQUEST:
                    kdc.parse_request(data)
                else:
                    kdc.answer(b"", data)


class Schedule(unittest.TestCase):
    """schedule.json"""

    def setUp(self):
        self.vectors = load("schedule.json")

    def test_device_keys(self):
        for row in self.vectors["device_keys"]:
            for role in ("client", "gateway"):
                key = schedule.DeviceKey(bytes.fromhex(row["key"]), role)
                self.assertEqual(key.auth.hex(), row[f"{role}_auth"])
                self.assertEqual(key.wrap.hex(), row[f"{role}_wrap"])

    def test_derived_keys(self):
        master = bytes.fromhex(self.vectors["master_key"])
        for row in self.vectors["derived"]:
            with self.subTest(row["id"]):
                made = schedule.derived_device_key(
                    master, row["role"], device(row["id"]), row["key_version"]
                )
                self.assertEqual(made.hex(), row["key"])

    def test_epochs(self):
        row = unhex(self.vectors["transcript"])
        made = schedule.transcript(row["answered"], row["deliver_without_confirm"])
        self.assertEqual(made, row["th"])
        for row in self.vectors["epochs"]:
            with self.subTest(row["name"]):
                octets = unhex({name: value for name, value in row.items() if name != "name"})
                chain = octets["chain_of_last_epoch"]
                keys = schedule.EpochKeys(octets["th"], octets["ks"], chain)
                self.assertEqual(keys.c2s, (octets["c2s_aes"], octets["c2s_ghash"]))
                self.assertEqual(keys.s2c, (octets["s2c_aes"], octets["s2c_ghash"]))
                self.assertEqual(keys.confirm_client, octets["confirm_c"])
                self.assertEqual(keys.confirm_gateway, octets["confirm_g"])
                for name in ("synced", "control", "chain"):
                    self.assertEqual(getattr(keys, name), octets[name])


if __name__ == "__main__":
    unittest.main()
