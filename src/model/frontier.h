/*
 * frontier.h
 *		A version vector: for each origin node, how far its transactions are known (the commit end
 *		LSN, and the greatest commit timestamp up to there).
 */
#ifndef REPLICATION_PLUGIN_FRONTIER_H
#define REPLICATION_PLUGIN_FRONTIER_H

#include "access/xlogdefs.h"

#include "model/version.h"

typedef struct FrontierEntry
{
	NodeId		node;
	XLogRecPtr	lsn;
	TimestampTz ts;				/* PG_INT64_MIN if unknown */
} FrontierEntry;

typedef struct Frontier
{
	int			n;
	int			capacity;
	FrontierEntry *entries;		/* sorted by node */
} Frontier;

extern Frontier *frontier_create(void);
extern void frontier_clear(Frontier *f);
extern void frontier_free(Frontier *f);

/* Sets a node's position, even to a lower one. */
extern void frontier_set_lsn(Frontier *f, NodeId node, XLogRecPtr lsn);

/*
 * Raises the entry of a node, and never lowers it. Returns true if the position or the timestamp
 * rose.
 */
extern bool frontier_raise(Frontier *f, NodeId node, XLogRecPtr lsn, TimestampTz ts);
extern void frontier_merge(Frontier *into, const Frontier *from);

extern XLogRecPtr frontier_lsn(const Frontier *f, NodeId node);	/* InvalidXLogRecPtr if absent */
extern TimestampTz frontier_ts(const Frontier *f, NodeId node);	/* PG_INT64_MIN if absent */
extern bool frontier_covers(const Frontier *f, NodeId node, XLogRecPtr lsn);

/*
 * Convert to and from the text form "1:0/16B3748:712345678901234,2:0/1A0:-": node, LSN, and
 * timestamp in microseconds since 2000-01-01 ("-" if unknown). frontier_from_text() returns NULL if
 * the text is malformed. Results are palloc'd.
 */
extern char *frontier_to_text(const Frontier *f);
extern Frontier *frontier_from_text(const char *text);

#endif							/* REPLICATION_PLUGIN_FRONTIER_H */
