/*
 * native_row.c
 *		The native stream, for subscribers of the group: rows.
 *
 * A delete is sent for each delete of the heap, and for each tombstone that decoding sees:
 * tombstones of changed keys, of deletes that found no row where they were applied, and of rows
 * that a TRUNCATE has removed. A delete that is sent twice does no harm.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "catalog/names.h"
#include "output/capture_check.h"
#include "output/native.h"

/* Columns of the table of tombstones. */
#define TOMBSTONE_RELID		1
#define TOMBSTONE_KEY		3

/* Deforms a row. Enlarges the arrays of the stream if necessary. */
static void
native_row_deform(NativeStream *s, Relation rel, HeapTuple tuple, Datum **values, bool **nulls)
{
	int			natts = RelationGetNumberOfAttributes(rel);

	if (s->nvalues < natts)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(s));

		s->nvalues = natts;
		s->values = palloc(natts * sizeof(Datum));
		s->nulls = palloc(natts * sizeof(bool));
		s->old_values = palloc(natts * sizeof(Datum));
		s->old_nulls = palloc(natts * sizeof(bool));
		MemoryContextSwitchTo(old);
	}
	heap_deform_tuple(tuple, RelationGetDescr(rel), *values, *nulls);
}

/*
 * Raises an error if the current row of a table of the extension has a value that the stream's
 * protocol cannot express. It was written after the group had agreed on a newer protocol, which
 * this node knows by now: so the subscriber gets that one when it connects again.
 */
static void
refuse_newer(NativeStream *s, Relation rel, SentRelation *e)
{
	int			att = -1;

	while ((att = bms_next_member(e->newer, att)) >= 0)
	{
		if (!s->nulls[att - 1])
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("column \"%s\" of table \"%s\" cannot be sent by protocol %d, which this stream speaks",
							NameStr(TupleDescAttr(RelationGetDescr(rel), att - 1)->attname),
							RelationGetRelationName(rel), s->options.protocol),
					 errhint("The subscriber connects again, and gets a newer protocol.")));
	}
}

/* Returns true if a value is not in the WAL because the update did not change it. */
static inline bool
is_unchanged(ValueWriter *w, Datum value)
{
	return w->typlen == -1 && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value));
}

/* Writes a whole row. Values that it lacks are taken from the old row, if that has them. */
static void
native_row_write_row(NativeStream *s, SentRelation *e, bool has_old_row)
{
	wire_write_tuple_head(s->buffer, e->natts);
	for (int i = 0; i < e->natts; i++)
	{
		int			att = e->attnums[i] - 1;
		ValueWriter *w = &e->writers[i];

		if (s->nulls[att])
			wire_write_null(s->buffer);
		else if (!is_unchanged(w, s->values[att]))
			value_write(s->buffer, w, s->values[att]);
		else if (has_old_row && !s->old_nulls[att] && !is_unchanged(w, s->old_values[att]))
			value_write(s->buffer, w, s->old_values[att]);
		else
			wire_write_unchanged(s->buffer, e->awaited);
	}
}

/* Writes the whole old row of a table without a key. */
static void
write_old_row(NativeStream *s, SentRelation *e)
{
	wire_write_tuple_head(s->buffer, e->natts);
	for (int i = 0; i < e->natts; i++)
	{
		int			att = e->attnums[i] - 1;

		if (s->old_nulls[att])
			wire_write_null(s->buffer);
		else if (is_unchanged(&e->writers[i], s->old_values[att]))
			wire_write_unchanged(s->buffer, false);
		else
			value_write(s->buffer, &e->writers[i], s->old_values[att]);
	}
}

/* Writes the key of the old row. */
static void
write_old_key(NativeStream *s, SentRelation *e)
{
	wire_write_tuple_head(s->buffer, e->nkeys);
	for (int k = 0; k < e->nkeys; k++)
		value_write(s->buffer, &e->key_writers[k], s->old_values[e->key_attnums[k] - 1]);
}

/*
 * Returns true if old and new row have different keys. If a key value is stored out of line and
 * unchanged, the new row in the WAL lacks it. It is not looked up, because it may be gone by now;
 * the old row has it.
 */
static bool
key_changed(NativeStream *s, Relation rel, SentRelation *e)
{
	for (int k = 0; k < e->nkeys; k++)
	{
		int			att = e->key_attnums[k] - 1;
		Form_pg_attribute a = TupleDescAttr(RelationGetDescr(rel), att);

		if (s->old_nulls[att] || s->nulls[att])
			return false;		/* the WAL lacks the old key, so the key did not change */
		if (is_unchanged(&e->key_writers[k], s->values[att]))
			continue;
		if (!datum_image_eq(s->values[att], s->old_values[att], a->attbyval, a->attlen))
			return true;
	}
	return false;
}

/* Writes an update. */
static void
write_update(LogicalDecodingContext *ctx, NativeStream *s, Relation rel, SentRelation *e,
			 ReorderBufferChange *change)
{
	bool		has_old = change->data.tp.oldtuple != NULL;
	bool		send_key;

	if (has_old)
		native_row_deform(s, rel, decoded_tuple(change->data.tp.oldtuple), &s->old_values,
						  &s->old_nulls);
	if (e->identity == WIRE_IDENTITY_KEY)
	{
		send_key = has_old && key_changed(s, rel, e);
		if (send_key)
			capture_check_count(s, e, 1);
		wire_write_update_head(s->buffer, e->root, send_key);
		if (send_key)
			write_old_key(s, e);
	}
	else if (has_old)
	{
		wire_write_update_head(s->buffer, e->root, true);
		write_old_row(s, e);
	}
	else
		return;					/* no identity: capture_no_key() refuses such updates */
	native_row_write_row(s, e, has_old);
}

/* Returns true if the current old row has all columns of the key. */
static bool
has_old_key(NativeStream *s, SentRelation *e)
{
	for (int k = 0; k < e->nkeys; k++)
	{
		if (s->old_nulls[e->key_attnums[k] - 1])
			return false;
	}
	return e->nkeys > 0;
}

/* Writes a delete. */
static void
write_delete(LogicalDecodingContext *ctx, NativeStream *s, Relation rel, SentRelation *e,
			 ReorderBufferChange *change)
{
	if (e->identity == WIRE_IDENTITY_KEY)
		capture_check_count(s, e, 1);
	if (e->identity == WIRE_IDENTITY_NONE || e->own || !change->data.tp.oldtuple)
		return;
	native_row_deform(s, rel, decoded_tuple(change->data.tp.oldtuple), &s->old_values,
					  &s->old_nulls);
	if (e->identity == WIRE_IDENTITY_KEY && !has_old_key(s, e))
		return;					/* the WAL has other columns; the tombstone is sent instead */
	sent_relation_introduce(s->buffer, e);
	wire_write_delete_head(s->buffer, e->root);
	if (e->identity == WIRE_IDENTITY_KEY)
		write_old_key(s, e);
	else
		write_old_row(s, e);
}

void
native_row(LogicalDecodingContext *ctx, NativeStream *s, Relation rel, SentRelation *e,
		   ReorderBufferChange *change)
{
	if (change->action == REORDER_BUFFER_CHANGE_DELETE)
	{
		write_delete(ctx, s, rel, e, change);
		return;
	}
	if (!change->data.tp.newtuple)
		return;
	sent_relation_introduce(s->buffer, e);
	native_row_deform(s, rel, decoded_tuple(change->data.tp.newtuple), &s->values, &s->nulls);
	if (e->newer)
		refuse_newer(s, rel, e);
	if (change->action == REORDER_BUFFER_CHANGE_UPDATE)
	{
		write_update(ctx, s, rel, e, change);
		return;
	}
	wire_write_insert_head(s->buffer, e->root);
	native_row_write_row(s, e, false);
}

/* Writes a tuple in this server's internal form in the form that this subscriber reads. */
static void
write_converted(NativeStream *s, WireTuple *t, int n, ValueReader *readers, ValueWriter *writers,
				const char *what)
{
	if (t->ncolumns != n)
		elog(ERROR, "%s has other columns than its table", what);
	wire_write_tuple_head(s->buffer, n);
	for (int i = 0; i < n; i++)
	{
		if (t->columns[i].kind == WIRE_NULL)
			wire_write_null(s->buffer);
		else
			value_write(s->buffer, &writers[i], value_read(&readers[i], &t->columns[i]));
	}
}

/* Writes the key of a tombstone in the form that this subscriber reads. */
static void
write_tombstone_key(NativeStream *s, SentRelation *e, bytea *key)
{
	WireReader	r = {.data = VARDATA_ANY(key),.len = VARSIZE_ANY_EXHDR(key)};
	WireTuple	t;

	if (s->options.internal)
	{
		appendBinaryStringInfo(s->buffer, r.data, r.len);
		return;
	}
	wire_tuple_init(&t, CurrentMemoryContext);
	wire_read_tuple(&r, &t);
	write_converted(s, &t, e->nkeys, e->key_readers, e->key_writers, "a tombstone");
}

void
native_write(LogicalDecodingContext *ctx, NativeStream *s, const char *content, Size size)
{
	WireReader	r = {.data = content,.len = (int) size};
	WireWrite	m;
	WireTuple	t;
	SentRelation *e;

	if (wire_read_type(&r) != WIRE_WRITE)
		elog(ERROR, "a logical message of an unknown kind");
	wire_tuple_init(&t, CurrentMemoryContext);
	wire_read_write(&r, &m, &t);
	e = sent_relation_by_oid(s->relations, m.relid);
	if (e && e->kind == SENT_WRITES)
		capture_check_count(s, e, -1);
	if (!e || !(e->kind == SENT_WRITES || (e->kind == SENT_ROWS && m.context.plain)))
		return;
	sent_relation_introduce(s->buffer, e);
	if (s->options.internal)
	{
		appendBinaryStringInfo(s->buffer, content, size);
		return;
	}
	wire_write_write_head(s->buffer, &m);
	if (m.deleted)
		write_converted(s, &t, e->nkeys, e->key_readers, e->key_writers, "a write");
	else
		write_converted(s, &t, e->natts, e->readers, e->writers, "a write");
}

void
native_tombstone(LogicalDecodingContext *ctx, NativeStream *s, Relation rel,
				 ReorderBufferChange *change)
{
	SentRelation *e;

	if (change->action != REORDER_BUFFER_CHANGE_INSERT || !change->data.tp.newtuple)
		return;
	native_row_deform(s, rel, decoded_tuple(change->data.tp.newtuple), &s->values, &s->nulls);
	e = sent_relation_by_oid(s->relations, DatumGetObjectId(s->values[TOMBSTONE_RELID - 1]));
	if (!e || e->kind != SENT_ROWS || e->identity != WIRE_IDENTITY_KEY)
		return;
	sent_relation_introduce(s->buffer, e);
	wire_write_delete_head(s->buffer, e->root);
	write_tombstone_key(s, e, DatumGetByteaPP(s->values[TOMBSTONE_KEY - 1]));
}
