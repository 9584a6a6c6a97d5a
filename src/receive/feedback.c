/*
 * feedback.c
 *		Determines which position of the provider's stream may be confirmed (docs/protocol.md,
 *		Feedback).
 *
 * When a position is passed, the current end of the local WAL is noted with it. The position is
 * confirmed, in order, when that WAL is flushed. So a confirmed position never depends on anything
 * that a crash could take away. This also holds if the transaction came by another link, or was
 * skipped because the worker of another link had just committed it.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"

#include "receive/feedback.h"

void
feedback_start(Feedback *f)
{
	f->first = f->count = 0;
	f->confirmable = f->last_passed = InvalidXLogRecPtr;
}

/* Removes the entries from the ring whose local WAL is flushed. */
static void
feedback_advance(Feedback *f, XLogRecPtr flushed)
{
	Assert(f->first >= 0 && f->first < FEEDBACK_RING_SIZE);
	while (f->count > 0 && f->ring[f->first].local <= flushed)
	{
		Assert(f->confirmable < f->ring[f->first].remote);
		f->confirmable = f->ring[f->first].remote;
		f->first = (f->first + 1) % FEEDBACK_RING_SIZE;
		f->count--;
	}
}

/*
 * Returns the end of the local WAL as a position that can be flushed: the insert position may lie
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
feedback_passed(Feedback *f, XLogRecPtr remote)
{
	XLogRecPtr	local = end_of_wal();
	PassedPosition *last =
		f->count > 0 ? &f->ring[(f->first + f->count - 1) % FEEDBACK_RING_SIZE] : NULL;

	if (remote <= f->last_passed)
		return;
	f->last_passed = remote;
	Assert(f->count >= 0 && f->count <= FEEDBACK_RING_SIZE);
	Assert(!last || (last->remote < remote && last->local <= local));
	if (!last && local <= GetFlushRecPtr(NULL))
	{
		f->confirmable = remote;
		return;
	}
	if (last && last->local == local)
	{
		last->remote = remote;
		return;
	}
	if (f->count == FEEDBACK_RING_SIZE)
		feedback_advance(f, GetFlushRecPtr(NULL));
	if (f->count == FEEDBACK_RING_SIZE)
	{
		/*
		 * full: the newest entry takes both positions, and is confirmed when the later one is safe
		 */
		*last = (PassedPosition) {remote, local};
		return;
	}
	f->ring[(f->first + f->count++) % FEEDBACK_RING_SIZE] = (PassedPosition) {remote, local};
}

XLogRecPtr
feedback_last_passed(const Feedback *f)
{
	return f->last_passed;
}

XLogRecPtr
feedback_confirmable(Feedback *f, bool flush)
{
	if (f->count > 0 && flush)
		XLogFlush(f->ring[(f->first + f->count - 1) % FEEDBACK_RING_SIZE].local);
	if (f->count > 0)
		feedback_advance(f, GetFlushRecPtr(NULL));
	return f->confirmable;
}

bool
feedback_pending(const Feedback *f)
{
	return f->count > 0;
}
