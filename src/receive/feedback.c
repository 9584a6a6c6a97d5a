/*
 * feedback.c
 *		Which position of the provider's stream may be confirmed (docs/protocol.md, Feedback).
 *
 * When a position is passed, the current end of the local WAL is noted; the position is
 * confirmed when that is flushed, in order. So a position is never confirmed that
 * rests on something that a crash could take away: also not when the transaction came
 * by another link, or was skipped because another link's worker had just committed it.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"

#include "receive/feedback.h"

#define RING_SIZE	1024		/* positions apart; beyond that, neighbours share an entry */

typedef struct Passed
{
	XLogRecPtr	remote;
	XLogRecPtr	local;
} Passed;

static Passed ring[RING_SIZE];
static int	first = 0;
static int	count = 0;
static XLogRecPtr confirmable = InvalidXLogRecPtr;
static XLogRecPtr last_passed = InvalidXLogRecPtr;

void
feedback_start(void)
{
	first = count = 0;
	confirmable = last_passed = InvalidXLogRecPtr;
}

/* Moves what is flushed out of the ring. */
static void
advance(XLogRecPtr flushed)
{
	while (count > 0 && ring[first].local <= flushed)
	{
		confirmable = ring[first].remote;
		first = (first + 1) % RING_SIZE;
		count--;
	}
}

/*
 * End of the local WAL as something that can be flushed: the insert position may lie
 * behind the header of a page that has no record yet.
 */
static XLogRecPtr
end_of_wal(void)
{
	XLogRecPtr	end = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD)
		end -= SizeOfXLogLongPHD;
	else if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		end -= SizeOfXLogShortPHD;
	return end;
}

void
feedback_passed(XLogRecPtr remote)
{
	XLogRecPtr	local = end_of_wal();
	Passed	   *last = count > 0 ? &ring[(first + count - 1) % RING_SIZE] : NULL;

	if (remote <= last_passed)
		return;
	last_passed = remote;
	if (!last && local <= GetFlushRecPtr(NULL))
	{
		confirmable = remote;
		return;
	}
	if (last && last->local == local)
	{
		last->remote = remote;
		return;
	}
	if (count == RING_SIZE)
		advance(GetFlushRecPtr(NULL));
	if (count == RING_SIZE)
	{
		/* full: the newest entry stands for both positions, confirmed when the later is safe */
		*last = (Passed) {remote, local};
		return;
	}
	ring[(first + count++) % RING_SIZE] = (Passed) {remote, local};
}

XLogRecPtr
feedback_last_passed(void)
{
	return last_passed;
}

XLogRecPtr
feedback_confirmable(bool flush)
{
	if (count > 0 && flush)
		XLogFlush(ring[(first + count - 1) % RING_SIZE].local);
	if (count > 0)
		advance(GetFlushRecPtr(NULL));
	return confirmable;
}

bool
feedback_pending(void)
{
	return count > 0;
}
