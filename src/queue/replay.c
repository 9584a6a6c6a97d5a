/*
 * replay.c
 *		Keeps the messages of the current transaction.
 *
 * Memory is bounded: a transaction larger than REPLAY_BYTES is not kept. If it has to be applied
 * again, the stream is restarted from the confirmed position.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "queue/replay.h"

#define REPLAY_BYTES	(16 * 1024 * 1024)
#define REPLAY_KEEP		(256 * 1024)	/* memory that is kept across transactions, in bytes */

void
replay_start(Replay *r)
{
	if (r->data.data == NULL || r->data.maxlen > REPLAY_KEEP)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		if (r->data.data)
			pfree(r->data.data);
		initStringInfo(&r->data);
		MemoryContextSwitchTo(old);
	}
	resetStringInfo(&r->data);
	r->complete = true;
}

void
replay_add(Replay *r, const char *message, int len)
{
	if (!r->complete)
		return;
	if (r->data.len + len > REPLAY_BYTES)
	{
		replay_start(r);
		r->complete = false;
		return;
	}
	Assert(len >= 0);
	appendBinaryStringInfo(&r->data, (char *) &len, sizeof(len));
	appendBinaryStringInfo(&r->data, message, len);
}

bool
replay_complete(const Replay *r)
{
	return r->complete;
}

const char *
replay_message(const Replay *r, int i, int *len)
{
	int			pos = 0;

	for (;; i--)
	{
		if (pos >= r->data.len)
			return NULL;
		memcpy(len, r->data.data + pos, sizeof(*len));
		pos += sizeof(*len);
		if (i == 0)
			return r->data.data + pos;
		pos += *len;
	}
}
