// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The XDP program of one port: decides by protected address first, then by protocol and port,
 * whether a frame goes to user space, straight to the peer port, or nowhere.
 *
 * It never returns XDP_PASS: the kernel's own stack sees nothing of these ports. Everything that
 * cannot be shown to be foreign or harmless is dropped and counted. ICMP is judged by what it
 * quotes, whatever its own addresses: see icmp.h.
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
#define IPV4_FRAGMENT_OFFSET 0x1fff
#define IPV6_FRAGMENT_OFFSET 0xfff8
#define TCP_HEADER 20
#define TCP_MAX_HEADER 60
#define UDP_HEADER 8
/* Extension headers walked before giving up; hosts send one or two. */
#define MAX_EXTENSIONS 6

#define PROTO_HOP_BY_HOP 0
#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ROUTING 43
#define PROTO_FRAGMENT 44
#define PROTO_AH 51
#define PROTO_ICMPV6 58
#define PROTO_DEST_OPTIONS 60
#define FIRST_NEIGHBOUR_DISCOVERY 133 /* types of ICMPv6: router solicitation */
#define LAST_NEIGHBOUR_DISCOVERY 136 /* neighbour advertisement */
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
	HIDDEN_DESTINATION,
	WRONG_SIDE,
	ICMP_QUOTE,
	ICMP_HARD,
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

#include "walk.h"
#include "icmp.h"

/*
 * What the network layer found. `expected` is the port set of the address that stands where the
 * protected address belongs on this port, `opposite` that of the other address.
 */
struct found {
	__u32 expected;
	__u32 opposite;
	struct part transport; /* its length is not beyond the frame */
	__u32 protocol;
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
 * `fail = open` and no socket: connections that begin now pass in clear until they end or the
 * gateway is back. Segments with our options, and all of connections that began before, do not.
 * A SYN alone begins nothing: anybody can send one with the addresses and ports of a live ciphered
 * connection, whose server answers it by an ACK, never by a SYN-ACK.
 */
INLINE int fail_open(struct found *at, const __u8 *tcp, const struct settings *set,
		     __u16 expected, __u16 opposite)
{
	__u8 begun = SYN_SEEN, answered = ANSWERED, flags = tcp[13];
	__u8 syn_ack = flags & 0x12;
	__u8 *known;

	if (may_have_our_option(tcp, at->transport.end, set))
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
	if (flags & 0x04 && at->transport.len == (__u64)(tcp[12] >> 4) * 4)
		return to_peer(FAILED_OPEN);
	return drop(NO_SOCKET);
}

INLINE int protected_tcp(struct xdp_md *ctx, struct found *at, const struct settings *set)
{
	const __u8 *tcp = within(&at->transport, 0, TCP_HEADER);
	__u32 queue = ctx->rx_queue_index;
	__u16 source, destination, expected, opposite;

	if (!tcp)
		return drop(TRUNCATED);
	source = (__u16)tcp[0] << 8 | tcp[1];
	destination = (__u16)tcp[2] << 8 | tcp[3];
	expected = set->protected_is_destination ? destination : source;
	opposite = set->protected_is_destination ? source : destination;

	if (has_port(at->expected, expected)) {
		if (set->fail_open && !bpf_map_lookup_elem(&xsks_map, &queue))
			return fail_open(at, tcp, set, expected, opposite);
		return to_user(ctx, TO_USER);
	}
	/* A protected server's segment that comes from where its clients are: forged or looped. */
	if (has_port(at->opposite, opposite))
		return drop(WRONG_SIDE);
	/* A service that is not protected, on a host with others that are. */
	return to_peer(TO_PEER);
}

INLINE int protected_udp(struct xdp_md *ctx, struct found *at, const struct settings *set)
{
	const __u8 *udp = within(&at->transport, 0, UDP_HEADER);
	__u16 source, destination;

	if (!udp)
		return drop(TRUNCATED);
	source = (__u16)udp[0] << 8 | udp[1];
	destination = (__u16)udp[2] << 8 | udp[3];
	if (source == set->key_delivery_port || destination == set->key_delivery_port)
		return to_user(ctx, KEY_DELIVERY);
	return set->other_pass ? to_peer(OTHER_PASSED) : drop(OTHER_DROPPED);
}

INLINE __u64 judge(struct xdp_md *ctx, const struct part *icmp, int v6,
		   const struct settings *set)
{
	return judge_icmp(ctx, icmp->at, icmp->len, v6, set->plain);
}

INLINE int protected_icmp(struct xdp_md *ctx, struct found *at, const struct settings *set, int v6)
{
	__u64 verdict = judge(ctx, &at->transport, v6, set);
	const __u8 *type = within(&at->transport, 0, 1);

	if (verdict != TO_PEER && verdict != ICMP_ERROR)
		return drop(verdict);
	/* Part of protected TCP, which without it finds no path's MTU. */
	if (verdict == ICMP_ERROR && !set->plain)
		return to_user(ctx, ICMP_ERROR);
	/* To IPv6 this is what ARP is to IPv4: without it no service is reached. */
	if (v6 && type && *type >= FIRST_NEIGHBOUR_DISCOVERY && *type <= LAST_NEIGHBOUR_DISCOVERY)
		return to_peer(OTHER_PASSED);
	if (!set->other_pass)
		return drop(OTHER_DROPPED);
	return verdict == TO_PEER ? to_peer(OTHER_PASSED) : to_user(ctx, ICMP_ERROR);
}

INLINE int protected_transport(struct xdp_md *ctx, struct found *at, const struct settings *set,
			       int v6)
{
	if (at->protocol == PROTO_TCP)
		return protected_tcp(ctx, at, set);
	if (at->protocol == PROTO_UDP)
		return protected_udp(ctx, at, set);
	if (at->protocol == (v6 ? PROTO_ICMPV6 : PROTO_ICMP))
		return protected_icmp(ctx, at, set, v6);
	return set->other_pass ? to_peer(OTHER_PASSED) : drop(OTHER_DROPPED);
}

/*
 * ICMP between addresses that nothing protects may quote a packet of one that is. Later fragments
 * pass: errors have at most 576 octets (RFC 1812, 4.3.2.3), in IPv6 1280 (RFC 4443, 2.4), and are
 * not fragmented, but large echoes are.
 */
INLINE int foreign_icmp(struct xdp_md *ctx, const struct part *icmp, int v6,
			const struct settings *set)
{
	__u64 verdict = judge(ctx, icmp, v6, set);

	if (verdict == TO_PEER)
		return to_peer(TO_PEER);
	return verdict == ICMP_ERROR ? to_user(ctx, ICMP_ERROR) : drop(verdict);
}

INLINE int foreign4(struct xdp_md *ctx, const struct part *packet, const __u8 *ip,
		    const struct settings *set)
{
	struct part icmp = *packet;
	__u64 header = (ip[0] & 0x0f) * 4;

	/* The destination that counts is in the options, and may be a protected one (M2.16). */
	if (!set->other_pass && header > IPV4_HEADER && may_route_by_source(ctx, packet->at, header))
		return drop(HIDDEN_DESTINATION);
	if (ip[9] != PROTO_ICMP || ((__u32)ip[6] << 8 | ip[7]) & IPV4_FRAGMENT_OFFSET)
		return to_peer(TO_PEER);
	icmp.at += header;
	/* A header that lies leaves nothing that can be judged. */
	icmp.len = header < IPV4_HEADER || packet->len < header ? 0 : packet->len - header;
	return foreign_icmp(ctx, &icmp, 0, set);
}

INLINE int foreign6(struct xdp_md *ctx, const struct part *packet, const struct settings *set)
{
	__u64 through = set->other_pass ? THROUGH : THROUGH_UNROUTED;
	__u64 walk = walk_extensions(ctx, packet->at, packet->len, through);
	struct part icmp = *packet;

	if (!set->other_pass && WALK_REASON(walk) == EXTENSION_HEADER)
		return drop(HIDDEN_DESTINATION);
	if (WALK_REASON(walk) == EXTENSION_HEADER || WALK_REASON(walk) == TRUNCATED)
		return set->plain ? drop(WALK_REASON(walk)) : to_peer(TO_PEER);
	if (WALK_REASON(walk) != TO_PEER || WALK_NEXT(walk) != PROTO_ICMPV6)
		return to_peer(TO_PEER);
	icmp.at += WALK_OFFSET(walk);
	icmp.len -= WALK_OFFSET(walk);
	return foreign_icmp(ctx, &icmp, 1, set);
}

INLINE int services_loaded(void)
{
	__u32 zero = 0;
	__u32 *loaded = bpf_map_lookup_elem(&service_count, &zero);

	return loaded && *loaded > 0;
}

INLINE int ipv4(struct xdp_md *ctx, __u64 network, const struct settings *set)
{
	struct part packet = part_of(ctx, network, IPV4_HEADER);
	const __u8 *ip = within(&packet, 0, IPV4_HEADER);
	struct prefix4 source, destination;
	struct found at = {};
	__u64 header;

	if (!services_loaded())
		return drop(NO_SERVICES);
	if (!ip)
		return drop(TRUNCATED);
	source.bits = destination.bits = 32;
	__builtin_memcpy(source.address, ip + 12, 4);
	__builtin_memcpy(destination.address, ip + 16, 4);
	at.expected = port_set_of(&services4,
				  set->protected_is_destination ? &destination : &source);
	at.opposite = port_set_of(&services4,
				  set->protected_is_destination ? &source : &destination);
	packet.len = (__u32)ip[2] << 8 | ip[3];
	if (at.expected == UNPROTECTED && at.opposite == UNPROTECTED)
		return foreign4(ctx, &packet, ip, set);

	header = (ip[0] & 0x0f) * 4;
	if (ip[0] >> 4 != 4 || header < IPV4_HEADER)
		return drop(BAD_HEADER);
	if (packet.len < header || packet.len > (__u64)(packet.end - (const void *)ip))
		return drop(TRUNCATED);
	if (((__u32)ip[6] << 8 | ip[7]) & IPV4_FRAGMENT)
		return drop(FRAGMENT);

	at.transport = packet;
	at.transport.at += header;
	at.transport.len -= header;
	at.protocol = ip[9];
	__builtin_memcpy(at.flow.client,
			 set->protected_is_destination ? source.address : destination.address, 4);
	__builtin_memcpy(at.flow.server,
			 set->protected_is_destination ? destination.address : source.address, 4);
	return protected_transport(ctx, &at, set, 0);
}

INLINE int ipv6(struct xdp_md *ctx, __u64 network, const struct settings *set)
{
	struct part packet = part_of(ctx, network, IPV6_HEADER);
	const __u8 *ip = within(&packet, 0, IPV6_HEADER);
	struct prefix6 source, destination;
	struct found at = {};
	__u64 walk;

	if (!services_loaded())
		return drop(NO_SERVICES);
	if (!ip)
		return drop(TRUNCATED);
	source.bits = destination.bits = 128;
	__builtin_memcpy(source.address, ip + 8, 16);
	__builtin_memcpy(destination.address, ip + 24, 16);
	at.expected = port_set_of(&services6,
				  set->protected_is_destination ? &destination : &source);
	at.opposite = port_set_of(&services6,
				  set->protected_is_destination ? &source : &destination);
	/* A jumbogram has length 0 here and ends as truncated. */
	packet.len = IPV6_HEADER + ((__u32)ip[4] << 8 | ip[5]);
	if (at.expected == UNPROTECTED && at.opposite == UNPROTECTED)
		return foreign6(ctx, &packet, set);

	if (ip[0] >> 4 != 6)
		return drop(BAD_HEADER);
	if (packet.len > (__u64)(packet.end - (const void *)ip))
		return drop(TRUNCATED);
	walk = walk_extensions(ctx, network, packet.len, 0);
	if (WALK_REASON(walk) != TO_PEER)
		return drop(WALK_REASON(walk));

	at.transport = packet;
	at.transport.at += WALK_OFFSET(walk);
	at.transport.len -= WALK_OFFSET(walk);
	at.protocol = WALK_NEXT(walk);
	__builtin_memcpy(at.flow.client,
			 set->protected_is_destination ? source.address : destination.address, 16);
	__builtin_memcpy(at.flow.server,
			 set->protected_is_destination ? destination.address : source.address, 16);
	return protected_transport(ctx, &at, set, 1);
}

SEC("xdp") int sekisho(struct xdp_md *ctx)
{
	struct part frame = part_of(ctx, 0, MAX_OFFSET);
	const __u8 *bytes = within(&frame, 0, ETH_HEADER);
	__u64 network = ETH_HEADER;
	struct settings *set;
	__u32 zero = 0;
	__u16 ethertype;

	set = bpf_map_lookup_elem(&settings, &zero);
	if (!set || !set->valid)
		return drop(NO_SETTINGS);
	if (!bytes)
		return drop(TRUNCATED);
	ethertype = (__u16)bytes[12] << 8 | bytes[13];
	for (int tag = 0; tag < MAX_VLAN_TAGS; tag++) {
		if (!is_vlan(ethertype))
			break;
		bytes = within(&frame, network, VLAN_HEADER);
		if (!bytes)
			return drop(TRUNCATED);
		ethertype = (__u16)bytes[2] << 8 | bytes[3];
		network += VLAN_HEADER;
	}
	/* What is behind a third tag is not known: it may be protected. */
	if (is_vlan(ethertype))
		return drop(VLAN_DEPTH);
	if (ethertype == ETYPE_IPV4)
		return ipv4(ctx, network, set);
	if (ethertype == ETYPE_IPV6)
		return ipv6(ctx, network, set);
	return to_peer(TO_PEER);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
