/*
 * token_bucket.h
 *		So many of something per second, and at most those of one second at once. A pure value.
 */
#ifndef REPLICATION_PLUGIN_TOKEN_BUCKET_H
#define REPLICATION_PLUGIN_TOKEN_BUCKET_H

#include "base/moment.h"

/* of one token: what comes in a microsecond at a rate of 1 */
#define TOKEN_PARTS		INT64CONST(1000000)

/* All zeroes: never used, so full. */
typedef struct TokenBucket
{
	int64		parts;
	Moment		filled_at;
} TokenBucket;

/* Takes a token if there is one. rate: tokens per second, which may differ from call to call. */
static inline bool
token_bucket_take(TokenBucket *b, int rate, Moment now)
{
	int64		elapsed = Min(now - b->filled_at, TOKEN_PARTS);

	b->parts = Min(b->parts + elapsed * rate, rate * TOKEN_PARTS);
	b->filled_at = now;
	if (b->parts < TOKEN_PARTS)
		return false;
	b->parts -= TOKEN_PARTS;
	return true;
}

/* Puts tokens back that were taken for nothing. */
static inline void
token_bucket_put_back(TokenBucket *b, int64 n)
{
	b->parts += n * TOKEN_PARTS;
}

#endif							/* REPLICATION_PLUGIN_TOKEN_BUCKET_H */
