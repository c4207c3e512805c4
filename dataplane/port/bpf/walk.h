/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Reading within a packet's bounds, and the way through its IPv6 extension headers. Included by
 * sekisho.bpf.c, whose constants and counters it uses; counts and drops nothing itself.
 */

/* Frames are shorter (4096 octets): the verifier wants to see that offsets are small. */
#define MAX_OFFSET 0x3fff

/*
 * A function that the verifier looks at once, with any arguments, instead of at each call after
 * each path to it. Such a one takes the frame's context and offsets in place of pointers.
 */
#define ONCE __attribute__((noinline))

/* A packet, or what is behind one of its headers. */
struct part {
	const __u8 *frame;
	const void *end;
	__u64 at; /* offset in the frame */
	__u64 len; /* by the IP header */
};

INLINE struct part part_of(struct xdp_md *ctx, __u64 at, __u64 len)
{
	struct part part = {
		.frame = (const __u8 *)(long)ctx->data,
		.end = (const void *)(long)ctx->data_end,
		.at = at,
		.len = len,
	};

	return part;
}

/* The `len` octets at `offset`, or null if the part or the frame ends before theirs do. */
INLINE const __u8 *within(const struct part *part, __u64 offset, __u64 len)
{
	__u64 at = part->at + offset;
	const __u8 *bytes;

	if (offset + len > part->len || at > MAX_OFFSET)
		return 0;
	bytes = part->frame + at;
	return (const void *)(bytes + len) <= part->end ? bytes : 0;
}

INLINE int is_extension(__u64 next)
{
	return next == PROTO_HOP_BY_HOP || next == PROTO_DEST_OPTIONS || next == PROTO_ROUTING ||
	       next == PROTO_FRAGMENT || next == PROTO_AH;
}

/* How a walk ended: TO_PEER or a reason to drop; the protocol it found, and at which offset. */
#define WALKED(reason, next, offset) ((__u64)(reason) << 32 | (__u64)(next) << 24 | (offset))
#define WALK_REASON(walk) ((walk) >> 32)
#define WALK_NEXT(walk) ((walk) >> 24 & 0xff)
#define WALK_OFFSET(walk) ((walk) & 0xffffff)

/*
 * Steps over the extension headers of the IPv6 packet at `at`. A reason is one to drop a protected
 * address's packet. With THROUGH only what has no transport header or no end is such a reason:
 * addresses that nothing protects may use the others. With THROUGH_UNROUTED so is a routing header
 * with segments left.
 */
#define THROUGH 1
#define THROUGH_UNROUTED 2

ONCE __u64 walk_extensions(struct xdp_md *ctx, __u64 at, __u64 len, __u64 through)
{
	struct part packet = part_of(ctx, at, len);
	const __u8 *extension = within(&packet, 0, IPV6_HEADER);
	__u64 offset = IPV6_HEADER;
	__u64 next, unit;

	if (!extension)
		return WALKED(TRUNCATED, 0, 0);
	next = extension[6];
	for (int i = 0; i < MAX_EXTENSIONS && is_extension(next); i++) {
		if (!through && next == PROTO_FRAGMENT)
			return WALKED(FRAGMENT, 0, 0);
		if (!through && next == PROTO_AH)
			return WALKED(EXTENSION_HEADER, 0, 0);
		extension = within(&packet, offset, 8);
		if (!extension)
			return WALKED(TRUNCATED, 0, 0);
		/* Segments left: the address that counts is not in the header. */
		if (through != THROUGH && next == PROTO_ROUTING && extension[3] != 0)
			return WALKED(EXTENSION_HEADER, 0, 0);
		if (next == PROTO_FRAGMENT &&
		    ((__u32)extension[2] << 8 | extension[3]) & IPV6_FRAGMENT_OFFSET)
			return WALKED(FRAGMENT, 0, 0);
		unit = next == PROTO_AH ? 4 : 8;
		offset += next == PROTO_FRAGMENT ? 8 : 8 + extension[1] * unit;
		next = extension[0];
	}
	if (!through && next == PROTO_FRAGMENT)
		return WALKED(FRAGMENT, 0, 0);
	if (is_extension(next) || (!through && (next == PROTO_MOBILITY || next == PROTO_HIP ||
						next == PROTO_SHIM6)))
		return WALKED(EXTENSION_HEADER, 0, 0);
	return offset > len ? WALKED(TRUNCATED, 0, 0) : WALKED(TO_PEER, next, offset);
}

#define IPV4_LOOSE_SOURCE_ROUTE 131
#define IPV4_STRICT_SOURCE_ROUTE 137
#define IPV4_MAX_HEADER 60

/*
 * Whether the options of the IPv4 packet at `at` may route by source. They are searched octet by
 * octet instead of walked, which the verifier takes in a few hundred steps; an octet of another
 * option that looks so costs that packet.
 */
ONCE int may_route_by_source(struct xdp_md *ctx, __u64 at, __u64 header)
{
	/* The mask changes no offset that there is; the verifier wants to see it. */
	const __u8 *octet = (const __u8 *)(long)ctx->data + (at & MAX_OFFSET) + IPV4_HEADER;
	const void *end = (const void *)(long)ctx->data_end;

	for (__u64 offset = IPV4_HEADER; offset < IPV4_MAX_HEADER; offset++, octet++) {
		if (offset >= header)
			return 0;
		if ((const void *)(octet + 1) > end || *octet == IPV4_LOOSE_SOURCE_ROUTE ||
		    *octet == IPV4_STRICT_SOURCE_ROUTE)
			return 1;
	}
	return 0;
}
