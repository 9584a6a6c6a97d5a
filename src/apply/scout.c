/*
 * scout.c
 *		Finds the tables of a transaction by reading it without applying it.
 *
 * If several tables of a transaction fail one after the other (receive/table_wait.c), each failure
 * costs a new attempt to apply everything before it. The remaining tables are therefore found by
 * reading the transaction once. Reading searches for nothing, writes nothing and runs no code of
 * users. For a change that another node has kept, the table of that change counts.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "apply/context.h"
#include "apply/relation.h"
#include "apply/scout.h"
#include "base/table_key.h"
#include "catalog/names.h"

/* A table that the transaction contains. */
typedef struct Met
{
	TableKey	key;
	uint32		remote_id;
} Met;

typedef struct Scout
{
	MemoryContext context;		/* of met, and of the results */
	MemoryContext row_context;	/* reset after each row */
	HTAB	   *met;
	uint32		last_id;		/* relation of the last row; mostly also that of the next one */
	WireTuple	oldtup;
	WireTuple	newtup;
} Scout;

/* Returns the scout of an applier, and creates it when it is first needed. */
static Scout *
scout_of(ApplyContext *cx)
{
	Scout	   *s = cx->scout;

	if (s)
		return s;
	s = MemoryContextAllocZero(TopMemoryContext, sizeof(Scout));
	s->context =
		AllocSetContextCreate(TopMemoryContext, "tables of a transaction", ALLOCSET_SMALL_SIZES);
	s->row_context =
		AllocSetContextCreate(TopMemoryContext, "row that is only read", ALLOCSET_DEFAULT_SIZES);
	wire_tuple_init(&s->oldtup, TopMemoryContext);
	wire_tuple_init(&s->newtup, TopMemoryContext);
	return cx->scout = s;
}

void
scout_begin(ApplyContext *cx)
{
	Scout	   *s = scout_of(cx);
	HASHCTL		ctl = {.keysize = sizeof(TableKey),.entrysize = sizeof(Met),.hcxt = s->context};

	Assert(!cx->active);
	MemoryContextReset(s->context);
	s->met =
		hash_create("tables of a transaction", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	s->last_id = 0;
}

/* Notes a table. */
static void
scout_note(Scout *s, const char *nspname, const char *relname, uint32 remote_id)
{
	TableKey	key = table_key(nspname, relname);
	bool		found;
	Met		   *m;

	m = hash_search(s->met, &key, HASH_ENTER, &found);
	if (!found)
		m->remote_id = remote_id;
}

/* Returns the text of a row's column, or NULL if it has none. */
static char *
text_of(const WireRelation *remote, const WireTuple *t, const char *column)
{
	for (int i = 0; i < remote->natts && i < t->ncolumns; i++)
	{
		if (strcmp(remote->atts[i].name, column) == 0 &&
			(t->columns[i].kind == WIRE_INTERNAL || t->columns[i].kind == WIRE_BINARY ||
			 t->columns[i].kind == WIRE_TEXT))
			return pnstrdup(t->columns[i].data, t->columns[i].len);
	}
	return NULL;
}

/* Notes the table of a change that another node has kept. */
static void
note_envelope(Scout *s, const WireRelation *remote, const WireTuple *t)
{
	char	   *nspname = text_of(remote, t, "schema_name");
	char	   *relname = text_of(remote, t, "table_name");

	if (nspname && relname)
		scout_note(s, nspname, relname, 0);
}

/* Notes the table of one row. */
static void
scout_row(ApplyContext *cx, uint32 remote_id, bool inserted)
{
	Scout	   *s = cx->scout;
	const WireRelation *remote = remote_id != s->last_id ? relation_remote(cx, remote_id) : NULL;

	if (!remote)
		return;
	if (strcmp(remote->nspname, EXTENSION_SCHEMA) != 0)
	{
		if (!relation_is_passed_over(cx, remote_id))
			scout_note(s, remote->nspname, remote->relname, remote_id);
		s->last_id = remote_id;
	}
	else if (inserted && strcmp(remote->relname, TABLE_WAITING_CHANGE) == 0)
		note_envelope(s, remote, &s->newtup);
}

void
scout_message(ApplyContext *cx, WireReader *r, WireMessage type)
{
	Scout	   *s = cx->scout;
	MemoryContext old = MemoryContextSwitchTo(s->row_context);
	WireWrite	write;
	bool		has_old;
	int			n;
	uint32	   *ids;

	Assert(s->met && !cx->active);
	switch (type)
	{
		case WIRE_INSERT:
			scout_row(cx, wire_read_insert(r, &s->newtup), true);
			break;
		case WIRE_UPDATE:
			scout_row(cx, wire_read_update(r, &has_old, &s->oldtup, &s->newtup), false);
			break;
		case WIRE_DELETE:
			scout_row(cx, wire_read_delete(r, &s->oldtup), false);
			break;
		case WIRE_WRITE:
			wire_read_write(r, &write, &s->newtup);
			scout_row(cx, write.relid, false);
			break;
		default:
			wire_read_truncate(r, &n, &ids);
			for (int i = 0; i < n; i++)
				scout_row(cx, ids[i], false);
			break;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(s->row_context);
}

List *
scout_tables(ApplyContext *cx)
{
	Scout	   *s = cx->scout;
	MemoryContext old = MemoryContextSwitchTo(s->context);
	HASH_SEQ_STATUS seq;
	List	   *tables = NIL;
	Met		   *m;

	hash_seq_init(&seq, s->met);
	while ((m = hash_seq_search(&seq)) != NULL)
	{
		LostTable  *t = palloc0(sizeof(LostTable));

		t->nspname = m->key.schema;
		t->relname = m->key.name;
		t->remote_relid = m->remote_id;
		tables = lappend(tables, t);
	}
	MemoryContextSwitchTo(old);
	return tables;
}
