/*
 * link_worker.c
 *		The process that works on one link: connects to its provider, receives, applies.
 *
 * It runs as the database's bootstrap superuser in replica role; rows are written
 * as the owners of their tables (apply/write.c). On an error it notes the text
 * in its LinkStatus and exits; the manager starts it again after a pause that grows.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "apply/apply.h"
#include "base/peer.h"
#include "base/pulse.h"
#include "base/session.h"
#include "base/settings.h"
#include "catalog/names.h"
#include "receive/gate.h"
#include "receive/link_worker.h"
#include "receive/reply.h"
#include "receive/table_wait.h"
#include "shared/activity.h"
#include "shared/link_status.h"
#include "shared/origin_map.h"

/* between two looks whether the provider has made our slot, first */
#define NO_SLOT_WAIT_MS	500
#define NO_SLOT_LONGEST_MS	5000	/* ... and when that takes long */
#define NO_SLOT_TELL	16		/* after so many looks people are told */

/* Session settings that applying rests on. */
static void
set_session(void)
{
	session_pin_worker();
	link_limit_lock_waits(false);
	SetConfigOption("session_replication_role", "replica", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	/*
	 * deadlocks are looked for again and again, and each time it would be said; the view links
	 * tells of waits
	 */
	SetConfigOption("log_lock_waits", "off", PGC_SUSET, PGC_S_OVERRIDE);
}

/* Notes an error that is not of a transaction, and lets it end the process. */
static void
note_error(Link *link, MemoryContext context)
{
	ErrorData  *edata;
	char	   *text;
	bool		is_out;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	is_out = link->provider_answers && (edata->sqlerrcode == ERRCODE_NODE_REMOVED ||
										 edata->sqlerrcode == ERRCODE_NODE_NEEDS_REJOIN);
	text = edata->message;
	if (edata->detail)
		text = psprintf("%s DETAIL: %s", text, edata->detail);
	if (edata->hint)
		text = psprintf("%s HINT: %s", text, edata->hint);
	link_status_set_error(link->index, text, false);
	link_status_set_state(link->index, LINK_BACKOFF);
	if (is_out)
	{
		FlushErrorState();
		AbortOutOfAnyTransaction();
		link_note_expulsion(edata->sqlerrcode, text);
		proc_exit(0);
	}
}

/* What pulse() calls while a message takes long. */
static void
beat(void *arg)
{
	link_beat(arg);
}

/* The provider, or another peer, does not answer a question of ours. */
static void
note_silence(void *arg, const char *text)
{
	Link	   *link = arg;

	link_status_tell(link->index, text);
	ereport(LOG,
			(errmsg("link from node \"%s\": %s", link->provider_name ? link->provider_name : "", text)));
}

/* This process ends. If that is because code did not heed the limit, nobody has told of it yet. */
static void
note_end(int code, Datum arg)
{
	Link	   *link = (Link *) DatumGetPointer(arg);

	link_note_end(link);
	if (!pulse_timed_out())
		return;
	table_wait_note_end(link);
	link_status_set_error(link->index, psprintf("the worker was ended: a row took longer than replication_plugin.row_timeout (%d ms), and its code"
												" did not let itself be cancelled", setting_row_timeout), true);
}

/* Tells people why there is no slot for so long, as far as that can be known from here. */
static void
tell_of_missing_slot(Link *link)
{
	bool		ours = strstr(link->run, "NULL") != NULL;
	char	   *text = ours ? "waits for this node's group worker, which has not told the others of this run of the server yet"
		" HINT: See the progress of this node in the view nodes." :
		psprintf("node \"%s\" has no slot for this node yet HINT: It is made when the group worker of that node runs, and the transactions that were open there"
				 " before it have ended: see the progress of that node in the view nodes there, and pg_stat_activity.", link->provider_name);

	link_status_tell(link->index, text);
	ereport(LOG, (errmsg("link from node \"%s\": %s", link->provider_name, text)));
}

/* Streams, again and again as long as nothing goes wrong. */
static void
work(Link *link, MemoryContext context)
{
	int			looks = 0;		/* at a provider that has no slot for us yet, in a row */

	for (;;)
	{
		MemoryContextSwitchTo(context);
		MemoryContextReset(context);
		link->seen_stored = NULL;
		link_load(link);
		apply_init(link->apply, link->provider, link->provider_dsn, link->seen);
		gate_init(link->me);
		switch (link_stream(link))
		{
			case LINK_END_RESTART:
				looks = 0;
				break;
			case LINK_END_NO_SLOT:
				link_status_set_healthy(link->index);
				link_status_set_state(link->index, LINK_WAITING_FOR_SLOT);
				if (++looks == NO_SLOT_TELL)
					tell_of_missing_slot(link);
				if (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							  looks < 20 ? NO_SLOT_WAIT_MS : NO_SLOT_LONGEST_MS, PG_WAIT_EXTENSION) & WL_LATCH_SET)
					ResetLatch(MyLatch);
				CHECK_FOR_INTERRUPTS();
				break;
		}
	}
}

void
replication_plugin_link_main(Datum link_status_index)
{
	static Link link;
	LinkStatus	status;
	MemoryContext context;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	link.index = DatumGetInt32(link_status_index);
	if (!link_status_attach(link.index) || !link_status_get(link.index, &status))
		proc_exit(0);
	link.provider = status.provider;
	BackgroundWorkerInitializeConnectionByOid(status.dboid, InvalidOid, 0);
	set_session();
	link.apply = apply_create();
	activity_ignore_own();
	origin_map_ensure_loaded();
	pulse_init(beat, &link);
	peer_tell_silence(note_silence, &link);
	before_shmem_exit(note_end, PointerGetDatum(&link));
	link.seen = frontier_create();
	context = AllocSetContextCreate(TopMemoryContext, "link", ALLOCSET_DEFAULT_SIZES);
	pgstat_report_activity(STATE_RUNNING, "streaming");
	PG_TRY();
	{
		table_wait_after_end(&link);
		work(&link, context);
	}
	PG_CATCH();
	{
		/* an error of a transaction has been noted where it happened */
		if (link_status_get(link.index, &status) && status.state != LINK_BACKOFF)
			note_error(&link, TopMemoryContext);
		PG_RE_THROW();
	}
	PG_END_TRY();
}
