// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Times AES-256-GCM of Intel's ipsec-mb: in place, 16 octets of associated data, a tag of 16, a
 * fresh nonce per sealing, as the peers of bench/src/cipher have it.
 *
 * Owns: its frames, keys and clocks, laid out and read as shape.rs and timing.rs do it. Not: how
 * many and how long, which the caller says: -DBATCH=, -DSTART=, -DSMALL=, -DROUNDS=, -DROUND_NS=
 * (nanoseconds that count in a round, at least); payload sizes in octets are the arguments.
 *
 * Prints a line per row, `seal 1448 batch 123.4`: nanoseconds per segment, the median round; all
 * sizes of a form, all forms sealed, then opened. First the library is held against a known answer;
 * where anything is not as it must be the program ends with 1 and a word.
 */
#include <intel-ipsec-mb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINE 64
#define NONCE 12
#define TAG 16
#define MAX_AAD 20
#define MAX_FRAMES (4 * BATCH)
#define MAX_PASSES 65536 /* of a round: at 1.5 ms there is room for passes of 23 ns */

/* On a line of its own, or where it comes to lie would be timed. */
struct segment {
	_Alignas(LINE) uint8_t tag[TAG];
	uint8_t nonce[NONCE];
	const struct gcm_key_data *key;
	uint8_t *payload; /* in its frame; behind it the tag */
	uint8_t *sealed; /* what `payload` has to be before it is opened, tag included */
};

/* How segments are taken. */
struct form {
	const char *name;
	unsigned keys;
	int bursts;
};

static const struct form FORMS[] = {
	{ "single", 1, 0 }, /* a call for each, one key */
	{ "batch", BATCH, 1 }, /* BATCH jobs of as many keys at once */
	{ "calls", BATCH, 0 }, /* a call for each, keys in turn: GCM gains nothing from jobs */
};
#define NUM_FORMS (sizeof(FORMS) / sizeof(*FORMS))

struct work {
	int open;
	const struct form *form;
	uint64_t len, aad_len, frames;
	size_t passes; /* over all frames, that fill a round */
	double rounds[ROUNDS]; /* nanoseconds per segment */
	struct segment segments[MAX_FRAMES];
};

static IMB_MGR *manager;
static struct gcm_key_data keys[BATCH];
static uint8_t aad[MAX_AAD];
static uint64_t sealings;
static double clock_cost; /* nanoseconds between two readings with nothing between them */

static void must(int holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "ipsec_mb: %s\n", what);
		exit(1);
	}
}

static double now(clockid_t clock)
{
	struct timespec at;

	clock_gettime(clock, &at);
	return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), by_value);
	return values[count / 2];
}

static void renew(struct segment *segment)
{
	uint64_t number = __builtin_bswap64(++sealings);

	memcpy(segment->nonce + NONCE - sizeof(number), &number, sizeof(number));
}

/* The comparison that the library leaves to its callers; constant in time, as it has to be. */
static void verify(const struct work *work, const struct segment *segment)
{
	uint64_t came[2], made[2];

	memcpy(came, segment->payload + work->len, TAG);
	memcpy(made, segment->tag, TAG);
	must(((came[0] ^ made[0]) | (came[1] ^ made[1])) == 0, "a sealed segment does not open");
}

static void one(const struct work *work, struct segment *segment)
{
	struct gcm_context_data context;
	uint8_t *at = segment->payload;

	if (work->open)
		IMB_AES256_GCM_DEC(manager, segment->key, &context, at, at, work->len, segment->nonce, aad,
				   work->aad_len, segment->tag, TAG);
	else
		IMB_AES256_GCM_ENC(manager, segment->key, &context, at, at, work->len, segment->nonce, aad,
				   work->aad_len, segment->tag, TAG);
}

/*
 * By IMB_SUBMIT_BURST: the synchronous bursts (IMB_SUBMIT_CIPHER_BURST) of 1.3 refuse GCM. Not
 * checked, which is the faster form. Jobs are slots of the library's ring, so each is filled anew.
 */
static void burst(const struct work *work, struct segment *segments, uint32_t count)
{
	IMB_JOB *jobs[BATCH];

	must(IMB_GET_NEXT_BURST(manager, count, jobs) == count, "no room for a burst");
	for (uint32_t i = 0; i < count; i++) {
		struct segment *segment = &segments[i];
		IMB_JOB *job = jobs[i];

		job->cipher_mode = IMB_CIPHER_GCM;
		job->hash_alg = IMB_AUTH_AES_GMAC;
		job->cipher_direction = work->open ? IMB_DIR_DECRYPT : IMB_DIR_ENCRYPT;
		job->chain_order = work->open ? IMB_ORDER_HASH_CIPHER : IMB_ORDER_CIPHER_HASH;
		job->enc_keys = job->dec_keys = segment->key;
		job->key_len_in_bytes = IMB_KEY_256_BYTES;
		job->src = job->dst = segment->payload;
		job->cipher_start_src_offset_in_bytes = job->hash_start_src_offset_in_bytes = 0;
		job->msg_len_to_cipher_in_bytes = job->msg_len_to_hash_in_bytes = work->len;
		job->iv = segment->nonce;
		job->iv_len_in_bytes = NONCE;
		job->u.GCM.aad = aad;
		job->u.GCM.aad_len_in_bytes = work->aad_len;
		job->auth_tag_output = segment->tag;
		job->auth_tag_output_len_in_bytes = TAG;
	}
	/* Jobs of GCM wait for no others: those that were submitted come back done, in their order. */
	must(IMB_SUBMIT_BURST_NOCHECK(manager, count, jobs) == count, "a burst was not done at once");
	for (uint32_t i = 0; i < count; i++)
		must(jobs[i]->status == IMB_STATUS_COMPLETED, "a job failed");
}

/*
 * What is timed: BATCH segments sealed, or opened and their tags compared. Nonces come first, all of
 * them: the library reads one at once that was written in parts, and right after would wait for it.
 */
static void work_on(const struct work *work, struct segment *segments)
{
	for (int i = 0; !work->open && i < BATCH; i++)
		renew(&segments[i]);
	if (work->form->bursts)
		burst(work, segments, BATCH);
	for (int i = 0; !work->form->bursts && i < BATCH; i++)
		one(work, &segments[i]);
	for (int i = 0; work->open && i < BATCH; i++)
		verify(work, &segments[i]);
}

static double seal_round(struct work *work)
{
	double start = now(CLOCK_THREAD_CPUTIME_ID);

	for (size_t pass = 0; pass < work->passes; pass++)
		for (uint64_t first = 0; first < work->frames; first += BATCH)
			work_on(work, &work->segments[first]);
	return now(CLOCK_THREAD_CPUTIME_ID) - start;
}

/* The median pass counts for all, without the restoring before it and the reading of the clock. */
static double open_round(struct work *work)
{
	static double took[MAX_PASSES];

	for (size_t pass = 0; pass < work->passes; pass++) {
		for (uint64_t i = 0; i < work->frames; i++)
			memcpy(work->segments[i].payload, work->segments[i].sealed, work->len + TAG);
		double start = now(CLOCK_MONOTONIC);
		for (uint64_t first = 0; first < work->frames; first += BATCH)
			work_on(work, &work->segments[first]);
		took[pass] = now(CLOCK_MONOTONIC) - start;
	}
	return (median(took, work->passes) - clock_cost) * (double)work->passes;
}

/* Nanoseconds that count. */
static double round_of(struct work *work)
{
	return work->open ? open_round(work) : seal_round(work);
}

/* Sealed segments, and how often it takes to go over them; to find that out is the warm-up. */
static struct work *prepared(int open, const struct form *form, uint64_t len)
{
	struct work *work = aligned_alloc(LINE, sizeof(*work));
	uint64_t frames = len <= SMALL ? MAX_FRAMES : BATCH;
	size_t stride = (START + len + 2 * TAG + LINE - 1) / LINE * LINE;
	uint8_t *frame = aligned_alloc(LINE, stride * frames);
	uint8_t *sealed = aligned_alloc(LINE, stride * frames);

	must(work && frame && sealed, "no memory");
	*work = (struct work){ .form = form, .len = len, .aad_len = 16, .frames = frames, .passes = 1 };
	for (size_t i = 0; i < stride * frames; i++)
		frame[i] = (uint8_t)(i * 31);
	for (uint64_t i = 0; i < frames; i++) {
		struct segment *segment = &work->segments[i];

		segment->key = &keys[i % form->keys];
		segment->payload = frame + i * stride + START;
		segment->sealed = sealed + i * stride + START;
		renew(segment);
		one(work, segment);
		memcpy(segment->payload + len, segment->tag, TAG);
		memcpy(segment->sealed, segment->payload, len + TAG);
	}
	work->open = open;
	while (round_of(work) < ROUND_NS)
		must((work->passes *= 2) <= MAX_PASSES, "a pass takes no time");
	return work;
}

/* A row for each form and size; they take turns, so that a slow moment of the machine slows all alike. */
static void measure(char **sizes, size_t count)
{
	size_t rows = 0;
	struct work **works = calloc(2 * NUM_FORMS * count + 1, sizeof(*works));

	must(works != NULL, "no memory");
	for (int open = 0; open < 2; open++)
		for (size_t form = 0; form < NUM_FORMS; form++)
			for (size_t i = 0; i < count; i++)
				works[rows++] = prepared(open, &FORMS[form], strtoul(sizes[i], NULL, 10));
	for (size_t round = 0; round < ROUNDS; round++)
		for (size_t row = 0; row < rows; row++) {
			double segments = (double)works[row]->passes * (double)works[row]->frames;

			works[row]->rounds[round] = round_of(works[row]) / segments;
		}
	for (size_t row = 0; row < rows; row++)
		printf("%s %lu %s %.3f\n", works[row]->open ? "open" : "seal", (unsigned long)works[row]->len,
		       works[row]->form->name, median(works[row]->rounds, ROUNDS));
}

/* Test case 16 of the specification of GCM that was submitted to NIST: 60 octets, 20 associated. */
static void hold_against_known_answer(void)
{
	static const uint8_t half_key[16] = "\xfe\xff\xe9\x92\x86\x65\x73\x1c\x6d\x6a\x8f\x94\x67\x30\x83\x08";
	static const uint8_t plain[60] =
		"\xd9\x31\x32\x25\xf8\x84\x06\xe5\xa5\x59\x09\xc5\xaf\xf5\x26\x9a\x86\xa7\xa9\x53"
		"\x15\x34\xf7\xda\x2e\x4c\x30\x3d\x8a\x31\x8a\x72\x1c\x3c\x0c\x95\x95\x68\x09\x53"
		"\x2f\xcf\x0e\x24\x49\xa6\xb5\x25\xb1\x6a\xed\xf5\xaa\x0d\xe6\x57\xba\x63\x7b\x39";
	static const uint8_t sealed[60 + TAG] =
		"\x52\x2d\xc1\xf0\x99\x56\x7d\x07\xf4\x7f\x37\xa3\x2a\x84\x42\x7d\x64\x3a\x8c\xdc"
		"\xbf\xe5\xc0\xc9\x75\x98\xa2\xbd\x25\x55\xd1\xaa\x8c\xb0\x8e\x48\x59\x0d\xbb\x3d"
		"\xa7\xb0\x8b\x10\x56\x82\x88\x38\xc5\xf6\x1e\x63\x93\xba\x7a\x0a\xbc\xc9\xf6\x62"
		"\x76\xfc\x6e\xce\x0f\x4e\x17\x68\xcd\xdf\x88\x53\xbb\x2d\x55\x1b";
	uint8_t key[32], frame[60 + TAG];
	struct work work = { .len = sizeof(plain), .aad_len = MAX_AAD };
	struct segment segment = {
		.key = keys, .payload = frame,
		.nonce = "\xca\xfe\xba\xbe\xfa\xce\xdb\xad\xde\xca\xf8\x88",
	};

	memcpy(key, half_key, 16);
	memcpy(key + 16, half_key, 16);
	IMB_AES256_GCM_PRE(manager, key, keys);
	memcpy(aad, "\xfe\xed\xfa\xce\xde\xad\xbe\xef\xfe\xed\xfa\xce\xde\xad\xbe\xef\xab\xad\xda\xd2", MAX_AAD);
	for (int way = 0; way < 4; way++) {
		work.open = way / 2;
		memcpy(frame, work.open ? sealed : plain, sizeof(plain));
		if (way % 2)
			burst(&work, &segment, 1);
		else
			one(&work, &segment);
		must(!memcmp(frame, work.open ? plain : sealed, sizeof(plain)), "not the known text");
		must(!memcmp(segment.tag, sealed + sizeof(plain), TAG), "not the known tag");
	}
	memset(aad, 0, sizeof(aad));
}

int main(int argc, char **argv)
{
	static double readings[2001];

	manager = alloc_mb_mgr(0);
	must(manager != NULL, "no memory");
	init_mb_mgr_auto(manager, NULL);
	hold_against_known_answer();
	for (int i = 0; i < BATCH; i++) {
		uint8_t key[32];

		memset(key, i ^ 0xa5, sizeof(key));
		IMB_AES256_GCM_PRE(manager, key, &keys[i]);
	}
	for (size_t i = 0; i < 2001; i++) {
		double start = now(CLOCK_MONOTONIC);

		readings[i] = now(CLOCK_MONOTONIC) - start;
	}
	clock_cost = median(readings, 2001);
	measure(argv + 1, (size_t)argc - 1);
	return 0;
}
