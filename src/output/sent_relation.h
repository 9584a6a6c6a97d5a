/*
 * sent_relation.h
 *		What the stream needs to know of a table, and whether the subscriber knows it.
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
	SENT_TOMBSTONES,			/* our table of tombstones: its inserts are deletes */
	SENT_ROWS,
	/* mergeable: its writes are logical messages, its rows are not sent */
	SENT_WRITES
} SentKind;

typedef struct SentRelation
{
	Oid			relid;			/* hash key */
	bool		valid;
	bool		described;		/* the subscriber has the relation message */
	SentKind	kind;
	uint32		generation;		/* how often the relation has changed */
	Oid			root;			/* under whose name, and with whose columns, rows are sent */
	struct SentRelation *root_entry;	/* of a partition: whose generation was ... */
	uint32		root_generation;	/* ... this when the entry was built */
	MemoryContext context;		/* of the rest */
	bool		awaited;		/* values that are not sent are marked (catalog/awaited.h) */
	bool		own;			/* settings of the group: their rows are never deleted elsewhere */
	WireIdentity identity;
	int			natts;			/* columns sent */
	AttrNumber *attnums;		/* their numbers in this table */
	ValueWriter *writers;
	int			nkeys;
	AttrNumber *key_attnums;	/* numbers in this table, in key order */
	ValueWriter *key_writers;
	ValueReader *key_readers;	/* for keys of tombstones, when they cannot be sent as they are */
	ValueReader *readers;		/* SENT_WRITES: likewise for rows */

	/* in the transaction at hand (capture_check.h) */
	bool		touched;
	struct SentRelation *next_touched;
	int64		uncaptured;		/* changes less those that capture has told of */
	int			truncates;		/* likewise */
} SentRelation;

extern void sent_relation_init(bool internal);
extern void sent_relation_shutdown(void);

/* Between transactions: forgets all entries if there are too many. */
extern void sent_relation_trim(void);

/* Entry of a table, up to date. */
extern SentRelation *sent_relation_get(Relation rel);

/* Entry by oid; NULL if the table is gone. */
extern SentRelation *sent_relation_by_oid(Oid relid);

/* Entry by oid, if there is one, also if the table is gone or has changed. */
extern SentRelation *sent_relation_known(Oid relid);

/* Appends the relation message. */
extern void sent_relation_describe(StringInfo out, SentRelation *entry);

/* The same before a row, if the subscriber does not have it yet. */
static inline void
sent_relation_introduce(StringInfo out, SentRelation *entry)
{
	if (!entry->described)
		sent_relation_describe(out, entry);
}

#endif							/* REPLICATION_PLUGIN_SENT_RELATION_H */
