/*
 * link_worker.c
 *		The background worker of one link: connects to its provider, receives and applies.
 *
 * It runs as the bootstrap superuser of the database, in replica role. Rows are written as the
 * owners of their tables (apply/write.c). After an error, the worker stores the text in its
 * LinkStatus and exits; the manager starts it again after a pause that grows.
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
#include "shared/link_status.h"
#include "shared/origin_hold.h"
#include "shared/origin_map.h"
#include "shared/origin_mark.h"

/* between two checks whether the provider has made the slot */
#define NO_SLOT_WAIT_MS	500
#define NO_SLOT_LONGEST_MS	5000	/* ... after many checks */
#define NO_SLOT_TELL	16		/* number of checks after which it is reported */

/* Sets the session settings on which applying depends. */
static void
set_session(void)
{
	session_pin_worker();
	link_limit_lock_waits(false);
	SetConfigOption("session_replication_role", "replica", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	/*
	 * Deadlocks are checked for again and again, and each check would be logged. The view links
	 * shows waits instead.
	 */
	SetConfigOption("log_lock_waits", "off", PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * Notes an error outside of a transaction, which then ends the process. If the provider says that
 * this node is out of its group, records that and exits.
 */
static void
link_worker_note_error(Link *link, MemoryContext context)
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
		origin_abort_transaction();
		link_note_expulsion(edata->sqlerrcode, text);
		proc_exit(0);
	}
}

/* Called by pulse.c while a message takes long. */
static void
link_worker_beat(void *arg)
{
	link_beat(arg);
}

/* Reports that the provider, or another peer, does not answer a query. */
static void
note_silence(void *arg, const char *text)
{
	Link	   *link = arg;

	link_status_tell(link->index, text);
	ereport(LOG,
			(errmsg("link from node \"%s\": %s", link->provider_name ? link->provider_name : "", text)));
}

/*
 * Runs at the end of the process. If the worker was ended because a row's code did not let itself
 * be cancelled, this is the only place that reports it.
 */
static void
note_end(int code, Datum arg)
{
	Link	   *link = (Link *) DatumGetPointer(arg);

	link_note_end(link);
	if (!pulse_timed_out())
		return;
	table_wait_note_end(link);
	link_status_set_error(
		link->index,
		psprintf(
			"the worker was ended: a row took longer than replication_plugin.row_timeout (%d ms), and its code"
			" did not let itself be cancelled",
			setting_row_timeout),
		true);
}

/* Reports why there is still no slot, as far as this node can know. */
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

/* Streams, and starts a new stream whenever one ends without an error. */
static void
link_worker_work(Link *link, MemoryContext context)
{
	int			looks = 0;		/* checks in a row that found no slot */

	for (;;)
	{
		/* the last stream's position is written with the group's name, which is in the context */
		link_note_end(link);
		MemoryContextSwitchTo(context);
		MemoryContextReset(context);
		link->seen_stored = NULL;
		link_load(link);
		apply_init(link->apply, link->provider, link->provider_dsn, link->seen);
		gate_init(&link->gate, link->me);
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
							  looks < 20 ? NO_SLOT_WAIT_MS : NO_SLOT_LONGEST_MS,
							  PG_WAIT_EXTENSION) &
					WL_LATCH_SET)
					ResetLatch(MyLatch);
				CHECK_FOR_INTERRUPTS();
				break;
		}
	}
}

void
replication_plugin_link_main(Datum link_status_index)
{
	/* it is used at the end of the process, when this function has been left */
	Link	   *link = MemoryContextAllocZero(TopMemoryContext, sizeof(Link));
	LinkStatus	status;
	MemoryContext context;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	link->index = DatumGetInt32(link_status_index);
	if (!link_status_attach(link->index) || !link_status_get(link->index, &status))
		proc_exit(0);
	link->provider = status.provider;
	BackgroundWorkerInitializeConnectionByOid(status.dboid, InvalidOid, 0);
	set_session();
	origin_hold_release_at_exit();
	link->apply = apply_create();
	origin_map_ensure_loaded();
	pulse_init(link_worker_beat, link);
	peer_tell_silence(note_silence, link);
	before_shmem_exit(note_end, PointerGetDatum(link));
	link->seen = frontier_create();
	context = AllocSetContextCreate(TopMemoryContext, "link", ALLOCSET_DEFAULT_SIZES);
	pgstat_report_activity(STATE_RUNNING, "streaming");
	PG_TRY();
	{
		table_wait_after_end(link);
		link_worker_work(link, context);
	}
	PG_CATCH();
	{
		/* errors of a transaction have been noted in transaction.c */
		if (link_status_get(link->index, &status) && status.state != LINK_BACKOFF)
			link_worker_note_error(link, TopMemoryContext);
		PG_RE_THROW();
	}
	PG_END_TRY();
}
