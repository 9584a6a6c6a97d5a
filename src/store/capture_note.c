/*
 * capture_note.c
 *		Counts the captured changes of a transaction, and reports them to the decoder
 *		(wire/note.h).
 *
 * Counts are kept per subtransaction. A subtransaction that is rolled back discards its counts,
 * because decoding does not see its changes either. The note is written immediately before the
 * commit (or PREPARE). Changes written under an origin that is not local are not counted, because
 * they are not decoded, or not checked.
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "replication/origin.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "catalog/message_seal.h"
#include "shared/origin_map.h"
#include "store/capture_note.h"
#include "wire/note.h"

/* Counts of one table in one subtransaction. */
typedef struct Count
{
	SubTransactionId subxact;
	CaptureNote note;
} Count;

/* The counts of the running transaction, newest first; in TopTransactionContext. */
static List *counts = NIL;

/* Returns the count of a table in a subtransaction, or NULL if there is none yet. */
static Count *
find_count(SubTransactionId subxact, Oid relid)
{
	ListCell   *lc;

	foreach(lc, counts)
	{
		Count	   *c = lfirst(lc);

		if (c->subxact == subxact && c->note.relid == relid)
			return c;
	}
	return NULL;
}

/* Starts a count. */
static Count *
new_count(SubTransactionId subxact, Oid relid)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Count	   *c = palloc0(sizeof(Count));

	c->subxact = subxact;
	c->note.relid = relid;
	counts = lcons(c, counts);
	MemoryContextSwitchTo(old);
	return c;
}

void
capture_note(Oid relid, int64 changes)
{
	SubTransactionId subxact = GetCurrentSubTransactionId();
	Count	   *c;

	if (origin_map_node(replorigin_session_origin) != ORIGIN_NODE_LOCAL)
		return;
	c = find_count(subxact, relid);
	if (!c)
		c = new_count(subxact, relid);
	c->note.changes += changes;
}

/* Writes notes as a logical message. */
static void
write_notes(List *notes)
{
	StringInfoData buf;

	initStringInfo(&buf);
	note_write(&buf, notes);
	message_emit(&buf);
	pfree(buf.data);
}

void
capture_note_truncate(Oid relid, int64 changes)
{
	CaptureNote note = {.relid = relid,.changes = changes,.truncates = 1};

	write_notes(list_make1(&note));
}

/* Transaction callback: writes the note before the end of a transaction. */
static void
capture_note_at_transaction_event(XactEvent event, void *arg)
{
	List	   *notes = NIL;
	ListCell   *lc;

	if (counts == NIL)
		return;
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
	{
		foreach(lc, counts)
			notes = lappend(notes, &((Count *) lfirst(lc))->note);
		write_notes(notes);
		list_free(notes);
	}
	if (event != XACT_EVENT_PARALLEL_COMMIT && event != XACT_EVENT_PARALLEL_PRE_COMMIT &&
		event != XACT_EVENT_PARALLEL_ABORT)
		counts = NIL;
}

/* Subtransaction callback: moves the counts to the parent, or discards them after an abort. */
static void
at_subtransaction_event(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
						void *arg)
{
	ListCell   *lc;

	if (counts == NIL || (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB))
		return;
	foreach(lc, counts)
	{
		Count	   *c = lfirst(lc);
		Count	   *of_parent;

		if (c->subxact != mine)
			continue;
		of_parent = event == SUBXACT_EVENT_COMMIT_SUB ? find_count(parent, c->note.relid) : NULL;
		if (of_parent)
			of_parent->note.changes += c->note.changes;
		else if (event == SUBXACT_EVENT_COMMIT_SUB)
		{
			c->subxact = parent;
			continue;
		}
		counts = foreach_delete_current(counts, lc);
	}
}

void
capture_note_install(void)
{
	RegisterXactCallback(capture_note_at_transaction_event, NULL);
	RegisterSubXactCallback(at_subtransaction_event, NULL);
}
