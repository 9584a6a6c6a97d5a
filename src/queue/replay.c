/*
 * replay.c
 *		The messages of the transaction at hand.
 *
 * Bounded: a transaction larger than REPLAY_BYTES is not kept; when it has to be
 * applied again, the stream is restarted from the confirmed position.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "queue/replay.h"

#define REPLAY_BYTES	(16 * 1024 * 1024)
#define REPLAY_KEEP		(256 * 1024)	/* memory that is kept from transaction to transaction */

static StringInfoData data;		/* all messages, each after its length */
static bool complete = false;

void
replay_start(void)
{
	if (data.data == NULL || data.maxlen > REPLAY_KEEP)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		if (data.data)
			pfree(data.data);
		initStringInfo(&data);
		MemoryContextSwitchTo(old);
	}
	resetStringInfo(&data);
	complete = true;
}

void
replay_add(const char *message, int len)
{
	if (!complete)
		return;
	if (data.len + len > REPLAY_BYTES)
	{
		replay_start();
		complete = false;
		return;
	}
	appendBinaryStringInfo(&data, (char *) &len, sizeof(len));
	appendBinaryStringInfo(&data, message, len);
}

bool
replay_complete(void)
{
	return complete;
}

const char *
replay_message(int i, int *len)
{
	int			pos = 0;

	for (;; i--)
	{
		if (pos >= data.len)
			return NULL;
		memcpy(len, data.data + pos, sizeof(*len));
		pos += sizeof(*len);
		if (i == 0)
			return data.data + pos;
		pos += *len;
	}
}
