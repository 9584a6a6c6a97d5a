/*
 * token_bucket.h
 *		A limit of a number of events per second, and of those of one second at once. A pure
 *		value.
 */
#ifndef REPLICATION_PLUGIN_TOKEN_BUCKET_H
#define REPLICATION_PLUGIN_TOKEN_BUCKET_H

#include "base/moment.h"

/* parts of one token: what a rate of 1 adds in a second */
#define TOKEN_PARTS		INT64CONST(1000000)

/* All zeroes means never used, and therefore full. */
typedef struct TokenBucket
{
	int64		parts;
	Moment		filled_at;
} TokenBucket;

/*
 * Takes a token; returns false if there is none. rate: tokens per second, which may differ between
 * calls.
 */
static inline bool
token_bucket_take(TokenBucket *b, int rate, Moment now)
{
	int64		elapsed = Min(now - b->filled_at, TOKEN_PARTS);

	Assert(rate >= 0);
	b->parts = Min(b->parts + elapsed * rate, rate * TOKEN_PARTS);
	b->filled_at = now;
	if (b->parts < TOKEN_PARTS)
		return false;
	b->parts -= TOKEN_PARTS;
	return true;
}

/* Puts back tokens that were taken and not used. */
static inline void
token_bucket_put_back(TokenBucket *b, int64 n)
{
	Assert(n >= 0);
	b->parts += n * TOKEN_PARTS;
}

#endif							/* REPLICATION_PLUGIN_TOKEN_BUCKET_H */
