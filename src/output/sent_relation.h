/*
 * sent_relation.h
 *		Caches what the native stream needs of a table, and whether the subscriber knows the
 *		table.
 */
#ifndef REPLICATION_PLUGIN_SENT_RELATION_H
#define REPLICATION_PLUGIN_SENT_RELATION_H

#include "lib/stringinfo.h"
#include "utils/relcache.h"

#include "wire/value.h"
#include "wire/wire.h"

typedef enum SentKind
{
	SENT_NOTHING,				/* not replicated */
	SENT_TOMBSTONES,			/* the extension's table of tombstones: its inserts are deletes */
	SENT_ROWS,
	/* mergeable: writes are sent as logical messages, rows of the heap are not sent */
	SENT_WRITES
} SentKind;

typedef struct SentRelation
{
	Oid			relid;			/* hash key */
	bool		valid;
	bool		described;		/* the subscriber has the relation message */
	SentKind	kind;
	uint32		generation;		/* counts the changes of the relation */
	Oid			root;			/* table under whose name, and with whose columns, rows are sent */
	/* of a partition: entry of the root, whose generation was ... */
	struct SentRelation *root_entry;
	uint32		root_generation;	/* ... this when the entry was built */
	MemoryContext context;		/* of the rest */
	bool		awaited;		/* values that are not sent are marked (catalog/awaited.h) */
	/* replicated table of the extension itself: its rows are never deleted on other nodes */
	bool		own;
	/* columns of an own table that are newer than the stream's protocol; not sent, must be null */
	Bitmapset  *newer;
	WireIdentity identity;
	int			natts;			/* number of columns sent */
	AttrNumber *attnums;		/* their numbers in this table */
	ValueWriter *writers;
	int			nkeys;
	AttrNumber *key_attnums;	/* numbers in this table, in key order */
	ValueWriter *key_writers;
	ValueReader *key_readers;	/* for keys of tombstones that must be converted */
	ValueReader *readers;		/* likewise for rows in logical messages */

	/* state of the current transaction (capture_check.h) */
	bool		touched;
	struct SentRelation *next_touched;
	int64		uncaptured;		/* number of changes minus the number that capture has reported */
	int			truncates;		/* likewise for TRUNCATE */
} SentRelation;

/* The entries of a stream. After an error they last until the next stream of the process. */
typedef struct SentRelations SentRelations;

/*
 * Begin and end a stream; a process has one at a time. internal: the subscriber can read values in
 * internal form. protocol: what both ends speak.
 */
extern SentRelations *sent_relation_init(bool internal, int protocol);
extern void sent_relation_shutdown(void);

/* Discards all entries if there are too many. Call it between transactions. */
extern void sent_relation_trim(SentRelations *cache);

/* Returns the current entry of a table. */
extern SentRelation *sent_relation_get(SentRelations *cache, Relation rel);

/* Returns the current entry of an oid, or NULL if the table is gone. */
extern SentRelation *sent_relation_by_oid(SentRelations *cache, Oid relid);

/* Returns the entry of an oid, if there is one, even if the table is gone or has changed. */
extern SentRelation *sent_relation_known(SentRelations *cache, Oid relid);

/* Appends the relation message. */
extern void sent_relation_describe(StringInfo out, SentRelation *entry);

/* Appends the relation message before a row, if the subscriber does not have it yet. */
static inline void
sent_relation_introduce(StringInfo out, SentRelation *entry)
{
	if (!entry->described)
		sent_relation_describe(out, entry);
}

/* Hook functions for changes of tables and names (replication_plugin.c). */
extern void sent_relation_table_changed(Oid relid);
extern void sent_relation_name_changed(uint32 hash);

#endif							/* REPLICATION_PLUGIN_SENT_RELATION_H */
