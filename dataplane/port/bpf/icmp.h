/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * ICMP and ICMPv6 messages that quote a packet: which of them may not cross as they are, and why.
 * Included by sekisho.bpf.c, which owns maps, settings and counters; judges no other protocol.
 *
 * On the plain side the packet that an error is about was opened: up to 548 octets of its payload
 * (1232 in IPv6) would cross in clear, in a packet whose own addresses are a router's and a
 * client's. Anybody on the path can ask for one: nothing protects the TTL. A worker cuts such a
 * quote; what it could not, because it cannot be told what is quoted, is dropped.
 *
 * An error from the cipher side quotes what was sealed. Anybody off the path can forge one, and it
 * may end a connection or slow it down: a worker knows which sequence numbers are under way. What
 * it could not read, and what no connection needs, is dropped (M7.21).
 */
#define ICMP_HEADER 8
#define ICMPV6_LAST_ERROR 4 /* parameter problem; the next ones are not assigned */
#define ICMPV6_FIRST_QUERY 128
#define ICMPV6_REDIRECT 137
#define REDIRECT_HEADER 40
#define REDIRECTED_HEADER 4 /* a neighbour discovery option (RFC 4861, 4.6.3) */
/* Options of a redirect walked before giving up; routers send two. */
#define MAX_REDIRECT_OPTIONS 4

/*
 * ICMP types that quote nothing: echo reply and request, router advertisement and solicitation,
 * timestamps, information, address masks, extended echo. All others count as errors.
 */
#define ICMP_QUERIES                                                                            \
	(1ull << 0 | 1ull << 8 | 1ull << 9 | 1ull << 10 | 0x3full << 13 | 1ull << 42 | 1ull << 43)

INLINE int is_query(__u8 type, int v6)
{
	if (v6)
		return type >= ICMPV6_FIRST_QUERY && type != ICMPV6_REDIRECT;
	return type < 64 && (ICMP_QUERIES >> type) & 1;
}

/* What the network header of a quoted packet says. */
struct quoted {
	__u32 source; /* port sets */
	__u32 destination;
	__u64 protocol;
	__u64 offset; /* of the transport header */
};

INLINE int is_protected(const struct quoted *at)
{
	return at->source != UNPROTECTED || at->destination != UNPROTECTED;
}

enum quote {
	FOREIGN_QUOTE, /* of what nothing protects */
	PROTECTED_QUOTE, /* of TCP of a protected service */
	UNTOLD_QUOTE, /* of what may be that */
};

INLINE int quoted_transport(const struct part *quote, const struct quoted *at, int v6)
{
	const __u8 *transport;

	/* Hosts do not send errors about errors, yet routers redirect them. */
	if (at->protocol == (v6 ? PROTO_ICMPV6 : PROTO_ICMP)) {
		transport = within(quote, at->offset, 1);
		return transport && is_query(transport[0], v6) ? FOREIGN_QUOTE : UNTOLD_QUOTE;
	}
	if (at->protocol != PROTO_TCP || !is_protected(at))
		return FOREIGN_QUOTE;
	transport = within(quote, at->offset, 4);
	if (!transport)
		return UNTOLD_QUOTE;
	if (has_port(at->source, (__u16)transport[0] << 8 | transport[1]) ||
	    has_port(at->destination, (__u16)transport[2] << 8 | transport[3]))
		return PROTECTED_QUOTE;
	return FOREIGN_QUOTE;
}

ONCE int judge_quote4(struct xdp_md *ctx, __u64 offset, __u64 len)
{
	struct part quote = part_of(ctx, offset, len);
	const __u8 *ip = within(&quote, 0, IPV4_HEADER);
	struct prefix4 address = { .bits = 32 };
	struct quoted at;
	int fragment;

	if (!ip)
		return UNTOLD_QUOTE;
	at.protocol = ip[9];
	at.offset = (ip[0] & 0x0f) * 4;
	fragment = (((__u32)ip[6] << 8 | ip[7]) & IPV4_FRAGMENT) != 0;
	if (ip[0] >> 4 != 4 || at.offset < IPV4_HEADER)
		return UNTOLD_QUOTE;
	__builtin_memcpy(address.address, ip + 12, 4);
	at.source = port_set_of(&services4, &address);
	__builtin_memcpy(address.address, ip + 16, 4);
	at.destination = port_set_of(&services4, &address);
	if (fragment)
		return is_protected(&at) ? UNTOLD_QUOTE : FOREIGN_QUOTE;
	return quoted_transport(&quote, &at, 0);
}

ONCE int judge_quote6(struct xdp_md *ctx, __u64 offset, __u64 len)
{
	struct part quote = part_of(ctx, offset, len);
	const __u8 *ip = within(&quote, 0, IPV6_HEADER);
	struct prefix6 address = { .bits = 128 };
	struct quoted at;
	__u64 walk;

	if (!ip || ip[0] >> 4 != 6)
		return UNTOLD_QUOTE;
	__builtin_memcpy(address.address, ip + 8, 16);
	at.source = port_set_of(&services6, &address);
	__builtin_memcpy(address.address, ip + 24, 16);
	at.destination = port_set_of(&services6, &address);
	walk = walk_extensions(ctx, offset, len, 0);
	if (WALK_REASON(walk) != TO_PEER)
		return is_protected(&at) ? UNTOLD_QUOTE : FOREIGN_QUOTE;
	at.protocol = WALK_NEXT(walk);
	at.offset = WALK_OFFSET(walk);
	return quoted_transport(&quote, &at, 1);
}

/*
 * Where the quote of a redirect begins; 0: it quotes nothing. Where the options cannot be walked
 * that is the message's end: an empty quote, which is taken for the worst.
 */
INLINE __u64 quote_of_redirect(const struct part *message)
{
	__u64 offset = REDIRECT_HEADER;

	for (int i = 0; i < MAX_REDIRECT_OPTIONS; i++) {
		const __u8 *option = within(message, offset, 8);

		if (offset == message->len)
			return 0;
		if (!option || option[1] == 0)
			break;
		if (option[0] == REDIRECTED_HEADER)
			return offset + 8;
		offset += option[1] * 8ull;
	}
	return message->len;
}

/*
 * Errors whose quote begins behind their header and that a worker has a use for: of the plain side
 * all that it knows how to cut, of the cipher side those that TCP heeds. Source quench is obsolete
 * and a redirect is the link's own affair.
 */
INLINE int is_for_worker(__u8 type, int v6, int plain)
{
	if (v6)
		return plain ? type < ICMPV6_FIRST_QUERY : type >= 1 && type <= ICMPV6_LAST_ERROR;
	return type == 3 || type == 11 || type == 12 || (plain && (type == 4 || type == 5));
}

/*
 * TO_PEER: nothing speaks against the message at `at`. ICMP_ERROR: a worker is to judge it.
 * Otherwise the reason to drop it. What is too short to be judged is taken for the worst.
 */
ONCE __u64 judge_icmp(struct xdp_md *ctx, __u64 at, __u64 len, __u64 v6, __u64 plain)
{
	struct part message = part_of(ctx, at, len);
	const __u8 *icmp = within(&message, 0, 1);
	__u64 worst = plain ? ICMP_QUOTE : ICMP_HARD;
	__u64 offset = ICMP_HEADER;
	int quote;
	__u8 type;

	if (icmp && is_query(icmp[0], v6))
		return TO_PEER;
	icmp = within(&message, 0, ICMP_HEADER);
	if (!icmp)
		return worst;
	type = icmp[0];
	if (v6 && type == ICMPV6_REDIRECT) {
		offset = quote_of_redirect(&message);
		if (offset == 0)
			return TO_PEER;
	}
	quote = v6 ? judge_quote6(ctx, at + offset, len - offset) :
		     judge_quote4(ctx, at + offset, len - offset);
	if (quote == FOREIGN_QUOTE)
		return TO_PEER;
	return quote == PROTECTED_QUOTE && is_for_worker(type, v6, plain) ? ICMP_ERROR : worst;
}
