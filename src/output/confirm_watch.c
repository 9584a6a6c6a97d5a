/*
 * confirm_watch.c
 *		Tells sessions that wait for it when the subscriber of this walsender has confirmed more.
 *
 * PostgreSQL moves the slot's confirmed position when a walsender reads a reply, and calls no
 * function of an output plugin. But in each turn of its loops a walsender reads the replies that
 * have arrived and then flushes its output, by a table of functions that the process may replace.
 * Hence the position is looked at where the output is flushed: a comparison for each turn.
 */
#include "postgres.h"

/*
 * libpq.h includes the headers of Kerberos and OpenSSL for a struct that is not used here. They
 * need not be installed.
 */
#undef ENABLE_GSS
#undef USE_OPENSSL

#include "libpq/libpq.h"
#include "replication/slot.h"
#include "replication/walsender.h"
#include "utils/memutils.h"

#include "output/confirm_watch.h"
#include "shared/wakeup.h"

static const PQcommMethods *unwatched = NULL;	/* those of the socket; NULL: not watched yet */
static XLogRecPtr told = InvalidXLogRecPtr;	/* the confirmed position of the last wake-up */

/* Wakes the sessions that wait if the confirmed position has moved. */
static void
confirm_watch_tell(void)
{
	/* only this process moves the position of the slot that it holds */
	if (MyReplicationSlot && MyReplicationSlot->data.confirmed_flush != told)
	{
		told = MyReplicationSlot->data.confirmed_flush;
		wakeup_send(WAKEUP_CONFIRMED);
	}
}

static int
flush_if_writable(void)
{
	confirm_watch_tell();
	return unwatched->flush_if_writable();
}

void
confirm_watch_begin(void)
{
	PQcommMethods *watched;

	if (!am_walsender || unwatched)
		return;
	watched = MemoryContextAlloc(TopMemoryContext, sizeof(PQcommMethods));
	*watched = *PqCommMethods;
	watched->flush_if_writable = flush_if_writable;
	unwatched = PqCommMethods;
	PqCommMethods = watched;
}

void
confirm_watch_end(void)
{
	/* a stream that ends does not flush after the last reply */
	if (unwatched)
		confirm_watch_tell();
}
