// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The XDP program of one port: decides by protected address first, then by protocol and port,
 * whether a frame goes to user space, straight to the peer port, or nowhere.
 *
 * It never returns XDP_PASS: the kernel's own stack sees nothing of these ports. Everything that
 * cannot be shown to be foreign or harmless is dropped and counted.
 *
 * One object is loaded for each port; `xsks_map`, `tx_port`, `settings` and `counters` are its
 * own, the others are shared by both ports. The program needs no header of libbpf.
 */
#include <linux/bpf.h>
#include <linux/types.h>

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value,
				   __u64 flags) = (void *)2;
static long (*bpf_redirect_map)(void *map, __u64 key, __u64 flags) = (void *)51;

/* Frame formats. */
#define ETH_HEADER 14
#define VLAN_HEADER 4
#define MAX_VLAN_TAGS 2
#define ETYPE_IPV4 0x0800
#define ETYPE_IPV6 0x86dd
#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define IPV4_FRAGMENT 0x3fff /* more-fragments bit and offset */
#define TCP_HEADER 20
#define TCP_MAX_HEADER 60
#define UDP_HEADER 8
/* Extension headers walked before giving up; hosts send one or two. */
#define MAX_EXTENSIONS 6

#define ICMP_HEADER 8

#define PROTO_HOP_BY_HOP 0
#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ROUTING 43
#define PROTO_FRAGMENT 44
#define PROTO_AH 51
#define PROTO_ICMPV6 58
#define PROTO_DEST_OPTIONS 60
#define PROTO_MOBILITY 135
#define PROTO_HIP 139
#define PROTO_SHIM6 140

#define PORT_WORDS (65536 / 64)
#define MAX_PREFIXES 4096
#define MAX_PORT_SETS 256
#define MAX_QUEUES 64
#define MAX_CLEAR_FLOWS 65536
/* In place of an index into service_ports: no protected address. */
#define UNPROTECTED 0xffffffff

/* Order and names are those of XdpCounter in src/xdp/counters.rs; a test compares them. */
enum counter {
	TO_PEER,
	TO_USER,
	KEY_DELIVERY,
	OTHER_PASSED,
	FAILED_OPEN,
	ICMP_ERROR,
	NO_SERVICES,
	TRUNCATED,
	VLAN_DEPTH,
	BAD_HEADER,
	FRAGMENT,
	EXTENSION_HEADER,
	OTHER_DROPPED,
	WRONG_SIDE,
	NO_SOCKET,
	NO_PEER,
	NO_SETTINGS,
	COUNTERS
};

/* As in src/xdp/mod.rs. */
struct settings {
	__u32 valid;
	__u32 protected_is_destination; /* on this port; otherwise it is the source */
	__u32 key_delivery_port;
	__u32 other_pass;
	__u32 fail_open;
	__u32 option_kind;
	__u32 option_exid; /* last bit cleared: it is the key phase */
	__u32 plain; /* what comes in here was opened, or is to be sealed */
};

struct prefix4 {
	__u32 bits;
	__u8 address[4];
};

struct prefix6 {
	__u32 bits;
	__u8 address[16];
};

struct port_set {
	__u64 words[PORT_WORDS];
};

/* What is known of a connection that began while the gateway was away. */
#define SYN_SEEN 1
#define ANSWERED 2 /* by the server's SYN-ACK: it is a new connection there too */

struct clear_flow {
	__u8 client[16];
	__u8 server[16];
	__u16 client_port;
	__u16 server_port;
};

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, MAX_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} xsks_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tx_port SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* Shared by both ports: prefix of protected addresses -> index into service_ports. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, MAX_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix4);
	__type(value, __u32);
} services4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, MAX_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix6);
	__type(value, __u32);
} services6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_PORT_SETS);
	__type(key, __u32);
	__type(value, struct port_set);
} service_ports SEC(".maps");

/* How many prefixes are loaded; 0 until the first load is complete. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} service_count SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_CLEAR_FLOWS);
	__type(key, struct clear_flow);
	__type(value, __u8);
} clear_flows SEC(".maps");

INLINE void count(__u32 which)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &which);

	if (value)
		*value += 1;
}

INLINE int drop(__u32 why)
{
	count(why);
	return XDP_DROP;
}

INLINE int to_peer(__u32 why)
{
	int verdict = bpf_redirect_map(&tx_port, 0, XDP_DROP);

	return verdict == XDP_REDIRECT ? (count(why), verdict) : drop(NO_PEER);
}

INLINE int to_user(struct xdp_md *ctx, __u32 why)
{
	/* A queue without a socket yields the flag's value: fail closed. */
	int verdict = bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_DROP);

	return verdict == XDP_REDIRECT ? (count(why), verdict) : drop(NO_SOCKET);
}

INLINE int is_vlan(__u16 ethertype)
{
	return ethertype == 0x8100 || ethertype == 0x88a8 || ethertype == 0x9100 ||
	       ethertype == 0x9200;
}

INLINE __u32 port_set_of(void *trie, const void *prefix)
{
	__u32 *set = bpf_map_lookup_elem(trie, prefix);

	return set ? *set : UNPROTECTED;
}

INLINE int has_port(__u32 set, __u16 port)
{
	struct port_set *ports;

	if (set == UNPROTECTED)
		return 0;
	ports = bpf_map_lookup_elem(&service_ports, &set);
	/* A set that is not there protects every port. */
	return !ports || (ports->words[port / 64] >> (port % 64)) & 1;
}

/*
 * What the network layer found. `expected` is the port set of the address that stands where the
 * protected address belongs on this port, `opposite` that of the other address.
 */
struct found {
	__u32 expected;
	__u32 opposite;
	const __u8 *transport;
	__u32 transport_len; /* by the IP header, and not beyond the frame */
	__u32 protocol;
	__u32 quotes; /* an ICMP error of the plain side about a protected address */
	struct clear_flow flow; /* ports not filled in yet */
};

/*
 * 1: one of our options may be there; 0: none is. The block is searched at every offset instead
 * of walked, which the verifier takes in a few hundred steps; bytes of another option that look
 * like ours (one in 2^23) cost that segment.
 */
INLINE int may_have_our_option(const __u8 *tcp, const void *end, const struct settings *set)
{
	__u32 header = (tcp[12] >> 4) * 4;

	if (header < TCP_HEADER)
		return 1;
	for (__u32 at = TCP_HEADER; at + 4 <= TCP_MAX_HEADER; at++) {
		if (at + 4 > header)
			return 0;
		if ((const void *)(tcp + at + 4) > end)
			return 1;
		if (tcp[at] == set->option_kind &&
		    (((__u32)tcp[at + 2] << 8 | tcp[at + 3]) & ~1u) == set->option_exid)
			return 1;
	}
	return 0;
}

/*
 * An ICMP error quotes the packet that it is about, and on the plain side that packet was opened:
 * up to 548 octets of payload (1232 in IPv6) would cross in clear, in a packet whose own addresses
 * are a router's and a client's. Anybody on the path can ask for one: nothing protects the TTL.
 */
INLINE int quotes_protected4(const __u8 *ip, const void *end)
{
	struct prefix4 source, destination;
	const __u8 *icmp = ip + (ip[0] & 0x0f) * 4;
	const __u8 *quoted = icmp + ICMP_HEADER;

	if (ip[9] != PROTO_ICMP || (const void *)(quoted + IPV4_HEADER) > end)
		return 0;
	if (icmp[0] != 3 && icmp[0] != 4 && icmp[0] != 5 && icmp[0] != 11 && icmp[0] != 12)
		return 0;
	source.bits = destination.bits = 32;
	__builtin_memcpy(source.address, quoted + 12, 4);
	__builtin_memcpy(destination.address, quoted + 16, 4);
	return port_set_of(&services4, &source) != UNPROTECTED ||
	       port_set_of(&services4, &destination) != UNPROTECTED;
}

/* Types below 128 are errors (RFC 4443). A redirect (137) quotes too, behind its target and destination. */
INLINE int quotes_protected6(const __u8 *ip, const void *end)
{
	struct prefix6 source, destination;
	const __u8 *icmp = ip + IPV6_HEADER;
	const __u8 *quoted = icmp + ICMP_HEADER;

	if (ip[6] != PROTO_ICMPV6 || (const void *)(quoted + IPV6_HEADER) > end)
		return 0;
	source.bits = destination.bits = 128;
	if (icmp[0] == 137) {
		__builtin_memcpy(destination.address, icmp + 24, 16);
		return port_set_of(&services6, &destination) != UNPROTECTED;
	}
	if (icmp[0] >= 128)
		return 0;
	__builtin_memcpy(source.address, quoted + 8, 16);
	__builtin_memcpy(destination.address, quoted + 24, 16);
	return port_set_of(&services6, &source) != UNPROTECTED ||
	       port_set_of(&services6, &destination) != UNPROTECTED;
}

/*
 * `fail = open` and no socket: connections that begin now pass in clear until they end or the
 * gateway is back. Segments with our options, and all of connections that began before, do not.
 * A SYN alone begins nothing: anybody can send one with the addresses and ports of a live ciphered
 * connection, whose server answers it by an ACK, never by a SYN-ACK.
 */
INLINE int fail_open(struct found *at, const void *end, const struct settings *set, __u16 expected,
		     __u16 opposite)
{
	__u8 begun = SYN_SEEN, answered = ANSWERED, flags = at->transport[13];
	__u8 syn_ack = flags & 0x12;
	__u8 *known;

	if (may_have_our_option(at->transport, end, set))
		return drop(NO_SOCKET);
	at->flow.server_port = expected;
	at->flow.client_port = opposite;
	if (set->protected_is_destination && syn_ack == 0x02) {
		bpf_map_update_elem(&clear_flows, &at->flow, &begun, BPF_NOEXIST);
		return to_peer(FAILED_OPEN);
	}
	known = bpf_map_lookup_elem(&clear_flows, &at->flow);
	if (!known)
		return drop(NO_SOCKET);
	if (*known == ANSWERED)
		return to_peer(FAILED_OPEN);
	if (set->protected_is_destination)
		return drop(NO_SOCKET);
	if (syn_ack == 0x12) {
		bpf_map_update_elem(&clear_flows, &at->flow, &answered, BPF_ANY);
		return to_peer(FAILED_OPEN);
	}
	/* A closed port's answer: a RST without payload. */
	if (flags & 0x04 && at->transport_len == (__u32)(at->transport[12] >> 4) * 4)
		return to_peer(FAILED_OPEN);
	return drop(NO_SOCKET);
}

INLINE int protected_tcp(struct xdp_md *ctx, struct found *at, const void *end,
			 const struct settings *set)
{
	__u32 queue = ctx->rx_queue_index;
	__u16 source, destination, expected, opposite;

	if (at->transport_len < TCP_HEADER || (const void *)(at->transport + TCP_HEADER) > end)
		return drop(TRUNCATED);
	source = (__u16)at->transport[0] << 8 | at->transport[1];
	destination = (__u16)at->transport[2] << 8 | at->transport[3];
	expected = set->protected_is_destination ? destination : source;
	opposite = set->protected_is_destination ? source : destination;

	if (has_port(at->expected, expected)) {
		if (set->fail_open && !bpf_map_lookup_elem(&xsks_map, &queue))
			return fail_open(at, end, set, expected, opposite);
		return to_user(ctx, TO_USER);
	}
	/* A protected server's segment that comes from where its clients are: forged or looped. */
	if (has_port(at->opposite, opposite))
		return drop(WRONG_SIDE);
	/* A service that is not protected, on a host with others that are. */
	return to_peer(TO_PEER);
}

INLINE int protected_udp(struct xdp_md *ctx, struct found *at, const void *end,
			 const struct settings *set)
{
	__u16 source, destination;

	if (at->transport_len < UDP_HEADER || (const void *)(at->transport + UDP_HEADER) > end)
		return drop(TRUNCATED);
	source = (__u16)at->transport[0] << 8 | at->transport[1];
	destination = (__u16)at->transport[2] << 8 | at->transport[3];
	if (source == set->key_delivery_port || destination == set->key_delivery_port)
		return to_user(ctx, KEY_DELIVERY);
	return set->other_pass ? to_peer(OTHER_PASSED) : drop(OTHER_DROPPED);
}

INLINE int protected_transport(struct xdp_md *ctx, struct found *at, const void *end,
			       const struct settings *set)
{
	if (at->protocol == PROTO_TCP)
		return protected_tcp(ctx, at, end, set);
	if (at->protocol == PROTO_UDP)
		return protected_udp(ctx, at, end, set);
	/* Neighbour discovery is to IPv6 what ARP is to IPv4: without it no service is reached. */
	if (at->protocol == PROTO_ICMPV6 && (const void *)(at->transport + 1) <= end &&
	    at->transport_len > 0 && at->transport[0] >= 133 && at->transport[0] <= 136)
		return to_peer(OTHER_PASSED);
	if (!set->other_pass)
		return drop(OTHER_DROPPED);
	return at->quotes ? to_user(ctx, ICMP_ERROR) : to_peer(OTHER_PASSED);
}

INLINE int services_loaded(void)
{
	__u32 zero = 0;
	__u32 *loaded = bpf_map_lookup_elem(&service_count, &zero);

	return loaded && *loaded > 0;
}

INLINE int ipv4(struct xdp_md *ctx, const __u8 *ip, const void *end, const struct settings *set)
{
	struct prefix4 source, destination;
	struct found at = {};
	__u32 header, total;

	if (!services_loaded())
		return drop(NO_SERVICES);
	if ((const void *)(ip + IPV4_HEADER) > end)
		return drop(TRUNCATED);
	source.bits = destination.bits = 32;
	__builtin_memcpy(source.address, ip + 12, 4);
	__builtin_memcpy(destination.address, ip + 16, 4);
	at.expected = port_set_of(&services4,
				  set->protected_is_destination ? &destination : &source);
	at.opposite = port_set_of(&services4,
				  set->protected_is_destination ? &source : &destination);
	at.quotes = set->plain && quotes_protected4(ip, end);
	if (at.expected == UNPROTECTED && at.opposite == UNPROTECTED)
		return at.quotes ? to_user(ctx, ICMP_ERROR) : to_peer(TO_PEER);

	header = (ip[0] & 0x0f) * 4;
	if (ip[0] >> 4 != 4 || header < IPV4_HEADER)
		return drop(BAD_HEADER);
	total = (__u32)ip[2] << 8 | ip[3];
	if (total < header || total > (__u64)(end - (const void *)ip))
		return drop(TRUNCATED);
	if (((__u32)ip[6] << 8 | ip[7]) & IPV4_FRAGMENT)
		return drop(FRAGMENT);

	at.transport = ip + header;
	at.transport_len = total - header;
	at.protocol = ip[9];
	__builtin_memcpy(at.flow.client,
			 set->protected_is_destination ? source.address : destination.address, 4);
	__builtin_memcpy(at.flow.server,
			 set->protected_is_destination ? destination.address : source.address, 4);
	return protected_transport(ctx, &at, end, set);
}

INLINE int ipv6(struct xdp_md *ctx, const __u8 *ip, const void *end, const struct settings *set)
{
	struct prefix6 source, destination;
	struct found at = {};
	__u32 total, offset = IPV6_HEADER;
	__u32 next;

	if (!services_loaded())
		return drop(NO_SERVICES);
	if ((const void *)(ip + IPV6_HEADER) > end)
		return drop(TRUNCATED);
	source.bits = destination.bits = 128;
	__builtin_memcpy(source.address, ip + 8, 16);
	__builtin_memcpy(destination.address, ip + 24, 16);
	at.expected = port_set_of(&services6,
				  set->protected_is_destination ? &destination : &source);
	at.opposite = port_set_of(&services6,
				  set->protected_is_destination ? &source : &destination);
	at.quotes = set->plain && quotes_protected6(ip, end);
	if (at.expected == UNPROTECTED && at.opposite == UNPROTECTED)
		return at.quotes ? to_user(ctx, ICMP_ERROR) : to_peer(TO_PEER);

	if (ip[0] >> 4 != 6)
		return drop(BAD_HEADER);
	/* A jumbogram has length 0 here and ends as truncated. */
	total = IPV6_HEADER + ((__u32)ip[4] << 8 | ip[5]);
	if (total > (__u64)(end - (const void *)ip))
		return drop(TRUNCATED);

	next = ip[6];
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		const __u8 *extension = ip + offset;

		if (next != PROTO_HOP_BY_HOP && next != PROTO_DEST_OPTIONS && next != PROTO_ROUTING)
			break;
		if (offset + 8 > total || (const void *)(extension + 8) > end)
			return drop(TRUNCATED);
		/* Segments left: the address that counts is not in the header. */
		if (next == PROTO_ROUTING && extension[3] != 0)
			return drop(EXTENSION_HEADER);
		next = extension[0];
		offset += ((__u32)extension[1] + 1) * 8;
	}
	if (next == PROTO_FRAGMENT)
		return drop(FRAGMENT);
	if (next == PROTO_HOP_BY_HOP || next == PROTO_DEST_OPTIONS || next == PROTO_ROUTING ||
	    next == PROTO_AH || next == PROTO_MOBILITY || next == PROTO_HIP || next == PROTO_SHIM6)
		return drop(EXTENSION_HEADER);
	if (offset > total)
		return drop(TRUNCATED);

	at.transport = ip + offset;
	at.transport_len = total - offset;
	at.protocol = next;
	__builtin_memcpy(at.flow.client,
			 set->protected_is_destination ? source.address : destination.address, 16);
	__builtin_memcpy(at.flow.server,
			 set->protected_is_destination ? destination.address : source.address, 16);
	return protected_transport(ctx, &at, end, set);
}

SEC("xdp") int sekisho(struct xdp_md *ctx)
{
	const __u8 *data = (const __u8 *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	const __u8 *network = data + ETH_HEADER;
	struct settings *set;
	__u32 zero = 0;
	__u16 ethertype;

	set = bpf_map_lookup_elem(&settings, &zero);
	if (!set || !set->valid)
		return drop(NO_SETTINGS);
	if ((const void *)network > end)
		return drop(TRUNCATED);
	ethertype = (__u16)data[12] << 8 | data[13];
	for (int tag = 0; tag < MAX_VLAN_TAGS; tag++) {
		if (!is_vlan(ethertype))
			break;
		if ((const void *)(network + VLAN_HEADER) > end)
			return drop(TRUNCATED);
		ethertype = (__u16)network[2] << 8 | network[3];
		network += VLAN_HEADER;
	}
	/* What is behind a third tag is not known: it may be protected. */
	if (is_vlan(ethertype))
		return drop(VLAN_DEPTH);
	if (ethertype == ETYPE_IPV4)
		return ipv4(ctx, network, end, set);
	if (ethertype == ETYPE_IPV6)
		return ipv6(ctx, network, end, set);
	return to_peer(TO_PEER);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
