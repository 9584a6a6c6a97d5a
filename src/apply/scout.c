/*
 * scout.c
 *		Reads a transaction without applying it: which tables it is of.
 *
 * Where tables of a transaction fail one after the other (receive/table_wait.c), each would cost a new try of all that comes before it. So what is left of them is
 * found by reading the transaction once. Nothing is looked for, written or run here; of a change that another node has kept its table counts.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "apply/relation.h"
#include "apply/scout.h"
#include "catalog/names.h"

/* A table that has been met. */
typedef struct Met
{
	char		name[2 * NAMEDATALEN];	/* hash key: schema and name */
	uint32		remote_id;
} Met;

static MemoryContext context = NULL;
static MemoryContext row_context = NULL;
static HTAB *met = NULL;
static uint32 last_id = 0;		/* relation of the last row, mostly that of the next as well */
static WireTuple oldtup;
static WireTuple newtup;

void
scout_begin(void)
{
	HASHCTL		ctl = {.keysize = 2 * NAMEDATALEN,.entrysize = sizeof(Met)};

	if (!context)
	{
		context = AllocSetContextCreate(TopMemoryContext, "tables of a transaction", ALLOCSET_SMALL_SIZES);
		row_context = AllocSetContextCreate(TopMemoryContext, "row that is only read", ALLOCSET_DEFAULT_SIZES);
		wire_tuple_init(&oldtup, TopMemoryContext);
		wire_tuple_init(&newtup, TopMemoryContext);
	}
	MemoryContextReset(context);
	ctl.hcxt = context;
	met = hash_create("tables of a transaction", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	last_id = 0;
}

/* Notes a table. */
static void
note(const char *nspname, const char *relname, uint32 remote_id)
{
	char		key[2 * NAMEDATALEN] = {0};
	bool		found;
	Met		   *m;

	strlcpy(key, nspname, NAMEDATALEN);
	strlcpy(key + NAMEDATALEN, relname, NAMEDATALEN);
	m = hash_search(met, key, HASH_ENTER, &found);
	if (!found)
		m->remote_id = remote_id;
}

/* A text of a row. */
static char *
text_of(const WireRelation *remote, const WireTuple *t, const char *column)
{
	for (int i = 0; i < remote->natts && i < t->ncolumns; i++)
	{
		if (strcmp(remote->atts[i].name, column) == 0 &&
			(t->columns[i].kind == WIRE_INTERNAL || t->columns[i].kind == WIRE_BINARY || t->columns[i].kind == WIRE_TEXT))
			return pnstrdup(t->columns[i].data, t->columns[i].len);
	}
	return NULL;
}

/* A change that another node has kept: notes its table. */
static void
note_envelope(const WireRelation *remote, const WireTuple *t)
{
	char	   *nspname = text_of(remote, t, "schema_name");
	char	   *relname = text_of(remote, t, "table_name");

	if (nspname && relname)
		note(nspname, relname, 0);
}

/* A row of a relation. */
static void
row(uint32 remote_id, bool inserted)
{
	const WireRelation *remote = remote_id != last_id ? relation_remote(remote_id) : NULL;

	if (!remote)
		return;
	if (strcmp(remote->nspname, EXTENSION_SCHEMA) != 0)
	{
		if (!relation_is_passed_over(remote_id))
			note(remote->nspname, remote->relname, remote_id);
		last_id = remote_id;
	}
	else if (inserted && strcmp(remote->relname, TABLE_WAITING_CHANGE) == 0)
		note_envelope(remote, &newtup);
}

void
scout_message(WireReader *r, WireMessage type)
{
	MemoryContext old = MemoryContextSwitchTo(row_context);
	WireWrite	write;
	bool		has_old;
	int			n;
	uint32	   *ids;

	switch (type)
	{
		case WIRE_INSERT:
			row(wire_read_insert(r, &newtup), true);
			break;
		case WIRE_UPDATE:
			row(wire_read_update(r, &has_old, &oldtup, &newtup), false);
			break;
		case WIRE_DELETE:
			row(wire_read_delete(r, &oldtup), false);
			break;
		case WIRE_WRITE:
			wire_read_write(r, &write, &newtup);
			row(write.relid, false);
			break;
		default:
			wire_read_truncate(r, &n, &ids);
			for (int i = 0; i < n; i++)
				row(ids[i], false);
			break;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(row_context);
}

List *
scout_tables(void)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	HASH_SEQ_STATUS seq;
	List	   *tables = NIL;
	Met		   *m;

	hash_seq_init(&seq, met);
	while ((m = hash_seq_search(&seq)) != NULL)
	{
		LostTable  *t = palloc0(sizeof(LostTable));

		t->nspname = m->name;
		t->relname = m->name + NAMEDATALEN;
		t->remote_relid = m->remote_id;
		tables = lappend(tables, t);
	}
	MemoryContextSwitchTo(old);
	return tables;
}
