/*
 * native.c
 *		The native stream, for subscribers of the group: transactions and the framing of rows.
 *
 * Many changes are sent in one message: the buffer is sent when it is large, and at commit. (A
 * message costs the walsender a system call, which is most of the cost of decoding a small row.)
 *
 * Local transactions that changed no replicated table are not sent, unless they contain a logical
 * message of the extension. Transactions of the link's other full origins are always sent, even if
 * they are empty, because the progress of the origin must advance on the subscriber.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/dsn.h"
#include "base/own_transaction.h"
#include "catalog/agreement.h"
#include "catalog/message_seal.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "output/capture_check.h"
#include "output/change_name.h"
#include "output/native.h"
#include "shared/origin_map.h"
#include "wire/value.h"

#define FLUSH_BYTES			(48 * 1024)
#define SIGN_OF_LIFE_AFTER	100	/* changes that are passed over until progress is reported */

/*
 * The transaction that this process has begun, but not finished, to send; used after errors. An
 * invalid lsn means none.
 */
static struct
{
	NodeId		node;
	XLogRecPtr	lsn;
}			at_hand = {INVALID_NODE_ID, InvalidXLogRecPtr};

bool
native_at_hand(NodeId *node, XLogRecPtr *lsn)
{
	*node = at_hand.node;
	*lsn = at_hand.lsn;
	return at_hand.lsn != InvalidXLogRecPtr;
}

/* Reads the identity of the local node. Uses a separate transaction if none is running. */
static void
learn_identity(NativeStream *s)
{
	OwnTransaction t = own_transaction_ensure();
	LocalNode  *local;

	PushActiveSnapshot(GetTransactionSnapshot());
	local = extension_exists() ? nodes_local() : NULL;
	if (!local)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database is not in a group of replication_plugin"),
				 errhint("Call replication_plugin.create_group() or replication_plugin.join_group() here first.")));
	s->me = local->node_id;
	s->group_id = MemoryContextStrdup(t.context, local->group_id);
	if (s->options.protocol > group_protocol())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the subscriber asks for protocol %d, and the group has agreed on %d",
						s->options.protocol, group_protocol()),
				 errhint("handshake() tells a subscriber which protocol it asks for.")));
	/*
	 * resolved now, because a lookup of a foreign server during decoding would use a historic
	 * snapshot
	 */
	s->dsn = MemoryContextStrdup(t.context, dsn_resolve(local->dsn, true));
	PopActiveSnapshot();
	own_transaction_end(&t);
}

/* Raises an error for a subscriber of another group. */
static void
check_subscriber(NativeStream *s)
{
	NativeOptions *o = &s->options;

	if (strcmp(o->group_id, s->group_id) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this node is in group %s, not in %s", s->group_id, o->group_id)));
}

NativeStream *
native_startup(LogicalDecodingContext *ctx, NativeOptions *options)
{
	NativeStream *s = palloc0(sizeof(NativeStream));

	s->options = *options;
	learn_identity(s);
	check_subscriber(s);
	s->buffer = makeStringInfo();
	s->held = frontier_create();
	s->context = AllocSetContextCreate(ctx->context, "native change", ALLOCSET_DEFAULT_SIZES);
	s->relations = sent_relation_init(s->options.internal, s->options.protocol);
	return s;
}

/* Writes the begin of a transaction. */
static void
write_begin(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn)
{
	WireBegin	m = {
		.origin = at_hand.node,.origin_lsn = at_hand.lsn,
		.commit_ts = decoded_commit_time(txn),.xid = txn->xid
	};

	native_write_begin(ctx, s, &m);
	s->begun = true;
}

/* ---------- errors ---------- */

/* The current change. */
typedef struct Where
{
	Relation	rel;
	SentRelation *entry;		/* NULL: not known yet */
	ReorderBufferChange *change;
} Where;

/* Error context callback: describes the change. */
static void
native_error_context(void *arg)
{
	Where	   *w = arg;
	char	   *transaction =
		psprintf("transaction %X/%X of node %d", LSN_FORMAT_ARGS(at_hand.lsn), at_hand.node);

	if (!w->rel)
		errcontext("%s", transaction);
	else if (w->entry && w->entry->kind == SENT_ROWS)
		change_name_context(w->rel, w->change, w->entry->key_attnums, w->entry->nkeys, transaction);
	else
		change_name_context(w->rel, NULL, NULL, 0, transaction);
}

/* ---------- transactions ---------- */

/* Returns true if this subscriber gets a node's transactions in full. */
static bool
sends_in_full(NativeStream *s, NodeId node)
{
	if (node == ORIGIN_NODE_LOCAL)
		return true;
	if (node == ORIGIN_NODE_REPAIR || node == s->options.subscriber)
		return false;
	return s->options.all_origins || list_member_int(s->options.full_origins, node);
}

void
native_begin(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn)
{
	s->origin = origin_map_node(txn->origin_id);
	at_hand.node = s->origin == ORIGIN_NODE_LOCAL ? s->me : s->origin;
	at_hand.lsn = s->origin == ORIGIN_NODE_LOCAL ? txn->end_lsn : txn->origin_lsn;

	/* rows written before a session set its origin have passed the filter */
	s->skip = !sends_in_full(s, s->origin);
	s->begun = false;
	capture_check_begin(s);
	sent_relation_trim(s->relations);
	if (!s->skip && s->origin != ORIGIN_NODE_LOCAL)
		write_begin(ctx, s, txn);
}

void
native_commit(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn)
{
	WireCommit	m = {.end_lsn = txn->end_lsn};

	capture_check_commit(s, txn);
	at_hand.lsn = InvalidXLogRecPtr;
	OutputPluginUpdateProgress(ctx, !s->begun);
	if (!s->begun)
		return;
	native_write_commit(s, &m);
	native_flush(ctx, s);
	s->begun = false;
}

/* Reports progress to the subscriber from time to time while changes are passed over. */
static void
native_pass_over(LogicalDecodingContext *ctx, NativeStream *s)
{
	if (++s->passed_over < SIGN_OF_LIFE_AFTER)
		return;
	OutputPluginUpdateProgress(ctx, false);
	s->passed_over = 0;
}

/* Sends a change. */
static void
send_change(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn, Where *w)
{
	MemoryContext old;
	SentRelation *entry;
	Relation	rel = w->rel;
	ReorderBufferChange *change = w->change;
	int			before = s->buffer->len;

	if (s->skip)
	{
		native_pass_over(ctx, s);
		return;
	}
	entry = w->entry = sent_relation_get(s->relations, rel);
	if (entry->kind == SENT_WRITES)
		capture_check_count(s, entry, 1);
	if (entry->kind == SENT_NOTHING || entry->kind == SENT_WRITES)
	{
		native_pass_over(ctx, s);
		return;
	}
	old = MemoryContextSwitchTo(s->context);
	if (!s->begun)
	{
		write_begin(ctx, s, txn);
		before = 0;
	}
	if (entry->kind == SENT_TOMBSTONES)
		native_tombstone(ctx, s, rel, change);
	else
		native_row(ctx, s, rel, entry, change);
	MemoryContextSwitchTo(old);
	MemoryContextReset(s->context);
	if (s->buffer->len == before)
		native_pass_over(ctx, s);
	if (s->buffer->len >= FLUSH_BYTES)
		native_flush(ctx, s);
}

void
native_change(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn,
			  Relation rel, ReorderBufferChange *change)
{
	Where		where = {.rel = rel,.change = change};
	ErrorContextCallback callback = {.previous = error_context_stack,
									 .callback = native_error_context,
									 .arg = &where};

	error_context_stack = &callback;
	send_change(ctx, s, txn, &where);
	error_context_stack = callback.previous;
}

void
native_truncate(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn,
				int nrels, Relation rels[])
{
	uint32	   *relids = palloc(nrels * sizeof(uint32));
	int			n = 0;

	for (int i = 0; i < nrels && !s->skip; i++)
	{
		SentRelation *entry = sent_relation_get(s->relations, rels[i]);

		capture_check_truncate(s, entry, rels[i]);
		/* rows with a key have been deleted one by one */
		if (entry->kind != SENT_ROWS || entry->identity == WIRE_IDENTITY_KEY ||
			rels[i]->rd_rel->relispartition)
			continue;			/* TRUNCATE of a partitioned table lists the root as well */
		if (!s->begun)
			write_begin(ctx, s, txn);
		sent_relation_introduce(s->buffer, entry);
		relids[n++] = entry->root;
	}
	if (n > 0)
		wire_write_truncate(s->buffer, n, relids);
	pfree(relids);
}

/*
 * Warns of a message with the extension's prefix that the extension did not write, once per
 * transaction.
 */
static void
warn_of_forged(NativeStream *s, ReorderBufferTXN *txn)
{
	if (s->forged_xid != txn->xid)
		ereport(WARNING,
				(errmsg("a logical message with the prefix \"%s\" in transaction %u was not written by the extension, and is not sent", PLUGIN_NAME, txn->xid)));
	s->forged_xid = txn->xid;
}

void
native_message(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn,
			   bool transactional, const char *prefix, Size size, const char *content)
{
	Where		where = {NULL};
	ErrorContextCallback callback = {.previous = error_context_stack,
									 .callback = native_error_context,
									 .arg = &where};
	MemoryContext old;

	if (!transactional || s->skip || strcmp(prefix, PLUGIN_NAME) != 0)
		return;
	if (size > 0 && !message_open(content, size, txn->xid, &size))
	{
		warn_of_forged(s, txn);
		return;
	}
	if (capture_check_note(s, content, size))
		return;
	if (!s->begun)
		write_begin(ctx, s, txn);
	if (size == 0)
		return;					/* the message only causes the transaction to be sent */
	error_context_stack = &callback;
	old = MemoryContextSwitchTo(s->context);
	native_write(ctx, s, content, size);
	MemoryContextSwitchTo(old);
	error_context_stack = callback.previous;
	MemoryContextReset(s->context);
	if (s->buffer->len >= FLUSH_BYTES)
		native_flush(ctx, s);
}
